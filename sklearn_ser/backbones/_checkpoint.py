"""Pretrained networks: found on disk or on the hub, loaded once, whole or not at all."""

import contextlib
import json
import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import Path
from pickle import UnpicklingError
from threading import Lock

import torch

# Older checkpoints have the first, those that transformers 5 saves with a tokenizer the second.
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Layout:
    """The files that a kind of checkpoint consists of.

    Parameters
    ----------
    settings : tuple of str
        Patterns of files that say what the network is; the first must be there. Empty where the
        file of the weights is all there is.
    weights : tuple of tuple of str
        Patterns of the files that hold the weights, in the order of preference.
    origin : str
        Where such folders come from.
    vocabularies : tuple of tuple of str, default=()
        Patterns of files of a tokenizer; all of one row must be there.
    """

    settings: tuple[str, ...]
    weights: tuple[tuple[str, ...], ...]
    origin: str
    vocabularies: tuple[tuple[str, ...], ...] = ()

    @property
    def is_one_file(self):
        """Whether a single file, of any name, is a whole checkpoint."""
        return not self.settings

    def files_in(self, folder):
        """Return the files of a checkpoint in a folder, and the names of what is missing."""
        settings = [path for pattern in self.settings for path in sorted(folder.glob(pattern))]
        missing = [name for name in self.settings[:1] if folder / name not in settings]
        weights = self._weights_in(folder)
        if not weights:
            missing.append(" or ".join(patterns[0] for patterns in self.weights))
        if self.vocabularies and not any(
            all(any(folder.glob(pattern)) for pattern in row) for row in self.vocabularies
        ):
            rows = (" with ".join(row) for row in self.vocabularies)
            missing.append(f"tokenizer ({', '.join(rows)})")
        return (*settings, *weights), missing

    def _weights_in(self, folder):
        for patterns in self.weights:
            found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
            if any(path.suffix != ".json" for path in found):
                return found
        return []


# Safe tensors first; the pickled format of older checkpoints only where there is nothing else.
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
    # Without one, transformers makes up an empty tokenizer.
    vocabularies=(("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"), ("*.model",)),
)
# Backbones and settings kept in memory, without any weights: those of a search over many.
_MAX_BACKBONES = 32
# Networks kept in memory: those of a pipeline that joins a few. The least recently used goes.
_MAX_NETWORKS = 3


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained network on disk.

    Parameters
    ----------
    model : str
        What the user called it: a hub id or a folder.
    folder : Path
        Where its files are.
    files : tuple of Path
        Its weights and settings, with its tokenizer where it is of text: all that decides what
        the network computes.
    layout : Layout
        Of which kind it is.
    parameter : str, default="model"
        The parameter that it was passed as, as errors call it.
    """

    model: str
    folder: Path
    files: tuple[Path, ...]
    layout: Layout = TRANSFORMERS
    parameter: str = "model"

    @property
    def label(self):
        """The parameter with its value, as errors show it."""
        return f"{self.parameter}={self.model!r}"

    @property
    def model_type(self):
        """The family of the network, as its ``config.json`` tells it."""
        return self.config.get("model_type")

    @property
    def config(self):
        """What is in its ``config.json``; shared, and not to be changed."""
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
        """Whether the checkpoint says how recordings are prepared for it."""
        return any((self.folder / name).exists() for name in PREPROCESSING)

    @property
    def version(self):
        """What changes when a file of the checkpoint is replaced, without reading it."""
        return tuple(map(_version_of, self.files))


def _version_of(path):
    stat = os.stat(path)
    return stat.st_size, stat.st_ino, stat.st_mtime_ns


@lru_cache(maxsize=_MAX_BACKBONES)
def _read_settings(path, version):
    """Return what is in a file of JSON, read once while the file is unchanged."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError("it holds no settings")
    return settings


def open_checkpoint(make, checkpoint, **settings):
    """Return the backbone over a checkpoint, made once per process while the files are unchanged.

    Parameters
    ----------
    make : callable
        A class of backbones, or another function that can be told from others by itself.
    checkpoint : Checkpoint
        What `make` is called with.
    **settings
        By which else it is called; hashable.

    Returns
    -------
    backbone : Backbone
        Shared, and not to be changed.
    """
    return _open(make, checkpoint, checkpoint.version, **settings)


