"""Recordings to rows of embeddings: each passes through the network once, and is kept."""

import contextlib
import hashlib
import json
import os
import pickle
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from sklearn_ser._warnings import warn
from sklearn_ser.audio import (
    Problems,
    UnusableRecording,
    file_of,
    load_waveform,
    read_each,
    refuse_too_loud,
)
from sklearn_ser.store import FileVersion, content_key

from ._encoding import SECONDS_PER_WINDOW

# So many batches are read ahead, and sorted by length, before the first is embedded.
_BATCHES_AHEAD = 16
# Entries fetched from the store at once.
_ENTRIES_AT_ONCE = 256
# To be raised when the same settings come to give other numbers.
_FORMAT = 1


class Reading(NamedTuple):
    """One recording as the network is to see it."""

    waveform: np.ndarray
    content: str
    loudest: float
    seconds: float


class Embedding:
    """One run of recordings through a network.

    Parameters
    ----------
    encoder : Encoder
        The network, its pooling and windows.
    layers : list of int
        The layers wanted, counted from 0.
    depth : int
        The layer down to which to compute and keep.
    store : EmbeddingStore or None
        Where embeddings are kept.
    sampling_rate, channel, on_error, n_jobs
        As the embedders have them.
    progress : callable
        Is told the seconds that were embedded.
    """

    def __init__(
        self, encoder, *, layers, depth, store, sampling_rate, channel, on_error, n_jobs, progress
    ):
        self.encoder = encoder
        self.layers = layers
        self.depth = depth
        self.network = None if store is None else _key_or_none(encoder, store)
        self.store: Any = None if self.network is None else store
        self.sampling_rate = sampling_rate
        self.channel = channel
        self.n_jobs = n_jobs
        self.progress = progress
        self.problems = Problems(on_error)

    def embed(self, recordings):
        """Return an array of shape (n_recordings, n_layers, n_columns), float32."""
        shape = (len(recordings), len(self.layers), self.encoder.n_columns)
        rows = np.full(shape, np.nan, dtype=np.float32)
        files = self._file_versions(recordings) if self.store is not None else {}
        unknown = self._fill_from_known_files(rows, files)
        ahead, n_seconds = {}, 0.0
        limit = _BATCHES_AHEAD * SECONDS_PER_WINDOW * self.encoder.batch_size
        for position, reading in read_each(
            self._read, recordings, self.problems, n_jobs=self.n_jobs, positions=unknown
        ):
            ahead[position] = reading
            n_seconds += reading.seconds
            if n_seconds >= limit:
                self._fill(rows, ahead, recordings, files)
                ahead, n_seconds = {}, 0.0
        self._fill(rows, ahead, recordings, files)
        self.problems.tell()
        return rows

    def _file_versions(self, recordings):
        versions = {}
        rate = self.encoder.backbone.sampling_rate
        for position in range(len(recordings)):
            path, channel = file_of(recordings, position)
            if path is not None:
                reading = f"{rate} Hz, channel {channel!r}, {self.channel!r}"
                with contextlib.suppress(OSError):  # reading it will tell what is wrong
                    versions[position] = FileVersion.of(path, reading)
        return versions

    def _fill_from_known_files(self, rows, files):
        """Fill the rows of unchanged files without reading them; return the other positions."""
        known = self.store.known_contents(list(files.values())) if files else {}
        positions = defaultdict(list)
        for position, version in files.items():
            if version in known:
                positions[known[version]].append(position)
        contents, filled = list(positions), set()
        for start in range(0, len(contents), _ENTRIES_AT_ONCE):
            found = self._load(contents[start : start + _ENTRIES_AT_ONCE])
            for content, pooled in found.items():
                rows[positions[content]] = pooled[self.layers]
                filled.update(positions[content])
        return [position for position in range(len(rows)) if position not in filled]

    def _load(self, contents):
        """Return what the store has of these contents, as deep as is needed."""
        n_columns = self.encoder.n_columns
        return load_deep_enough(
            self.store, self.network, contents, depth=self.depth, n_columns=n_columns
        )

    def _read(self, recording):
        backbone = self.encoder.backbone
        waveform = load_waveform(
            recording,
            sampling_rate=self.sampling_rate,
            target_rate=backbone.sampling_rate,
            channel=self.channel,
        )
        loudest = refuse_too_loud(waveform)
        return Reading(
            waveform=backbone.prepare(waveform),
            content=content_key(waveform) if self.store is not None else "",
            loudest=loudest,
            seconds=len(waveform) / backbone.sampling_rate,
        )

    def _fill(self, rows, ahead, recordings, files):
        """Fill the rows of these readings, from the store or by the network."""
        positions = defaultdict(list)
        for position, reading in ahead.items():
            positions[reading.content if self.store is not None else position].append(position)
        if self.store is not None:
            known = {files[p]: reading.content for p, reading in ahead.items() if p in files}
            self.store.remember_contents(known)
            for content, pooled in self._load(list(positions)).items():
                rows[positions.pop(content)] = pooled[self.layers]
        groups = list(positions.values())
        waveforms = [ahead[group[0]].waveform for group in groups]
        for batch in self.encoder.encode(waveforms, self.depth):
            self._keep({ahead[groups[i][0]].content: pooled for i, pooled in batch.items()})
            for index, pooled in batch.items():
                for position in groups[index]:
                    self._fill_row(rows, position, pooled, ahead[position], recordings)
            self.progress(sum(ahead[groups[index][0]].seconds for index in batch))

    def _keep(self, pooled):
        if self.store is not None:
            finite = {key: value for key, value in pooled.items() if np.isfinite(value).all()}
            self.store.save(self.network, finite)

    def _fill_row(self, rows, position, pooled, reading, recordings):
        if np.isfinite(pooled).all():
            rows[position] = pooled[self.layers]
            return
        precision = str(self.encoder.backbone.dtype).removeprefix("torch.")
        reason = UnusableRecording(
            f"the network's output for it is not finite; its samples reach {reading.loudest:.2g} "
            f"and the precision is {precision}: scale them to [-1, 1]"
            + (", or choose dtype='float32'" if precision != "float32" else "")
        )
        self.problems.add(position, recordings[position], reason)


