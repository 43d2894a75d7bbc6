"""Find checkpoints on disk or on the hub, and load their networks once and strictly."""

import contextlib
import json
import os
import re
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import Path
from pickle import UnpicklingError

import torch

from sklearn_ser._forks import ForkSafeLock

# The second is saved by transformers 5 for checkpoints with a tokenizer.
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Layout:
    """The files of a type of checkpoint.

    Parameters
    ----------
    settings : tuple of str
        Patterns of configuration files; the first is required. Empty if the checkpoint is a
        single file with weights.
    weights : tuple of tuple of str
        Patterns of files with weights, in order of preference.
    origin : str
        Description of such folders, for error messages.
    vocabularies : tuple of tuple of str, default=()
        Patterns of tokenizer files; all patterns of one tuple are required.
    """

    settings: tuple[str, ...]
    weights: tuple[tuple[str, ...], ...]
    origin: str
    vocabularies: tuple[tuple[str, ...], ...] = ()

    @property
    def is_one_file(self):
        """Whether a checkpoint is a single file, of any name."""
        return not self.settings

    def files_in(self, folder):
        """Return the files of a checkpoint in a folder, and the names of missing files."""
        settings = [path for pattern in self.settings for path in _glob(folder, pattern)]
        missing = [name for name in self.settings[:1] if folder / name not in settings]
        weights = self._weights_in(folder)
        if not weights:
            missing.append(" or ".join(patterns[0] for patterns in self.weights))
        if self.vocabularies and not any(
            all(_glob(folder, pattern) for pattern in row) for row in self.vocabularies
        ):
            rows = (" with ".join(row) for row in self.vocabularies)
            missing.append(f"tokenizer ({', '.join(rows)})")
        return (*settings, *weights), missing

    def _weights_in(self, folder):
        for patterns in self.weights:
            found = sorted({path for pattern in patterns for path in _glob(folder, pattern)})
            if any(path.suffix != ".json" for path in found):
                return found
        return []


def _glob(folder, pattern):
    """Return regular files only, since opening a named pipe would block."""
    return [path for path in sorted(folder.glob(pattern)) if path.is_file()]


# safetensors are preferred to the pickled format of older checkpoints.
TRANSFORMERS = Layout(
    settings=("config.json", *PREPROCESSING),
    weights=(
        ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
    ),
    origin="one that transformers' save_pretrained wrote, or one of the hub",
)
TEXT = Layout(
    settings=(
        *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("added_tokens.json", "bpe.codes", "vocab.txt", "vocab.json", "merges.txt", "*.model"),
    ),
    weights=TRANSFORMERS.weights,
    origin="one that save_pretrained of the network and of its tokenizer wrote, or one of the hub",
    # Required, because transformers creates an empty tokenizer if there is none.
    vocabularies=(("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"), ("*.model",)),
)
# Maximum number of backbones and configurations to keep in memory, without weights.
_MAX_BACKBONES = 32
# Maximum number of networks to keep in memory; the least recently used is dropped.
_MAX_NETWORKS = 3


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained network on disk.

    Parameters
    ----------
    model : str
        Hub id or folder, as passed by the user.
    folder : Path
        Folder with its files.
    files : tuple of Path
        Weights, configuration and, for text, tokenizer: all files that affect the output.
    layout : Layout
        Type of the checkpoint.
    parameter : str, default="model"
        Name of the parameter through which `model` was passed, for error messages.
    """

    model: str
    folder: Path
    files: tuple[Path, ...]
    layout: Layout = TRANSFORMERS
    parameter: str = "model"

    @property
    def label(self):
        """The parameter and its value, for error messages."""
        return f"{self.parameter}={self.model!r}"

    @property
    def model_type(self):
        """The ``model_type`` in ``config.json``."""
        return self.config.get("model_type")

    @property
    def config(self):
        """The contents of ``config.json``; shared, must not be modified."""
        path = self.folder / "config.json"
        try:
            return _read_settings(path, _version_of(path))
        except ValueError as error:
            raise ValueError(
                f"The config.json of {self.label} can't be read ({error}). Download the "
                "model again."
            ) from error

    @property
    def has_preprocessing(self):
        """Whether the checkpoint has a preprocessor configuration."""
        return any((self.folder / name).is_file() for name in PREPROCESSING)

    @property
    def version(self):
        """Sizes, inodes and times of the files, which change when a file is replaced."""
        return tuple(map(_version_of, self.files))


def _version_of(path):
    stat = os.stat(path)
    return stat.st_size, stat.st_ino, stat.st_mtime_ns


@lru_cache(maxsize=_MAX_BACKBONES)
def _read_settings(path, version):
    """Return the contents of a JSON file, cached by its version."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError("it is not a JSON object")
    return settings


