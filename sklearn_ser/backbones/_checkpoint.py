"""Pretrained networks: found on disk or on the hub, loaded once, whole or not at all."""

import contextlib
import json
import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch

# Older checkpoints have the first, those that transformers 5 saves with a tokenizer the second.
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
# Safe tensors first; the pickled format of older checkpoints only where there is nothing else.
_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
)
_SETTINGS = ("config.json", *PREPROCESSING)
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "*.model"),
)
# Any one of these rows is a vocabulary. Without one, transformers makes up an empty tokenizer.
_VOCABULARIES = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"), ("*.model",))
# Networks kept in memory: those of a pipeline that joins a few. The least recently used goes.
_MAX_NETWORKS = 3


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained network on disk, in the layout of the Hugging Face hub.

    Parameters
    ----------
    model : str
        What the user called it: a hub id or a folder.
    folder : Path
        Where its files are.
    files : tuple of Path
        Its weights and settings, and its tokenizer if one was asked for: all that decides what
        the network computes.
    """

    model: str
    folder: Path
    files: tuple[Path, ...]

    @property
    def model_type(self):
        """The family of the network, as its ``config.json`` tells it."""
        try:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"The config.json of model={self.model!r} can't be read ({error}). Download the "
                "model again."
            ) from error
        return config.get("model_type")

    @property
    def has_preprocessing(self):
        """Whether the checkpoint says how recordings are prepared for it."""
        return any((self.folder / name).exists() for name in PREPROCESSING)

    @property
    def version(self):
        """What changes when a file of the checkpoint is replaced, without reading it."""
        stats = [os.stat(path) for path in self.files]
        return tuple((stat.st_size, stat.st_ino, stat.st_mtime_ns) for stat in stats)


def find_checkpoint(model, *, revision=None, local_files_only=False, tokenizer=False):
    """Find a checkpoint: a folder, or a hub id, which is downloaded where it is not cached.

    Parameters
    ----------
    model : str or path
        A folder with ``config.json`` and weights, or a hub id such as
        ``"microsoft/wavlm-base-plus"``.
    revision : str, default=None
        Branch, tag or commit on the hub; None is the main branch, as it was first downloaded.
    local_files_only : bool, default=False
        Never go to the network.
    tokenizer : bool, default=False
        Whether there must be a tokenizer with it.

    Returns
    -------
    checkpoint : Checkpoint

    Raises
    ------
    OSError
        If there is no such folder or model, or it is not at hand and can't be downloaded.
    """
    name = os.fspath(model)
    if os.path.isdir(name):
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} is for models on the hub, and model={name!r} is a folder: "
                "leave revision out, or pass the folder of that revision."
            )
        return _checkpoint_in(name, Path(name).resolve(), tokenizer)
    if isinstance(model, Path) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"model={name!r}: there is no such folder, and it is no hub id, which has the form "
            "'owner/name'."
        )
    with contextlib.suppress(OSError, ValueError):  # the latter for what can be no hub id
        folder = _download(name, revision, tokenizer, local_files_only=True)
        return _checkpoint_in(name, folder, tokenizer)
    if local_files_only:
        raise OSError(_explain_missing(name, revision, "local_files_only=True"))
    try:
        folder = _download(name, revision, tokenizer, local_files_only=False)
        return _checkpoint_in(name, folder, tokenizer)
    except Exception as error:  # of httpx, of the hub's client, of the disk: all end the same way
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise OSError(_explain_missing(name, revision, reason)) from error


def _download(name, revision, tokenizer, *, local_files_only):
    from huggingface_hub import snapshot_download

    for weights in _WEIGHTS:
        folder = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=[*_SETTINGS, *(_TOKENIZER if tokenizer else ()), *weights],
                local_files_only=local_files_only,
            )
        )
        if _weights_in(folder):
            break
    return folder


def _weights_in(folder):
    for patterns in _WEIGHTS:
        found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
        if any(path.suffix != ".json" for path in found):
            return found
    return []


def _checkpoint_in(name, folder, tokenizer):
    weights = _weights_in(folder)
    settings = [folder / setting for setting in _SETTINGS if (folder / setting).exists()]
    if folder / "config.json" not in settings or not weights:
        raise FileNotFoundError(
            f"model={name!r}: the folder has no "
            f"{'config.json' if weights else 'model.safetensors or pytorch_model.bin'}; it must be "
            "one that transformers' save_pretrained wrote, or one of the hub."
        )
    if tokenizer and not any(
        all(any(folder.glob(pattern)) for pattern in files) for files in _VOCABULARIES
    ):
        raise FileNotFoundError(
            f"model={name!r}: the folder has no tokenizer (tokenizer.json, vocab.txt, vocab.json "
            "with merges.txt, or a sentencepiece model); save the one of the same model there "
            "with its save_pretrained."
        )
    patterns = _TOKENIZER if tokenizer else ()
    settings += sorted(path for pattern in patterns for path in folder.glob(pattern))
    return Checkpoint(name, folder, (*settings, *weights))


def _explain_missing(name, revision, reason):
    at = f" --revision {revision}" if revision else ""
    return (
        f"The model {name!r} is not on this machine and could not be downloaded ({reason}). "
        f"Where there is a network, run `hf download {name}{at}` and bring the cache along (its "
        "place is in HF_HOME), or pass the folder that holds the model: model='path/to/folder'."
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
    key = (checkpoint.folder, checkpoint.version, network_class, part, device, dtype)
    with _networks_lock:
        if key not in _networks:
            network = _load(checkpoint, network_class, dtype, attention, part)
            _networks[key] = network.requires_grad_(False).eval().to(device)
        _networks.move_to_end(key)
        while len(_networks) > _MAX_NETWORKS:
            _networks.popitem(last=False)
        return _networks[key]


def _load(checkpoint, network_class, dtype, attention, part):
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
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
        raise OSError(
            f"The weights of model={checkpoint.model!r} can't be read ({type(error).__name__}: "
            f"{error}). Download the model again."
        ) from error
    needed = f"{part}." if part else ""
    missing = sorted(
        key
        for key in told["missing_keys"]
        if key.startswith(needed) and not _NOT_NEEDED.search(key)
    )
    left_over = sorted(
        key
        for key in told["unexpected_keys"]
        if _belongs_to(key, network)
        and not _NOT_NEEDED.search(key)
        and key.removeprefix(f"{network.base_model_prefix}.").startswith(needed)
    )
    wrong = sorted(str(key) for key in told["mismatched_keys"])
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for keys, what in ((missing, "missing"), (left_over, "left over"), (wrong, "misshapen"))
        if keys
    ]
    if problems or told["error_msgs"]:
        raise ValueError(
            f"The weights of model={checkpoint.model!r} don't fit {network_class.__name__}: "
            f"{'; '.join([*problems, *told['error_msgs']])}. With them it would compute at random. "
            "Download the model again, or save it with transformers' save_pretrained."
        )
    return getattr(network, part) if part else network


# No hidden state depends on these: what hides frames in training, the layer upon the first token
# that a text encoder may end in, and positions that older checkpoints count out.
_NOT_NEEDED = re.compile(
    r"^masked_spec_embed$|^(\w+\.)?pooler\.|^(\w+\.)?embeddings\.position_ids$"
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
def _quiet():
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
