"""SNAC, whose quantisers run at several rates, by its own package."""

from functools import partial

import torch

from ._checkpoint import fill_network, read_tensors, share_network
from ._codec import Codec, as_input, quantize_residuals
from ._extras import import_extra


class SnacCodec(Codec):
    """SNAC's encoder and residual quantiser.

    A stage that runs at a fraction of the frame rate averages the residuals of several frames,
    and gives each of them the same codeword. The package fills recordings up with zeros to whole
    frames of the slowest stage; frames of these zeros are not pooled.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is: ``config.json`` and the weights.
    device : str
        Where to run it.
    """

    def __init__(self, checkpoint, *, device):
        self._package = import_extra("snac", extra="snac", needed_for="SNAC")
        config = checkpoint.config
        self.files = checkpoint.files
        self.checkpoint = checkpoint
        self.device = device
        self.name = f"snac{config['sampling_rate'] // 1000}"
        self.sampling_rate = config["sampling_rate"]
        self.stride = 1
        for rate in config["encoder_rates"]:
            self.stride *= rate
        n_dims = config["encoder_dim"] * 2 ** len(config["encoder_rates"])
        self.n_dims = config.get("latent_dim") or n_dims
        self.n_quantizers = len(config["vq_strides"])

    def encode(self, waveform):
        """Return the latents, those of the zeros at the end included."""
        network = self._network()
        return network.encoder(network.preprocess(as_input(waveform, self.device)))[0].T

    def quantize(self, latents):
        """Yield the sums of projected codewords, at the frame rate of the latents."""
        stages = self._network().quantizer.quantizers
        return quantize_residuals(latents, [partial(_nearest, stage) for stage in stages])

    def _network(self):
        return share_network(
            (self.checkpoint.files, self.checkpoint.version, self.device), self._load
        )

    def _load(self):
        with torch.random.fork_rng(devices=[]):
            network = self._package.SNAC(**self.checkpoint.config)
        weights = read_tensors(self.checkpoint, self.checkpoint.folder / "pytorch_model.bin")
        return fill_network(network, weights, self.checkpoint).to(self.device)


def _nearest(stage, left):
    return stage(left)[0]
