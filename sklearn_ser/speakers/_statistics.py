"""Statistics of speakers, and their shrinkage towards those of the training speakers."""

from typing import NamedTuple

import numpy as np


class Population(NamedTuple):
    """Statistics of all training speakers.

    Attributes
    ----------
    mean : ndarray of shape row_shape
        Mean over the speakers' means.
    between_variance : ndarray of shape row_shape
        Variance of the speakers' true means.
    within_variance : ndarray of shape row_shape
        Variance of the recordings of a speaker, pooled over speakers.
    total_variance : ndarray of shape row_shape
        The same, with the variance of the frames within a recording.
    scale_variance : float
        Variance over speakers of the ratio between their total variance and the pooled one,
        averaged over features.
    """

    mean: np.ndarray
    between_variance: np.ndarray
    within_variance: np.ndarray
    total_variance: np.ndarray
    scale_variance: float


class Summary(NamedTuple):
    """Statistics of one speaker's recordings.

    Attributes
    ----------
    n_recordings : int
        Number of recordings.
    mean : ndarray of shape row_shape
        Mean.
    scatter : ndarray of shape row_shape
        Sum of the squared deviations from the mean.
    frame_variance : ndarray of shape row_shape, or 0.0
        Variance of the frames within a recording, averaged over recordings; 0 without frames.
    """

    n_recordings: int
    mean: np.ndarray
    scatter: np.ndarray
    frame_variance: np.ndarray | float

    @property
    def total_variance(self):
        """Variance over recordings and frames; 0 for a single recording."""
        if self.n_recordings < 2:
            return np.zeros_like(self.mean)
        return self.scatter / (self.n_recordings - 1) + self.frame_variance


def summarize(rows, time_axis=None, n_first=None):
    """Summarize the recordings of a speaker.

    Parameters
    ----------
    rows : ndarray of shape (n_recordings, ...)
        Representations. Those that contain NaN are ignored.
    time_axis : int or None, default=None
        Axis of the frames, over which each recording is averaged.
    n_first : int or None, default=None
        Number of recordings to use, the first without NaN. None uses all.

    Returns
    -------
    summary : Summary or None
        None if no recording is left.
    """
    has_nan = np.isnan(rows).any(axis=tuple(range(1, rows.ndim)))
    rows = rows[~has_nan][:n_first].astype(np.float64)
    if not len(rows):
        return None
    means = frame_means(rows, time_axis)
    mean = means.mean(axis=0)
    scatter = np.square(means - mean).sum(axis=0)
    frame_variance = 0.0 if time_axis is None else rows.var(axis=time_axis).mean(axis=0)
    return Summary(len(rows), mean, scatter, frame_variance)


def frame_means(rows, time_axis):
    """Return the mean over the frames of each recording, or the rows if there are none."""
    return rows if time_axis is None else rows.mean(axis=time_axis)


def combine(first, second):
    """Return the summary of the recordings of two summaries of the same speaker."""
    n = first.n_recordings + second.n_recordings
    share = second.n_recordings / n
    difference = second.mean - first.mean
    return Summary(
        n,
        first.mean + share * difference,
        first.scatter + second.scatter + first.n_recordings * share * difference**2,
        (1 - share) * first.frame_variance + share * second.frame_variance,
    )


def describe_population(summaries):
    """Estimate the variances between and within the training speakers.

    Parameters
    ----------
    summaries : list of Summary
        One for each speaker.

    Returns
    -------
    population : Population or None
        None if the variances cannot be estimated: for a single speaker, or if each speaker has a
        single recording.
    """
    counts = np.array([summary.n_recordings for summary in summaries])
    if len(counts) < 2 or counts.max() < 2:
        return None
    means = np.stack([summary.mean for summary in summaries])
    degrees = counts.sum() - len(counts)
    within = sum(summary.scatter for summary in summaries) / degrees
    # The variance of the observed means includes that of their estimation.
    between = np.maximum(means.var(axis=0, ddof=1) - within * (1 / counts).mean(), 0)
    several = [summary for summary in summaries if summary.n_recordings > 1]
    total = sum((s.n_recordings - 1) * s.total_variance for s in several) / degrees
    return Population(means.mean(axis=0), between, within, total, _scale_variance(several, total))


