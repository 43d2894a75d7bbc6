"""Embed recordings by a frozen network, with a cache."""

import contextlib
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from sklearn_ser.audio import (
    ErrorCollector,
    UnusableRecording,
    check_amplitude,
    load_waveform,
    path_and_selection,
    read_each,
)
from sklearn_ser.store import FileVersion, content_key

from ._encoding import SECONDS_PER_WINDOW
from ._stored_layers import open_stored_layers

# Number of batches to read ahead, so that recordings of similar length can share a batch.
_BATCHES_AHEAD = 16


def embed_recordings(
    recordings,
    pooler,
    *,
    layers,
    last_layer,
    store,
    sampling_rate,
    channel,
    on_error,
    n_jobs,
    progress,
):
    """Embed recordings, and load those that are cached.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings returned by `check_recordings`.
    pooler : WindowPooler
        The network, its pooling and windows.
    layers : list of int
        Layers to return, numbered from 0.
    last_layer : int
        The last layer to compute and cache.
    store : EmbeddingStore or None
        Cache of embeddings.
    sampling_rate, channel, on_error, n_jobs
        Parameters of the embedder.
    progress : Progress
        Counts the recordings.

    Returns
    -------
    rows : ndarray of shape (n_recordings, n_layers, n_columns), float32
    """
    run = _Run(
        pooler,
        layers=layers,
        last_layer=last_layer,
        stored=open_stored_layers(store, pooler, last_layer),
        sampling_rate=sampling_rate,
        channel=channel,
        problems=ErrorCollector(on_error),
        progress=progress,
    )
    return run.embed(recordings, n_jobs)


class _DecodedRecording(NamedTuple):
    """A waveform, with its cache key and peak amplitude."""

    waveform: np.ndarray
    key: str
    peak: float
    seconds: float


class _Run:
    """State of one call of `embed_recordings`."""

    def __init__(
        self, pooler, *, layers, last_layer, stored, sampling_rate, channel, problems, progress
    ):
        self.pooler = pooler
        self.layers = layers
        self.last_layer = last_layer
        self.stored = stored
        self.sampling_rate = sampling_rate
        self.channel = channel
        self.problems = problems
        self.progress = progress

    def embed(self, recordings, n_jobs):
        """Return an array of shape (n_recordings, n_layers, n_columns), float32."""
        shape = (len(recordings), len(self.layers), self.pooler.n_columns)
        rows = np.empty(shape, dtype=np.float32)
        files = self._file_versions(recordings) if self.stored is not None else {}
        unknown = self._fill_from_known_files(rows, files)
        rows[unknown] = np.nan
        self.progress.total = len(unknown)
        pending, n_seconds = {}, 0.0
        limit = _BATCHES_AHEAD * SECONDS_PER_WINDOW * self.pooler.batch_size
        for position, decoded in read_each(
            self._read, recordings, self.problems, n_jobs=n_jobs, positions=unknown
        ):
            pending[position] = decoded
            n_seconds += decoded.seconds
            if n_seconds >= limit:
                self._fill(rows, pending, recordings, files)
                pending, n_seconds = {}, 0.0
        self._fill(rows, pending, recordings, files)
        self.problems.warn()
        return rows

    def _file_versions(self, recordings):
        versions = {}
        rate = self.pooler.backbone.sampling_rate
        for position in range(len(recordings)):
            path, selection = path_and_selection(recordings, position)
            if path is not None:
                decode_options = f"{rate} Hz, {selection!r}, channel {self.channel!r}"
                with contextlib.suppress(OSError):  # reported when the file is read
                    versions[position] = FileVersion.from_path(path, decode_options)
        return versions

    def _fill_from_known_files(self, rows, files):
        """Fill the rows of cached, unchanged files; return the positions of the others."""
        positions, filled = defaultdict(list), set()
        if files:
            known = self.stored.store.known_contents(list(files.values()))
            for position, version in files.items():
                if version in known:
                    positions[known[version]].append(position)
            for key, pooled in self.stored.load(list(positions)):
                rows[positions[key]] = pooled[self.layers]
                filled.update(positions[key])
        return [position for position in range(len(rows)) if position not in filled]

    def _read(self, recording):
        rate = self.pooler.backbone.sampling_rate
        waveform = load_waveform(
            recording,
            sampling_rate=self.sampling_rate,
            target_rate=rate,
            channel=self.channel,
        )
        peak = check_amplitude(waveform)
        return _DecodedRecording(
            waveform=waveform,
            key=content_key(waveform) if self.stored is not None else "",
            peak=peak,
            seconds=len(waveform) / rate,
        )

    def _fill(self, rows, pending, recordings, files):
        """Fill the rows of the pending recordings from the store or by the network."""
        positions = defaultdict(list)
        for position, decoded in pending.items():
            positions[decoded.key if self.stored is not None else position].append(position)
        if self.stored is not None:
            known = {files[p]: decoded.key for p, decoded in pending.items() if p in files}
            self.stored.store.remember_contents(known)
            for key, pooled in self.stored.load(list(positions)):
                same = positions.pop(key)
                rows[same] = pooled[self.layers]
                self.progress.update(len(same))
        groups = list(positions.values())
        if groups:
            self.progress.show()
        unique = [pending[group[0]] for group in groups]
        waveforms = [self.pooler.backbone.prepare(decoded.waveform) for decoded in unique]
        for batch in self.pooler.encode(waveforms, self.last_layer):
            if self.stored is not None:
                self.stored.save({unique[index].key: pooled for index, pooled in batch.items()})
            for index, pooled in batch.items():
                for position in groups[index]:
                    self._fill_row(rows, position, pooled, pending[position], recordings)
            self.progress.update(sum(len(groups[index]) for index in batch))

    def _fill_row(self, rows, position, pooled, decoded, recordings):
        if np.isfinite(pooled).all():
            rows[position] = pooled[self.layers]
            return
        pooling = self.pooler.pooling
        if callable(pooling):
            not_finite = UnusableRecording(f"pooling={pooling!r} of its frames is not finite")
            self.problems.add(position, recordings[position], not_finite)
            return
        precision = str(self.pooler.backbone.dtype).removeprefix("torch.")
        remedies = ["scale them to [-1, 1]"] if decoded.peak > 1 else []
        remedies += ["choose dtype='float32'"] if precision != "float32" else []
        reason = UnusableRecording(
            f"the network's output for it is not finite; its samples reach {decoded.peak:.2g} "
            f"and the precision is {precision}: "
            f"{', or '.join(remedies) or 'the network is damaged, not the recording'}"
        )
        self.problems.add(position, recordings[position], reason)
