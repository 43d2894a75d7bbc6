"""Small networks of the real architectures, with random weights, saved as on the hub."""

import functools
import getpass
import hashlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

_FAMILY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 4,
}
_LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_WHISPER = {
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "vocab_size": 51865,
}

# Name -> transformers' class, what differs from the class's own base model, and whether the
# checkpoint normalises each recording. The real models of each shape are named behind.
NETWORKS = {
    "wavlm": ("WavLMModel", _FAMILY, False),  # wavlm-base-plus: group norm
    "wavlm-large": ("WavLMModel", _FAMILY | _LARGE, True),
    "hubert": ("HubertModel", _FAMILY, True),  # hubert-base-ls960
    "hubert-large": ("HubertModel", _FAMILY | _LARGE, True),  # hubert-large-ll60k
    "hubert-batch-norm": ("HubertModel", _FAMILY | {"conv_pos_batch_norm": True}, True),
    "wav2vec2": ("Wav2Vec2Model", _FAMILY, True),  # wav2vec2-base
    "xls-r": ("Wav2Vec2Model", _FAMILY | _LARGE, True),  # wav2vec2-xls-r-300m
    "unispeech-sat": ("UniSpeechSatModel", _FAMILY, False),
    "data2vec": (
        "Data2VecAudioModel",
        _FAMILY | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 9},
        True,
    ),
    "whisper": ("WhisperModel", _WHISPER, None),
}

_XVECTOR_HEAD = {"tdnn_dim": [24, 24, 24, 24, 40], "xvector_output_dim": 20, "num_labels": 3}
# The same with an x-vector head.
SPEAKER_NETWORKS = {
    "wavlm-sv": ("WavLMForXVector", _FAMILY | _XVECTOR_HEAD, True),
    "wavlm-sv-weighted": (  # wavlm-base-plus-sv
        "WavLMForXVector",
        _FAMILY | _XVECTOR_HEAD | {"use_weighted_layer_sum": True},
        True,
    ),
    "wavlm-large-sv": (
        "WavLMForXVector",
        _FAMILY | _LARGE | _XVECTOR_HEAD | {"use_weighted_layer_sum": True},
        True,
    ),
    "wav2vec2-sv": ("Wav2Vec2ForXVector", _FAMILY | _XVECTOR_HEAD, True),  # wav2vec2-base-superb-sv
    "unispeech-sat-sv": ("UniSpeechSatForXVector", _FAMILY | _XVECTOR_HEAD, False),
}

_EMOTIONS = {0: "neutral", 1: "happiness", 2: "anger", 3: "sadness"}
_HEAD = {"classifier_proj_size": 24, "id2label": _EMOTIONS}
_WEIGHTED = {"use_weighted_layer_sum": True}
_DIMENSIONS = {"id2label": {0: "arousal", 1: "dominance", 2: "valence"}}
# The same, and Whisper, with a head that classifies recordings or predicts targets.
HEAD_NETWORKS = {
    "hubert-er": ("HubertForSequenceClassification", _FAMILY | _HEAD, True),
    "wav2vec2-er": (  # superb/wav2vec2-base-superb-er
        "Wav2Vec2ForSequenceClassification",
        _FAMILY | _HEAD | _WEIGHTED,
        True,
    ),
    "hubert-large-er": (  # superb/hubert-large-superb-er
        "HubertForSequenceClassification",
        _FAMILY | _LARGE | _HEAD | _WEIGHTED,
        True,
    ),
    "wavlm-er": ("WavLMForSequenceClassification", _FAMILY | _HEAD | _WEIGHTED, False),
    "wavlm-large-er": ("WavLMForSequenceClassification", _FAMILY | _LARGE | _HEAD, True),
    "unispeech-er": ("UniSpeechForSequenceClassification", _FAMILY | _HEAD, True),
    "unispeech-sat-er": (
        "UniSpeechSatForSequenceClassification",
        _FAMILY | _LARGE | _HEAD | _WEIGHTED,
        True,
    ),
    "data2vec-er": (
        "Data2VecAudioForSequenceClassification",
        NETWORKS["data2vec"][1] | _HEAD | _WEIGHTED,
        True,
    ),
    "whisper-er": ("WhisperForAudioClassification", _WHISPER | _HEAD, None),
    "whisper-weighted-er": (
        "WhisperForAudioClassification",
        _WHISPER | _HEAD | _WEIGHTED,
        None,
    ),
    "dense-er": (
        "Wav2Vec2ForSpeechClassification",
        _FAMILY | {"id2label": _EMOTIONS, "pooling_mode": "max"},
        True,
    ),
    "wavlm-dim": (
        "WavLMForSequenceClassification",
        _FAMILY | _HEAD | _DIMENSIONS | {"problem_type": "regression"},
        True,
    ),
    "wavlm-valence": (
        "WavLMForSequenceClassification",
        _FAMILY | _HEAD | {"id2label": {0: "valence"}},
        True,
    ),
    "dense-dim": (  # audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim
        "Wav2Vec2ForSpeechClassification",
        _FAMILY
        | _LARGE
        | _DIMENSIONS
        | {"pooling_mode": "mean", "problem_type": "regression", "vocab_size": None},
        True,
    ),
}
# To be trained, often: as many frames as above, from three convolutions in place of seven.
_SHORT = {
    "conv_dim": [16] * 3,
    "conv_kernel": (10, 15, 9),
    "conv_stride": (5, 8, 8),
    "num_hidden_layers": 2,
}
TRAINED_NETWORKS = {"wavlm-short": ("WavLMModel", _FAMILY | _SHORT, False)}
_ALL = NETWORKS | SPEAKER_NETWORKS | HEAD_NETWORKS | TRAINED_NETWORKS
# Parts of the heads, which transformers initialises so that the output is near nothing.
_HEAD_PARTS = ("projector", "tdnn", "feature_extractor", "classifier")


