"""Statistics over the frames of a recording, also of one that comes in pieces."""

import numpy as np
import torch

# The statistics of each pooling, in the order of the columns.
POOLINGS = {"mean": ("mean",), "mean_std": ("mean", "std"), "max": ("max",)}


def pool_frames(frames):
    """Take the statistics of one piece of a recording.

    Parameters
    ----------
    frames : Tensor of shape (n_frames, n_dims)
        Valid frames only, at least one; of any precision.

    Returns
    -------
    statistics : Tensor of shape (3, n_dims), float32
        Mean, variance (of the population) and maximum.
    """
    frames = frames.float()
    variance, mean = torch.var_mean(frames, dim=0, correction=0)
    return torch.stack([mean, variance, frames.amax(dim=0)])


def merge_statistics(statistics, n_frames, pooling):
    """Pool a recording from the statistics of its pieces.

    Parameters
    ----------
    statistics : ndarray of shape (n_pieces, ..., 3, n_dims)
        As `pool_frames` returns them.
    n_frames : list of int
        Number of frames of each piece.
    pooling : {"mean", "mean_std", "max"}
        The statistics wanted.

    Returns
    -------
    pooled : ndarray of shape (..., n_statistics * n_dims), float32
        As if all frames had been pooled at once.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    means, variances, maxima = np.moveaxis(statistics, -2, 0)
    mean = np.average(means, axis=0, weights=n_frames)
    variance = np.average(variances + (means - mean) ** 2, axis=0, weights=n_frames)
    merged = {"mean": mean, "std": np.sqrt(variance), "max": maxima.max(axis=0)}
    pooled = np.concatenate([merged[name] for name in POOLINGS[pooling]], axis=-1)
    return pooled.astype(np.float32)
