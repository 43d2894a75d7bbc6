"""Speech encoders with a published classification or regression head."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from ._base import AudioBackbone
from ._checkpoint import CheckpointError
from ._loading import build_network
from ._wav2vec2 import Wav2Vec2Backbone
from ._weights import read_weights
from ._whisper import WhisperBackbone

# Names of the weights of a head in a checkpoint.
_HEAD_KEYS = r"^(classifier|projector)\.|^layer_weights$"
# Architectures with weights of the same names that do not return one output per recording.
_OTHER_HEADS = ("ForXVector", "ForAudioFrameClassification", "ForCTC")
# Targets of published regression heads, for checkpoints without a `problem_type`.
_DIMENSIONS = {"activation", "arousal", "dominance", "valence"}
# `pooling_mode` in config.json -> statistic of the frames of a recording, of shape (n_dims,).
_POOLINGS = {
    "mean": lambda frames: frames.mean(dim=0),
    "sum": lambda frames: frames.sum(dim=0),
    "max": lambda frames: frames.amax(dim=0),
}


class HeadBackbone(AudioBackbone):
    """A frozen speech encoder with a classification or regression head, as published.

    The output for a recording is that of the head: logits or predicted targets. The frames of one
    recording at a time are pooled, without padding. Whisper's head also averages the silence after
    the recording, because it was trained with recordings padded to thirty seconds.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the encoder and the head.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of the encoder's weights and arithmetic. The head is float32.

    Attributes
    ----------
    label_names : list of str
        Names of the outputs: classes or targets.
    task : {"single_label_classification", "multi_label_classification", "regression"}
        What the outputs are.
    """

    def __init__(self, checkpoint, *, device, dtype):
        super().__init__(checkpoint, device=device, dtype=dtype)
        self.encoder: Wav2Vec2Backbone | WhisperBackbone
        if checkpoint.model_type in WhisperBackbone.model_types:
            self.encoder = WhisperBackbone(checkpoint, device=device, dtype=dtype, context="30s")
        else:
            self.encoder = Wav2Vec2Backbone(checkpoint, device=device, dtype=dtype)
        config = self.encoder.config
        self.label_names = _label_names(checkpoint, config)
        self.task = config.problem_type or _guess_task(self.label_names)
        self._head = _load_head(checkpoint, config, self.encoder.n_layers).to(device)
        self.name = f"{self.encoder.name}head"
        self.n_dims = len(self.label_names)
        self.context = self.encoder.context
        self.sampling_rate = self.encoder.sampling_rate
        self.min_samples = self.encoder.min_samples
        self.max_samples = self.encoder.max_samples

    def n_samples_processed(self, n_samples):
        """Return the number of samples to process for a waveform, added silence included."""
        return self.encoder.n_samples_processed(n_samples)

    def prepare(self, waveform):
        """Apply the checkpoint's preprocessing to a whole recording."""
        return self.encoder.prepare(waveform)

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the outputs of the head as a single layer.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Waveforms returned by `prepare`, each with at least `min_samples`.
        last_layer : int
            Ignored.

        Yields
        ------
        outputs : Tensor of shape (n_waveforms, 1, n_dims), float32
            Outputs in the order of `label_names`.
        """
        weights = self._head.layer_shares()
        if weights is None:
            *_, last = self._layers(waveforms, final_norm=True)
            pooled = self._pool(last)
        else:
            # transformers sums the last layer as it is before the encoder's final norm.
            layers = self._layers(waveforms, final_norm=False)
            pooled = sum(
                weight * self._pool(layer) for weight, layer in zip(weights, layers, strict=True)
            )
        yield self._head(pooled)[:, None]

    def _layers(self, waveforms, *, final_norm):
        """Yield the hidden states of all layers. Whisper's last layer always has its norm."""
        last_layer = self.encoder.n_layers - 1
        if isinstance(self.encoder, WhisperBackbone):
            return self.encoder.encode(waveforms, last_layer)
        return self.encoder.encode_layers(waveforms, last_layer, final_norm=final_norm)

    def _pool(self, hidden_states):
        """Pool the frames of each recording, silence included, to shape (n_waveforms, n_dims)."""
        return torch.stack([self._head.pool(own.float()) for own in hidden_states])