@lru_cache(maxsize=_MAX_BACKBONES)
def _open(make, checkpoint, version, **settings):
    return make(checkpoint, **settings)


def find_checkpoint(
    model, *, layouts=(TRANSFORMERS,), revision=None, local_files_only=False, parameter="model"
):
    """Find a checkpoint: a folder, or a hub id, which is downloaded where it is not cached.

    Parameters
    ----------
    model : str or path
        A folder with the files of one of the layouts, or a hub id such as
        ``"microsoft/wavlm-base-plus"``.
    layouts : tuple of Layout, default=(TRANSFORMERS,)
        The kinds of checkpoint to look for; where a folder is of several, the first.
    revision : str, default=None
        Branch, tag or commit on the hub; None is the main branch, as it was first downloaded.
    local_files_only : bool, default=False
        Never go to the network.
    parameter : str, default="model"
        The parameter of the public class that `model` was passed as, for errors to name.

    Returns
    -------
    checkpoint : Checkpoint

    Raises
    ------
    OSError
        If there is no such folder or model, or it is not at hand and can't be downloaded.
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
            f"{label} is a file, and a folder is needed: {layouts[0].origin}. Pass the folder that "
            f"holds {', '.join(layouts[0].settings[:1])} and the weights."
        )
    if isinstance(model, Path) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"{label}: there is no folder {os.path.abspath(name)!r}, and it is no hub id, which "
            "has the form 'owner/name'."
        )
    with contextlib.suppress(OSError, ValueError):  # the latter for what can be no hub id
        return _download(name, layouts, revision, parameter, local_files_only=True)
    if local_files_only:
        raise OSError(_explain_missing(name, parameter, revision, "local_files_only=True"))
    try:
        return _download(name, layouts, revision, parameter, local_files_only=False)
    except Exception as error:  # of httpx, of the hub's client, of the disk: all end the same way
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise OSError(_explain_missing(name, parameter, revision, reason)) from error


def _download(name, layouts, revision, parameter, *, local_files_only):
    from huggingface_hub import snapshot_download

    settings = [setting for layout in layouts for setting in layout.settings]
    # The best weights of each layout at once, then the next best where there were none.
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
        f"model that is on this machine or could be downloaded ({reason}). Where there is a "
        f"network, run `hf download {name}{at}` and bring the cache along (its place is in "
        f"HF_HOME), or pass the folder that holds the model: {parameter}='path/to/folder'."
    )


_networks: OrderedDict[tuple, torch.nn.Module] = OrderedDict()
_networks_lock = Lock()


def load_network(checkpoint, network_class, *, device, dtype, attention="sdpa", part=None):
    """Load a frozen network, once per process for each device and precision.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where it is.
    network_class : type
        A class of transformers.
    device : str
        Where to run it.
    dtype : torch.dtype
        Precision of weights and arithmetic.
    attention : {"sdpa", "eager"}, default="sdpa"
        The implementation that transformers is to use; None is the best that it has.
    part : str, default=None
        The name of the child to keep, such as ``"encoder"``; None keeps all.

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode; shared, and not to be changed.

    Raises
    ------
    ValueError
        If weights are missing or left over, or have other shapes than the configuration says.
    """
    return share_network(
        (checkpoint.folder, checkpoint.version, network_class, part, device, dtype),
        lambda: _load(checkpoint, network_class, dtype, attention, part).to(device),
    )


def share_network(key, load):
    """Return the network that is known by a key, loaded where it is not in memory.

    Parameters
    ----------
    key : tuple
        What tells networks apart: where they are, the version of their files, device, precision.
    load : callable
        Returns the network.

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode; shared, and not to be changed.
    """
    with _networks_lock:
        if key not in _networks:
            _networks[key] = load().requires_grad_(False).eval()
        _networks.move_to_end(key)
        while len(_networks) > _MAX_NETWORKS:
            _networks.popitem(last=False)
        return _networks[key]


def _load(checkpoint, network_class, dtype, attention, part):
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            network, told = network_class.from_pretrained(
                checkpoint.folder,
                dtype=dtype,
                attn_implementation=attention,
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=False,
                weights_only=True,
                ignore_mismatched_sizes=True,  # to be refused below, in our words
            )
    except Exception as error:  # of the file format, of pickle, of the disk
        raise unreadable(checkpoint, error) from error
    needed = f"{part}." if part else ""
    _refuse_misfit(
        checkpoint,
        network_class.__name__,
        missing=[
            key
            for key in told["missing_keys"]
            if key.startswith(needed) and not _NOT_NEEDED.search(key)
        ],
        left_over=[
            key
            for key in told["unexpected_keys"]
            if _belongs_to(key, network)
            and not _NOT_NEEDED.search(key)
            and key.removeprefix(f"{network.base_model_prefix}.").startswith(needed)
        ],
        misshapen=[str(key) for key in told["mismatched_keys"]],
        told=told["error_msgs"],
        remedy="Download the model again, or save it with transformers' save_pretrained.",
    )
    return getattr(network, part) if part else network


def fill_network(network, weights, checkpoint):
    """Give a network its weights, all of them and no other.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    weights : dict of str to Tensor
        As they were saved.
    checkpoint : Checkpoint
        Where they were saved.

    Returns
    -------
    network : torch.nn.Module
        The same.

    Raises
    ------
    ValueError
        If weights are missing or left over, or have other shapes than the network's.
    """
    own = network.state_dict()
    _refuse_misfit(
        checkpoint,
        type(network).__name__,
        missing=own.keys() - weights.keys(),
        left_over=weights.keys() - own.keys(),
        misshapen=[k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape],
        remedy="Download the model again.",
    )
    network.load_state_dict(weights, strict=True)
    return network


def read_tensors(checkpoint, path):
    """Read tensors that were saved by `torch.save`; nothing else that is pickled is built.

    Parameters
    ----------
    checkpoint : Checkpoint
        What the file is of.
    path : Path
        The file.

    Returns
    -------
    tensors : dict

    Raises
    ------
    OSError
        If the file is damaged, or holds what could do more than be read.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        # torch's own message says how to run the file nevertheless.
        raise OSError(
            f"The file {path.name} of {checkpoint.label} is damaged, or holds more than "
            "tensors: what could run when it is read is never read here. Take the file from its "
            "first source."
        ) from error
    except Exception as error:  # of the file format, of the disk
        raise unreadable(checkpoint, error) from error
    if not isinstance(tensors, dict):
        raise unreadable(checkpoint, TypeError(f"{path.name} holds no weights by their names"))
    return tensors


