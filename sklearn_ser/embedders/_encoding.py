"""Waveforms through a frozen network: in windows, in batches, pooled layer by layer."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._windows import Window, cut_into_windows

# A batch of n holds at most n windows, and at most n times so many seconds, padding included:
# about the length of an utterance, so that utterances fill both.
SECONDS_PER_WINDOW = 2.0


@dataclass(frozen=True)
class RecordingWindow:
    """One window of one of the waveforms."""

    index: int
    window: Window
    waveform: np.ndarray
    is_whole: bool


class WindowPooler:
    """Runs a network on batches of windows, and pools their frames layer by layer.

    Parameters
    ----------
    backbone : AudioBackbone
        The network.
    pooling : str or callable
        As the embedders have it.
    window : float or None
        Longest window in seconds.
    hop : float or None
        From window to window, in seconds; None for four fifths of the window.
    batch_size : int
        Most windows in a batch.
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
        """How many numbers are kept of each layer."""
        from sklearn_ser.nn import POOLINGS

        if callable(self.pooling):  # as many as it makes of any frames
            return len(_pool_by(self.pooling, np.zeros((2, self.backbone.n_dims), np.float32)))
        return len(POOLINGS[self.pooling]) * self.backbone.n_dims

    def column_names(self):
        """Name the numbers that are kept of each layer."""
        from sklearn_ser.nn import POOLINGS

        if callable(self.pooling):
            return [f"pooled{column:04d}" for column in range(self.n_columns)]
        dims = [f"dim{dim:04d}" for dim in range(self.backbone.n_dims)]
        if self.pooling == "mean":
            return dims
        return [f"{name}_{dim}" for name in POOLINGS[self.pooling] for dim in dims]

    def encode(self, waveforms, last_layer):
        """Yield the pooled layers of waveforms, a batch at a time.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            At the backbone's rate, prepared by it.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        pooled : dict of int to ndarray of shape (last_layer + 1, n_columns), float32
            The waveforms whose last window was in the batch, by index.
        """
        pieces = [piece for i, waveform in enumerate(waveforms) for piece in self._cut(i, waveform)]
        left = np.bincount([piece.index for piece in pieces])
        parts = defaultdict(list)
        for batch in self._batches(pieces):
            for piece, part in zip(batch, self._encode_batch(batch, last_layer), strict=True):
                parts[piece.index].append((piece.window, part))
                left[piece.index] -= 1
            done = [index for index in {piece.index for piece in batch} if not left[index]]
            yield {index: self._merge(parts.pop(index)) for index in done}

    def _cut(self, index, waveform):
        missing = self.backbone.min_samples - len(waveform)
        if missing > 0:
            waveform = np.pad(waveform, (0, missing))
        windows = cut_into_windows(
            len(waveform), window=self.window, hop=self.hop, backbone=self.backbone
        )
        for window in windows:
            seen = waveform[window.start : window.stop]
            yield RecordingWindow(index, window, seen, is_whole=len(windows) == 1)

    def _batches(self, pieces):
        """Group windows of like length, the longest first, so that memory fails early or never."""
        limit = self.batch_size * SECONDS_PER_WINDOW * self.backbone.sampling_rate
        batch: list[RecordingWindow] = []
        longest = 0
        for piece in sorted(pieces, key=lambda piece: -len(piece.waveform)):
            longest = longest or self.backbone.n_samples_seen(len(piece.waveform))
            if batch and (len(batch) == self.batch_size or (len(batch) + 1) * longest > limit):
                yield batch
                batch, longest = [], self.backbone.n_samples_seen(len(piece.waveform))
            batch.append(piece)
        if batch:
            yield batch

    def _encode_batch(self, batch, last_layer):
        """Return one part for each window; where memory runs out, in two halves."""
        return encode_or_halve(
            lambda pieces: self._encode_at_once(pieces, last_layer), batch, self._explain_too_large
        )

    def _explain_too_large(self, piece):
        seconds = len(piece.waveform) / self.backbone.sampling_rate
        return (
            f"A window of {seconds:.1f} s does not fit into the memory of "
            f"{self.backbone.device!r}. Choose a shorter window=, a smaller model, or "
            "device='cpu'."
        )

    def _encode_at_once(self, batch, last_layer):
        import torch

        from sklearn_ser.nn import pool_frames

        parts: list[list] = [[] for _ in batch]
        for hidden_states in self.backbone.encode([piece.waveform for piece in batch], last_layer):
            frames = [
                hidden_states[row, piece.window.first : piece.window.last]
                for row, piece in enumerate(batch)
            ]
            layer: Iterable[np.ndarray]
            if callable(self.pooling):
                layer = [
                    self._pool_if_whole(piece, own.float().cpu().numpy())
                    for piece, own in zip(batch, frames, strict=True)
                ]
            else:  # one copy from the device for the whole batch
                layer = torch.stack([pool_frames(own) for own in frames]).cpu().numpy()
            for part, own in zip(parts, layer, strict=True):
                part.append(own)
        return [np.stack(part) for part in parts]

    def _pool_if_whole(self, piece, frames):
        """Pool a recording of one window at once; frames of several wait for each other."""
        return self._pool(frames) if piece.is_whole else frames

    def _pool(self, frames):
        pooled = _pool_by(self.pooling, frames)
        if len(pooled) != self.n_columns:
            raise ValueError(
                f"pooling={self.pooling!r} gave {len(pooled)} numbers for frames of shape "
                f"{frames.shape} and {self.n_columns} for others; it must give as many for all."
            )
        return pooled

    def _merge(self, parts):
        """Pool a recording from its windows, of shape (n_layers, ...) each."""
        from sklearn_ser.nn import merge_statistics

        windows, layers = zip(*sorted(parts, key=lambda part: part[0]), strict=True)
        if callable(self.pooling):
            if len(windows) == 1:
                return layers[0]
            return np.stack([self._pool(frames) for frames in np.concatenate(layers, axis=1)])
        n_frames = [window.last - window.first for window in windows]
        return merge_statistics(np.stack(layers), n_frames, self.pooling)


def _pool_by(pooling, frames):
    """Pool frames by a user's function, and check what it gives."""
    try:
        pooled = np.asarray(pooling(frames), dtype=np.float32)
    except Exception as error:
        raise ValueError(
            f"pooling={pooling!r} failed on frames of shape {frames.shape} "
            f"({type(error).__name__}: {error})."
        ) from error
    if pooled.ndim != 1 or (np.isfinite(frames).all() and not np.isfinite(pooled).all()):
        raise ValueError(
            f"pooling={pooling!r} gave an array of shape {pooled.shape} for frames of shape "
            f"{frames.shape}, {np.isfinite(pooled).mean():.0%} of it finite; it must give a 1-D "
            "array of finite numbers, such as frames.mean(axis=0)."
        )
    return pooled


def encode_or_halve(encode, batch, explain):
    """Encode a batch; where memory runs out, in two halves.

    Parameters
    ----------
    encode : callable
        From a list to a list of results.
    batch : list
        At least one input.
    explain : callable
        From an input that does not fit by itself to what to say of it.

    Returns
    -------
    results : list
        One for each input.
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
    # Out of the clause above the error is gone, and with it the tensors that it held.
    half = len(batch) // 2
    return [
        *encode_or_halve(encode, batch[:half], explain),
        *encode_or_halve(encode, batch[half:], explain),
    ]


def _is_out_of_memory(error):
    words = str(error).lower()
    said = any(sign in words for sign in ("out of memory", "can't allocate", "alloc_failed"))
    return said or isinstance(error, MemoryError)
