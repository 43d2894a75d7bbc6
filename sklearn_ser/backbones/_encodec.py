"""EnCodec, with checkpoints of transformers and of the ``encodec`` package."""

import warnings
from functools import partial

import torch

from sklearn_ser._extras import import_extra

from ._codec import Codec, as_input, quantize_residuals
from ._config import make_config
from ._loading import get_cached, load_network
from ._transformers import import_transformers
from ._weights import load_state_dict_strict, read_tensors


class EncodecCodec(Codec):
    """EnCodec's encoder and residual quantiser.

    The network for 48 kHz is stereo; a mono recording is copied to both channels. It encodes
    segments of 1 s that overlap by 1 %, each normalised to the same loudness. As in the
    ``encodec`` package, each segment is encoded separately, the last segment may be shorter, and
    all frames of all segments are used. Transformers' feature extractor would pad the last
    segment with zeros and so add frames of silence.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    device : str
        Device of the network.
    """

    def __init__(self, checkpoint, *, device):
        self.files = checkpoint.files
        self.checkpoint = checkpoint
        self.device = device
        self._read_settings()
        self.name = f"encodec{self.sampling_rate // 1000}"
        self.cuts_by_itself = self.segment is not None

    def _read_settings(self):
        config = make_config(self.checkpoint)
        self.sampling_rate = config.sampling_rate
        self.stride = config.hop_length
        self.n_dims = config.hidden_size
        self.n_quantizers = config.num_quantizers
        self.n_channels = config.audio_channels
        self.is_normalised = config.normalize
        self.segment = config.chunk_length  # in samples; None without segments
        self.segment_stride = config.chunk_stride

    def _network(self):
        return load_network(
            self.checkpoint,
            import_transformers().EncodecModel,
            device=self.device,
            dtype=torch.float32,
        )

    def _stages(self, network):
        return network.quantizer.layers

    def _segments(self, n_samples):
        """Return the start and stop of each segment, in samples."""
        if self.segment is None or self.segment_stride is None:
            return [(0, n_samples)]
        starts = range(0, n_samples, self.segment_stride)
        return [(start, min(start + self.segment, n_samples)) for start in starts]

    def n_frames(self, n_samples):
        """Return the number of frames of all segments."""
        return sum(-(-(stop - start) // self.stride) for start, stop in self._segments(n_samples))

    def encode(self, waveform):
        """Return the concatenated latents of all segments."""
        network = self._network()
        samples = as_input(waveform, self.device)
        latents = []
        for start, stop in self._segments(len(waveform)):
            segment = samples[..., start:stop]
            if self.is_normalised:
                segment = segment / (segment.pow(2).mean().sqrt() + 1e-8)
            latents.append(network.encoder(segment.expand(-1, self.n_channels, -1)))
        return torch.cat(latents, dim=-1)[0].T

    def quantize(self, latents):
        """Yield the sums of codewords."""
        stages = self._stages(self._network())
        return quantize_residuals(latents, [partial(_nearest, stage) for stage in stages])


def _nearest(stage, left):
    return stage.decode(stage.encode(left))


class EncodecPackageCodec(EncodecCodec):
    """EnCodec from a checkpoint of the ``encodec`` package, run by the package's modules."""

    def _read_settings(self):
        self._package = import_extra(
            "encodec", extra="encodec", needed_for=f"The checkpoint {self.checkpoint.model!r}"
        )
        is_stereo = self.checkpoint.files[0].name.startswith("encodec_48khz")
        self.sampling_rate = 48000 if is_stereo else 24000
        self.stride = 320
        self.n_dims = 128
        self.n_quantizers = 16 if is_stereo else 32
        self.n_channels = 2 if is_stereo else 1
        self.is_normalised = is_stereo
        self.segment = 48000 if is_stereo else None
        self.segment_stride = 47520 if is_stereo else None

    def _network(self):
        key = (self.checkpoint.files, self.checkpoint.version, self.device)
        return get_cached(key, self._load)

    def _load(self):
        models = self._package.EncodecModel
        is_stereo = self.n_channels == 2
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch's weight_norm
            build = models.encodec_model_48khz if is_stereo else models.encodec_model_24khz
            network = build(pretrained=False)
        weights = read_tensors(self.checkpoint, self.checkpoint.files[0])
        return load_state_dict_strict(network, weights, self.checkpoint).to(self.device)

    def _stages(self, network):
        return network.quantizer.vq.layers
