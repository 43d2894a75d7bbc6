"""Read and check the weights of checkpoints, which come from others.

Nothing in a file is executed, and no memory is allocated for more than the file contains.
"""

import contextlib
import re
import tarfile
import zipfile
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import safe_open

from ._checkpoint import CheckpointError

_ZIP = b"PK\x03\x04"  # the first bytes of a file that `torch.load` reads as a zip archive
_LFS = b"version https://git-lfs"
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_SAFETENSORS = ".safetensors"


def read_tensors(checkpoint, path):
    """Read a dict saved by `torch.save`, without unpickling anything but tensors.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint that the file belongs to.
    path : Path
        File to read.

    Returns
    -------
    saved : dict
        Tensors, which share the memory of the file, and nested dicts.

    Raises
    ------
    OSError
        If the file is damaged, or contains other objects.
    """
    with _explaining(checkpoint, path):
        is_zip = _check_archive(path)
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        if not isinstance(saved, dict):
            raise TypeError("it contains no dict of weights")
    return saved


def _check_archive(path):
    """Return whether a file is a zip archive; refuse those that grow when they are read."""
    with open(path, "rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            if tarfile.is_tarfile(path):
                raise ValueError("it is a tar archive, of a version of torch before 0.2")
            return False
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    size = path.stat().st_size
    # `torch.save` compresses nothing. A few MB that are compressed may grow to many GB.
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed, and torch.save compresses nothing")
    if sum(record.file_size for record in records) > size:
        raise ValueError("its records are larger than the file")
    return True


@contextlib.contextmanager
def _explaining(checkpoint, path):
    """Raise an OSError with the file, the checkpoint and the reason for any exception."""
    try:
        if _is_pointer(path):
            raise ValueError("it is a Git LFS pointer: run `git lfs pull`")
        yield
    except UnpicklingError as error:
        # torch's own message recommends weights_only=False, which can run code.
        raise OSError(
            f"The file {path.name} of {checkpoint.label} is damaged, or contains pickled objects "
            "other than tensors, which are not loaded because they can run code. Get the file "
            "from its original source."
        ) from error
    except Exception as error:  # of the file format or the disk
        raise unreadable_error(checkpoint, error, path.name) from error


def _is_pointer(path):
    with open(path, "rb") as file:
        return file.read(len(_LFS)) == _LFS


def read_weights(checkpoint, pattern=""):
    """Read the weights of a checkpoint whose names match a pattern.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint of one or several files.
    pattern : str, default=""
        Regular expression that is searched in the names.

    Returns
    -------
    weights : dict of str to Tensor
        Empty if no name matches.

    Raises
    ------
    OSError
        If a file is damaged, or contains other objects.
    CheckpointError
        If it contains something else than tensors of numbers.
    """
    weights: dict[str, torch.Tensor] = {}
    for path in checkpoint.weights:
        if path.suffix == _SAFETENSORS:
            with _explaining(checkpoint, path), safe_open(path, framework="pt") as file:
                names = [name for name in list(file.keys()) if re.search(pattern, name)]
                weights |= {name: file.get_tensor(name) for name in names}
        else:
            tensors = read_tensors(checkpoint, path)
            check_tensors(checkpoint, tensors)
            weights |= {name: x for name, x in tensors.items() if re.search(pattern, name)}
    return weights


def read_shapes(checkpoint):
    """Return the shape of each weight, by its name, without reading the weights.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint of one or several files.

    Returns
    -------
    shapes : dict of str to tuple of int
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in checkpoint.weights:
        if path.suffix == _SAFETENSORS:
            with _explaining(checkpoint, path), safe_open(path, framework="pt") as file:
                names = list(file.keys())
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
        else:
            tensors = read_tensors(checkpoint, path)
            check_tensors(checkpoint, tensors)
            shapes |= {name: tuple(x.shape) for name, x in tensors.items()}
    return shapes


def check_tensors(checkpoint, weights):
    """Raise an error unless a dict maps names to plain tensors on the CPU."""
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"The weights of {checkpoint.label} contain {name!r} of type "
                f"{type(value).__name__}; names and tensors are expected. {_DOWNLOAD}"
            )
        if not _is_plain(value):
            raise CheckpointError(
                f"The weight {name!r} of {checkpoint.label} is sparse, quantised or larger than "
                f"its data, which is not supported. {_DOWNLOAD}"
            )


def _is_plain(tensor):
    """Return whether a tensor is on the CPU and has a number in memory for each of its values."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


_DOWNLOAD = "Download the model again."


def unreadable_error(checkpoint, error, name="weights"):
    """Return an OSError that names the checkpoint, the file and the reason."""
    return OSError(
        f"The {name} of {checkpoint.label} can't be read ({type(error).__name__}: {error}). "
        f"{_DOWNLOAD}"
    )


def check_state_dict(
    checkpoint, class_name, *, missing, unexpected, mismatched, remedy=_DOWNLOAD, errors=()
):
    """Raise an error if weights are missing, unexpected or of another shape.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint of the weights.
    class_name : str
        Name of the network.
    missing, unexpected, mismatched : collection of str
        Names of weights.
    remedy : str
        What to do, the end of the message.
    errors : sequence of str
        Other errors.
    """
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
        raise CheckpointError(
            f"The weights of {checkpoint.label} do not match {class_name}: "
            f"{'; '.join([*problems, *errors])}. The network would be partly randomly "
            f"initialised. {remedy}"
        )


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
    CheckpointError
        If weights are missing, unexpected, of another shape or type, or not finite.
    """
    check_weights(network, weights, checkpoint)
    network.load_state_dict(weights, strict=True)
    check_finite(network, checkpoint)
    return network


def check_weights(network, weights, checkpoint):
    """Raise an error unless a state dict has the names, shapes and types of a network's.

    Parameters
    ----------
    network : torch.nn.Module
        Network, possibly on the device "meta".
    weights : dict of str to Tensor
        State dict.
    checkpoint : Checkpoint
        Checkpoint of the weights.
    """
    check_tensors(checkpoint, weights)
    expected = network.state_dict()
    check_state_dict(
        checkpoint,
        type(network).__name__,
        missing=expected.keys() - weights.keys(),
        unexpected=weights.keys() - expected.keys(),
        mismatched=[
            name
            for name in expected.keys() & weights.keys()
            if expected[name].shape != weights[name].shape
        ],
    )
    for name, value in expected.items():
        if value.is_floating_point() and weights[name].dtype not in _FLOATS:
            raise dtype_error(checkpoint, name, weights[name].dtype)


def check_dtypes(network, weights, checkpoint):
    """Raise an error for weights of integers whose names end as those of floats in a network.

    transformers converts them silently. Names may have another prefix in the checkpoint.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    weights : dict of str to Tensor
        Weights as in the files of the checkpoint.
    checkpoint : Checkpoint
        Checkpoint of the weights.
    """
    floats = {_end_of(name) for name, x in network.state_dict().items() if x.is_floating_point()}
    for name, value in weights.items():
        if value.dtype not in _FLOATS and _end_of(name) in floats:
            raise dtype_error(checkpoint, name, value.dtype)


def _end_of(name):
    return tuple(name.split(".")[-2:])


def dtype_error(checkpoint, name, dtype):
    """Return the error for a weight of another type than a float of 16 to 64 bits."""
    dtype = str(dtype).removeprefix("torch.")
    return CheckpointError(
        f"The weight {name!r} of {checkpoint.label} is of type {dtype}; quantised networks are not "
        "supported. Choose a model with float weights."
    )


def check_finite(network, checkpoint):
    """Raise an error if weights are NaN or infinite.

    Parameters
    ----------
    network : torch.nn.Module
        Network with its weights.
    checkpoint : Checkpoint
        Checkpoint of the weights.
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not _is_finite(value):
            dtype = str(value.dtype).removeprefix("torch.")
            remedy = ", or choose dtype='float32'" if value.dtype == torch.float16 else ""
            raise CheckpointError(
                f"The weight {name!r} of {checkpoint.label} has values that are not finite in "
                f"{dtype}. {_DOWNLOAD.removesuffix('.')}{remedy}."
            )


def _is_finite(values):
    # By numpy, which takes a tenth of the time. It has no bfloat16.
    values = values.float() if values.dtype == torch.bfloat16 else values
    return bool(np.isfinite(values.numpy()).all())
