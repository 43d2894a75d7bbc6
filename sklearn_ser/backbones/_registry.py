"""From a model's name to the code that runs it."""

import os
from collections.abc import Callable
from functools import partial

import torch

from ._base import AudioBackbone
from ._checkpoint import TEXT, TRANSFORMERS, Checkpoint, find_checkpoint, open_checkpoint
from ._ge2e import GE2E, GE2EBackbone, find_ge2e
from ._speech import SpeechBackbone
from ._speechbrain import SPEECHBRAIN, SpeechBrainBackbone, require_speechbrain
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
    """Find a pretrained network and make it ready to run; its weights are loaded when it runs.

    Parameters
    ----------
    model : str or path
        A hub id or a folder.
    family : {"wav2vec2", "whisper", "speech", "speaker"}
        The family that the embedder expects; "speech" is either of the first two.
    device : {"auto"} or str
        Where to run it; "auto" is a CUDA GPU where there is one, else the CPU.
    dtype : {"float32", "bfloat16", "float16"}
        Precision of weights and arithmetic.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        Never go to the network.
    parameter : str, default="model"
        The parameter of the public class that `model` was passed as, for errors to name.
    **settings
        What else the class of the family takes, such as `context` of `WhisperBackbone`.

    Returns
    -------
    backbone : AudioBackbone

    Raises
    ------
    OSError
        If the model can't be found.
    ValueError
        If it is of another family.
    """
    find = partial(
        find_checkpoint,
        revision=revision,
        local_files_only=local_files_only,
        parameter=parameter,
    )
    checkpoint, backbone_class = _FAMILIES[family](model, find)
    return open_checkpoint(
        backbone_class,
        checkpoint,
        device=choose_device(device),
        dtype=getattr(torch, dtype),
        **settings,
    )


def load_speech_backbone(model, *, device, dtype="float32", **where):
    """Find an encoder of speech of whatever family, as `load_backbone` does of a known one.

    Whisper sees the recording's own length. `where` goes to `find_checkpoint`.
    """
    return load_backbone(model, family="speech", device=device, dtype=dtype, **where)


# The type of an encoder of speech, as its config.json tells it -> the class that runs it.
SPEECH_BACKBONES: dict[str, type[SpeechBackbone]] = {
    model_type: backbone_class
    for backbone_class in (Wav2Vec2Backbone, WhisperBackbone)
    for model_type in backbone_class.model_types
}


def _choose_speech(model, find, *, only=None):
    """Find an encoder of speech, of one family or of any."""
    checkpoint = find(model)
    backbone_class = only or SPEECH_BACKBONES.get(checkpoint.model_type, Wav2Vec2Backbone)
    _check_model_type(checkpoint, backbone_class.model_types)
    return checkpoint, backbone_class


def _choose_speaker(model, find):
    """Find a network whose output is a vector for the whole of what it sees."""
    name = os.fspath(model)
    if model == "ge2e":
        return find(find_ge2e(), layouts=(GE2E,)), GE2EBackbone
    if name.startswith("speechbrain/") and not os.path.exists(name):
        require_speechbrain()  # before anything is downloaded for it
    # SpeechBrain's first: its models have a config.json too.
    checkpoint = find(model, layouts=(SPEECHBRAIN, TRANSFORMERS, GE2E))
    if checkpoint.layout is not TRANSFORMERS:
        is_ge2e = checkpoint.layout is GE2E
        return checkpoint, GE2EBackbone if is_ge2e else SpeechBrainBackbone
    _check_model_type(
        checkpoint,
        [model_type for model_type in Wav2Vec2Backbone.model_types if model_type != "hubert"],
    )
    made_of = checkpoint.config.get("architectures") or ["no class that it names"]
    if not made_of[0].endswith("ForXVector"):
        raise ValueError(
            f"{checkpoint.label} is a {made_of[0]}, without the head that makes one "
            "vector of a recording: choose one for speaker verification, such as "
            "'microsoft/wavlm-base-plus-sv', or take its layers by WavLMEmbedder or HubertEmbedder."
        )
    return checkpoint, Wav2Vec2XVectorBackbone


# Family -> a function from a model's name, and what finds checkpoints, to the checkpoint and the
# class that runs it.
_FAMILIES: dict[str, Callable[..., tuple[Checkpoint, type[AudioBackbone]]]] = {
    "wav2vec2": partial(_choose_speech, only=Wav2Vec2Backbone),
    "whisper": partial(_choose_speech, only=WhisperBackbone),
    "speech": _choose_speech,
    "speaker": _choose_speaker,
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
            f"{checkpoint.label} is of type {model_type!r}, and this embedder runs "
            f"{', '.join(expected)}: {remedy}."
        )


# Who now owns the models that the hub once knew by a name alone.
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
    """Find a text encoder and make it ready to run; its weights are loaded when it runs.

    Parameters
    ----------
    model : str or path
        A hub id, also one without an owner such as ``"distilbert-base-uncased"``, or a folder.
    device : {"auto"} or str
        As for `load_backbone`.
    dtype : {"float32", "bfloat16", "float16"}
        Precision of weights and arithmetic.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        Never go to the network.
    max_length : int, default=None
        Most tokens of a text; None for as many as the network takes.
    parameter : str, default="model"
        The parameter of the public class that `model` was passed as, for errors to name.

    Returns
    -------
    backbone : TextBackbone

    Raises
    ------
    OSError
        If the model, or its tokenizer, can't be found.
    ValueError
        If it is no encoder of text.
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
    return open_checkpoint(
        TextBackbone,
        checkpoint,
        device=choose_device(device),
        dtype=getattr(torch, dtype),
        max_length=max_length,
    )


def choose_device(device):
    """Turn "auto" into the name of a device."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} can't be used here ({str(error).splitlines()[0]}); device='auto' "
            "takes a GPU where there is one, else the CPU."
        ) from error
    return device
