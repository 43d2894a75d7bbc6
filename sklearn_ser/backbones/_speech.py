"""Base class of transformer encoders of speech, which can also be rebuilt and trained."""

from abc import abstractmethod
from typing import NamedTuple

import torch

from ._attention import call_block
from ._base import AudioBackbone
from ._config import make_config, make_extractor
from ._transformers import import_transformers


class SizeNames(NamedTuple):
    """Names of the sizes of an encoder in its transformers configuration.

    Parameters
    ----------
    n_layers, width, n_heads, inner_width : str
        Number of blocks, dimension of the hidden states, number of attention heads, and dimension
        of the feed-forward layers.
    """

    n_layers: str
    width: str
    n_heads: str
    inner_width: str


class SpeechBackbone(AudioBackbone):
    """A frozen transformer encoder of speech.

    Methods with a parameter `network` expect a network without a head: the pretrained one of
    `bare_network`, or one of `build_network` that is trained elsewhere.

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
    config : transformers.PretrainedConfig
        The sizes of the network.
    extractor : transformers.SequenceFeatureExtractor
        Its preprocessing.
    model_types : tuple of str
        Values of ``model_type`` in ``config.json``.
    extractor_class : str
        Feature extractor class of transformers.
    size_names : SizeNames
        Names of the sizes in `config`.
    embedder : str
        Public class for the family, for error messages.
    """

    model_types: tuple[str, ...]
    extractor_class: str
    size_names: SizeNames
    embedder: str

    def __init__(self, checkpoint, *, device, dtype):
        super().__init__(checkpoint, device=device, dtype=dtype)
        config = make_config(checkpoint)
        extractor = make_extractor(
            checkpoint,
            getattr(import_transformers(), self.extractor_class),
            default=self._default_preprocessing(config),
        )
        self._init_from_config(config, extractor)

    @classmethod
    def from_settings(cls, config, preprocessing):
        """Return a backbone without a checkpoint, for a network that is stored elsewhere.

        Parameters
        ----------
        config : transformers.PretrainedConfig
            Configuration of the network.
        preprocessing : dict
            Configuration of the feature extractor.

        Returns
        -------
        backbone : SpeechBackbone
            Backbone without `encode` and `bare_network`.
        """
        backbone = cls.__new__(cls)
        extractor_class = getattr(import_transformers(), cls.extractor_class)
        backbone._init_from_config(config, extractor_class.from_dict(dict(preprocessing)))
        return backbone

    def _default_preprocessing(self, config):
        """Return the feature extractor's configuration if the checkpoint has none."""
        return {}

    def _init_from_config(self, config, extractor):
        """Set the attributes that depend on the configurations."""
        self.config, self.extractor = config, extractor
        self.sampling_rate = extractor.sampling_rate
        self.n_layers = getattr(config, self.size_names.n_layers) + 1
        self.n_dims = getattr(config, self.size_names.width)

    @abstractmethod
    def bare_network(self):
        """Return the frozen pretrained network, without a head."""

    @abstractmethod
    def build_network(self):
        """Return a randomly initialised network of the same sizes, without a head."""

    @abstractmethod
    def features(self, waveform):
        """Return the input of the convolutions, with time as the first axis.

        Parameters
        ----------
        waveform : ndarray of shape (n_samples,), float32
            Waveform returned by `prepare`, with at least `min_samples`.

        Returns
        -------
        features : Tensor of shape (n_samples,) or (n_frames, n_bands)
        """

    @abstractmethod
    def hidden_states(self, network, features, last_layer, *, run=call_block):
        """Yield the hidden states of layers 0 to `last_layer` of features of any lengths.

        Parameters
        ----------
        network : torch.nn.Module
            Network without a head.
        features : sequence of Tensor
            Output of `features` for each recording, on the device of the network.
        last_layer : int
            The last layer to compute.
        run : callable, default=call_block
            Function that runs a block, given the block, its input and keyword arguments.

        Yields
        ------
        hidden_states : sequence of Tensor of shape (n_frames, n_dims)
            Of each recording.
        """

    @abstractmethod
    def blocks(self, network) -> torch.nn.ModuleList:
        """Return the transformer blocks of a network."""

    @abstractmethod
    def freeze_convolutions(self, network):
        """Exclude the convolutions and absolute positional embeddings from training."""
