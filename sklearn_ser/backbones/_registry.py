"""From a model's name to the code that runs it."""

import os
from collections.abc import Iterator
from functools import partial
from typing import Protocol

import numpy as np
import torch

from ._checkpoint import TEXT, TRANSFORMERS, Checkpoint, find_checkpoint
from ._ge2e import GE2E, GE2EBackbone, find_ge2e
from ._speechbrain import SPEECHBRAIN, SpeechBrainBackbone, require_speechbrain
from ._text import TextBackbone
from ._wav2vec2 import FAMILY, Wav2Vec2Backbone
from ._wav2vec2_xvector import Wav2Vec2XVectorBackbone
from ._whisper import WhisperBackbone


class Backbone(Protocol):
    """What an embedder asks of a pretrained network.

    Attributes
    ----------
    checkpoint : Checkpoint
        Where the network is; its weights are loaded at the first `encode`.
    device : str
        Where the network runs.
    dtype : torch.dtype
        Its precision.
    name : str
        The family, as columns are called after it.
    sampling_rate : int
        Of the waveforms, in Hz.
    n_layers : int
        Number of hidden states: the input of the first block, and the output of each block.
    n_dims : int
        Width of a hidden state.
    stride : int or None
        Samples from one frame to the next; None where one vector stands for all that the
        network sees.
    min_samples : int
        Samples of the shortest waveform that gives a frame.
    max_samples : int or None
        Samples of the longest waveform that can be encoded; None where there is no limit.
    cuts_by_itself : bool
        Whether long recordings are cut by the network's own procedure, in bounded memory.
    """

    checkpoint: Checkpoint
    device: str
    dtype: torch.dtype
    name: str
    sampling_rate: int
    n_layers: int
    n_dims: int
    stride: int | None
    min_samples: int
    max_samples: int | None
    cuts_by_itself: bool

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of so many samples."""
        ...

    def n_samples_seen(self, n_samples: int) -> int:
        """Return on how many samples the network computes for so many samples."""
        ...

    def prepare(self, waveform: np.ndarray) -> np.ndarray:
        """Do the checkpoint's own preprocessing of a whole recording."""
        ...

    def encode(self, waveforms: list[np.ndarray], depth: int) -> Iterator[torch.Tensor]:
        """Yield the hidden states of layers 0 to `depth`, each (n_waveforms, n_frames, n_dims)."""
        ...


def load_backbone(
    model,
    *,
    family,
    device,
    dtype,
    revision=None,
    local_files_only=False,
    context=None,
    parameter="model",
):
    """Find a pretrained network and make it ready to run; its weights are loaded when it runs.

    Parameters
    ----------
    model : str or path
        A hub id or a folder.
    family : {"wav2vec2", "whisper", "speaker"}
        The family that the embedder expects.
    device : {"auto"} or str
        Where to run it; "auto" is a CUDA GPU where there is one, else the CPU.
    dtype : {"float32", "bfloat16", "float16"}
        Precision of weights and arithmetic.
    revision : str, default=None
        Branch, tag or commit on the hub.
    local_files_only : bool, default=False
        Never go to the network.
    context : {"30s", "recording"}, default=None
        Of Whisper alone.
    parameter : str, default="model"
        The parameter of the public class that `model` was passed as, for errors to name.

    Returns
    -------
    backbone : Backbone

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
    settings = {"device": choose_device(device), "dtype": getattr(torch, dtype)}
    if family == "whisper":
        settings["context"] = context
    return backbone_class(checkpoint, **settings)


def load_speech_backbone(model, *, device, dtype="float32", **where):
    """Find an encoder of speech of whatever family, as `load_backbone` does of a known one.

    Whisper sees the recording's own length. `where` goes to `find_checkpoint`.
    """
    found = find_checkpoint(model, **where)
    is_whisper = found.model_type == "whisper"
    return load_backbone(
        model,
        family="whisper" if is_whisper else "wav2vec2",
        device=device,
        dtype=dtype,
        context="recording" if is_whisper else None,
        **where,
    )


def _choose_wav2vec2(model, find):
    checkpoint = find(model)
    _check_model_type(checkpoint, FAMILY)
    return checkpoint, Wav2Vec2Backbone


def _choose_whisper(model, find):
    checkpoint = find(model)
    _check_model_type(checkpoint, ("whisper",))
    return checkpoint, WhisperBackbone


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
    _check_model_type(checkpoint, [model_type for model_type in FAMILY if model_type != "hubert"])
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
_FAMILIES = {
    "wav2vec2": _choose_wav2vec2,
    "whisper": _choose_whisper,
    "speaker": _choose_speaker,
}
# The classes of the public API that run each type: what to name where the wrong one was taken.
_EMBEDDERS = {"whisper": "WhisperEmbedder"} | dict.fromkeys(FAMILY, "HubertEmbedder")


def _check_model_type(checkpoint, expected):
    model_type = checkpoint.model_type
    if model_type not in expected:
        remedy = (
            f"use {_EMBEDDERS[model_type]} for it"
            if model_type in _EMBEDDERS
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
    return TextBackbone(
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
