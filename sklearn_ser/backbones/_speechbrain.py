"""The x-vector and ECAPA-TDNN of SpeechBrain, without evaluation of hyperparams.yaml."""

import re
from functools import partial
from typing import Any, NamedTuple

import torch

from sklearn_ser._extras import import_extra

from ._base import AudioBackbone
from ._checkpoint import CheckpointError, read_settings
from ._loading import build_network, get_cached
from ._weights import read_tensors


class Architecture(NamedTuple):
    """A supported network architecture of SpeechBrain.

    Parameters
    ----------
    name : str
        Prefix of column names.
    defaults : dict
        Default values of the settings that determine sizes.
    kernels, dilations : str
        Names of the settings for kernel sizes and dilations.
    """

    name: str
    defaults: dict[str, Any]
    kernels: str
    dilations: str


_FBANK = "speechbrain.lobes.features.Fbank"
_NORMALIZATION = "speechbrain.processing.features.InputNormalization"
_ARCHITECTURES = {
    "speechbrain.lobes.models.Xvector.Xvector": Architecture(
        "xvector",
        {
            "lin_neurons": 512,
            "tdnn_kernel_sizes": [5, 3, 3, 1, 1],
            "tdnn_dilations": [1, 2, 3, 1, 1],
        },
        "tdnn_kernel_sizes",
        "tdnn_dilations",
    ),
    "speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN": Architecture(
        "ecapa",
        {"lin_neurons": 192, "kernel_sizes": [5, 3, 3, 3, 1], "dilations": [1, 2, 3, 4, 1]},
        "kernel_sizes",
        "dilations",
    ),
}
# Limits of numbers among the settings, and of those that filter banks are computed for.
_MAX_NUMBER = 1_000_000
_FBANK_LIMITS = {"n_mels": 1024, "n_fft": 16384}
# Classes that are allowed as values of settings.
_ACTIVATIONS = {f"torch.nn.{name}": getattr(torch.nn, name) for name in ("LeakyReLU", "ReLU")}


def require_speechbrain():
    """Raise an error that names the extra to install if SpeechBrain is missing."""
    _import("speechbrain")


def _import(module):
    return import_extra(module, extra="speechbrain", needed_for="A speaker encoder of SpeechBrain")


class SpeechBrainBackbone(AudioBackbone):
    """A frozen speaker encoder of SpeechBrain.

    Recordings are encoded one at a time, because the convolutions use reflection padding: in a
    padded batch, they would reflect the padding instead of the recording.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network. Only plain values are read from ``hyperparams.yaml``, which
        SpeechBrain would evaluate and which can build any object.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of the arithmetic; spectrograms, weights and statistics are float32.
    """

    def __init__(self, checkpoint, *, device, dtype):
        require_speechbrain()
        super().__init__(checkpoint, device=device, dtype=dtype)
        settings = Settings(checkpoint)
        _, self.fbank = settings.read("compute_features", [_FBANK])
        _, self.normalization = settings.read("mean_var_norm", [_NORMALIZATION])
        self.class_path, self.settings = settings.read("embedding_model", _ARCHITECTURES)
        if self.normalization.get("norm_type") != "sentence":
            raise CheckpointError(
                f"{checkpoint.label} normalises features by statistics of the training data "
                "(norm_type is not 'sentence'), which is not supported."
            )
        for name, limit in _FBANK_LIMITS.items():
            if not 0 < self.fbank.get(name, 1) <= limit:
                raise _settings_error(checkpoint, _FBANK, f"{name}={self.fbank[name]!r}")
        architecture = _ARCHITECTURES[self.class_path]
        self.name = architecture.name
        try:
            self.sampling_rate = int(self.fbank.get("sample_rate", 16000))
            self.n_dims = int((architecture.defaults | self.settings)["lin_neurons"])
            self.min_samples = self._n_frames_needed(architecture) * self._hop
        except (TypeError, ValueError) as error:
            raise _settings_error(checkpoint, self.class_path, error) from error

    @property
    def _hop(self):
        return round(self.fbank.get("hop_length", 10) * self.sampling_rate / 1000)

    def _n_frames_needed(self, architecture):
        """Return the number of frames, besides the first, that reflection padding requires."""
        sizes = architecture.defaults | self.settings
        reflected = (
            dilation * (kernel - 1) // 2
            for kernel, dilation in zip(
                sizes[architecture.kernels], sizes[architecture.dilations], strict=True
            )
        )
        return max(1, *reflected)

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the embeddings as a single layer.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Waveforms, each with at least `min_samples`.
        last_layer : int
            Ignored.

        Yields
        ------
        embeddings : Tensor of shape (n_waveforms, 1, n_dims)
            Output of ``encode_batch(normalize=False)`` for each recording alone, without the noise
            that SpeechBrain adds.
        """
        network = self._network()
        yield torch.cat([self._embed(network, waveform) for waveform in waveforms])

    def _embed(self, network, waveform):
        """Return the embedding of one recording, of shape (1, 1, n_dims)."""
        samples = torch.from_numpy(waveform).to(self.device)[None]
        whole = torch.ones(1, device=self.device)
        features = network["mean_var_norm"](network["compute_features"](samples), whole)
        is_lower = self.dtype != torch.float32
        with torch.autocast(torch.device(self.device).type, self.dtype, enabled=is_lower):
            return network["embedding_model"](features)

    def _network(self):
        key = (self.checkpoint.folder, self.checkpoint.version, self.class_path, self.device)
        return get_cached(key, self._load)

    def _load(self):
        weights = read_tensors(self.checkpoint, self.checkpoint.files[-1])
        build = partial(_build, self.class_path, self.settings, self.checkpoint)
        network = build_network(build, weights, self.checkpoint)
        features = _build(_FBANK, self.fbank, self.checkpoint)
        normalization = _build(_NORMALIZATION, self.normalization, self.checkpoint)
        if hasattr(network.blocks[-2], "_get_gauss_noise"):
            network.blocks[-2] = _StatisticsPooling(network.blocks[-2].eps)
        return torch.nn.ModuleDict(
            {
                "compute_features": features,
                "mean_var_norm": normalization,
                "embedding_model": network,
            }
        ).to(self.device)


class _StatisticsPooling(torch.nn.Module):
    """The x-vector's mean and standard deviation, without the noise that SpeechBrain adds."""

    def __init__(self, eps):
        super().__init__()
        self.eps = eps

    def forward(self, frames, lengths=None):
        std, mean = torch.std_mean(frames.float(), dim=1, keepdim=True)
        return torch.cat([mean, std + self.eps], dim=2)