def open_checkpoint(make, checkpoint, **settings):
    """Return the backbone of a checkpoint, created once per process while the files are unchanged.

    Parameters
    ----------
    make : callable
        Class or module-level function that creates the backbone.
    checkpoint : Checkpoint
        Argument of `make`.
    **settings
        Keyword arguments of `make`; hashable.

    Returns
    -------
    backbone : Backbone
        Shared, must not be modified.
    """
    return _open(make, checkpoint, checkpoint.version, **settings)


@lru_cache(maxsize=_MAX_BACKBONES)
def _open(make, checkpoint, version, **settings):
    return make(checkpoint, **settings)


def find_checkpoint(
    model, *, layouts=(TRANSFORMERS,), revision=None, local_files_only=False, parameter="model"
):
    """Find a checkpoint in a folder or on the hub, and download it if it is not cached.

    Parameters
    ----------
    model : str or path
        Folder with the files of one of the layouts, or a hub id such as
        ``"microsoft/wavlm-base-plus"``.
    layouts : tuple of Layout, default=(TRANSFORMERS,)
        Types of checkpoint to look for; the first that matches is used.
    revision : str, default=None
        Branch, tag or commit on the hub. If None, the cached version of the main branch is
        used; it is downloaded if there is none.
    local_files_only : bool, default=False
        If True, nothing is downloaded.
    parameter : str, default="model"
        Name of the parameter through which `model` was passed, for error messages.

    Returns
    -------
    checkpoint : Checkpoint

    Raises
    ------
    OSError
        If the folder or model does not exist, or is not cached and can't be downloaded.
    """
    name = os.fspath(model)
    label = f"{parameter}={name!r}"
    path = Path(name)
    one_file = [layout for layout in layouts if layout.is_one_file]
    if path.is_dir() or (path.is_file() and one_file):
        kind = "folder" if path.is_dir() else "file"
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} is for models on the hub, and {label} is a {kind}: leave "
                f"revision out, or pass the {kind} of that revision."
            )
        if kind == "file":
            file = path.resolve()
            return Checkpoint(name, file.parent, (file,), one_file[0], parameter)
        return _checkpoint_in(path.resolve(), layouts, name, parameter)
    if path.exists():
        raise NotADirectoryError(
            f"{label} is a file, and a folder is needed: {layouts[0].origin}. Pass the folder with "
            f"{', '.join(layouts[0].settings[:1])} and the weights."
        )
    if isinstance(model, Path) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"{label}: there is no folder {os.path.abspath(name)!r}, and it is not a hub id, which "
            "has the form 'owner/name'."
        )
    with contextlib.suppress(OSError, ValueError):  # ValueError: not a valid hub id
        return _download(name, layouts, revision, parameter, local_files_only=True)
    if local_files_only:
        raise OSError(_explain_missing(name, parameter, revision, "local_files_only=True"))
    try:
        return _download(name, layouts, revision, parameter, local_files_only=False)
    except Exception as error:  # of httpx, the hub's client, the disk
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise OSError(_explain_missing(name, parameter, revision, reason)) from error


def _download(name, layouts, revision, parameter, *, local_files_only):
    from huggingface_hub import snapshot_download

    settings = [setting for layout in layouts for setting in layout.settings]
    # Download the preferred weights of each layout, and the next ones if there are none.
    for weights in zip_longest(*(layout.weights for layout in layouts), fillvalue=()):
        folder = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=[*settings, *chain.from_iterable(weights)],
                local_files_only=local_files_only,
            )
        )
        with contextlib.suppress(FileNotFoundError):
            return _checkpoint_in(folder, layouts, name, parameter)
    return _checkpoint_in(folder, layouts, name, parameter)