def unreadable(checkpoint, error):
    """Return the error that says which checkpoint can't be read, and why."""
    return OSError(
        f"The weights of {checkpoint.label} can't be read ({type(error).__name__}: "
        f"{error}). Download the model again."
    )


def _refuse_misfit(checkpoint, class_name, *, missing, left_over, misshapen, remedy, told=()):
    problems = [
        f"{len(keys)} {what} ({', '.join(sorted(keys)[:3])}{', …' if len(keys) > 3 else ''})"
        for keys, what in ((missing, "missing"), (left_over, "left over"), (misshapen, "misshapen"))
        if keys
    ]
    if problems or told:
        raise ValueError(
            f"The weights of {checkpoint.label} don't fit {class_name}: "
            f"{'; '.join([*problems, *told])}. With them it would compute at random. {remedy}"
        )


# No output depends on these: what hides frames in training, what makes speakers of training out of
# a speaker's embedding, the layer upon the first token that a text encoder may end in, and the
# positions that older checkpoints count out.
_NOT_NEEDED = re.compile(
    r"(^|\.)masked_spec_embed$|^(classifier|objective)\."
    r"|^(\w+\.)?pooler\.|^(\w+\.)?embeddings\.position_ids$"
)


def _belongs_to(key, network):
    """Tell whether a weight that was left over is one of the network's, not of a head upon it."""
    prefix = f"{network.base_model_prefix}."
    if key.startswith(prefix):
        return True
    # WavLMForXVector has a linear layer "feature_extractor" upon a network with a whole module
    # of that name, which has no weight of its own.
    child, *below = key.split(".")
    module = dict(network.named_children()).get(child)
    return module is not None and (len(below) > 1 or any(True for _ in module.parameters(False)))


@contextlib.contextmanager
def quiet():
    """Silence transformers' progress bar and report; what they would tell is checked and raised."""
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
