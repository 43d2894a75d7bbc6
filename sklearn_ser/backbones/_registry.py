"""Open pretrained networks, and return the backbones that run them."""

import os
from collections.abc import Callable
from functools import partial

from ._base import AudioBackbone
from ._checkpoint import TEXT, TRANSFORMERS, Checkpoint, find_checkpoint
from ._codec_registry import open_codec
from ._device import choose_device, choose_dtype
from ._ge2e import GE2EBackbone
from ._head import HeadBackbone
from ._loading import open_checkpoint
from ._search import GE2E, find_network
from ._speech import SpeechBackbone
from ._speechbrain import SpeechBrainBackbone
from ._text import TextBackbone
from ._wav2vec2 import Wav2Vec2Backbone
from ._wav2vec2_xvector import Wav2Vec2XVectorBackbone
from ._whisper import WhisperBackbone


def load_backbone(
    model,
    *,
    family,
    device,
    dtype,
    revision=None,
    local_files_only=False,
    parameter="model",
    **settings,
):
    """Return the backbone of a pretrained network; weights are loaded at the first use.

    Parameters
    ----------
    model : str or path
        Hub id or folder.
    family : {"wav2vec2", "whisper", "speech", "speaker", "head"}
        Expected family; "speech" is either of the first two, and "head" is either of them with a
        classification or regression head.
    device : {"auto"} or str
        Device of the network. With "auto", a CUDA GPU is used if available, otherwise the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Precision of weights and arithmetic.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        If True, nothing is downloaded.
    parameter : str, default="model"
        Name of the parameter through which `model` was passed, for error messages.
    **settings
        Additional arguments of the backbone's class, such as `context` of `WhisperBackbone`.

    Returns
    -------
    backbone : AudioBackbone

    Raises
    ------
    OSError
        If the model can't be found.
    ValueError
        If the model is of another family.
    """
    checkpoint = find_network(
        model,
        family=family,
        revision=revision,
        local_files_only=local_files_only,
        parameter=parameter,
    )
    return open_network(checkpoint, family=family, device=device, dtype=dtype, **settings)


def open_network(checkpoint, *, family, device, dtype, **settings):
    """Return the backbone of a checkpoint of recordings; weights are loaded at the first use.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint returned by `find_network` or `find_codec`.
    family : str
        Expected family, see `load_backbone`, or "codec".
    device, dtype, **settings
        See `load_backbone`. Codecs are float32.

    Returns
    -------
    backbone : AudioBackbone

    Raises
    ------
    ValueError
        If the checkpoint is of another family.
    """
    if family == "codec":
        return open_codec(checkpoint, device=choose_device(device))
    backbone_class = _FAMILIES[family](checkpoint)
    device = choose_device(device)
    return open_checkpoint(
        backbone_class,
        checkpoint,
        device=device,
        dtype=choose_dtype(dtype, device),
        **settings,
    )


def load_speech_backbone(model, *, device, dtype="float32", **where):
    """Return the backbone of a speech encoder of any family.

    Whisper runs on the recording's own length. See `load_backbone` for the parameters; `where`
    is passed to `find_checkpoint`.
    """
    return load_backbone(model, family="speech", device=device, dtype=dtype, **where)


# `model_type` in config.json -> class of the backbone.
SPEECH_BACKBONES: dict[str, type[SpeechBackbone]] = {
    model_type: backbone_class
    for backbone_class in (Wav2Vec2Backbone, WhisperBackbone)
    for model_type in backbone_class.model_types
}


def _choose_speech(checkpoint, *, only=None):
    """Return the class of a speech encoder, of a given family or any."""
    backbone_class = only or SPEECH_BACKBONES.get(checkpoint.model_type, Wav2Vec2Backbone)
    _check_model_type(checkpoint, backbone_class.model_types)
    return backbone_class


def _choose_head(checkpoint):
    """Return the class of speech encoders with a classification or regression head."""
    _check_model_type(checkpoint, list(SPEECH_BACKBONES))
    return HeadBackbone


def _choose_speaker(checkpoint):
    """Return the class of a speaker encoder."""
    if checkpoint.layout is not TRANSFORMERS:
        return GE2EBackbone if checkpoint.layout is GE2E else SpeechBrainBackbone
    _check_model_type(
        checkpoint,
        [model_type for model_type in Wav2Vec2Backbone.model_types if model_type != "hubert"],
    )
    architecture = checkpoint.architecture
    if not architecture.endswith("ForXVector"):
        raise ValueError(
            f"{checkpoint.label} is a {architecture}, without the head that returns one vector "
            "for each recording: choose a model for speaker verification, such as "
            "'microsoft/wavlm-base-plus-sv', or use WavLMEmbedder or HubertEmbedder for its layers."
        )
    return Wav2Vec2XVectorBackbone


# Family -> function from a checkpoint to the class of its backbone.
_FAMILIES: dict[str, Callable[[Checkpoint], type[AudioBackbone]]] = {
    "wav2vec2": partial(_choose_speech, only=Wav2Vec2Backbone),
    "whisper": partial(_choose_speech, only=WhisperBackbone),
    "speech": _choose_speech,
    "speaker": _choose_speaker,
    "head": _choose_head,
}


def _check_model_type(checkpoint, expected):
    model_type = checkpoint.model_type
    if model_type not in expected:
        remedy = (
            f"use {SPEECH_BACKBONES[model_type].embedder} for it"
            if model_type in SPEECH_BACKBONES
            else "choose another model"
        )
        raise ValueError(
            f"{checkpoint.label} is of type {model_type!r}, and this class supports "
            f"{', '.join(expected)}: {remedy}."
        )


# Owners of the models that the hub used to list without one.
_OWNERS = {
    "albert": "albert",
    "bert": "google-bert",
    "distilbert": "distilbert",
    "distilroberta": "distilbert",
    "roberta": "FacebookAI",
    "xlm": "FacebookAI",
}


def load_text_backbone(
    model,
    *,
    device,
    dtype,
    revision=None,
    local_files_only=False,
    max_length=None,
    parameter="model",
):
    """Return the backbone of a text encoder; weights are loaded at the first use.

    Parameters
    ----------
    model : str or path
        Folder or hub id. The owner can be omitted, as in ``"distilbert-base-uncased"``.
    device : {"auto"} or str
        Device of the network. With "auto", a CUDA GPU is used if available, otherwise the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Precision of weights and arithmetic.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        If True, nothing is downloaded.
    max_length : int, default=None
        Maximum number of tokens of a text. If None, the limit of the model is used.
    parameter : str, default="model"
        Name of the parameter through which `model` was passed, for error messages.

    Returns
    -------
    backbone : TextBackbone

    Raises
    ------
    OSError
        If the model, or its tokenizer, can't be found.
    ValueError
        If the model is not a text encoder.
    """
    if isinstance(model, str) and "/" not in model and not os.path.isdir(model):
        owner = _OWNERS.get(model.partition("-")[0])
        model = f"{owner}/{model}" if owner else model
    checkpoint = find_checkpoint(
        model,
        layouts=(TEXT,),
        revision=revision,
        local_files_only=local_files_only,
        parameter=parameter,
    )
    device = choose_device(device)
    return open_checkpoint(
        TextBackbone,
        checkpoint,
        device=device,
        dtype=choose_dtype(dtype, device),
        max_length=max_length,
    )