def _checkpoint_in(folder, layouts, name, parameter):
    missing = []
    for layout in layouts:
        files, absent = layout.files_in(folder)
        if not absent:
            return Checkpoint(name, folder, files, layout, parameter)
        missing.append(f"no {' and no '.join(absent)}; it must be {layout.origin}")
    raise FileNotFoundError(f"{parameter}={name!r}: the folder has {'; or it has '.join(missing)}.")


def _explain_missing(name, parameter, revision, reason):
    at = f" --revision {revision}" if revision else ""
    return (
        f"{parameter}={name!r} is neither a folder (there is no {os.path.abspath(name)!r}) nor a "
        f"model that is cached or could be downloaded ({reason}). Run `hf download {name}{at}` on "
        "a machine with internet access and copy its cache (its location is in HF_HOME), or pass "
        f"a folder with the model: {parameter}='path/to/folder'."
    )


_networks: OrderedDict[tuple, torch.nn.Module] = OrderedDict()
_networks_lock = ForkSafeLock()


def load_network(checkpoint, network_class, *, device, dtype, attention="sdpa", part=None):
    """Load a frozen network of transformers, once per process for each device and precision.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    network_class : type
        Model class of transformers.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of weights and arithmetic.
    attention : {"sdpa", "eager"} or None, default="sdpa"
        Attention implementation of transformers. If None, transformers chooses it.
    part : str, default=None
        Name of the submodule to return, such as ``"encoder"``. If None, the whole network.

    Returns
    -------
    network : torch.nn.Module
        Network in evaluation mode; shared, must not be modified.

    Raises
    ------
    ValueError
        If weights are missing, unexpected or of another shape.
    """
    return get_cached(
        (checkpoint.folder, checkpoint.version, network_class, part, device, dtype),
        lambda: _load(checkpoint, network_class, dtype, attention, part).to(device),
    )


def get_cached(key, load):
    """Return the network with the given key, and load it if it is not in memory.

    Parameters
    ----------
    key : tuple
        Cache key: path, version of the files, device, precision.
    load : callable
        Returns the network.

    Returns
    -------
    network : torch.nn.Module
        Network in evaluation mode; shared, must not be modified.
    """
    with _networks_lock.held():
        if key not in _networks:
            _networks[key] = load().requires_grad_(False).eval()
        _networks.move_to_end(key)
        while len(_networks) > _MAX_NETWORKS:
            _networks.popitem(last=False)
        return _networks[key]


def _load(checkpoint, network_class, dtype, attention, part):
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            network, info = network_class.from_pretrained(
                checkpoint.folder,
                dtype=dtype,
                attn_implementation=attention,
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=False,
                weights_only=True,
                ignore_mismatched_sizes=True,  # checked below
            )
    except Exception as error:  # of the file format, pickle or the disk
        raise unreadable_error(checkpoint, error) from error
    prefix = f"{part}." if part else ""
    _check_state_dict(
        checkpoint,
        network_class.__name__,
        missing=[
            key
            for key in info["missing_keys"]
            if key.startswith(prefix) and not _IGNORED_KEYS.search(key)
        ],
        unexpected=[
            key
            for key in info["unexpected_keys"]
            if _belongs_to(key, network)
            and not _IGNORED_KEYS.search(key)
            and key.removeprefix(f"{network.base_model_prefix}.").startswith(prefix)
        ],
        mismatched=[str(key) for key in info["mismatched_keys"]],
        errors=info["error_msgs"],
        remedy="Download the model again, or save it with transformers' save_pretrained.",
    )
    return getattr(network, part) if part else network


def load_state_dict_strict(network, weights, checkpoint):
    """Load a state dict into a network, with an error that names the checkpoint.

    Parameters
    ----------
    network : torch.nn.Module
        Network, modified in place.
    weights : dict of str to Tensor
        State dict.
    checkpoint : Checkpoint
        Checkpoint of the weights.

    Returns
    -------
    network : torch.nn.Module
        The network.

    Raises
    ------
    ValueError
        If weights are missing, unexpected or of another shape.
    """
    expected = network.state_dict()
    _check_state_dict(
        checkpoint,
        type(network).__name__,
        missing=expected.keys() - weights.keys(),
        unexpected=weights.keys() - expected.keys(),
        mismatched=[
            key
            for key in expected.keys() & weights.keys()
            if expected[key].shape != weights[key].shape
        ],
        remedy="Download the model again.",
    )
    network.load_state_dict(weights, strict=True)
    return network


