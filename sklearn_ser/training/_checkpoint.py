"""Checkpoints: the state of a training after each epoch, from which a killed one continues.

A checkpoint is one file of safetensors, whose metadata hold the rest as JSON: nothing in it can be
executed when it is opened.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sklearn_ser.backbones import choose_device, choose_dtype

_NAME = "checkpoint.safetensors"
# Increased when the content of checkpoints changes.
_FORMAT = 1
# Parameters that make no difference to what is learned.
_WITHOUT_EFFECT = {"checkpoint", "local_files_only", "n_jobs", "verbose"}


class Checkpoint:
    """The checkpoint of a training in a folder; without a folder, nothing is read or saved.

    Parameters
    ----------
    folder : path or None
        Folder of the checkpoint. It is created if it does not exist.

    Attributes
    ----------
    saved : dict or None
        State of the training that was saved, or None if there is none.
    """

    def __init__(self, folder=None):
        self.path = None if folder is None else Path(folder) / _NAME
        self.saved: dict[str, Any] | None = None
        self._fingerprint: dict[str, dict] = {}
        self._parts: dict[str, Any] = {}

    @property
    def n_epochs(self):
        """Number of epochs that are not computed again."""
        return len(self.saved["history"]["epoch"]) if self.saved else 0

    def count_left(self, max_epochs):
        """Return the number of epochs to compute; 0 if the training was finished."""
        return 0 if self.saved and self.saved["is_finished"] else max_epochs - self.n_epochs

    def open(self, fingerprint):
        """Read what was saved.

        Parameters
        ----------
        fingerprint : dict of str to dict
            ``parameters`` and ``data`` of the training, by name.

        Raises
        ------
        ValueError
            If what was saved is not of a training with these parameters and data, or is damaged.
        """
        if self.path is None:
            return
        _make_folder(self.path.parent)
        self._fingerprint = fingerprint
        if self.path.exists():
            saved = _read(self.path)
            _check_fingerprint(self.path, saved["fingerprint"], fingerprint)
            self.saved = saved

    def attach(self, **parts):
        """Set parts of a training to what was saved, and save them from now on.

        Parameters
        ----------
        **parts : object
            Random generators of NumPy or torch, or objects with `state_dict` and
            `load_state_dict`.
        """
        if self.path is None:
            return
        self._parts |= parts
        if self.saved is not None:
            for name, part in parts.items():
                _set_state(part, self.saved["parts"].pop(name))  # frees the memory

    def save(self, **state):
        """Replace what was saved by the current state of the training.

        Parameters
        ----------
        **state : object
            What to save with the parts: tensors, arrays, numbers and texts, also in lists and
            dicts. ``history`` and ``is_finished`` are among them.
        """
        if self.path is not None:
            parts = {name: _get_state(part) for name, part in self._parts.items()}
            _write(self.path, {"fingerprint": self._fingerprint, "parts": parts, **state})


def read_seeds(folder):
    """Return the seeds of the training in a folder by name, empty if there is none."""
    path = None if folder is None else Path(folder) / _NAME
    return _read(path, with_tensors=False)["seeds"] if path and path.exists() else {}


def check_parameters(estimator):
    """Raise an error if the checkpoint of an estimator was saved with other parameters.

    Parameters
    ----------
    estimator : TorchEstimator
        With a folder as `checkpoint`.
    """
    if estimator.warm_start:
        raise ValueError(
            "checkpoint= can't be used with warm_start=True: a training continues from what was "
            "saved, or from the previous call of fit. Pass one of them."
        )
    path = Path(estimator.checkpoint) / _NAME
    if path.exists():
        saved = _read(path, with_tensors=False)["fingerprint"]
        now = {"parameters": describe_parameters(estimator), "data": saved["data"]}
        _check_fingerprint(path, saved, now)


def describe_parameters(estimator):
    """Return the parameters of an estimator, and its class, as texts by which to compare them."""
    parameters = estimator.get_params(deep=False)
    parameters["device"] = device = choose_device(estimator.device)
    if estimator.dtype == "auto":
        parameters["dtype"] = str(choose_dtype("auto", device)).removeprefix("torch.")
    return {"estimator": type(estimator).__name__} | {
        name: _describe(value)
        for name, value in sorted(parameters.items())
        if name not in _WITHOUT_EFFECT
    }


def hash_arrays(*arrays):
    """Return a hash of arrays, tensors, dicts of them by name, and None."""
    digest = hashlib.blake2b(digest_size=16)
    for values in arrays:
        if isinstance(values, dict):
            content = repr({name: hash_arrays(array) for name, array in values.items()}).encode()
        elif values is None:
            content = b"None"
        else:
            values = np.ascontiguousarray(values)
            content = f"{values.dtype} {values.shape} ".encode() + values.tobytes()
        digest.update(f"{len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def get_weights(module):
    """Return the parameters and buffers of a module by name, as they are trained.

    A state dict may hold others, such as the sums of weights and low-rank adapters.
    """
    return dict(module.named_parameters()) | dict(module.named_buffers())


def set_weights(module, weights):
    """Set the parameters and buffers of a module."""
    with torch.no_grad():
        for name, values in get_weights(module).items():
            values.copy_(weights[name])


def set_optimizer_state(optimizer, state):
    """Load the state of an optimizer, in the memory format of its parameters."""
    optimizer.load_state_dict(state)
    for parameter, own in optimizer.state.items():
        for name, values in own.items():
            if torch.is_tensor(values) and values.shape == parameter.shape:
                own[name] = torch.empty_like(parameter).copy_(values)


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(
            f"checkpoint={str(folder)!r} is a file: pass a folder, which may be new."
        ) from error


def _describe(value):
    """Return a parameter as a text; other objects than numbers and texts by their class."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_describe(k)}: {_describe(v)}' for k, v in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_describe, value))}]"
    is_plain = isinstance(value, (str, int, float, type(None)))
    return repr(value) if is_plain else type(value).__name__


