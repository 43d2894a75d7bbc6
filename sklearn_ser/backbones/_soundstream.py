"""SoundStream, a reimplementation of the encoder of the ``soundstream`` package.

The package requires NumPy 1 and an old hub client. Its checkpoint contains the encoder, sixteen
codebooks and the decoder; names and shapes of the first two are checked, the decoder is ignored.
Sizes are those of NaturalSpeech 2: 16 kHz, 80 frames per second, 256 dimensions.
"""

import torch
from torch import nn
from torch.nn import functional as F

from ._codec import Codec, as_input, quantize_residuals
from ._loading import get_cached
from ._weights import check_tensors, load_state_dict_strict, read_tensors

_STRIDES = (2, 4, 5, 5)
_DILATIONS = (1, 3, 9)
_WIDTH = 58  # channels of the first convolution
_N_DIMS = 256
_N_QUANTIZERS = 16
_BOOK_SIZE = 1024


class SoundStreamCodec(Codec):
    """The encoder of the ``soundstream`` package's checkpoint, and its residual quantiser.

    As in the package, an incomplete last frame (of 200 samples) is dropped.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    device : str
        Device of the network.
    """

    name = "soundstream"
    sampling_rate = 16000
    stride = 200
    n_dims = _N_DIMS
    n_quantizers = _N_QUANTIZERS
    # The widest convolution needs reflection padding of 54 frames of 40 samples.
    min_samples = (6 * _DILATIONS[-1] + 1) * 40

    def __init__(self, checkpoint, *, device):
        self.files = checkpoint.files
        self.checkpoint = checkpoint
        self.device = device

    def n_frames(self, n_samples):
        """Return the number of whole frames."""
        return n_samples // self.stride

    def encode(self, waveform):
        """Return the latents."""
        return self._network().encoder(as_input(waveform, self.device))[0].T

    def quantize(self, latents):
        """Yield the sums of codewords."""
        return quantize_residuals(latents, self._network().quantizer.layers)

    def _network(self):
        return get_cached((self.checkpoint.files, self.checkpoint.version, self.device), self._load)

    def _load(self):
        weights = read_tensors(self.checkpoint, self.checkpoint.files[0])
        check_tensors(self.checkpoint, weights)
        weights = {key: value for key, value in weights.items() if not key.startswith("decoder.")}
        with torch.random.fork_rng(devices=[]):
            network = SoundStreamEncoder()
        return load_state_dict_strict(network, weights, self.checkpoint).to(self.device)


class SoundStreamEncoder(nn.Module):
    """Encoder and quantiser, with the parameter names of the checkpoint."""

    def __init__(self):
        super().__init__()
        self.encoder = _Stack(
            _Convolution(1, _WIDTH, 7),
            *(_Block(_WIDTH * 2**i, stride) for i, stride in enumerate(_STRIDES)),
            _Convolution(_WIDTH * 2 ** len(_STRIDES), _N_DIMS, 3),
        )
        self.quantizer = nn.Module()
        self.quantizer.layers = nn.ModuleList(_Stage() for _ in range(_N_QUANTIZERS))


class _Stack(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, features):
        return self.layers(features)


class _Convolution(nn.Module):
    """Causal convolution with reflection padding on the left."""

    def __init__(self, n_in, n_out, width, *, stride=1, dilation=1):
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, width, stride=stride, dilation=dilation)
        self.n_past = dilation * (width - 1) + 1 - stride

    def forward(self, features):
        return self.conv(F.pad(features, (self.n_past, 0), mode="reflect"))


class _Residual(_Stack):
    def __init__(self, n_channels, dilation):
        super().__init__(
            _Convolution(n_channels, n_channels, 7, dilation=dilation),
            nn.ELU(),
            _Convolution(n_channels, n_channels, 1),
            nn.ELU(),
        )

    def forward(self, features):
        return features + super().forward(features)


class _Block(_Stack):
    def __init__(self, n_channels, stride):
        super().__init__(
            *(_Residual(n_channels, dilation) for dilation in _DILATIONS),
            _Convolution(n_channels, 2 * n_channels, 2 * stride, stride=stride),
        )


class _Codebook(nn.Module):
    """Codewords, and the training buffers that the checkpoint also contains."""

    embed: torch.Tensor

    def __init__(self):
        super().__init__()
        shape = (1, _BOOK_SIZE, _N_DIMS)
        self.register_buffer("initted", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(shape[:2]))
        self.register_buffer("embed", torch.zeros(shape))
        self.register_buffer("embed_avg", torch.zeros(shape))


class _Stage(nn.Module):
    """One stage of the quantiser: returns the nearest codewords."""

    def __init__(self):
        super().__init__()
        self._codebook = _Codebook()

    def forward(self, left):
        codewords = self._codebook.embed
        codes = torch.cdist(left.transpose(1, 2), codewords).argmin(dim=-1)
        return F.embedding(codes, codewords[0]).transpose(1, 2)