def read_tensors(checkpoint, path):
    """Read a dict of tensors saved by `torch.save`, without unpickling other objects.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint that the file belongs to.
    path : Path
        File to read.

    Returns
    -------
    tensors : dict

    Raises
    ------
    OSError
        If the file is damaged, or contains other objects.
    """
    mmap = zipfile.is_zipfile(path)  # older files can't be mapped
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except UnpicklingError as error:
        # torch's own message recommends weights_only=False, which can run code.
        raise OSError(
            f"The file {path.name} of {checkpoint.label} is damaged, or contains pickled objects "
            "other than tensors, which are not loaded because they can run code. Get the file "
            "from its original source."
        ) from error
    except Exception as error:  # of the file format or the disk
        raise unreadable_error(checkpoint, error) from error
    if not isinstance(tensors, dict):
        raise unreadable_error(checkpoint, TypeError(f"{path.name} contains no dict of weights"))
    return tensors


def read_weights(checkpoint, pattern):
    """Read the weights of a checkpoint whose names match a pattern.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint in the layout `TRANSFORMERS`.
    pattern : str
        Regular expression that is searched in the names.

    Returns
    -------
    weights : dict of str to Tensor
        Empty if no name matches.

    Raises
    ------
    OSError
        If a file is damaged, or contains other objects.
    """
    weights: dict[str, torch.Tensor] = {}
    for path in checkpoint.files:
        if path.suffix == ".safetensors":
            weights |= _read_safetensors(checkpoint, path, pattern)
        elif path.suffix == ".bin":
            tensors = read_tensors(checkpoint, path)
            weights |= {name: x for name, x in tensors.items() if re.search(pattern, name)}
    return weights


def _read_safetensors(checkpoint, path, pattern):
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in list(file.keys()) if re.search(pattern, name)]
            return {name: file.get_tensor(name) for name in names}
    except Exception as error:  # of the file format or the disk
        raise unreadable_error(checkpoint, error) from error


def unreadable_error(checkpoint, error):
    """Return an OSError that names the checkpoint and the reason."""
    return OSError(
        f"The weights of {checkpoint.label} can't be read ({type(error).__name__}: "
        f"{error}). Download the model again."
    )


def _check_state_dict(
    checkpoint, class_name, *, missing, unexpected, mismatched, remedy, errors=()
):
    problems = [
        f"{len(keys)} {what} ({', '.join(sorted(keys)[:3])}{', …' if len(keys) > 3 else ''})"
        for keys, what in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (mismatched, "of another shape"),
        )
        if keys
    ]
    if problems or errors:
        raise ValueError(
            f"The weights of {checkpoint.label} do not match {class_name}: "
            f"{'; '.join([*problems, *errors])}. The network would be partly randomly "
            f"initialised. {remedy}"
        )


# Weights that do not affect the output: the mask embedding of training, the speaker classifier of
# x-vector models, the pooler of text encoders, and the position ids of older checkpoints.
_IGNORED_KEYS = re.compile(
    r"(^|\.)masked_spec_embed$|^(classifier|objective)\."
    r"|^(\w+\.)?pooler\.|^(\w+\.)?embeddings\.position_ids$"
)


def _belongs_to(key, network):
    """Return whether an unexpected weight belongs to the network and not to a head."""
    prefix = f"{network.base_model_prefix}."
    if key.startswith(prefix):
        return True
    # WavLMForXVector has a linear layer "feature_extractor" in its head, and its network has a
    # submodule of the same name, which has no direct parameters.
    child, *below = key.split(".")
    module = dict(network.named_children()).get(child)
    return module is not None and (len(below) > 1 or any(True for _ in module.parameters(False)))


@contextlib.contextmanager
def quiet():
    """Silence transformers' progress bar and loading report, which is checked separately."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
