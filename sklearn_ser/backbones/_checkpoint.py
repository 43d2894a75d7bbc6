"""Find checkpoints on disk or on the hub, and read their settings.

Checkpoints come from others: files outside of the folder are not followed, and no file is read
before its type and size are known.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import Path

# The second is saved by transformers 5 for checkpoints with a tokenizer.
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
_INDEX = ".index.json"
# Maximum size of a configuration file, in bytes. Older ones of Whisper include a filter bank.
_MAX_SETTINGS = 50_000_000


class CheckpointError(ValueError):
    """A checkpoint is damaged, inconsistent or not supported."""


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
        missing += [path.name for path in weights if not path.is_file()]
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
            index = next((folder / name for name in patterns if name.endswith(_INDEX)), None)
            if index is not None and folder / patterns[0] in found:
                return [folder / patterns[0]]
            if index in found:
                return [index, *_shards(index)]
            if index is None and found:
                return found
        return []


def _shards(index):
    """Return the files that an index of weights names; they must be in its own folder."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) for name in weight_map.values()
    ):
        raise CheckpointError(f"{index.name} has no 'weight_map' from weights to files")
    names = sorted(set(weight_map.values()))
    for name in names:
        if name in {"", ".", ".."} or os.path.basename(name) != name:
            raise CheckpointError(f"{index.name} names the file {name!r}, outside of the folder")
    return [index.parent / name for name in names]


def read_settings(path):
    """Return the contents of a configuration file, of limited size.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    content : bytes
    """
    size = path.stat().st_size
    if size > _MAX_SETTINGS:
        raise CheckpointError(f"{path.name} has {size:,} bytes, which can't be settings")
    return path.read_bytes()


def read_json(path):
    """Return the contents of a JSON file, a dict.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    settings : dict

    Raises
    ------
    CheckpointError
        If the file is too large, or is not a JSON object.
    OSError
        If the file can't be opened.
    """
    content = read_settings(path)
    try:
        settings = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is not valid JSON ({error})") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path.name} is not a JSON object")
    return settings


def _glob(folder, pattern):
    """Return the files that match; refuse named pipes and the like, since opening would block."""
    if (folder / pattern).is_symlink() and not (folder / pattern).exists():
        raise FileNotFoundError(f"{pattern} is a link to a file that does not exist")
    paths = sorted(folder.glob(pattern))
    for path in paths:
        if not path.is_file():
            raise CheckpointError(f"{path.name} is no regular file")
    return paths


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
# Extensions of files with weights, in layouts with settings.
_WEIGHTS = {".safetensors", ".bin", ".ckpt"}
# Maximum number of configurations to keep in memory.
_MAX_CONFIGS = 32


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
        """The ``model_type`` in ``config.json``; None if there is none."""
        model_type = self.config.get("model_type")
        return model_type if isinstance(model_type, str) else None

    @property
    def architecture(self):
        """Name of the model class in ``config.json``."""
        names = self.config.get("architectures")
        is_named = isinstance(names, list) and names and isinstance(names[0], str)
        return names[0] if is_named else "network without architectures"

    @property
    def config(self):
        """The contents of ``config.json``; shared, must not be modified."""
        return self._settings("config.json")

    @property
    def preprocessing(self):
        """Settings of the feature extractor, as transformers finds them; None if there are none."""
        files = {path.name for path in self.files}
        if "processor_config.json" in files:
            nested = self._settings("processor_config.json")
            for name in ("feature_extractor", "audio_processor"):
                if isinstance(nested.get(name), dict):
                    return nested[name]
        return self._settings(PREPROCESSING[0]) if PREPROCESSING[0] in files else None

    def _settings(self, name):
        path = self.folder / name
        try:
            return _read_settings(path, _version_of(path))
        except (CheckpointError, OSError) as error:
            raise self.unreadable(name, error) from error

    def unreadable(self, name, error):
        """Return an error that names a file of the checkpoint and the reason."""
        kind = OSError if isinstance(error, OSError) else CheckpointError
        return kind(
            f"The {name} of {self.label} can't be read ({error}). Download the model again."
        )

    @property
    def weights(self):
        """The files with weights."""
        return [path for path in self.files if path.suffix in _WEIGHTS or not self.layout.settings]

    @property
    def version(self):
        """Sizes, inodes and times of the files, which change when a file is replaced."""
        return tuple(map(_version_of, self.files))


def _version_of(path):
    stat = os.stat(path)
    return stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns


@lru_cache(maxsize=_MAX_CONFIGS)
def _read_settings(path, version):
    """Return the contents of a JSON file, cached by its version."""
    return read_json(path)


def find_checkpoint(
    model,
    *,
    layouts=(TRANSFORMERS,),
    revision=None,
    local_files_only=False,
    parameter="model",
    before_download=None,
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
    before_download : callable, default=None
        Called before a download, to raise an error if an extra is missing.

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
    try:
        return _download(name, layouts, revision, parameter, local_files_only=True)
    except CheckpointError:
        raise
    except (OSError, ValueError):  # ValueError: not a valid hub id
        pass
    if local_files_only:
        raise OSError(_explain_missing(name, parameter, revision, "local_files_only=True"))
    if before_download is not None:
        before_download()
    try:
        return _download(name, layouts, revision, parameter, local_files_only=False)
    except CheckpointError:
        raise
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
        try:
            files, absent = layout.files_in(folder)
            _check_inside(folder, files)
        except (CheckpointError, OSError) as error:
            raise type(error)(f"{parameter}={name!r} can't be used: {error}.") from error
        if not absent:
            return Checkpoint(name, folder, files, layout, parameter)
        missing.append(f"no {' and no '.join(absent)}; it must be {layout.origin}")
    raise FileNotFoundError(f"{parameter}={name!r}: the folder has {'; or it has '.join(missing)}.")


def _check_inside(folder, files):
    """Refuse links that leave the folder, except those of the hub's cache to its own files."""
    folder = folder.resolve()
    homes = [folder]
    if folder.parent.name == "snapshots":
        homes.append((folder.parents[1] / "blobs").resolve())
    for path in files:
        target = path.resolve()
        if not any(target.is_relative_to(home) for home in homes):
            raise CheckpointError(
                f"{path.name} is a link to {str(target)!r}, outside of the folder: copy the file "
                "there, or pass the folder that has it"
            )


def _explain_missing(name, parameter, revision, reason):
    at = f" --revision {revision}" if revision else ""
    return (
        f"{parameter}={name!r} is neither a folder (there is no {os.path.abspath(name)!r}) nor a "
        f"model that is cached or could be downloaded ({reason}). Run `hf download {name}{at}` on "
        "a machine with internet access and copy its cache (its location is in HF_HOME), or pass "
        f"a folder with the model: {parameter}='path/to/folder'."
    )