class _ProjectionHead(nn.Module):
    """Head of transformers' classes ``...ForSequenceClassification``.

    Two linear layers, on the last layer of the encoder or a weighted sum of all layers. Both are
    applied to the mean over time, which for the first equals the mean of its outputs.
    """

    pool = staticmethod(_POOLINGS["mean"])

    def __init__(self, config, n_layers):
        super().__init__()
        self.projector = nn.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)
        if config.use_weighted_layer_sum:
            self.layer_weights = nn.Parameter(torch.zeros(n_layers))

    def layer_shares(self):
        """Return the weights of the layers; None if only the last layer is used."""
        return self.layer_weights.softmax(dim=0) if hasattr(self, "layer_weights") else None

    def forward(self, pooled):
        return self.classifier(self.projector(pooled))


class _DenseHead(nn.Module):
    """Head with a hidden layer after pooling, as in audEERING's model of emotion dimensions."""

    def __init__(self, config, pooling):
        super().__init__()
        self.pool = pooling
        self.classifier = nn.ModuleDict(
            {
                "dense": nn.Linear(config.hidden_size, config.hidden_size),
                "out_proj": nn.Linear(config.hidden_size, config.num_labels),
            }
        )

    def layer_shares(self):
        """Return None: only the last layer is used."""

    def forward(self, pooled):
        return self.classifier["out_proj"](torch.tanh(self.classifier["dense"](pooled)))


def _load_head(checkpoint, config, n_layers):
    """Return the head of a checkpoint. Its layout is recognised by the names of its weights."""
    architecture = checkpoint.architecture
    weights = read_weights(checkpoint, _HEAD_KEYS)
    if not weights or architecture.endswith(_OTHER_HEADS):
        is_whisper = config.model_type in WhisperBackbone.model_types
        embedders = "WhisperEmbedder" if is_whisper else "WavLMEmbedder or HubertEmbedder"
        raise CheckpointError(
            f"{checkpoint.label} is a {architecture}, without a head that classifies recordings or "
            f"predicts targets: choose a model for audio classification, or use {embedders} for "
            "its layers."
        )
    if getattr(config, "add_adapter", False):
        raise CheckpointError(
            f"{checkpoint.label} has an adapter between encoder and head (add_adapter in its "
            "config.json), which is not supported: choose another model."
        )
    build: Callable[[], nn.Module]
    if "classifier.dense.weight" in weights:
        build = partial(_DenseHead, config, _find_pooling(checkpoint, config))
    else:
        build = partial(_ProjectionHead, config, n_layers)
    return build_network(build, weights, checkpoint).requires_grad_(False).eval()


def _find_pooling(checkpoint, config):
    mode = getattr(config, "pooling_mode", "mean")
    if mode not in _POOLINGS:
        raise CheckpointError(
            f"The config.json of {checkpoint.label} has pooling_mode={mode!r}, and "
            f"{', '.join(_POOLINGS)} are supported."
        )
    return _POOLINGS[mode]


def _label_names(checkpoint, config):
    """Return the names of the outputs in their order."""
    numbers = range(config.num_labels)
    names = [str(config.id2label[number]) for number in numbers if number in config.id2label]
    if len(set(names)) < config.num_labels:
        raise CheckpointError(
            f"id2label in the config.json of {checkpoint.label} must give each output from 0 to "
            f"{config.num_labels - 1} a name of its own, and is {config.id2label}. Correct it as "
            "the model's authors describe the outputs."
        )
    return names


def _guess_task(label_names):
    """Return the task of a checkpoint without `problem_type`; transformers' rule for one label."""
    are_dimensions = {name.lower() for name in label_names} <= _DIMENSIONS
    is_regression = len(label_names) == 1 or are_dimensions
    return "regression" if is_regression else "single_label_classification"