def _scale_variance(summaries, total):
    ratios = np.stack([_divide(summary.total_variance, total) for summary in summaries])
    if len(ratios) < 2:
        return 0.0
    of_estimation = np.mean([2 / (summary.n_recordings - 1) for summary in summaries])
    varying = total > 0
    observed = ratios.var(axis=0, ddof=1)[varying].mean() if varying.any() else 0.0
    return float(max(observed - of_estimation, 0))


def remove_level(rows, summary, population, *, scale, time_axis):
    """Remove the level of a speaker from recordings.

    Parameters
    ----------
    rows : ndarray of shape (n_recordings, ...)
        Representations of the speaker's recordings.
    summary : Summary
        Statistics of the speaker.
    population : Population
        Statistics of the training speakers.
    scale : bool
        Whether to divide by the standard deviation of the speaker too.
    time_axis : int or None
        Axis of the frames.

    Returns
    -------
    rows : ndarray of shape (n_recordings, ...)
    """

    def expand(values):
        values = values[np.newaxis]
        return values if time_axis is None else np.expand_dims(values, time_axis)

    offset = shrunken_offset(summary, population)
    if not scale:
        return rows - expand(offset)
    deviations = rows - expand(population.mean + offset)
    return expand(population.mean) + deviations / expand(shrunken_scale(summary, population))


def shrunken_offset(summary, population):
    """Estimate the difference between the mean of a speaker and that of the population.

    This is the empirical Bayes estimate, feature by feature. The mean of k recordings has the
    weight τ² / (τ² + ε²), with the variance between speakers τ² and the variance ε² of its
    estimation. For independent recordings, ε² = σ² / k with the variance within speakers σ².
    If the recordings vary less than those of the training speakers, for example since all have
    the same emotion, their mean is less certain: the part of σ² that they do not show is not
    reduced by averaging. With the ratio r ≤ 1 of both variances, averaged over features,
    ε² = (1 - r) σ² + r σ² / k. Copies of one recording therefore count once.

    Parameters
    ----------
    summary : Summary
        Statistics of the speaker.
    population : Population
        Statistics of the training speakers.

    Returns
    -------
    offset : ndarray of shape row_shape
    """
    shown = _shown_variance(summary, population)
    error = population.within_variance * (1 - shown * (1 - 1 / summary.n_recordings))
    weight = _divide(population.between_variance, population.between_variance + error)
    return weight * (summary.mean - population.mean)


def _shown_variance(summary, population):
    """Return the ratio of the speaker's variance to that within speakers, at most 1."""
    varying = population.within_variance > 0
    if summary.n_recordings < 2 or not varying.any():
        return 0.0
    variance = summary.scatter[varying] / (summary.n_recordings - 1)
    return min(1.0, float(np.mean(variance / population.within_variance[varying])))


def shrunken_scale(summary, population):
    """Estimate the ratio of the standard deviation of a speaker to that of the population.

    As for the mean, the ratio of the variances is shrunk towards 1, with the variance of its
    estimation 2 / (k - 1), that of a normal distribution. If the recordings vary less than those of
    the training speakers, its weight is multiplied by the ratio r of `shrunken_offset`.

    Parameters
    ----------
    summary : Summary
        Statistics of the speaker.
    population : Population
        Statistics of the training speakers.

    Returns
    -------
    scale : ndarray of shape row_shape
        Positive ratio; 1 for a single recording, and for constant features.
    """
    if summary.n_recordings < 2:
        return np.ones_like(summary.mean)
    error = 2 / (summary.n_recordings - 1)
    weight = population.scale_variance / (population.scale_variance + error)
    weight *= _shown_variance(summary, population)
    ratio = _divide(summary.total_variance, population.total_variance)
    ratio = np.where(population.total_variance > 0, ratio, 1)
    return np.sqrt(1 + weight * (ratio - 1))


def _divide(numerator, denominator):
    """Divide, with 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
