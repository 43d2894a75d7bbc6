"""Small speaker encoders, saved in the layouts of SpeechBrain and Resemblyzer."""

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
    lin_neurons: N_DIMS""",
        "classifier": """!new:speechbrain.lobes.models.Xvector.Classifier
    input_shape: [null, null, N_DIMS]
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
    lin_neurons: N_DIMS""",
        "classifier": """!new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: N_DIMS
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


def save_speechbrain(name, folder, n_dims=None):
    """Save a small network as SpeechBrain's speaker encoders are on the hub, by SpeechBrain.

    Weights are random, and so is what batch normalisation remembers of training.
    """
    import torch
    from hyperpyyaml import load_hyperpyyaml

    folder.mkdir(parents=True, exist_ok=True)
    text = _SPEECHBRAIN.format(folder=folder, **_SPEECHBRAIN_NETWORKS[name])
    text = text.replace("N_DIMS", str(n_dims or {"xvector": 20, "ecapa": 12}[name]))
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
