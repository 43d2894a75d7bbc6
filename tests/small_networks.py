"""Small networks of the real architectures, with random weights, saved as on the hub."""

import getpass
import os
import tempfile
from pathlib import Path

_FAMILY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
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
_ALL = NETWORKS | SPEAKER_NETWORKS


def make_network(name):
    """Build one of the small networks, always with the same weights."""
    import torch
    import transformers

    class_name, settings, _ = _ALL[name]
    network_class = getattr(transformers, class_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = network_class(network_class.config_class(**settings)).eval()
        if settings.get("use_weighted_layer_sum"):
            torch.nn.init.normal_(network.layer_weights)
        # By transformers' default the head has no bias, and its output is near nothing.
        for part in ("projector", "tdnn", "feature_extractor") if name in SPEAKER_NETWORKS else ():
            for module in getattr(network, part).modules():
                if isinstance(module, torch.nn.Linear):
                    module.reset_parameters()
        return network


def save_network(network, folder, normalize):
    """Save a network with its preprocessing, as on the hub."""
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    network.save_pretrained(folder)
    if normalize is None:
        WhisperFeatureExtractor().save_pretrained(folder)
    else:
        Wav2Vec2FeatureExtractor(do_normalize=normalize).save_pretrained(folder)


# What hyperparams.yaml of the published models says, with the sizes of a small one.
_SPEECHBRAIN = """\
n_mels: {n_mels}
pretrained_path: {folder}
out_n_neurons: 3

compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>

mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False

embedding_model: {embedding_model}

classifier: {classifier}

mean_var_norm_emb: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
    std_norm: False

modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    mean_var_norm_emb: !ref <mean_var_norm_emb>
    classifier: !ref <classifier>

label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder

pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        mean_var_norm_emb: !ref <mean_var_norm_emb>
        classifier: !ref <classifier>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
        mean_var_norm_emb: !ref <pretrained_path>/mean_var_norm_emb.ckpt
        classifier: !ref <pretrained_path>/classifier.ckpt
"""
_SPEECHBRAIN_NETWORKS = {
    "xvector": {
        "n_mels": 24,
        "embedding_model": """!new:speechbrain.lobes.models.Xvector.Xvector
    in_channels: !ref <n_mels>
    activation: !name:torch.nn.LeakyReLU
    tdnn_blocks: 5
    tdnn_channels: [32, 32, 32, 32, 48]
    tdnn_kernel_sizes: [5, 3, 3, 1, 1]
    tdnn_dilations: [1, 2, 3, 1, 1]
    lin_neurons: 20""",
        "classifier": """!new:speechbrain.lobes.models.Xvector.Classifier
    input_shape: [null, null, 20]
    lin_neurons: 20
    out_neurons: !ref <out_n_neurons>""",
    },
    "ecapa": {
        "n_mels": 80,
        "embedding_model": """!new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [32, 32, 32, 32, 96]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: 16
    se_channels: 16
    lin_neurons: 12""",
        "classifier": """!new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: 12
    out_neurons: !ref <out_n_neurons>""",
    },
}


def need_speechbrain():
    """Import SpeechBrain, or skip the test.

    Old names of its modules import much more when anything looks at them, and Hypothesis, which
    looks at all modules between two draws, then finds its draws inconsistent: they are forgotten.
    """
    import sys

    import pytest

    pytest.importorskip("speechbrain")
    for module_name, module in list(sys.modules.items()):
        if type(module).__name__ == "DeprecatedModuleRedirect":
            del sys.modules[module_name]


def save_speechbrain(name, folder):
    """Save a small network as SpeechBrain's speaker encoders are on the hub, by SpeechBrain.

    Weights are random, and so is what batch normalisation remembers of training.
    """
    import torch
    from hyperpyyaml import load_hyperpyyaml

    folder.mkdir(parents=True, exist_ok=True)
    text = _SPEECHBRAIN.format(folder=folder, **_SPEECHBRAIN_NETWORKS[name])
    (folder / "hyperparams.yaml").write_text(text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        modules = load_hyperpyyaml(text)
        network = modules["embedding_model"]
        for statistic, values in network.named_buffers():
            if statistic.endswith("running_mean"):
                values.normal_(std=0.3)
            elif statistic.endswith("running_var"):
                values.uniform_(0.5, 2.0)
    torch.save(network.state_dict(), folder / "embedding_model.ckpt")
    torch.save(modules["classifier"].state_dict(), folder / "classifier.ckpt")
    modules["mean_var_norm_emb"](torch.randn(1, 5, 3))
    modules["mean_var_norm_emb"]._save(folder / "mean_var_norm_emb.ckpt")
    return folder


def save_ge2e(path):
    """Save GE2E with random weights, as Resemblyzer's checkpoint is."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lstm = torch.nn.LSTM(40, 256, num_layers=3, batch_first=True)
        linear = torch.nn.Linear(256, 256)
    weights = {"similarity_weight": torch.ones(1), "similarity_bias": torch.zeros(1)}
    weights |= {f"lstm.{name}": values for name, values in lstm.state_dict().items()}
    weights |= {f"linear.{name}": values for name, values in linear.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"step": 1, "model_state": weights, "optimizer_state": {"state": {}}}, path)
    return path


def small_network(name):
    """Return the folder of a small network; the same in each process, made where it is missing."""
    import transformers

    home = Path(tempfile.gettempdir()) / f"sklearn_ser-{getpass.getuser()}"
    home /= f"networks-3-{transformers.__version__}"
    folder = home / name
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as unfinished:
            made = Path(unfinished) / name
            save_network(make_network(name), made, _ALL[name][2])
            try:
                os.rename(made, folder)
            except OSError:  # another process was first
                if not folder.exists():
                    raise
    return str(folder)
