"""Split long recordings into overlapping windows, using each frame once."""

from typing import NamedTuple


class Window(NamedTuple):
    """Samples of a window, and the frames to pool.

    Parameters
    ----------
    start, stop : int
        Range of samples; `stop` is exclusive.
    first, last : int
        Range of frames to pool, relative to the window; `last` is exclusive.
    """

    start: int
    stop: int
    first: int
    last: int


def cut_into_windows(n_samples, *, window, hop, backbone):
    """Split a recording into windows whose pooled frames cover the recording exactly once.

    Each window starts at a frame of the recording. The overlap of two windows is divided in the
    middle, so that each frame has as much context as possible on both sides. If the network
    returns a single vector per window, windows have equal length and are evenly spaced, so that
    each has equal weight.

    Parameters
    ----------
    n_samples : int
        Length of the recording, at least the backbone's `min_samples`.
    window : int or None
        Maximum length of a window, in samples; None for no limit.
    hop : int
        Step between the starts of successive windows, in samples; at most `window`.
    backbone : AudioBackbone
        Defines the frames by `stride`, `min_samples` and `n_frames`.

    Returns
    -------
    windows : list of Window
    """
    if window is None or n_samples <= window:
        return [Window(0, n_samples, 0, backbone.n_frames(n_samples))]
    stride = backbone.stride
    if stride is None:
        n_windows = -(-n_samples // window)
        between = (n_samples - window) / (n_windows - 1)
        starts = [round(k * between) for k in range(n_windows)]
        return [Window(start, start + window, 0, 1) for start in starts]
    # A multiple of the stride, and so short that there is no gap between the frames of windows.
    hop = max(min(hop, window - backbone.min_samples + stride) // stride, 1) * stride
    last_start = -(-(n_samples - window) // stride) * stride
    starts = [*range(0, last_start, hop), last_start]
    stops = [min(start + window, n_samples) for start in starts]
    ends = [
        start // stride + backbone.n_frames(stop - start)
        for start, stop in zip(starts, stops, strict=True)
    ]
    cuts = [(starts[k + 1] // stride + ends[k]) // 2 for k in range(len(starts) - 1)]
    return [
        Window(start, stop, first - start // stride, last - start // stride)
        for start, stop, first, last in zip(
            starts, stops, [0, *cuts], [*cuts, ends[-1]], strict=True
        )
    ]
