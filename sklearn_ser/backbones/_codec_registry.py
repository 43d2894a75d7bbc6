"""Find and load codecs by name, folder, file or hub id."""

import os
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from ._checkpoint import TRANSFORMERS, Checkpoint, find_checkpoint
from ._codec import Codec, CodecBackbone, fingerprint
from ._dac import DacCodec
from ._device import choose_device
from ._encodec import ENCODEC, EncodecCodec, EncodecPackageCodec
from ._loading import open_checkpoint
from ._lyra import LYRA, LyraCodec
from ._mimi import MimiCodec
from ._snac import SnacCodec, require_snac
from ._soundstream import SOUNDSTREAM, SoundStreamCodec

# Name of a codec -> hub id.
_ON_THE_HUB = {
    "encodec_24khz": "facebook/encodec_24khz",
    "encodec_48khz": "facebook/encodec_48khz",
    "dac_16khz": "descript/dac_16khz",
    "dac_24khz": "descript/dac_24khz",
    "mimi": "kyutai/mimi",
    "snac": "hubertsiuzdak/snac_24khz",
    "soundstream": "haydenshively/SoundStream",
}
# `model_type` in config.json -> class of the codec.
_FAMILIES = {"encodec": EncodecCodec, "dac": DacCodec, "mimi": MimiCodec}
_LAYOUTS = {LYRA: LyraCodec, ENCODEC: EncodecPackageCodec, SOUNDSTREAM: SoundStreamCodec}

_registered: dict[str, Callable[..., Codec]] = {}


def register_codec(name, load):
    """Register a codec under a name that can be passed as `model` to `CodecEmbedder`.

    The registration applies to the current process. For several processes, such as a search with
    ``n_jobs``, register the codec in a module that all of them import.

    Parameters
    ----------
    name : str
        Name of the codec. A previous registration under this name is replaced.
    load : callable
        Function that returns a `Codec`. It is called with the keyword arguments `device` ("cpu",
        "cuda" and so on), `revision` and `local_files_only` by each `fit` and `transform`, so
        weights should be loaded on first use and cached.

    Raises
    ------
    TypeError
        If `name` is not a str, or `load` is not callable.
    ValueError
        If `name` is the name of a codec of this package.

    See Also
    --------
    Codec : Base class of codecs, with an example.
    CodecEmbedder : Latents of a codec as a scikit-learn transformer.
    """
    if not isinstance(name, str) or not callable(load):
        raise TypeError(
            f"register_codec takes a name and a function that returns a Codec, not {name!r} and "
            f"{load!r}."
        )
    if name in _ON_THE_HUB:
        raise ValueError(f"name={name!r} is one of the package's own codecs: choose another.")
    _registered[name] = load


def load_codec(model, *, device, revision=None, local_files_only=False):
    """Return the backbone of a codec; weights are loaded at the first use.

    Parameters
    ----------
    model : str or path
        Name, hub id, folder or file.
    device : {"auto"} or str
        Device of the network. With "auto", a CUDA GPU is used if available, otherwise the CPU.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        If True, nothing is downloaded.

    Returns
    -------
    backbone : CodecBackbone

    Raises
    ------
    OSError
        If the model can't be found.
    ValueError
        If the model is not a supported codec.
    ImportError
        If the library of the codec is not installed.
    """
    name = os.fspath(model)
    device = choose_device(device)
    where = {"revision": revision, "local_files_only": local_files_only}
    if isinstance(model, str) and name in _registered:
        codec = _registered[name](device=device, **where)
        _check_codec(codec, name)
        return CodecBackbone(codec, name, device=device, fingerprint=fingerprint(codec))
    if name == "snac":
        require_snac()  # before the download
    checkpoint = _find(model, **where)
    return open_checkpoint(
        _make_backbone, checkpoint, codec_class=_choose_class(checkpoint), model=name, device=device
    )


def _make_backbone(checkpoint, *, codec_class, model, device):
    return CodecBackbone(codec_class(checkpoint, device=device), model, device=device)


def _check_codec(codec, name):
    if not isinstance(codec, Codec):
        raise TypeError(
            f"The function registered as {name!r} returned a {type(codec).__name__}, not a Codec."
        )
    needed = ("name", "sampling_rate", "stride", "n_dims", "n_quantizers")
    missing = [attribute for attribute in needed if not hasattr(codec, attribute)]
    if missing or isinstance(codec.files, (str, os.PathLike)):
        what = f"has no {', no '.join(missing)}" if missing else "has a single path as files"
        raise TypeError(f"The codec {name!r} {what}; see Codec for a description of attributes.")


def _find(model, **where):
    name = os.fspath(model)
    if isinstance(model, str) and name in _ON_THE_HUB:
        layouts = (SOUNDSTREAM,) if name == "soundstream" else (TRANSFORMERS,)
        return find_checkpoint(_ON_THE_HUB[name], layouts=layouts, **where)
    if os.path.isfile(name):
        return _checkpoint_from_file(Path(name))
    if isinstance(model, str) and "/" not in name and not os.path.isdir(name):
        raise ValueError(
            f"model={name!r} is not the name of a codec, a folder or a file; names are "
            f"{', '.join([*_ON_THE_HUB, *_registered])}. A hub id has the form 'owner/name'. "
            "register_codec adds names."
        )
    return find_checkpoint(model, layouts=(TRANSFORMERS, *_LAYOUTS), **where)


def _checkpoint_from_file(path):
    """Return the checkpoint of a single file."""
    path = path.resolve()
    for layout in (ENCODEC, SOUNDSTREAM):
        if any(fnmatch(path.name, pattern) for patterns in layout.weights for pattern in patterns):
            return Checkpoint(str(path), path.parent, (path,), layout)
    names = [
        pattern for layout in (ENCODEC, SOUNDSTREAM) for row in layout.weights for pattern in row
    ]
    raise ValueError(
        f"model={str(path)!r}: a file must have its original name: {', '.join(names)}."
    )


def _choose_class(checkpoint):
    """Return the codec class of a checkpoint."""
    if checkpoint.layout is ENCODEC and len(checkpoint.files) > 1:
        raise ValueError(
            f"{checkpoint.label} is a folder with several checkpoints "
            f"({', '.join(path.name for path in checkpoint.files)}): name the file."
        )
    if checkpoint.layout in _LAYOUTS:
        return _LAYOUTS[checkpoint.layout]
    model_type = checkpoint.model_type
    if "vq_strides" in checkpoint.config:  # the configuration of SNAC has no model type
        return SnacCodec
    if model_type not in _FAMILIES:
        raise ValueError(
            f"{checkpoint.label} is of type {model_type!r}, and CodecEmbedder supports "
            f"{', '.join(_FAMILIES)} and snac. register_codec adds others."
        )
    return _FAMILIES[model_type]
