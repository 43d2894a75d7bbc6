"""The wav2vec 2.0 family: WavLM, HuBERT, wav2vec 2.0, XLS-R, UniSpeech, data2vec-audio."""

from weakref import WeakKeyDictionary

import numpy as np
import torch

from ._attention import attend_within_recordings, call_block, pack
from ._loading import load_network
from ._long_convolution import LongConvolution
from ._speech import SizeNames, SpeechBackbone
from ._transformers import import_transformers

# `model_type` in config.json -> model class of transformers, prefix of column names.
FAMILY = {
    "wavlm": ("WavLMModel", "wavlm"),
    "hubert": ("HubertModel", "hubert"),
    "wav2vec2": ("Wav2Vec2Model", "wav2vec2"),
    "unispeech": ("UniSpeechModel", "unispeech"),
    "unispeech-sat": ("UniSpeechSatModel", "unispeechsat"),
    "data2vec-audio": ("Data2VecAudioModel", "data2vec"),
}

# The positional convolution of each frozen network, or None if it is not a long one.
_positional: WeakKeyDictionary[torch.nn.Module, LongConvolution | None] = WeakKeyDictionary()


class Wav2Vec2Backbone(SpeechBackbone):
    """A frozen network of the wav2vec 2.0 family.

    The convolutions of the waveform are applied to one recording at a time. The positional
    convolution and the transformer blocks run on the frames of all recordings, and see only those
    of the same recording.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of weights and arithmetic.
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
        """Return the number of frames of a waveform."""
        for kernel, stride in self._convolutions():
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples

    def prepare(self, waveform):
        """Standardise a recording over its own samples if the checkpoint has `do_normalize`."""
        return self.extractor(waveform, sampling_rate=self.sampling_rate)["input_values"][0]

    def encode(self, waveforms, last_layer):
        """Yield the hidden states of layers 0 to `last_layer`.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Waveforms returned by `prepare`, each with at least `min_samples`.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        hidden_states : sequence of Tensor of shape (n_frames, n_dims)
            Of each waveform.
        """
        return self.encode_layers(waveforms, last_layer)

    @torch.inference_mode()
    def encode_layers(self, waveforms, last_layer, *, final_norm=True):
        """Yield the same, optionally without the final norm of the network's last layer."""
        samples = [torch.from_numpy(x).to(self.device, self.dtype) for x in waveforms]
        network = self.bare_network()
        yield from hidden_states(
            network, samples, last_layer, final_norm=final_norm, is_frozen=True
        )

    def features(self, waveform):
        """Return the waveform."""
        return torch.from_numpy(np.ascontiguousarray(waveform))

    def hidden_states(self, network, features, last_layer, *, run=call_block):
        """Yield the hidden states of layers 0 to `last_layer` of waveforms of any lengths."""
        return hidden_states(network, features, last_layer, run=run)

    def blocks(self, network):
        """Return the transformer blocks."""
        return network.encoder.layers

    def freeze_convolutions(self, network):
        """Exclude the convolutions from training."""
        # With `requires_grad_(False)` only, gradients would still be computed for their input.
        network.feature_extractor._freeze_parameters()

    def build_network(self):
        """Return a randomly initialised network of the same sizes, without a head."""
        network = getattr(import_transformers(), FAMILY[self.config.model_type][0])(self.config)
        attend_within_recordings(network.encoder.layers)
        return network

    def bare_network(self):
        """Return the frozen pretrained network, without a head."""
        return self._network().base_model

    def _network(self):
        transformers = import_transformers()

        network = load_network(
            self.checkpoint,
            getattr(transformers, self.class_name),
            device=self.device,
            dtype=self.dtype,
        )
        attend_within_recordings(network.base_model.encoder.layers)
        return network


def hidden_states(
    network, waveforms, last_layer, *, run=call_block, final_norm=True, is_frozen=False
):
    """Yield the hidden states of layers 0 to `last_layer` of waveforms of any lengths.

    Parameters
    ----------
    network : torch.nn.Module
        Network of transformers, without a head, after `attend_within_recordings`.
    waveforms : list of Tensor of shape (n_samples,)
        Waveforms, on the device of the network.
    last_layer : int
        The last layer to compute.
    run : callable, default=call_block
        Function that runs a block, given the block, its input and keyword arguments.
    final_norm : bool, default=True
        Whether to apply the final norm, if the network has one, to the last layer.
    is_frozen : bool, default=False
        Whether the network never changes, so that the transform of its positional convolution can
        be kept.

    Yields
    ------
    hidden_states : sequence of Tensor of shape (n_frames, n_dims)
        Of each waveform.
    """
    encoder = network.encoder
    states, packing = pack(_embed(network, waveforms, is_frozen))
    settings = {"attention_mask": packing}
    is_wavlm = network.config.model_type == "wavlm"
    norm_layer = len(encoder.layers) if final_norm and _has_final_norm(encoder) else None
    if is_wavlm:
        longest = max(packing.n_frames)
        settings["position_bias"] = encoder.layers[0].attention.compute_bias(longest, longest)
    for layer in range(last_layer + 1):
        if layer:
            states = run(encoder.layers[layer - 1], states, **settings)
            states = states[0] if is_wavlm else states
        found = encoder.layer_norm(states) if layer == norm_layer else states
        yield packing.split(found)


def _embed(network, waveforms, is_frozen):
    """Return the input of the first block for each recording, of shape (n_frames, n_dims)."""
    projected = [_project(network, waveform) for waveform in waveforms]
    embed = network.encoder.pos_conv_embed
    # Also for a few frames: rounding must not depend on the other recordings of a batch.
    positional = _long_convolution(network) if is_frozen else None
    if positional is None:
        positions = [embed(frames[None])[0] for frames in projected]
    else:
        positions = list(map(embed.activation, positional(projected)))
    embedded = map(torch.add, projected, positions)
    if _has_final_norm(network.encoder):
        return list(embedded)
    return list(map(network.encoder.layer_norm, embedded))


def _project(network, samples):
    """Return the projected output of the convolutions, (n_frames, n_dims), for one recording."""
    features = network.feature_extractor(samples[None]).transpose(1, 2)
    projected = network.feature_projection(features)
    return (projected[0] if isinstance(projected, tuple) else projected)[0]


def _long_convolution(network):
    """Return the positional convolution of a frozen network for many recordings, or None."""
    if network not in _positional:
        embed = network.encoder.pos_conv_embed
        convolution = getattr(embed, "conv", None)  # data2vec has several short ones
        has_norm = getattr(embed, "batch_norm", None) is not None
        fits = not has_norm and LongConvolution.fits(convolution)
        _positional[network] = LongConvolution(convolution) if fits else None
    return _positional[network]


def _has_final_norm(encoder):
    """Return whether the layer norm follows the last block (\"stable layer norm\")."""
    return type(encoder).__name__.endswith("StableLayerNorm")
