"""Transformer encoders of speech, whose networks can also be rebuilt, cut down and trained."""

from abc import abstractmethod
from typing import NamedTuple

import torch

from ._attention import call_block
from ._base import AudioBackbone
from ._transformers import import_transformers


class SizeNames(NamedTuple):
    """What a configuration of transformers calls the sizes of an encoder.

    Parameters
    ----------
    n_layers, width, n_heads, inner_width : str
        Number of blocks, width of a hidden state, heads of attention, and width inside the
        feed-forward layers.
    """

    n_layers: str
    width: str
    n_heads: str
    inner_width: str


class SpeechBackbone(AudioBackbone):
    """A frozen transformer encoder of speech.

    The methods that take a network take a bare one: that of `bare_network`, with its weights, or
    one of `build_network`, without, that is trained elsewhere.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is.
    device : str
        Where to run it.
    dtype : torch.dtype
        Its precision.

    Attributes
    ----------
    config : transformers.PretrainedConfig
        The sizes of the network.
    extractor : transformers.SequenceFeatureExtractor
        Its preprocessing.
    model_types : tuple of str
        What ``config.json`` calls the networks of the family.
    extractor_class : str
        transformers' class of the preprocessing.
    size_names : SizeNames
        What `config` calls the sizes.
    embedder : str
        The class of the public API that runs the family, for errors to name.
    """

    model_types: tuple[str, ...]
    extractor_class: str
    size_names: SizeNames
    embedder: str

    def __init__(self, checkpoint, *, device, dtype):
        super().__init__(checkpoint, device=device, dtype=dtype)
        transformers = import_transformers()

        config = transformers.AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
        extractor_class = getattr(transformers, self.extractor_class)
        if checkpoint.has_preprocessing:
            extractor = extractor_class.from_pretrained(checkpoint.folder)
        else:  # as transformers' own default
            extractor = extractor_class(**self._default_preprocessing(config))
        self._init_from_config(config, extractor)

    @classmethod
    def from_settings(cls, config, preprocessing):
        """Return a backbone without a checkpoint: for a network that is held elsewhere.

        Parameters
        ----------
        config : transformers.PretrainedConfig
            Its sizes.
        preprocessing : dict
            The settings of its extractor.

        Returns
        -------
        backbone : SpeechBackbone
            All of it but `encode` and `bare_network`.
        """
        backbone = cls.__new__(cls)
        extractor_class = getattr(import_transformers(), cls.extractor_class)
        backbone._init_from_config(config, extractor_class.from_dict(dict(preprocessing)))
        return backbone

    def _default_preprocessing(self, config):
        """Return the settings of preprocessing where the checkpoint has none."""
        return {}

    def _init_from_config(self, config, extractor):
        """Set the attributes that follow from the network's sizes and its preprocessing."""
        self.config, self.extractor = config, extractor
        self.sampling_rate = extractor.sampling_rate
        self.n_layers = getattr(config, self.size_names.n_layers) + 1
        self.n_dims = getattr(config, self.size_names.width)

    @abstractmethod
    def bare_network(self):
        """Return the frozen network, with its weights and without a head upon it."""

    @abstractmethod
    def build_network(self):
        """Return a bare network of the same sizes, its weights as transformers draws them."""

    @abstractmethod
    def features(self, waveform):
        """Return what the convolutions see of a waveform, frames first.

        Parameters
        ----------
        waveform : ndarray of shape (n_samples,), float32
            Prepared, of at least `min_samples`.

        Returns
        -------
        features : Tensor of shape (n_samples,) or (n_frames, n_bands)
        """

    @abstractmethod
    def n_hidden_frames(self, n_features):
        """Count the frames of the hidden states for features of this length."""

    @abstractmethod
    def hidden_states(self, network, features, last_layer, *, run=call_block):
        """Yield the hidden states of layers 0 to `last_layer` of ragged features.

        Parameters
        ----------
        network : torch.nn.Module
            Bare.
        features : sequence of Tensor
            As `features` gives them, on the device of the network.
        last_layer : int
            The last layer to compute.
        run : callable
            Runs a block: of the block, its input and what it takes by name.

        Yields
        ------
        hidden_states : Tensor of shape (n_recordings, n_frames, n_dims)
            What follows a recording's own frames means nothing.
        """

    @abstractmethod
    def blocks(self, network) -> torch.nn.ModuleList:
        """Return the transformer blocks of a bare network."""

    @abstractmethod
    def freeze_convolutions(self, network):
        """Exclude the convolutions, and a table of positions, from training."""