def _check_fingerprint(path, saved, new):
    """Raise an error that names what differs between two fingerprints."""
    before, now = saved["parameters"], new["parameters"]
    found = [
        f"it has {name}={before.get(name)}, not {now.get(name)}"
        for name in before | now
        if before.get(name) != now.get(name)
    ]
    before, now = saved["data"], new["data"]
    other = [name for name in before | now if before.get(name) != now.get(name)]
    if other:
        found.append(f"it has other {' and '.join(other)}")
    if found:
        raise ValueError(
            f"checkpoint={str(path.parent)!r} is that of another training: {'; '.join(found)}. To "
            "continue it, pass the same parameters and data. To train anew, pass another folder, "
            f"or delete {str(path)!r}."
        )


def _get_state(part):
    if isinstance(part, np.random.Generator):
        return part.bit_generator.state
    return part.get_state() if isinstance(part, torch.Generator) else part.state_dict()


def _set_state(part, state):
    if isinstance(part, np.random.Generator):
        part.bit_generator.state = state
    elif isinstance(part, torch.Generator):
        part.set_state(state)
    else:
        part.load_state_dict(state)


def _write(path, state):
    """Write a checkpoint next to the one before, and put it in its place."""
    tensors: dict[str, torch.Tensor] = {}
    metadata = {"format": str(_FORMAT), "state": json.dumps(_pack(state, "", tensors))}
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read(path, *, with_tensors=True):
    """Read a checkpoint; without tensors, empty ones are in their places."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") == str(_FORMAT):
                get_tensor = file.get_tensor if with_tensors else lambda name: torch.empty(0)
                return _unpack(json.loads(metadata["state"]), get_tensor)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"The checkpoint {str(path)!r} can't be read ({error}). Delete it to train anew."
        ) from error
    raise ValueError(
        f"{str(path)!r} is no checkpoint of this version of sklearn_ser. Delete it to train anew, "
        "or pass another folder as checkpoint=."
    )


def _pack(state, name, tensors):
    """Return a state in the types of JSON; its tensors are added to a dict by their names."""
    if isinstance(state, dict):
        items = [(key, _pack(values, f"{name}/{key}", tensors)) for key, values in state.items()]
        return {"items": items}
    if isinstance(state, (list, tuple)):
        return [_pack(values, f"{name}/{row}", tensors) for row, values in enumerate(state)]
    if isinstance(state, np.ndarray):
        tensors[name] = torch.from_numpy(np.ascontiguousarray(state).reshape(state.shape))
        return {"array": name}
    if torch.is_tensor(state):
        # A copy, as parts of a module may share memory, which the format does not allow.
        tensors[name] = state.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    return state


def _unpack(packed, get_tensor):
    if isinstance(packed, list):
        return [_unpack(values, get_tensor) for values in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "items":
        return {key: _unpack(values, get_tensor) for key, values in content}
    tensor = get_tensor(content)
    return tensor.numpy() if kind == "array" else tensor
