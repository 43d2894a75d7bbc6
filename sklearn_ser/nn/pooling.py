"""Pooling over the frames of a recording, also from statistics of its windows."""

import numpy as np
import torch
from torch import nn


def pool_frames(frames, names):
    """Compute the statistics over the frames of a window that `merge_statistics` needs.

    Parameters
    ----------
    frames : Tensor of shape (n_frames, n_dims)
        Frames, at least one, of any floating-point type.
    names : {("mean",), ("mean", "std"), ("max",)}
        Statistics of the recording.

    Returns
    -------
    statistics : Tensor of shape (n_statistics, n_dims), float32
        Mean, mean and population variance, or maximum.
    """
    frames = frames.float()
    if names == ("max",):
        return frames.amax(dim=0, keepdim=True)
    if names == ("mean",):
        return frames.mean(dim=0, keepdim=True)
    variance, mean = torch.var_mean(frames, dim=0, correction=0)
    return torch.stack([mean, variance])


def merge_statistics(statistics, n_frames, names):
    """Pool a recording from the statistics of its windows.

    Parameters
    ----------
    statistics : ndarray of shape (n_windows, ..., n_statistics, n_dims)
        Statistics of each window, as returned by `pool_frames`.
    n_frames : list of int
        Number of frames of each window.
    names : {("mean",), ("mean", "std"), ("max",)}
        Statistics of the recording.

    Returns
    -------
    pooled : ndarray of shape (..., n_statistics * n_dims), float32
        The statistics over all frames of the recording.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    if names == ("max",):
        return statistics.max(axis=0)[..., 0, :].astype(np.float32)
    means = statistics[..., 0, :]
    pooled = mean = np.average(means, axis=0, weights=n_frames)
    if "std" in names:
        variances = statistics[..., 1, :] + (means - mean) ** 2
        std = np.sqrt(np.average(variances, axis=0, weights=n_frames))
        pooled = np.concatenate([mean, std], axis=-1)
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
