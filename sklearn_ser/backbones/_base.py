"""What a pretrained network is to the embedders: the base classes of all families."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ._checkpoint import Checkpoint


class Backbone(ABC):
    """A frozen pretrained network, one hidden state for each of its layers.

    A family subclasses it, or `AudioBackbone` where it hears recordings. An instance is made
    from a checkpoint's settings alone; its weights are loaded at the first `encode`. It is
    shared by all who ask for the same checkpoint, and not to be changed.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is.
    device : str
        Where to run it.
    dtype : torch.dtype
        Precision of its arithmetic.

    Attributes
    ----------
    name : str
        The family, as columns are called after it.
    n_layers : int
        Number of hidden states: the input of the first block, and the output of each block.
    n_dims : int
        Width of a hidden state.
    context : str or None
        How much of its surroundings the network is given, where there is a choice.
    fingerprint : sequence
        Functions and plain values that, besides the checkpoint's files, tell what the network
        computes; embeddings are kept under them.
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
    def encode(self, inputs: list[Any], last_layer: int) -> Iterator[torch.Tensor]:
        """Yield the hidden states of layers 0 to `last_layer`, one after the other.

        Parameters
        ----------
        inputs : list
            A batch.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        hidden_states : Tensor of shape (n_inputs, n_frames, n_dims)
        """


class AudioBackbone(Backbone):
    """A frozen pretrained network that hears recordings.

    The inputs of `encode` are waveforms, prepared and of at least `min_samples`.

    Attributes
    ----------
    sampling_rate : int
        Of the waveforms, in Hz.
    stride : int or None
        Samples from one frame to the next; None where one vector stands for all that the
        network sees, which then is its only layer.
    min_samples : int
        Samples of the shortest waveform that gives a frame.
    max_samples : int or None
        Samples of the longest waveform that can be encoded; None where there is no limit.
    cuts_by_itself : bool
        Whether long recordings are cut by the network's own procedure, in bounded memory.
    """

    sampling_rate: int
    n_layers = 1
    stride: int | None = None
    min_samples = 1
    max_samples: int | None = None
    cuts_by_itself = False

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of so many samples: one vector, where a family does not say more."""
        return 1

    def n_samples_seen(self, n_samples: int) -> int:
        """Return on how many samples the network computes for so many samples."""
        return n_samples

    def prepare(self, waveform: np.ndarray) -> np.ndarray:
        """Do the checkpoint's own preprocessing of a whole recording: none, by default."""
        return waveform
