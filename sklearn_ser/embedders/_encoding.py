"""Encode waveforms by a frozen network, in batches of windows, and pool each layer."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._windows import Window, cut_into_windows

# A batch has at most `batch_size` windows and `batch_size` times this many seconds. This is about
# the length of an utterance, so utterances reach both limits.
SECONDS_PER_WINDOW = 2.0
# Statistics of each pooling, in the order of the columns.
_STATISTICS = {"mean": ("mean",), "mean_std": ("mean", "std"), "max": ("max",)}


@dataclass(frozen=True)
class RecordingWindow:
    """One window of the waveform at `index`."""

    index: int
    span: Window
    waveform: np.ndarray
    is_whole: bool


class WindowPooler:
    """Run a network on batches of windows, and pool the frames of each layer.

    Parameters
    ----------
    backbone : AudioBackbone
        The network.
    pooling : {"mean", "mean_std", "max"} or callable
        Statistics of each layer over time.
    window : float or None
        Maximum length of a window, in seconds.
    hop : float or None
        Step between windows, in seconds. If None, ``0.8 * window``.
    batch_size : int
        Maximum number of windows in a batch.
    """

    def __init__(self, backbone, *, pooling, window, hop, batch_size):
        rate = backbone.sampling_rate
        window = None if backbone.cuts_by_itself else window
        self.backbone = backbone
        self.pooling = pooling
        self.window = None if window is None else round(window * rate)
        hop = 0.8 * window if hop is None and window is not None else hop
        self.hop = None if window is None else round(hop * rate)
        self.batch_size = batch_size

    @cached_property
    def n_columns(self):
        """Number of pooled values of each layer."""
        if callable(self.pooling):  # the same for any frames
            frames = np.random.default_rng(0).standard_normal((50, self.backbone.n_dims))
            return len(_pool_by(self.pooling, frames.astype(np.float32)))
        return len(_STATISTICS[self.pooling]) * self.backbone.n_dims

    def column_names(self):
        """Return the names of the pooled values of each layer."""
        if callable(self.pooling):
            return [f"pooled{column:04d}" for column in range(self.n_columns)]
        dims = [f"dim{dim:04d}" for dim in range(self.backbone.n_dims)]
        if self.pooling == "mean":
            return dims
        return [f"{name}_{dim}" for name in _STATISTICS[self.pooling] for dim in dims]

    def encode(self, waveforms, last_layer):
        """Yield the pooled layers of waveforms, batch by batch.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Waveforms returned by `backbone.prepare`.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        pooled : dict of int to ndarray of shape (last_layer + 1, n_columns), float32
            Pooled layers of the waveforms that are complete after the batch, by index.
        """
        windows = [w for i, waveform in enumerate(waveforms) for w in self._cut(i, waveform)]
        n_missing = np.bincount([window.index for window in windows])
        parts = defaultdict(list)
        for batch in self._batches(windows):
            for window, part in zip(batch, self._encode_batch(batch, last_layer), strict=True):
                parts[window.index].append((window.span, part))
                n_missing[window.index] -= 1
            complete = [i for i in {window.index for window in batch} if not n_missing[i]]
            yield {index: self._merge(parts.pop(index)) for index in complete}

    def _cut(self, index, waveform):
        missing = self.backbone.min_samples - len(waveform)
        if missing > 0:
            waveform = np.pad(waveform, (0, missing))
        spans = cut_into_windows(
            len(waveform), window=self.window, hop=self.hop, backbone=self.backbone
        )
        for span in spans:
            samples = waveform[span.start : span.stop]
            yield RecordingWindow(index, span, samples, is_whole=len(spans) == 1)

    def _batches(self, windows):
        """Group windows of similar length, longest first so that memory runs out early."""
        limit = self.batch_size * SECONDS_PER_WINDOW * self.backbone.sampling_rate
        batch: list[RecordingWindow] = []
        total = 0
        for window in sorted(windows, key=lambda window: -len(window.waveform)):
            n_samples = self.backbone.n_samples_processed(len(window.waveform))
            if batch and (len(batch) == self.batch_size or total + n_samples > limit):
                yield batch
                batch, total = [], 0
            batch.append(window)
            total += n_samples
        if batch:
            yield batch

    def _encode_batch(self, batch, last_layer):
        """Return the pooled layers of each window, halving the batch if memory runs out."""
        return encode_or_halve(
            lambda windows: self._encode_at_once(windows, last_layer),
            batch,
            self._explain_too_large,
        )

    def _explain_too_large(self, window):
        seconds = len(window.waveform) / self.backbone.sampling_rate
        return (
            f"A window of {seconds:.1f} s does not fit into the memory of "
            f"{self.backbone.device!r}. Choose a shorter window=, a smaller model, or "
            "device='cpu'."
        )

    def _encode_at_once(self, batch, last_layer):
        import torch

        from sklearn_ser.nn import pool_frames

        parts: list[list] = [[] for _ in batch]
        waveforms = [window.waveform for window in batch]
        for hidden_states in self.backbone.encode(waveforms, last_layer):
            frames = [
                own[window.span.first : window.span.last]
                for own, window in zip(hidden_states, batch, strict=True)
            ]
            layer: Iterable[np.ndarray]
            if callable(self.pooling):
                layer = [
                    self._pool_if_whole(window, x.float().cpu().numpy())
                    for window, x in zip(batch, frames, strict=True)
                ]
            else:  # one copy from the device for the whole batch
                names = _STATISTICS[self.pooling]
                layer = torch.stack([pool_frames(x, names) for x in frames]).cpu().numpy()
            for part, pooled in zip(parts, layer, strict=True):
                part.append(pooled)
        return [np.stack(part) for part in parts]

    def _pool_if_whole(self, window, frames):
        """Pool the frames now if the window is the whole recording, otherwise return them."""
        return self._pool(frames) if window.is_whole else frames

    def _pool(self, frames):
        pooled = _pool_by(self.pooling, frames)
        if len(pooled) != self.n_columns:
            raise ValueError(
                f"pooling={self.pooling!r} returned {len(pooled)} values for frames of shape "
                f"{frames.shape} and {self.n_columns} for others; the number must not depend on "
                "the number of frames."
            )
        return pooled

    def _merge(self, parts):
        """Combine the windows of a recording, each of shape (n_layers, ...)."""
        from sklearn_ser.nn import merge_statistics

        spans, layers = zip(*sorted(parts, key=lambda part: part[0]), strict=True)
        if callable(self.pooling):
            if len(spans) == 1:
                return layers[0]
            return np.stack([self._pool(frames) for frames in np.concatenate(layers, axis=1)])
        n_frames = [span.last - span.first for span in spans]
        return merge_statistics(np.stack(layers), n_frames, _STATISTICS[self.pooling])


def _pool_by(pooling, frames):
    """Pool frames by a user-defined function, and check its output."""
    try:
        pooled = np.asarray(pooling(frames), dtype=np.float32)
    except Exception as error:
        raise ValueError(
            f"pooling={pooling!r} failed on frames of shape {frames.shape} "
            f"({type(error).__name__}: {error})."
        ) from error
    if pooled.ndim != 1:
        raise ValueError(
            f"pooling={pooling!r} returned an array of shape {pooled.shape} for frames of shape "
            f"{frames.shape}; it must return a 1-D array, such as frames.mean(axis=0)."
        )
    return pooled


def encode_or_halve(encode, batch, explain):
    """Encode a batch, recursively in two halves if memory runs out.

    Parameters
    ----------
    encode : callable
        Maps a list of inputs to a list of results.
    batch : list
        Inputs, at least one.
    explain : callable
        Returns the error message for a single input that does not fit into memory.

    Returns
    -------
    results : list
        One result per input.

    Raises
    ------
    MemoryError
        If a single input does not fit into memory.
    """
    from sklearn_ser.nn import exact_convolutions

    try:
        with exact_convolutions():
            return encode(batch)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise MemoryError(explain(batch[0])) from error
    # Outside the except clause, the error no longer keeps its tensors alive.
    half = len(batch) // 2
    return [
        *encode_or_halve(encode, batch[:half], explain),
        *encode_or_halve(encode, batch[half:], explain),
    ]


def _is_out_of_memory(error):
    message = str(error).lower()
    signs = ("out of memory", "can't allocate", "alloc_failed")
    return isinstance(error, MemoryError) or any(sign in message for sign in signs)
