"""DAC, the Descript Audio Codec, from transformers."""

from functools import partial

import torch

from ._codec import Codec, as_input, quantize_residuals
from ._config import make_config
from ._loading import load_network
from ._transformers import import_transformers


class DacCodec(Codec):
    """DAC's encoder and residual quantiser.

    The encoder has look-ahead, so padding changes the last frames. Each recording is therefore
    padded as by transformers' feature extractor for this recording alone: with zeros to a whole
    frame. The quantised latents are the sum of each stage's projected codewords, which is the
    input of the decoder.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    device : str
        Device of the network.
    """

    def __init__(self, checkpoint, *, device):
        config = make_config(checkpoint)
        self.files = checkpoint.files
        self.checkpoint = checkpoint
        self.device = device
        self.name = f"dac{config.sampling_rate // 1000}"
        self.sampling_rate = config.sampling_rate
        self.stride = config.hop_length
        self.n_dims = config.hidden_size
        self.n_quantizers = config.n_codebooks

    def encode(self, waveform):
        """Return the latents, the last frame padded with zeros."""
        samples = as_input(waveform, self.device, multiple_of=self.stride)
        return self._network().encoder(samples)[0].T

    def quantize(self, latents):
        """Yield the sums of projected codewords."""
        stages = self._network().quantizer.quantizers
        return quantize_residuals(latents, [partial(_nearest, stage) for stage in stages])

    def _network(self):
        DacModel = import_transformers().DacModel

        return load_network(self.checkpoint, DacModel, device=self.device, dtype=torch.float32)


def _nearest(stage, left):
    return stage(left)[0]
