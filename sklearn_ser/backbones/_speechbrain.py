"""SpeechBrain's x-vector and ECAPA-TDNN: its own modules, and nothing else that a file may name."""

import re
from typing import Any, NamedTuple

import torch

from sklearn_ser._extras import import_extra

from ._base import AudioBackbone
from ._checkpoint import Layout, fill_network, read_tensors, share_network

SPEECHBRAIN = Layout(
    settings=("hyperparams.yaml",),
    weights=(("embedding_model.ckpt",),),
    origin="a speaker encoder of SpeechBrain",
)


class Kind(NamedTuple):
    """A network of SpeechBrain's that is known here.

    Parameters
    ----------
    name : str
        As columns are called after it.
    defaults : dict
        The settings that sizes depend on, where the file is silent.
    kernels, dilations : str
        The settings of its convolutions over time.
    """

    name: str
    defaults: dict[str, Any]
    kernels: str
    dilations: str


_FBANK = "speechbrain.lobes.features.Fbank"
_NORMALIZATION = "speechbrain.processing.features.InputNormalization"
_KINDS = {
    "speechbrain.lobes.models.Xvector.Xvector": Kind(
        "xvector",
        {
            "lin_neurons": 512,
            "tdnn_kernel_sizes": [5, 3, 3, 1, 1],
            "tdnn_dilations": [1, 2, 3, 1, 1],
        },
        "tdnn_kernel_sizes",
        "tdnn_dilations",
    ),
    "speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN": Kind(
        "ecapa",
        {"lin_neurons": 192, "kernel_sizes": [5, 3, 3, 3, 1], "dilations": [1, 2, 3, 4, 1]},
        "kernel_sizes",
        "dilations",
    ),
}
# Classes that a setting may name.
_ACTIVATIONS = {f"torch.nn.{name}": getattr(torch.nn, name) for name in ("LeakyReLU", "ReLU")}


def require_speechbrain():
    """Raise an error that says what to install where SpeechBrain is missing."""
    _import("speechbrain")


def _import(module):
    return import_extra(module, extra="speechbrain", needed_for="A speaker encoder of SpeechBrain")


class SpeechBrainBackbone(AudioBackbone):
    """A frozen speaker encoder of SpeechBrain.

    Each recording passes through it alone: its convolutions reflect the recording at its ends,
    and where recordings are padded to a batch, it reflects the padding.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is. Its ``hyperparams.yaml`` could build any object; here plain values
        are read from it, and used for the two networks that are known.
    device : str
        Where to run it.
    dtype : torch.dtype
        Of the network's arithmetic; spectrograms, weights and statistics are float32.
    """

    def __init__(self, checkpoint, *, device, dtype):
        require_speechbrain()
        super().__init__(checkpoint, device=device, dtype=dtype)
        settings = Settings(checkpoint)
        _, self.fbank = settings.of("compute_features", [_FBANK])
        _, self.normalization = settings.of("mean_var_norm", [_NORMALIZATION])
        self.class_path, self.settings = settings.of("embedding_model", _KINDS)
        if self.normalization.get("norm_type") != "sentence":
            raise ValueError(
                f"{checkpoint.label} normalises features by statistics of its training "
                "(norm_type is not 'sentence'), which is not supported."
            )
        kind = _KINDS[self.class_path]
        self.name = kind.name
        try:
            self.sampling_rate = int(self.fbank.get("sample_rate", 16000))
            self.n_dims = int((kind.defaults | self.settings)["lin_neurons"])
            self.min_samples = self._n_frames_needed(kind) * self._hop
        except (TypeError, ValueError) as error:
            raise _unfit(checkpoint, self.class_path, error) from error

    @property
    def _hop(self):
        return round(self.fbank.get("hop_length", 10) * self.sampling_rate / 1000)

    def _n_frames_needed(self, kind):
        """Count the frames, but the first, that a convolution needs to reflect what it lacks."""
        sizes = kind.defaults | self.settings
        reflected = (
            dilation * (kernel - 1) // 2
            for kernel, dilation in zip(sizes[kind.kernels], sizes[kind.dilations], strict=True)
        )
        return max(1, *reflected)

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the embeddings, as the one layer there is.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Each of at least `min_samples`.
        last_layer : int
            Of no consequence.

        Yields
        ------
        embeddings : Tensor of shape (n_waveforms, 1, n_dims)
            As ``encode_batch(normalize=False)`` gives them for each recording alone, but for the
            noise that SpeechBrain adds.
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
        return share_network(key, self._load)

    def _load(self):
        with torch.random.fork_rng(devices=[]):
            network = _build(self.class_path, self.settings, self.checkpoint)
            features = _build(_FBANK, self.fbank, self.checkpoint)
            normalization = _build(_NORMALIZATION, self.normalization, self.checkpoint)
        weights = read_tensors(self.checkpoint, self.checkpoint.files[-1])
        fill_network(network, weights, self.checkpoint)
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
    made = getattr(_import(module), name)
    try:
        return made(**settings)
    except (TypeError, ValueError, AssertionError, LookupError) as error:
        raise _unfit(checkpoint, name, error) from error


