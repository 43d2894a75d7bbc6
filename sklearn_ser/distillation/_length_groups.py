"""Groups of recordings of similar length within a batch."""

import numpy as np

# A further group has to save padding of this fraction of the frames of the batch. Small groups make
# small matrix products; with half or twice the fraction, a step takes as long or longer.
_MIN_SAVED = 0.05


def group_by_length(n_frames):
    """Split a batch into groups of similar length, so that little of it is padding.

    Parameters
    ----------
    n_frames : list of int
        Number of frames of each recording.

    Returns
    -------
    groups : list of ndarray of int
        Indices of the recordings of each group. The groups minimise the number of frames, if each
        recording is padded to the longest of its group and each group costs some frames.
    """
    order = np.argsort(n_frames, kind="stable")[::-1]
    longest = np.asarray(n_frames)[order]
    cost_of_group = _MIN_SAVED * longest.sum()
    n = len(order)
    lowest, start = np.zeros(n + 1), np.zeros(n + 1, dtype=int)
    for end in range(1, n + 1):  # the group that ends here may start at any recording before
        costs = lowest[:end] + longest[:end] * np.arange(end, 0, -1) + cost_of_group
        start[end] = costs.argmin()
        lowest[end] = costs[start[end]]
    groups, end = [], n
    while end:
        groups.append(order[start[end] : end])
        end = start[end]
    return groups
