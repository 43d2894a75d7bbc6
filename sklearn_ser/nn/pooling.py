"""Pooling over the frames of a recording, also from statistics of its windows."""

import numpy as np
import torch
from torch import nn


def pool_frames(frames):
    """Compute statistics over the frames of a window.

    Parameters
    ----------
    frames : Tensor of shape (n_frames, n_dims)
        Valid frames without padding, at least one, of any floating-point type.

    Returns
    -------
    statistics : Tensor of shape (3, n_dims), float32
        Mean, population variance and maximum.
    """
    frames = frames.float()
    variance, mean = torch.var_mean(frames, dim=0, correction=0)
    return torch.stack([mean, variance, frames.amax(dim=0)])


def merge_statistics(statistics, n_frames, names):
    """Pool a recording from the statistics of its windows.

    Parameters
    ----------
    statistics : ndarray of shape (n_windows, ..., 3, n_dims)
        Statistics of each window, as returned by `pool_frames`.
    n_frames : list of int
        Number of frames of each window.
    names : sequence of {"mean", "std", "max"}
        Statistics to return.

    Returns
    -------
    pooled : ndarray of shape (..., n_statistics * n_dims), float32
        The statistics over all frames of the recording.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    means, variances, maxima = np.moveaxis(statistics, -2, 0)
    mean = np.average(means, axis=0, weights=n_frames)
    variance = np.average(variances + (means - mean) ** 2, axis=0, weights=n_frames)
    merged = {"mean": mean, "std": np.sqrt(variance), "max": maxima.max(axis=0)}
    pooled = np.concatenate([merged[name] for name in names], axis=-1)
    return pooled.astype(np.float32)


def average_frames(frames):
    """Average the frames of each recording.

    Parameters
    ----------
    frames : sequence of Tensor of shape (n_frames, n_dims)
        Frames of each recording.

    Returns
    -------
    vectors : Tensor of shape (n_recordings, n_dims)
        The means. Zeros for recordings without frames.
    """
    return torch.stack([own.float().sum(0) / max(len(own), 1) for own in frames])


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over frames, with attention weights.

    Parameters
    ----------
    n_dims : int
        Number of dimensions of a frame.
    hidden_size : int, default=128
        Width of the hidden layer of the attention network.

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

    def forward(self, frames):
        """Pool the frames of each recording.

        Parameters
        ----------
        frames : sequence of Tensor of shape (n_frames, n_dims)
            Frames of each recording, at least one.

        Returns
        -------
        vectors : Tensor of shape (n_recordings, 2 * n_dims)
            The weighted mean, then the weighted standard deviation.
        """
        vectors = []
        for own in frames:
            weights = torch.softmax(self.score(own).float(), dim=0)
            own = own.float()
            mean = (weights * own).sum(0)
            variance = (weights * (own - mean) ** 2).sum(0)
            # The square root has no gradient at 0, the variance of a single frame.
            vectors.append(torch.cat([mean, (variance + 1e-9).sqrt()]))
        return torch.stack(vectors)
