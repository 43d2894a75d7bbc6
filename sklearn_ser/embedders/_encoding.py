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
class Piece:
    """One window of one of the waveforms."""

    index: int
    window: Window
    waveform: np.ndarray


class Encoder:
    """A backbone with what shapes its output: pooling and windows.

    Parameters
    ----------
    backbone : Backbone
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
            return len(_call(self.pooling, np.zeros((2, self.backbone.n_dims), np.float32)))
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

    def encode(self, waveforms, depth):
        """Yield the pooled layers of waveforms, a batch at a time.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            At the backbone's rate, prepared by it.
        depth : int
            The last layer to compute.

        Yields
        ------
        pooled : dict of int to ndarray of shape (depth + 1, n_columns), float32
            The waveforms whose last window was in the batch, by index.
        """
        pieces = [piece for i, waveform in enumerate(waveforms) for piece in self._cut(i, waveform)]
        left = np.bincount([piece.index for piece in pieces])
        parts = defaultdict(list)
        for batch in self._batches(pieces):
            for piece, part in zip(batch, self._encode_batch(batch, depth), strict=True):
                parts[piece.index].append((piece.window, part))
                left[piece.index] -= 1
            done = [index for index in {piece.index for piece in batch} if not left[index]]
            yield {index: self._merge(parts.pop(index)) for index in done}

    def _cut(self, index, waveform):
        missing = self.backbone.min_samples - len(waveform)
        if missing > 0:
            waveform = np.pad(waveform, (0, missing))
        for window in cut_into_windows(
            len(waveform), window=self.window, hop=self.hop, backbone=self.backbone
        ):
            yield Piece(index, window, waveform[window.start : window.stop])

    def _batches(self, pieces):
        """Group windows of like length, the longest first, so that memory fails early or never."""
        limit = self.batch_size * SECONDS_PER_WINDOW * self.backbone.sampling_rate
        batch: list[Piece] = []
        longest = 0
        for piece in sorted(pieces, key=lambda piece: -len(piece.waveform)):
            longest = longest or self.backbone.n_samples_seen(len(piece.waveform))
            if batch and (len(batch) == self.batch_size or (len(batch) + 1) * longest > limit):
                yield batch
                batch, longest = [], self.backbone.n_samples_seen(len(piece.waveform))
            batch.append(piece)
        if batch:
            yield batch

    def _encode_batch(self, batch, depth):
        """Return one part for each window; where memory runs out, in two halves."""
        try:
            return self._encode_at_once(batch, depth)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(batch) == 1:
                seconds = len(batch[0].waveform) / self.backbone.sampling_rate
                raise MemoryError(
                    f"A window of {seconds:.1f} s does not fit into the memory of "
                    f"{self.backbone.device!r}. Choose a shorter window=, a smaller model, or "
                    "device='cpu'."
                ) from error
        # Out of the clause above the error is gone, and with it the tensors that it held.
        half = len(batch) // 2
        return self._encode_batch(batch[:half], depth) + self._encode_batch(batch[half:], depth)

    def _encode_at_once(self, batch, depth):
        import torch

        from sklearn_ser.nn import pool_frames

        parts: list[list] = [[] for _ in batch]
        for hidden_states in self.backbone.encode([piece.waveform for piece in batch], depth):
            frames = [
                hidden_states[row, piece.window.first : piece.window.last]
                for row, piece in enumerate(batch)
            ]
            layer: Iterable[np.ndarray]
            if callable(self.pooling):
                layer = [own.float().cpu().numpy() for own in frames]
            else:  # one copy from the device for the whole batch
                layer = torch.stack([pool_frames(own) for own in frames]).cpu().numpy()
            for part, own in zip(parts, layer, strict=True):
                part.append(own)
        return [np.stack(part) for part in parts]

    def _merge(self, parts):
        """Pool a recording from its windows, of shape (n_layers, ...) each."""
        from sklearn_ser.nn import merge_statistics

        windows, layers = zip(*sorted(parts, key=lambda part: part[0]), strict=True)
        if callable(self.pooling):
            frames_of_layers = np.concatenate(layers, axis=1)
            return np.stack([_call(self.pooling, frames) for frames in frames_of_layers])
        n_frames = [window.last - window.first for window in windows]
        return merge_statistics(np.stack(layers), n_frames, self.pooling)


def _call(pooling, frames):
    """Pool frames by a user's function, and check what it gives."""
    pooled = np.asarray(pooling(frames), dtype=np.float32)
    if pooled.ndim != 1:
        raise ValueError(
            f"pooling={pooling!r} gave an array of shape {pooled.shape} for frames of shape "
            f"{frames.shape}; it must give a 1-D array, such as frames.mean(axis=0)."
        )
    return pooled


def _is_out_of_memory(error):
    words = str(error).lower()
    said = any(sign in words for sign in ("out of memory", "can't allocate", "alloc_failed"))
    return said or isinstance(error, MemoryError)
