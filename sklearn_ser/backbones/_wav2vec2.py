"""The wav2vec 2.0 family: WavLM, HuBERT, wav2vec 2.0, XLS-R, UniSpeech, data2vec-audio."""

import torch
from torch.nn.utils.rnn import pad_sequence

from ._attention import attend_to, call_block, use_sdpa_in_wavlm
from ._checkpoint import load_network
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


class Wav2Vec2Backbone:
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

    max_samples = None
    cuts_by_itself = False

    def __init__(self, checkpoint, *, device, dtype):
        transformers = import_transformers()

        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype
        if checkpoint.has_preprocessing:
            extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(checkpoint.folder)
        else:  # as transformers' own default
            extractor = transformers.Wav2Vec2FeatureExtractor()
        config = transformers.AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
        self._settle(config, extractor)

    @classmethod
    def of(cls, config, extractor):
        """Return what knows frames and preprocessing of a network that is held elsewhere."""
        backbone = cls.__new__(cls)
        backbone._settle(config, extractor)
        return backbone

    def _settle(self, config, extractor):
        self.config, self.extractor = config, extractor
        self.class_name, self.name = FAMILY[self.config.model_type]
        self.sampling_rate = self.extractor.sampling_rate
        self.n_layers = self.config.num_hidden_layers + 1
        self.n_dims = self.config.hidden_size
        self.stride: int | None = 1
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

    def n_samples_seen(self, n_samples):
        """Return how many of so many samples the network computes on: all."""
        return n_samples

    def prepare(self, waveform):
        """Normalise a recording over its own samples, where the checkpoint asks for it."""
        return self.extractor(waveform, sampling_rate=self.sampling_rate)["input_values"][0]

    @torch.inference_mode()
    def encode(self, waveforms, depth):
        """Yield the hidden states of layers 0 to `depth`, one after the other.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Prepared, each of at least `min_samples`.
        depth : int
            The last layer to compute.

        Yields
        ------
        hidden_states : Tensor of shape (n_waveforms, n_frames, n_dims)
            What follows a recording's own frames means nothing.
        """
        yield from hidden_states(self._network().base_model, self.as_tensors(waveforms), depth)

    def as_tensors(self, waveforms):
        """Bring waveforms to where and in what the network computes."""
        return [torch.from_numpy(one).to(self.device, self.dtype) for one in waveforms]

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


def hidden_states(network, waveforms, depth, *, run=call_block, final_norm=True):
    """Yield the hidden states of layers 0 to `depth` of ragged waveforms.

    Parameters
    ----------
    network : torch.nn.Module
        The bare network of transformers, WavLM's prepared by `use_sdpa_in_wavlm`.
    waveforms : list of Tensor of shape (n_samples,)
        On the device of the network.
    depth : int
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
    for layer in range(depth + 1):
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