def _unfit(checkpoint, name, error):
    return ValueError(
        f"hyperparams.yaml of {checkpoint.label} has settings that {name} of the "
        f"installed SpeechBrain does not take ({error})."
    )


class _Tagged(NamedTuple):
    """A value with a tag that asks to build something, which is not done."""

    tag: str
    value: Any


class Settings:
    """The plain values in the ``hyperparams.yaml`` of a checkpoint; nothing in it is built.

    Parameters
    ----------
    checkpoint : Checkpoint
        In SpeechBrain's layout.
    """

    def __init__(self, checkpoint):
        self.label = checkpoint.label
        self.document = _read_without_building(checkpoint.folder / "hyperparams.yaml")
        if not isinstance(self.document, dict):
            raise ValueError(f"hyperparams.yaml of {self.label} holds no settings.")

    def of(self, name, class_paths):
        """Return which of some classes an entry is made of, and its settings.

        Parameters
        ----------
        name : str
            Such as ``"embedding_model"``.
        class_paths : iterable of str
            The classes that are known.

        Returns
        -------
        class_path : str
        settings : dict
            Plain values, and activations.

        Raises
        ------
        ValueError
            If the entry is missing or of another class, or has settings that are no plain values.
        """
        entry = self.document.get(name)
        tag, value = entry if isinstance(entry, _Tagged) else ("", entry)
        class_path = tag.removeprefix("!new:")
        if not tag.startswith("!new:") or class_path not in class_paths:
            raise ValueError(
                f"hyperparams.yaml of {self.label} makes {name!r} of "
                f"{class_path or 'nothing'!r}, and what is known here is {', '.join(class_paths)}."
            )
        settings = value if isinstance(value, dict) else {}
        return class_path, {
            key: self._plain(key, own) for key, own in settings.items() if key != "device"
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
            return [self._plain(key, own) for own in value]
        if isinstance(value, (bool, int, float, str)) or value is None:
            return value
        raise ValueError(
            f"hyperparams.yaml of {self.label} sets {key!r} to something that is no plain "
            "value, and nothing is built or computed from it here: write the value itself."
        )


def _read_without_building(path):
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def keep(loader, tag, node):
        if isinstance(node, yaml.MappingNode):
            return _Tagged(tag, loader.construct_mapping(node, deep=True))
        if isinstance(node, yaml.SequenceNode):
            return _Tagged(tag, loader.construct_sequence(node, deep=True))
        return _Tagged(tag, loader.construct_scalar(node))

    Loader.add_multi_constructor("", keep)
    with open(path, encoding="utf-8") as file:
        try:
            return yaml.load(file, Loader)  # a SafeLoader
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no YAML that can be read: {error}") from error
