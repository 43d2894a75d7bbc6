"""The wav2vec 2.0 family: WavLM, HuBERT, wav2vec 2.0, XLS-R, UniSpeech, data2vec-audio."""

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ._attention import attend_to, call_block, use_sdpa_in_wavlm
from ._checkpoint import load_network
from ._speech import SizeNames, SpeechBackbone
from ._transformers import import_transformers

# The model type in config.json -> transformers' class, and the name in columns.
FAMILY = {
    "wavlm": ("WavLMModel", "wavlm"),
    "hubert": ("HubertModel", "hubert"),
    "wav2vec2": ("Wav2Vec2Model", "wav2vec2"),
    "unispeech": ("UniSpeechModel", "unispeech"),
    "unispeech-sat": ("UniSpeechSatModel", "unispeechsat"),
    "data2vec-audio": ("Data2VecAudioModel", "data2vec"),
}


class Wav2Vec2Backbone(SpeechBackbone):
    """A frozen network of the wav2vec 2.0 family.

    Convolutions and normalisation over time see one recording at a time, so that nothing is
    padded before the transformer blocks; there, padding is hidden from attention.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is.
    device : str
        Where to run it.
    dtype : torch.dtype
        Its precision.
    """

    model_types = tuple(FAMILY)
    extractor_class = "Wav2Vec2FeatureExtractor"
    size_names = SizeNames(
        "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"
    )
    embedder = "HubertEmbedder"

    def _init_from_config(self, config, extractor):
        super()._init_from_config(config, extractor)
        self.class_name, self.name = FAMILY[config.model_type]
        self.stride = 1
        self.min_samples = 1
        for kernel, stride in self._convolutions()[::-1]:
            self.min_samples = (self.min_samples - 1) * stride + kernel
            self.stride *= stride

    def _convolutions(self):
        return list(zip(self.config.conv_kernel, self.config.conv_stride, strict=True))

    def n_frames(self, n_samples):
        """Count the frames of so many samples."""
        for kernel, stride in self._convolutions():
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples

    def prepare(self, waveform):
        """Normalise a recording over its own samples, where the checkpoint asks for it."""
        return self.extractor(waveform, sampling_rate=self.sampling_rate)["input_values"][0]

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the hidden states of layers 0 to `last_layer`, one after the other.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Prepared, each of at least `min_samples`.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        hidden_states : Tensor of shape (n_waveforms, n_frames, n_dims)
            What follows a recording's own frames means nothing.
        """
        yield from hidden_states(self.bare_network(), self.as_tensors(waveforms), last_layer)

    def as_tensors(self, waveforms):
        """Bring waveforms to where and in what the network computes."""
        return [torch.from_numpy(one).to(self.device, self.dtype) for one in waveforms]

    def features(self, waveform):
        """Return the waveform."""
        return torch.from_numpy(np.ascontiguousarray(waveform))

    def n_hidden_frames(self, n_features):
        """Count the frames of so many samples."""
        return self.n_frames(n_features)

    def hidden_states(self, network, features, last_layer, *, run=call_block):
        """Yield the hidden states of layers 0 to `last_layer` of ragged waveforms."""
        return hidden_states(network, features, last_layer, run=run)

    def blocks(self, network):
        """Return the transformer blocks."""
        return network.encoder.layers

    def freeze_convolutions(self, network):
        """Exclude the convolutions from training."""
        # `requires_grad_` alone would still send gradients through them.
        network.feature_extractor._freeze_parameters()

    def build_network(self):
        """Return a bare network of the same sizes."""
        network = getattr(import_transformers(), FAMILY[self.config.model_type][0])(self.config)
        if self.config.model_type == "wavlm":
            use_sdpa_in_wavlm(network)
        return network

    def bare_network(self):
        """Return the frozen network without a head upon it."""
        return self._network().base_model

    def _network(self):
        transformers = import_transformers()

        is_wavlm = self.config.model_type == "wavlm"
        network = load_network(
            self.checkpoint,
            getattr(transformers, self.class_name),
            device=self.device,
            dtype=self.dtype,
            attention="eager" if is_wavlm else "sdpa",
        )
        if is_wavlm:
            use_sdpa_in_wavlm(network.base_model)
        return network


def hidden_states(network, waveforms, last_layer, *, run=call_block, final_norm=True):
    """Yield the hidden states of layers 0 to `last_layer` of ragged waveforms.

    Parameters
    ----------
    network : torch.nn.Module
        The bare network of transformers, WavLM's prepared by `use_sdpa_in_wavlm`.
    waveforms : list of Tensor of shape (n_samples,)
        On the device of the network.
    last_layer : int
        The last layer to compute.
    run : callable
        Runs a block: of the block, its input and what it takes by name.
    final_norm : bool
        Whether the network's last layer is after its final norm, if it has any.

    Yields
    ------
    hidden_states : Tensor of shape (n_waveforms, n_frames, n_dims)
        What follows a recording's own frames means nothing.
    """
    encoder = network.encoder
    embedded = [_embed(network, waveform) for waveform in waveforms]
    states = pad_sequence(embedded, batch_first=True)
    settings = {"attention_mask": attend_to([len(frames) for frames in embedded], states.device)}
    del embedded
    is_wavlm = network.config.model_type == "wavlm"
    n_normalised = len(encoder.layers) if final_norm and _is_normalised_last(encoder) else None
    if is_wavlm:
        n_frames = states.shape[1]
        bias = encoder.layers[0].attention.compute_bias(n_frames, n_frames)
        settings["position_bias"] = bias
    for layer in range(last_layer + 1):
        if layer:
            states = run(encoder.layers[layer - 1], states, **settings)
            states = states[0] if is_wavlm else states
        yield encoder.layer_norm(states) if layer == n_normalised else states


def _embed(network, samples):
    """Return the input of the first block, of shape (n_frames, n_dims), for one recording."""
    features = network.feature_extractor(samples[None]).transpose(1, 2)
    projected = network.feature_projection(features)
    projected = projected[0] if isinstance(projected, tuple) else projected
    embedded = projected + network.encoder.pos_conv_embed(projected)
    if not _is_normalised_last(network.encoder):
        embedded = network.encoder.layer_norm(embedded)
    return embedded[0]


def _is_normalised_last(encoder):
    """Tell networks with stable layer norm, whose norm follows the last block, from the others."""
    return type(encoder).__name__.endswith("StableLayerNorm")
