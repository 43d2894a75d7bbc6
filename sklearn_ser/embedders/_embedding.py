"""Recordings to rows of embeddings: each passes through the network once, and is kept."""

import contextlib
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from sklearn_ser.audio import (
    ErrorCollector,
    UnusableRecording,
    check_amplitude,
    load_waveform,
    path_and_channel,
    read_each,
)
from sklearn_ser.store import FileVersion, content_key

from ._encoding import SECONDS_PER_WINDOW
from ._stored_layers import open_stored_layers

# So many batches are read ahead, and sorted by length, before the first is embedded.
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
    """Embed recordings, those that a store holds without the network.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        As `check_recordings` returns them.
    pooler : WindowPooler
        The network, its pooling and windows.
    layers : list of int
        The layers wanted, counted from 0.
    last_layer : int
        The layer down to which to compute and keep.
    store : EmbeddingStore or None
        Where embeddings are kept.
    sampling_rate, channel, on_error, n_jobs
        As the embedders have them.
    progress : callable
        Is told the seconds that were embedded.

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
    """One recording as the network is to see it."""

    waveform: np.ndarray
    content: str
    loudest: float
    seconds: float


class _Run:
    """One call of `embed_recordings`."""

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
        rows = np.full(shape, np.nan, dtype=np.float32)
        files = self._file_versions(recordings) if self.stored is not None else {}
        unknown = self._fill_from_known_files(rows, files)
        ahead, n_seconds = {}, 0.0
        limit = _BATCHES_AHEAD * SECONDS_PER_WINDOW * self.pooler.batch_size
        for position, decoded in read_each(
            self._read, recordings, self.problems, n_jobs=n_jobs, positions=unknown
        ):
            ahead[position] = decoded
            n_seconds += decoded.seconds
            if n_seconds >= limit:
                self._fill(rows, ahead, recordings, files)
                ahead, n_seconds = {}, 0.0
        self._fill(rows, ahead, recordings, files)
        self.problems.warn()
        return rows

    def _file_versions(self, recordings):
        versions = {}
        rate = self.pooler.backbone.sampling_rate
        for position in range(len(recordings)):
            path, channel = path_and_channel(recordings, position)
            if path is not None:
                reading = f"{rate} Hz, channel {channel!r}, {self.channel!r}"
                with contextlib.suppress(OSError):  # reading it will tell what is wrong
                    versions[position] = FileVersion.from_path(path, reading)
        return versions

    def _fill_from_known_files(self, rows, files):
        """Fill the rows of unchanged files without reading them; return the other positions."""
        positions, filled = defaultdict(list), set()
        if files:
            known = self.stored.store.known_contents(list(files.values()))
            for position, version in files.items():
                if version in known:
                    positions[known[version]].append(position)
            for content, pooled in self.stored.load(list(positions)):
                rows[positions[content]] = pooled[self.layers]
                filled.update(positions[content])
        return [position for position in range(len(rows)) if position not in filled]

    def _read(self, recording):
        backbone = self.pooler.backbone
        waveform = load_waveform(
            recording,
            sampling_rate=self.sampling_rate,
            target_rate=backbone.sampling_rate,
            channel=self.channel,
        )
        loudest = check_amplitude(waveform)
        return _DecodedRecording(
            waveform=backbone.prepare(waveform),
            content=content_key(waveform) if self.stored is not None else "",
            loudest=loudest,
            seconds=len(waveform) / backbone.sampling_rate,
        )

    def _fill(self, rows, ahead, recordings, files):
        """Fill the rows of these recordings, from the store or by the network."""
        positions = defaultdict(list)
        for position, decoded in ahead.items():
            positions[decoded.content if self.stored is not None else position].append(position)
        if self.stored is not None:
            known = {files[p]: decoded.content for p, decoded in ahead.items() if p in files}
            self.stored.store.remember_contents(known)
            for content, pooled in self.stored.load(list(positions)):
                rows[positions.pop(content)] = pooled[self.layers]
        groups = list(positions.values())
        waveforms = [ahead[group[0]].waveform for group in groups]
        for batch in self.pooler.encode(waveforms, self.last_layer):
            if self.stored is not None:
                self.stored.save({ahead[groups[i][0]].content: own for i, own in batch.items()})
            for index, pooled in batch.items():
                for position in groups[index]:
                    self._fill_row(rows, position, pooled, ahead[position], recordings)
            self.progress(sum(ahead[groups[index][0]].seconds for index in batch))

    def _fill_row(self, rows, position, pooled, decoded, recordings):
        if np.isfinite(pooled).all():
            rows[position] = pooled[self.layers]
            return
        precision = str(self.pooler.backbone.dtype).removeprefix("torch.")
        reason = UnusableRecording(
            f"the network's output for it is not finite; its samples reach {decoded.loudest:.2g} "
            f"and the precision is {precision}: scale them to [-1, 1]"
            + (", or choose dtype='float32'" if precision != "float32" else "")
        )
        self.problems.add(position, recordings[position], reason)
