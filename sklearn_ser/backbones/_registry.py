"""From a model's name to the code that runs it."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from ._checkpoint import Checkpoint, find_checkpoint
from ._wav2vec2 import FAMILY, Wav2Vec2Backbone
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
    stride : int
        Samples from one frame to the next.
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
    stride: int
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


# The classes of the public API that run each family: what to name where the wrong one was taken.
_EMBEDDERS = {"whisper": "WhisperEmbedder"} | dict.fromkeys(FAMILY, "HubertEmbedder")


def load_backbone(
    model, *, family, device, dtype, revision=None, local_files_only=False, context=None
):
    """Find a pretrained network and make it ready to run; its weights are loaded when it runs.

    Parameters
    ----------
    model : str or path
        A hub id or a folder.
    family : {"wav2vec2", "whisper"}
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
    checkpoint = find_checkpoint(model, revision=revision, local_files_only=local_files_only)
    model_type = checkpoint.model_type
    expected = FAMILY if family == "wav2vec2" else ("whisper",)
    if model_type not in expected:
        remedy = (
            f"use {_EMBEDDERS[model_type]} for it"
            if model_type in _EMBEDDERS
            else "choose another model"
        )
        raise ValueError(
            f"model={checkpoint.model!r} is of type {model_type!r}, and this embedder runs "
            f"{', '.join(expected)}: {remedy}."
        )
    settings = {"device": choose_device(device), "dtype": getattr(torch, dtype)}
    if family == "whisper":
        return WhisperBackbone(checkpoint, context=context, **settings)
    return Wav2Vec2Backbone(checkpoint, **settings)


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
