"""Whisper's encoder, with inputs of thirty seconds or of the recording's own length."""

import torch
from torch.nn import functional as F

from ._attention import attend_within_recordings, call_block, pack
from ._checkpoint import CheckpointError
from ._loading import load_network
from ._speech import SizeNames, SpeechBackbone
from ._transformers import import_transformers


class WhisperBackbone(SpeechBackbone):
    """Whisper's frozen encoder.

    Spectrogram and convolutions are computed for one recording at a time. The transformer blocks
    run on the frames of all recordings, and attend within each recording.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the whole model, or of its encoder only.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of weights and arithmetic.
    context : {"30s", "recording"}, default="recording"
        Whether to pad recordings with silence to thirty seconds, or to truncate the positional
        embedding to the length of the recording.
    """

    name = "whisper"
    context = "recording"
    model_types = ("whisper",)
    extractor_class = "WhisperFeatureExtractor"
    size_names = SizeNames(
        "encoder_layers", "d_model", "encoder_attention_heads", "encoder_ffn_dim"
    )
    embedder = "WhisperEmbedder"

    def __init__(self, checkpoint, *, device, dtype, context="recording"):
        super().__init__(checkpoint, device=device, dtype=dtype)
        self.context = context
        n_computed, n_taken = self.extractor.feature_size, self.config.num_mel_bins
        if n_computed != n_taken:
            raise CheckpointError(
                f"The preprocessor of {checkpoint.label} computes {n_computed} mel bands "
                f"(feature_size), and its network takes {n_taken} (num_mel_bins): use the "
                "preprocessor_config.json that belongs to the network."
            )

    def _default_preprocessing(self, config):
        return {"feature_size": config.num_mel_bins}

    def _init_from_config(self, config, extractor):
        super()._init_from_config(config, extractor)
        self.stride = 2 * extractor.hop_length
        self.min_samples = extractor.n_fft
        self.max_samples = config.max_source_positions * self.stride

    def n_frames(self, n_samples):
        """Return half the number of spectrogram frames, rounded up."""
        return -(-(n_samples // self.extractor.hop_length) // 2)

    def n_samples_processed(self, n_samples):
        """Return the number of samples to process, silence included."""
        return self.max_samples if self.context == "30s" else n_samples

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the hidden states of layers 0 to `last_layer`.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Waveforms, each with `min_samples` to `max_samples`.
        last_layer : int
            The last layer to compute. The final norm is applied to the network's last layer.

        Yields
        ------
        hidden_states : sequence of Tensor of shape (n_frames, n_dims)
            Of each waveform. With the context of 30 s, the frames after its last one are silence.
        """
        spectrograms = [self.spectrogram(x).to(self.device, self.dtype) for x in waveforms]
        yield from hidden_states(self.bare_network(), spectrograms, last_layer)

    def spectrogram(self, waveform):
        """Return the log-mel spectrogram, the input of the convolutions.

        Parameters
        ----------
        waveform : ndarray of shape (n_samples,), float32

        Returns
        -------
        spectrogram : Tensor of shape (n_bands, n_frames), float32
        """
        return self.extractor(
            waveform,
            sampling_rate=self.sampling_rate,
            padding="max_length" if self.context == "30s" else "do_not_pad",
            max_length=self.max_samples,
            return_tensors="pt",
        )["input_features"][0]

    def features(self, waveform):
        """Return the spectrogram, with time as the first axis."""
        return self.spectrogram(waveform).T.contiguous()

    def hidden_states(self, network, features, last_layer, *, run=call_block):
        """Yield the hidden states of layers 0 to `last_layer` of spectrograms of any lengths."""
        return hidden_states(network, [x.T for x in features], last_layer, run=run)

    def blocks(self, network):
        """Return the transformer blocks."""
        return network.layers

    def freeze_convolutions(self, network):
        """Exclude the convolutions and the positional embedding from training."""
        for module in (network.conv1, network.conv2, network.embed_positions):
            module.requires_grad_(False)

    def build_network(self):
        """Return a randomly initialised encoder of the same sizes."""
        encoder = _encoder_class()(self.config)
        attend_within_recordings(encoder.layers)
        return encoder

    def bare_network(self):
        """Return the frozen pretrained encoder."""
        network_class, part = self._network_class()
        encoder = load_network(
            self.checkpoint, network_class, device=self.device, dtype=self.dtype, part=part
        )
        attend_within_recordings(encoder.layers)
        return encoder

    def _network_class(self):
        """Return the class to load the checkpoint with, and the name of the encoder in it."""
        transformers = import_transformers()
        if self.config.architectures in (["WhisperEncoder"], None):
            return _encoder_class(), None
        if self.config.architectures == ["WhisperForAudioClassification"]:  # has no decoder
            return transformers.WhisperForAudioClassification, "encoder"
        return transformers.WhisperModel, "encoder"


def _encoder_class():
    return import_transformers().models.whisper.modeling_whisper.WhisperEncoder


def hidden_states(encoder, spectrograms, last_layer, run=call_block):
    """Yield the hidden states of layers 0 to `last_layer` of spectrograms of any lengths.

    Parameters
    ----------
    encoder : torch.nn.Module
        Encoder of transformers, after `attend_within_recordings`.
    spectrograms : list of Tensor of shape (n_bands, n_frames)
        Spectrograms, on the device of the encoder.
    last_layer : int
        The last layer to compute. The final norm is applied to the network's last layer.
    run : callable, default=call_block
        Function that runs a block, given the block, its input and keyword arguments.

    Yields
    ------
    hidden_states : sequence of Tensor of shape (n_frames, n_dims)
        Of each recording.
    """
    states, packing = pack([_embed(encoder, spectrogram) for spectrogram in spectrograms])
    yield packing.split(states)
    for number, block in enumerate(encoder.layers[:last_layer], start=1):
        states = run(block, states, attention_mask=packing)
        layer = encoder.layer_norm(states) if number == len(encoder.layers) else states
        yield packing.split(layer)


def _embed(encoder, spectrogram):
    """Return the input of the first block, of shape (n_frames, n_dims), for one recording."""
    features = F.gelu(encoder.conv2(F.gelu(encoder.conv1(spectrogram[None]))))[0].T
    return features + encoder.embed_positions.weight[: len(features)]