def _build(class_path, settings, checkpoint):
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(_import(module), name)(**settings)
    except (TypeError, ValueError, AssertionError, LookupError) as error:
        raise _settings_error(checkpoint, name, error) from error


def _settings_error(checkpoint, name, error):
    return CheckpointError(
        f"hyperparams.yaml of {checkpoint.label} has settings that {name} of the "
        f"installed SpeechBrain does not support ({error})."
    )


class _Tagged(NamedTuple):
    """A YAML value with a tag, which is not evaluated."""

    tag: str
    value: Any


class Settings:
    """The plain values of a checkpoint's ``hyperparams.yaml``, which is not evaluated.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint of SpeechBrain.
    """

    def __init__(self, checkpoint):
        self.label = checkpoint.label
        try:
            self.document = _read_without_building(checkpoint.folder / "hyperparams.yaml")
        except (CheckpointError, OSError) as error:
            raise checkpoint.unreadable("hyperparams.yaml", error) from error
        if not isinstance(self.document, dict):
            raise CheckpointError(f"hyperparams.yaml of {self.label} is not a mapping.")

    def read(self, name, class_paths):
        """Return the class and the settings of an entry.

        Parameters
        ----------
        name : str
            Name of the entry, such as ``"embedding_model"``.
        class_paths : iterable of str
            Supported classes.

        Returns
        -------
        class_path : str
        settings : dict
            Plain values, and activations.

        Raises
        ------
        ValueError
            If the entry is missing or of another class, or has settings that are not plain values.
        """
        entry = self.document.get(name)
        tag, value = entry if isinstance(entry, _Tagged) else ("", entry)
        class_path = tag.removeprefix("!new:")
        if not tag.startswith("!new:") or class_path not in class_paths:
            raise CheckpointError(
                f"hyperparams.yaml of {self.label} builds {name!r} from "
                f"{class_path or 'nothing'!r}; supported are {', '.join(class_paths)}."
            )
        settings = value if isinstance(value, dict) else {}
        return class_path, {
            key: self._plain(key, item) for key, item in settings.items() if key != "device"
        }

    def _plain(self, key, value):
        seen = set()
        while isinstance(value, _Tagged) and value.tag == "!ref":
            target = re.fullmatch(r"<(\w+)>", str(value.value))
            if target is None or target[1] in seen or target[1] not in self.document:
                break
            seen.add(target[1])
            value = self.document[target[1]]
        if isinstance(value, _Tagged) and value.tag.removeprefix("!name:") in _ACTIVATIONS:
            return _ACTIVATIONS[value.tag.removeprefix("!name:")]
        if isinstance(value, list):
            return [self._plain(key, item) for item in value]
        if isinstance(value, (bool, str)) or value is None:
            return value
        if isinstance(value, (int, float)) and abs(value) <= _MAX_NUMBER:
            return value
        raise CheckpointError(
            f"hyperparams.yaml of {self.label} sets {key!r} to something that is not a plain "
            f"value of at most {_MAX_NUMBER:,}. The file is not evaluated: write the value itself."
        )


def _read_without_building(path):
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent, index):
            if self.check_event(yaml.AliasEvent):  # a few lines may stand for millions of values
                raise yaml.YAMLError("it has an alias, which is not supported")
            return super().compose_node(parent, index)

    def keep(loader, tag, node):
        if isinstance(node, yaml.MappingNode):
            return _Tagged(tag, loader.construct_mapping(node, deep=True))
        if isinstance(node, yaml.SequenceNode):
            return _Tagged(tag, loader.construct_sequence(node, deep=True))
        return _Tagged(tag, loader.construct_scalar(node))

    Loader.add_multi_constructor("", keep)
    content = read_settings(path)
    try:
        return yaml.load(content, Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"it is not valid YAML: {error}") from error
