"""DAC, the Descript Audio Codec, by transformers."""

from functools import partial

import torch

from ._checkpoint import load_network
from ._codec import Codec, as_input, quantize_residuals
from ._transformers import import_transformers


class DacCodec(Codec):
    """DAC's encoder and residual quantiser.

    It looks ahead, and what follows a recording moves its last frames: so each recording ends
    where transformers' feature extractor lets it end alone, with zeros up to a whole frame.
    Codewords have few dimensions; the quantised latents are what each stage's own projection
    makes of them, added up, as the decoder takes them.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is.
    device : str
        Where to run it.
    """

    def __init__(self, checkpoint, *, device):
        DacConfig = import_transformers().DacConfig

        config = DacConfig.from_pretrained(checkpoint.folder)
        self.files = checkpoint.files
        self.checkpoint = checkpoint
        self.device = device
        self.name = f"dac{config.sampling_rate // 1000}"
        self.sampling_rate = config.sampling_rate
        self.stride = config.hop_length
        self.n_dims = config.hidden_size
        self.n_quantizers = config.n_codebooks

    def encode(self, waveform):
        """Return the latents, of as many frames as cover the recording."""
        samples = as_input(waveform, self.device, multiple_of=self.stride)
        return self._network().encoder(samples)[0].T

    def quantize(self, latents):
        """Yield the sums of projected codewords."""
        stages = self._network().quantizer.quantizers
        return quantize_residuals(latents, [partial(_nearest, stage) for stage in stages])

    def _network(self):
        DacModel = import_transformers().DacModel

        return load_network(
            self.checkpoint, DacModel, device=self.device, dtype=torch.float32, attention="eager"
        )


def _nearest(stage, left):
    return stage(left)[0]
