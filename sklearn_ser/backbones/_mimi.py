"""Mimi, the codec of Moshi, from transformers."""

from functools import cache

import torch

from ._codec import Codec, as_input
from ._config import make_config
from ._loading import load_network
from ._transformers import import_transformers


class MimiCodec(Codec):
    """Mimi's encoder, including its transformer, and its split quantiser.

    The first codebook is semantic (distilled from WavLM); the others quantise the residuals of a
    separate projection. Both are projected back and summed, which is the input of the decoder.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    device : str
        Device of the network.
    """

    name = "mimi"

    def __init__(self, checkpoint, *, device):
        config = make_config(checkpoint)
        self.files = checkpoint.files
        self.checkpoint = checkpoint
        self.device = device
        self.sampling_rate = config.sampling_rate
        self.stride = round(config.sampling_rate / config.frame_rate)
        self.n_dims = config.hidden_size
        self.n_quantizers = config.num_quantizers

    def encode(self, waveform):
        """Return the latents after the transformer and downsampling."""
        network = self._network()
        if hasattr(network.encoder, "encoder_transformer"):
            half, convolutions = network.encoder, network.encoder.encoder_seanet
        else:  # older versions of transformers
            half, convolutions = network, network.encoder
        features = convolutions(as_input(waveform, self.device))
        features = half.encoder_transformer(features.transpose(1, 2)).last_hidden_state
        return half.downsample(features.transpose(1, 2))[0].T

    def quantize(self, latents):
        """Yield the projected sums of codewords, starting with the semantic codebook."""
        quantizer = self._network().quantizer
        codes = quantizer.encode(latents.T[None]).transpose(0, 1)
        for n_quantizers in range(1, self.n_quantizers + 1):
            yield quantizer.decode(codes[:, :n_quantizers])[0].T

    def _network(self):
        return load_network(
            self.checkpoint, _strict_class(), device=self.device, dtype=torch.float32
        )


@cache
def _strict_class():
    """Return a subclass of transformers' model that reports unexpected weights.

    Encoder and decoder each ignore the weights of the other, and the whole model inherits both
    exceptions.
    """
    MimiModel = import_transformers().MimiModel

    always_empty = property(lambda self: set(), lambda self, value: None)
    return type(
        "MimiModel",
        (MimiModel,),
        {"__module__": MimiModel.__module__, "_keys_to_ignore_on_load_unexpected": always_empty},
    )
