"""Mimi, Moshi's codec, by transformers."""

from functools import cache

import torch

from ._checkpoint import load_network
from ._codec import Codec, as_input
from ._transformers import import_transformers


class MimiCodec(Codec):
    """Mimi's encoder, transformer included, and its split quantiser.

    The first codebook is the semantic one, which was taught by WavLM; the others quantise
    residuals of a projection of their own. Both are projected back and added, as the decoder
    takes them.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is.
    device : str
        Where to run it.
    """

    name = "mimi"

    def __init__(self, checkpoint, *, device):
        MimiConfig = import_transformers().MimiConfig

        config = MimiConfig.from_pretrained(checkpoint.folder)
        self.files = checkpoint.files
        self.checkpoint = checkpoint
        self.device = device
        self.sampling_rate = config.sampling_rate
        self.stride = round(config.sampling_rate / config.frame_rate)
        self.n_dims = config.hidden_size
        self.n_quantizers = config.num_quantizers
        self.n_semantic = config.num_semantic_quantizers

    def encode(self, waveform):
        """Return the latents, after the transformer and at the frame rate of the codes."""
        network = self._network()
        if hasattr(network.encoder, "encoder_transformer"):
            half, convolutions = network.encoder, network.encoder.encoder_seanet
        else:  # transformers before it split the model into halves
            half, convolutions = network, network.encoder
        features = convolutions(as_input(waveform, self.device))
        features = half.encoder_transformer(features.transpose(1, 2)).last_hidden_state
        return half.downsample(features.transpose(1, 2))[0].T

    def quantize(self, latents):
        """Yield the sums of codewords, semantic first, each sum projected back."""
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
    """Return transformers' class, made to tell left-over weights of either half.

    Each half of the model passes over the weights of the other, and so the whole passes over all.
    """
    MimiModel = import_transformers().MimiModel

    nothing = property(lambda self: set(), lambda self, value: None)
    return type(
        "MimiModel",
        (MimiModel,),
        {"__module__": MimiModel.__module__, "_keys_to_ignore_on_load_unexpected": nothing},
    )
