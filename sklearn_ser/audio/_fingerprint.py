"""Fingerprints of recordings, by which changed data is found without reading files."""

import contextlib
import hashlib
import os
from collections.abc import Mapping

import numpy as np

from ._recordings import path_and_selection
from ._waveform import BYTES_TYPES


def fingerprint_recordings(recordings):
    """Return a hash of recordings, for which no file is opened and nothing is decoded.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings as returned by `as_recordings`, or a table.

    Returns
    -------
    fingerprint : str
        It depends on the number of the recordings and on their order; for files and their segments
        on path, times, size and time of modification; and on the values of arrays and bytes. File
        objects, decoders and what a lazy sequence holds only count by their type.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{type(recordings).__name__} {len(recordings)}\n".encode())
    if isinstance(recordings, np.ndarray):
        _update(digest, recordings)
    elif isinstance(recordings, (list, tuple)):
        for position in range(len(recordings)):
            path, selection = path_and_selection(recordings, position)
            if path is None:
                _update(digest, recordings[position])
            else:
                digest.update(f"{path!r} {selection} {_file_status(path)}\n".encode())
    return digest.hexdigest()


def _file_status(path):
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # reported when the recording is read
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _update(digest, value):
    """Update a hash with an array, a number, bytes, or a tuple or dict of them."""
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if isinstance(value, tuple):
        for part in value:
            _update(digest, part)
        return
    content = value if isinstance(value, BYTES_TYPES) else b""
    if isinstance(value, (str, int, float, list)) or hasattr(value, "__array__"):
        with contextlib.suppress(Exception):  # reported when the recording is read
            values = np.asarray(value)
            digest.update(f"{values.dtype} {values.shape}\n".encode())
            content = b"" if values.dtype.hasobject else values.tobytes()
    digest.update(f"{type(value).__name__} {len(content)}\n".encode())
    digest.update(content)