def load_deep_enough(store, network, contents, *, depth, n_columns):
    """Return what a store has of these contents, down to a layer and with so many columns."""
    return {
        content: pooled
        for content, pooled in store.load(network, contents).items()
        if len(pooled) > depth and pooled.shape[1:] == (n_columns,)
    }


def network_key(encoder, store):
    """Return what embeddings are kept under: all that shapes them but the recording.

    The checkpoint is known by the content of its files, so that a folder may move, and a file
    that was replaced is noticed.

    Parameters
    ----------
    encoder : Encoder
        The network, its pooling and windows.
    store : EmbeddingStore
        Remembers the content of unchanged files.

    Returns
    -------
    key : str
    """
    backbone = encoder.backbone
    files = [FileVersion.of(path, "whole file") for path in backbone.checkpoint.files]
    known = store.known_contents(files)
    contents = {version: known.get(version) or _digest(version.path) for version in files}
    store.remember_contents({v: content for v, content in contents.items() if v not in known})
    settings = {
        "format": _FORMAT,
        "name": backbone.name,
        "files": [[os.path.basename(version.path), contents[version]] for version in files],
        "code": [_key_of(part) for part in backbone.fingerprint],
        "dtype": str(backbone.dtype),
        "context": backbone.context,
        "window": encoder.window,
        "hop": encoder.hop,
        "pooling": _pooling_key(encoder.pooling),
    }
    return content_key(json.dumps(settings, sort_keys=True))


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _pooling_key(pooling):
    """Return the name of a pooling, or what tells a function from another: code and values."""
    if not callable(pooling):
        return pooling
    import cloudpickle

    # By value what was defined in a notebook or in another function, with all that it holds; by
    # name what can be imported, whose code is added.
    code = getattr(pooling, "__code__", None)
    return content_key(cloudpickle.dumps(pooling), repr(code and _code_key(code)))


def _key_of(part):
    """Return the name of what a function does, or of the value that something else is."""
    code = getattr(part, "__code__", None)
    return content_key(repr(part if code is None else _code_key(code)))


def _code_key(code):
    """Return what a code object does, whatever its file, lines and address are."""
    constants = [
        _code_key(value) if hasattr(value, "co_code") else repr(value) for value in code.co_consts
    ]
    return [code.co_code, constants, code.co_names, code.co_varnames]


def _key_or_none(encoder, store):
    """Return what embeddings are kept under; None, with a warning, where that can't be told."""
    try:
        _pooling_key(encoder.pooling)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        warn(
            f"pooling={encoder.pooling!r} can't be told from other functions ({error}), so that "
            "memory= is left out for it. The results are right. Define it in a module."
        )
        return None
    return network_key(encoder, store)
