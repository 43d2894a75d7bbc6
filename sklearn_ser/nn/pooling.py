"""Statistics over the frames of a recording, also of one that comes in pieces."""

import numpy as np
import torch
from torch import nn

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


def average_frames(frames, n_frames):
    """Average the frames of each recording of a padded batch.

    Parameters
    ----------
    frames : Tensor of shape (n_recordings, n_frames, n_dims)
    n_frames : list of int
        How many of them are the recording's own.

    Returns
    -------
    vectors : Tensor of shape (n_recordings, n_dims)
        Zeros for a recording without frames.
    """
    own = [row[:n].float().sum(0) / max(n, 1) for row, n in zip(frames, n_frames, strict=True)]
    return torch.stack(own)


class AttentiveStatistics(nn.Module):
    """Mean and deviation over frames, weighted by what a small network makes of each frame.

    Parameters
    ----------
    n_dims : int
        Size of a frame.
    hidden_size : int, default=128
        Width of that network.

    References
    ----------
    K. Okabe, T. Koshinaka, K. Shinoda, "Attentive Statistics Pooling for Deep Speaker Embedding",
    Interspeech 2018, arXiv 1803.10963.
    """

    def __init__(self, n_dims, hidden_size=128):
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(n_dims, hidden_size), nn.Tanh(), nn.Linear(hidden_size, 1)
        )

    def forward(self, frames, n_frames):
        """Pool the frames of each recording of a padded batch.

        Parameters
        ----------
        frames : Tensor of shape (n_recordings, n_frames, n_dims)
        n_frames : list of int
            How many of them are the recording's own.

        Returns
        -------
        vectors : Tensor of shape (n_recordings, 2 * n_dims)
            The weighted mean, then the weighted standard deviation.
        """
        vectors = []
        for row, n in zip(frames, n_frames, strict=True):
            own = row[:n].float()
            weights = torch.softmax(self.score(row[:n]).float(), dim=0)
            mean = (weights * own).sum(0)
            variance = (weights * (own - mean) ** 2).sum(0)
            # The root of zero has no gradient: a single frame deviates from nothing.
            vectors.append(torch.cat([mean, (variance + 1e-9).sqrt()]))
        return torch.stack(vectors)
