"""SNAC, a codec with quantisers at several frame rates, from its own package."""

import inspect
from functools import partial

from sklearn_ser._extras import import_extra

from ._checkpoint import CheckpointError
from ._codec import Codec, as_input, quantize_residuals
from ._loading import build_network, get_cached
from ._weights import read_tensors


def require_snac():
    """Import SNAC, or raise an error that names the extra to install."""
    return import_extra("snac", extra="snac", needed_for="SNAC")


class SnacCodec(Codec):
    """SNAC's encoder and residual quantiser.

    A stage at a fraction of the frame rate averages the residuals of several frames and assigns
    the same codeword to them. The package pads recordings with zeros to whole frames of the
    slowest stage; frames of this padding are not pooled.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint with ``config.json`` and the weights.
    device : str
        Device of the network.
    """

    def __init__(self, checkpoint, *, device):
        self._package = require_snac()
        config = _check_config(checkpoint)
        self.files = checkpoint.files
        self.checkpoint = checkpoint
        self.device = device
        self.name = f"snac{config['sampling_rate'] // 1000}"
        self.sampling_rate = config["sampling_rate"]
        self.stride = 1
        for rate in config["encoder_rates"]:
            self.stride *= rate
        self.n_dims = config["latent_dim"] or config["encoder_dim"] * 2 ** len(
            config["encoder_rates"]
        )
        self.n_quantizers = len(config["vq_strides"])

    def encode(self, waveform):
        """Return the latents, including those of the padding."""
        network = self._network()
        return network.encoder(network.preprocess(as_input(waveform, self.device)))[0].T

    def quantize(self, latents):
        """Yield the sums of projected codewords, at the frame rate of the latents."""
        stages = self._network().quantizer.quantizers
        return quantize_residuals(latents, [partial(_nearest, stage) for stage in stages])

    def _network(self):
        return get_cached((self.checkpoint.files, self.checkpoint.version, self.device), self._load)

    def _load(self):
        build = partial(self._package.SNAC, **_check_config(self.checkpoint))
        weights = read_tensors(self.checkpoint, self.checkpoint.folder / "pytorch_model.bin")
        return build_network(build, weights, self.checkpoint).to(self.device)


def _check_config(checkpoint):
    """Return the configuration, including the default values of the package."""
    known = inspect.signature(require_snac().SNAC).parameters
    config = {name: parameter.default for name, parameter in known.items()} | checkpoint.config
    unknown = sorted(config.keys() - known.keys())
    if unknown:
        raise CheckpointError(
            f"The config.json of {checkpoint.label} has settings that the installed snac "
            f"does not support: {', '.join(unknown)}."
        )
    return config


def _nearest(stage, left):
    return stage(left)[0]