def make_network(name):
    """Build one of the small networks, always with the same weights."""
    import torch

    class_name, settings, _ = _ALL[name]
    network_class = _find_class(class_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = network_class(network_class.config_class(**settings)).eval()
        if settings.get("use_weighted_layer_sum"):
            torch.nn.init.normal_(network.layer_weights)
        for part in _HEAD_PARTS if name in SPEAKER_NETWORKS | HEAD_NETWORKS else ():
            for module in getattr(network, part, torch.nn.Identity()).modules():
                if isinstance(module, torch.nn.Linear):
                    module.reset_parameters()
        return network


def _find_class(name):
    import transformers

    if name == "Wav2Vec2ForSpeechClassification":
        return _speech_classification_class()
    return getattr(transformers, name)


@functools.cache
def _speech_classification_class():
    """Return the class that published models with a hidden layer in the head come with."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2PreTrainedModel
    from transformers.modeling_outputs import SequenceClassifierOutput

    class Head(torch.nn.Module):
        def __init__(self, config):
            super().__init__()
            self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
            self.dropout = torch.nn.Dropout(config.final_dropout)
            self.out_proj = torch.nn.Linear(config.hidden_size, config.num_labels)

        def forward(self, features):
            hidden = self.dropout(torch.tanh(self.dense(self.dropout(features))))
            return self.out_proj(hidden)

    class Wav2Vec2ForSpeechClassification(Wav2Vec2PreTrainedModel):
        config_class = Wav2Vec2Config

        def __init__(self, config):
            super().__init__(config)
            self.wav2vec2 = Wav2Vec2Model(config)
            self.classifier = Head(config)
            self.post_init()

        def forward(self, input_values):
            frames = self.wav2vec2(input_values).last_hidden_state
            merge = {"mean": torch.mean, "max": torch.amax}[self.config.pooling_mode]
            return SequenceClassifierOutput(logits=self.classifier(merge(frames, dim=1)))

    return Wav2Vec2ForSpeechClassification


def save_network(network, folder, normalize):
    """Save a network with its preprocessing, as on the hub."""
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    network.save_pretrained(folder)
    if normalize is None:
        WhisperFeatureExtractor().save_pretrained(folder)
    else:
        Wav2Vec2FeatureExtractor(do_normalize=normalize).save_pretrained(folder)


def small_network(name, *, later=False):
    """Return the folder of a small network; the same in each process, made where it is missing.

    A module that needs the folder's name when it is imported asks for it `later`: the network is
    made before the first test.
    """
    return saved_once(
        _ALL,
        name,
        lambda folder: save_network(make_network(name), folder, _ALL[name][2]),
        later=later,
    )


@functools.cache
def _versions():
    return [version(library) for library in ("torch", "transformers")]


def mostly_slow(names):
    """Return names to parametrize a test by, of which the fast run takes the first alone."""
    import pytest

    first, *others = names
    return [first, *(pytest.param(name, marks=pytest.mark.slow) for name in others)]


# What is to be made before the first test: folders, and what saves to them.
_announced = {}


def saved_once(definitions, name, save, *, later=False):
    """Return a folder that is the same in each process, and saved to where it is missing.

    What is defined otherwise, or by other versions of the libraries, has another folder.
    """
    made_of = f"{definitions} {_versions()}"
    home = Path(tempfile.gettempdir()) / f"sklearn_ser-{getpass.getuser()}"
    home /= f"networks-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    folder = home / name
    if later:
        _announced[folder] = save
    else:
        _save_where_missing(folder, save)
    return str(folder)


def save_announced():
    """Make the networks that were asked for with `later`."""
    while _announced:
        _save_where_missing(*_announced.popitem())


def _save_where_missing(folder, save):
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        made = Path(unfinished) / folder.name
        save(made)
        try:
            os.rename(made, folder)
        except OSError:  # another process was first
            if not folder.exists():
                raise
