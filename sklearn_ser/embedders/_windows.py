"""Long recordings cut into overlapping windows, of which each frame is used once."""

from typing import NamedTuple


class Window(NamedTuple):
    """A part of a recording, and the frames of it that count.

    Parameters
    ----------
    start, stop : int
        The samples that the network sees.
    first, last : int
        The frames that are pooled, counted from the window's own first; `last` is exclusive.
    """

    start: int
    stop: int
    first: int
    last: int


def cut_into_windows(n_samples, *, window, hop, backbone):
    """Cut a recording into windows whose frames, put together, are those of the whole.

    Windows begin where a frame of the whole recording begins, and where two overlap, the frames
    of either are used up to the middle, where each has as much of its surroundings on both sides
    as can be. Where one vector stands for all that the network sees, windows are of one length
    and spread evenly, so that each counts alike.

    Parameters
    ----------
    n_samples : int
        Length of the recording, at least the backbone's `min_samples`.
    window : int or None
        Longest window, in samples; None for no limit.
    hop : int
        From the beginning of one window to the next, in samples; at most `window`.
    backbone : AudioBackbone
        What frames are, by its `stride`, `min_samples` and `n_frames`.

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
    # Whole strides, and so short that frames of one window follow those of the one before.
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
