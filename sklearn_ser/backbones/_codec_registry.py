"""From a codec's name, folder, file or hub id to the code that runs it."""

import os
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from ._checkpoint import TRANSFORMERS, Checkpoint, find_checkpoint, open_checkpoint
from ._codec import Codec, CodecBackbone, fingerprint
from ._dac import DacCodec
from ._encodec import ENCODEC, EncodecCodec, EncodecPackageCodec
from ._lyra import LYRA, LyraCodec
from ._mimi import MimiCodec
from ._registry import choose_device
from ._snac import SnacCodec, require_snac
from ._soundstream import SOUNDSTREAM, SoundStreamCodec

# The hub's models that have a name of their own.
_ON_THE_HUB = {
    "encodec_24khz": "facebook/encodec_24khz",
    "encodec_48khz": "facebook/encodec_48khz",
    "dac_16khz": "descript/dac_16khz",
    "dac_24khz": "descript/dac_24khz",
    "mimi": "kyutai/mimi",
    "snac": "hubertsiuzdak/snac_24khz",
    "soundstream": "haydenshively/SoundStream",
}
# The model type in config.json -> the code that runs it.
_FAMILIES = {"encodec": EncodecCodec, "dac": DacCodec, "mimi": MimiCodec}
_LAYOUTS = {LYRA: LyraCodec, ENCODEC: EncodecPackageCodec, SOUNDSTREAM: SoundStreamCodec}

_registered: dict[str, Callable[..., Codec]] = {}


def register_codec(name, load):
    """Give a codec a name that `CodecEmbedder` takes as `model`.

    It holds for this process: where several work, such as those of a search with ``n_jobs``,
    register it in a module that each of them imports.

    Parameters
    ----------
    name : str
        The name. One that was registered before is replaced.
    load : callable
        Called with the keywords `device` ("cpu", "cuda" and so on), `revision` and
        `local_files_only`, it returns a `Codec`. It is called by each `fit` and `transform`, so
        that it should load weights when they are needed, and keep them.

    Raises
    ------
    TypeError
        If the name is no text, or `load` can't be called.
    ValueError
        If the name is one of the package's own.

    See Also
    --------
    Codec : What to subclass, with an example.
    CodecEmbedder : Recordings through a codec, as rows.
    """
    if not isinstance(name, str) or not callable(load):
        raise TypeError(
            f"register_codec takes a name and a function that makes a Codec, not {name!r} and "
            f"{load!r}."
        )
    if name in _ON_THE_HUB:
        raise ValueError(f"name={name!r} is one of the package's own codecs: choose another.")
    _registered[name] = load


def load_codec(model, *, device, revision=None, local_files_only=False):
    """Find a codec and make it ready to run; its weights are loaded when it runs.

    Parameters
    ----------
    model : str or path
        A name, a hub id, a folder or a file.
    device : {"auto"} or str
        Where to run it; "auto" is a CUDA GPU where there is one, else the CPU.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        Never go to the network.

    Returns
    -------
    backbone : CodecBackbone

    Raises
    ------
    OSError
        If the model can't be found.
    ValueError
        If it is no codec that is known here.
    ImportError
        If the library that runs it is not installed.
    """
    name = os.fspath(model)
    device = choose_device(device)
    where = {"revision": revision, "local_files_only": local_files_only}
    if isinstance(model, str) and name in _registered:
        codec = _registered[name](device=device, **where)
        _check_codec(codec, name)
        return CodecBackbone(codec, name, device=device, fingerprint=fingerprint(codec))
    if name == "snac":
        require_snac()  # before anything is downloaded for it
    checkpoint = _find(model, **where)
    return open_checkpoint(
        _make_backbone, checkpoint, codec_class=_class_for(checkpoint), model=name, device=device
    )


def _make_backbone(checkpoint, *, codec_class, model, device):
    return CodecBackbone(codec_class(checkpoint, device=device), model, device=device)


def _check_codec(codec, name):
    if not isinstance(codec, Codec):
        raise TypeError(
            f"What was registered as {name!r} gave a {type(codec).__name__}, and must give a Codec."
        )
    needed = ("name", "sampling_rate", "stride", "n_dims", "n_quantizers")
    missing = [attribute for attribute in needed if not hasattr(codec, attribute)]
    if missing or isinstance(codec.files, (str, os.PathLike)):
        what = f"has no {', no '.join(missing)}" if missing else "has one path as its files"
        raise TypeError(f"The codec {name!r} {what}; Codec says what each of them must be.")


def _find(model, **where):
    name = os.fspath(model)
    if isinstance(model, str) and name in _ON_THE_HUB:
        layouts = (SOUNDSTREAM,) if name == "soundstream" else (TRANSFORMERS,)
        return find_checkpoint(_ON_THE_HUB[name], layouts=layouts, **where)
    if os.path.isfile(name):
        return _checkpoint_of(Path(name))
    if isinstance(model, str) and "/" not in name and not os.path.isdir(name):
        raise ValueError(
            f"model={name!r} is no codec's name, folder or file; names are "
            f"{', '.join([*_ON_THE_HUB, *_registered])}. A hub id has the form 'owner/name', and "
            "register_codec adds names."
        )
    return find_checkpoint(model, layouts=(TRANSFORMERS, *_LAYOUTS), **where)


def _checkpoint_of(path):
    """Return the checkpoint that is a single file."""
    path = path.resolve()
    for layout in (ENCODEC, SOUNDSTREAM):
        if any(fnmatch(path.name, pattern) for patterns in layout.weights for pattern in patterns):
            return Checkpoint(str(path), path.parent, (path,), layout)
    names = [
        pattern for layout in (ENCODEC, SOUNDSTREAM) for row in layout.weights for pattern in row
    ]
    raise ValueError(
        f"model={str(path)!r}: a file must be called as its library calls it: {', '.join(names)}."
    )


def _class_for(checkpoint):
    """Return the class that runs a checkpoint."""
    if checkpoint.layout is ENCODEC and len(checkpoint.files) > 1:
        raise ValueError(
            f"{checkpoint.label} is a folder with several checkpoints "
            f"({', '.join(path.name for path in checkpoint.files)}): name the file."
        )
    if checkpoint.layout in _LAYOUTS:
        return _LAYOUTS[checkpoint.layout]
    model_type = checkpoint.model_type
    if "vq_strides" in checkpoint.config:  # SNAC's settings name no type
        return SnacCodec
    if model_type not in _FAMILIES:
        raise ValueError(
            f"{checkpoint.label} is of type {model_type!r}, and CodecEmbedder runs "
            f"{', '.join(_FAMILIES)} and snac. register_codec adds others."
        )
    return _FAMILIES[model_type]
