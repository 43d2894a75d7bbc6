"""Base classes of the pretrained networks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ._checkpoint import Checkpoint


class Backbone(ABC):
    """A frozen pretrained network that returns the hidden states of its layers.

    Each family of networks is a subclass, or a subclass of `AudioBackbone` if its inputs are
    waveforms. An instance is initialised from the checkpoint's configuration; its weights are
    loaded at the first call of `encode`. Instances are shared and must not be modified.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of weights and arithmetic.

    Attributes
    ----------
    name : str
        Name of the family, the first part of column names.
    n_layers : int
        Number of hidden states: the input of the first block, and the output of each block.
    n_dims : int
        Dimension of the hidden states.
    context : str or None
        Length of the network's input, if the family has such a setting.
    fingerprint : sequence
        Functions and plain values that are part of the cache key, in addition to the
        checkpoint's files.
    """

    name: str
    n_layers: int
    n_dims: int
    context: str | None = None
    fingerprint: Sequence = ()

    def __init__(self, checkpoint: Checkpoint, *, device: str, dtype: torch.dtype):
        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype

    @abstractmethod
    def encode(self, inputs: list[Any], last_layer: int) -> Iterator[Sequence[torch.Tensor]]:
        """Yield the hidden states of layers 0 to `last_layer`.

        Parameters
        ----------
        inputs : list
            Batch of inputs.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        hidden_states : sequence of Tensor of shape (n_frames, n_dims)
            Of each input.
        """


class AudioBackbone(Backbone):
    """A frozen pretrained network whose inputs are waveforms.

    The inputs of `encode` are waveforms returned by `prepare`, with at least `min_samples`.

    Attributes
    ----------
    sampling_rate : int
        Sampling rate of the waveforms, in Hz.
    stride : int or None
        Number of samples between frames. None if the network returns a single vector for the
        whole input, as its only layer.
    min_samples : int
        Minimum number of samples of a waveform.
    max_samples : int or None
        Maximum number of samples of a waveform; None if there is no limit.
    cuts_by_itself : bool
        Whether the network splits long recordings itself, in bounded memory.
    """

    sampling_rate: int
    n_layers = 1
    stride: int | None = None
    min_samples = 1
    max_samples: int | None = None
    cuts_by_itself = False

    def n_frames(self, n_samples: int) -> int:
        """Return the number of frames of a waveform (default: a single vector)."""
        return 1

    def n_samples_processed(self, n_samples: int) -> int:
        """Return the number of samples to process for a waveform, added silence included."""
        return n_samples

    def prepare(self, waveform: np.ndarray) -> np.ndarray:
        """Apply the checkpoint's preprocessing to a whole recording (default: none)."""
        return waveform
