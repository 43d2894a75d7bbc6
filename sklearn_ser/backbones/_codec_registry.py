"""Open codecs, and return the backbones that run them."""

import os

from ._codec import Codec, CodecBackbone, fingerprint
from ._dac import DacCodec
from ._device import choose_device
from ._encodec import EncodecCodec, EncodecPackageCodec
from ._loading import open_checkpoint
from ._lyra import LyraCodec
from ._mimi import MimiCodec
from ._search import ENCODEC, LYRA, SOUNDSTREAM, find_codec, registered_codec
from ._snac import SnacCodec
from ._soundstream import SoundStreamCodec

# `model_type` in config.json -> class of the codec.
_FAMILIES = {"encodec": EncodecCodec, "dac": DacCodec, "mimi": MimiCodec}
_LAYOUTS = {LYRA: LyraCodec, ENCODEC: EncodecPackageCodec, SOUNDSTREAM: SoundStreamCodec}


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
    device = choose_device(device)
    where = {"revision": revision, "local_files_only": local_files_only}
    load = registered_codec(model)
    if load is None:
        return open_codec(find_codec(model, **where), device=device)
    codec = load(device=device, **where)
    _check_codec(codec, model)
    return CodecBackbone(codec, model, device=device, fingerprint=fingerprint(codec))


def open_codec(checkpoint, *, device):
    """Return the backbone of the codec of a checkpoint, see `load_codec`."""
    return open_checkpoint(
        _make_backbone, checkpoint, codec_class=_choose_class(checkpoint), device=device
    )


def _make_backbone(checkpoint, *, codec_class, device):
    codec = codec_class(checkpoint, device=device)
    return CodecBackbone(codec, checkpoint.model, device=device)


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
