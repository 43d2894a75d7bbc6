"""Confidence intervals over speakers, also of paired differences."""

from numbers import Integral, Real

import numpy as np
from scipy.stats import bootstrap
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from sklearn_ser._sklearn import Interval, validate_params
from sklearn_ser._targets import check_not_missing

SHARED_CONSTRAINTS = {
    "metric": [callable],
    "y_true": ["array-like"],
    "y_pred": ["array-like"],
    "groups": ["array-like"],
    "confidence_level": [Interval(Real, 0, 1, closed="neither")],
    "n_resamples": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
}


@validate_params(SHARED_CONSTRAINTS, prefer_skip_nested_validation=True)
def confidence_interval(
    metric, y_true, y_pred, *, groups, confidence_level=0.95, n_resamples=1000, random_state=None
):
    """Compute a bootstrap confidence interval over speakers.

    Recordings of the same speaker are not independent, so whole speakers are drawn with
    replacement. An interval over recordings would be too narrow. The model is not trained again:
    the interval describes the variation of the metric over test speakers.

    Parameters
    ----------
    metric : callable
        Function ``metric(y_true, y_pred)`` that returns a float.
    y_true : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True targets.
    y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        Predictions. Each must be made by a model that was not trained on the speaker.
    groups : array-like of shape (n_recordings,)
        Speaker of each recording.
    confidence_level : float, default=0.95
        Confidence level of the interval.
    n_resamples : int, default=1000
        Number of bootstrap resamples. Each draws as many speakers as there are.
    random_state : int, RandomState instance or None, default=None
        Random state of the resampling.

    Returns
    -------
    low, high : tuple of float
        Bounds of the interval: percentiles of the metric over the resamples.

    Raises
    ------
    ValueError
        If there are fewer than two speakers.

    See Also
    --------
    paired_difference : Difference between two predictions of the same recordings.
    score_by_group : Scores of groups of recordings or speakers.

    References
    ----------
    B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993.

    Examples
    --------
    >>> from sklearn_ser.metrics import confidence_interval, unweighted_average_recall
    >>> y_true = ["anger", "fear"] * 4
    >>> y_pred = ["anger", "fear"] * 3 + ["anger", "anger"]
    >>> speakers = ["03", "03", "08", "08", "09", "09", "10", "10"]
    >>> confidence_interval(
    ...     unweighted_average_recall, y_true, y_pred, groups=speakers, random_state=0
    ... )
    (0.625, 1.0)
    """
    check_consistent_length(y_true, y_pred, groups)
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    return _bootstrap_speakers(
        lambda rows: metric(y_true[rows], y_pred[rows]),
        groups,
        confidence_level,
        n_resamples,
        random_state,
    )


@validate_params(
    SHARED_CONSTRAINTS | {"y_pred_baseline": ["array-like"]}, prefer_skip_nested_validation=True
)
def paired_difference(
    metric,
    y_true,
    y_pred,
    y_pred_baseline,
    *,
    groups,
    confidence_level=0.95,
    n_resamples=1000,
    random_state=None,
):
    """Compute a difference between two predictions, and its confidence interval over speakers.

    Both predictions are of the same recordings, and each resample draws the same speakers for
    both. Speakers that are difficult for both do not widen the interval, which is therefore
    usually narrower than the separate intervals of `confidence_interval` suggest. The difference
    is significant at one minus the confidence level if the interval does not contain 0.

    Parameters
    ----------
    metric : callable
        Function ``metric(y_true, y_pred)`` that returns a float.
    y_true : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True targets.
    y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        Predictions of a model. Each must be made by a model that was not trained on the speaker.
    y_pred_baseline : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        Predictions of the model that it is compared with, for the same recordings.
    groups : array-like of shape (n_recordings,)
        Speaker of each recording.
    confidence_level : float, default=0.95
        Confidence level of the interval.
    n_resamples : int, default=1000
        Number of bootstrap resamples. Each draws as many speakers as there are.
    random_state : int, RandomState instance or None, default=None
        Random state of the resampling.

    Returns
    -------
    difference, low, high : tuple of float
        Metric of `y_pred` minus metric of `y_pred_baseline`, and the bounds of its interval:
        percentiles of the difference over the resamples.

    Raises
    ------
    ValueError
        If there are fewer than two speakers.

    See Also
    --------
    confidence_interval : Confidence interval of a metric.

    Examples
    --------
    >>> from sklearn_ser.metrics import paired_difference, unweighted_average_recall
    >>> y_true = ["anger", "fear"] * 4
    >>> network = ["anger", "fear"] * 3 + ["anger", "anger"]
    >>> linear = ["anger", "fear"] * 2 + ["anger", "anger"] * 2
    >>> speakers = ["03", "03", "08", "08", "09", "09", "10", "10"]
    >>> paired_difference(
    ...     unweighted_average_recall, y_true, network, linear, groups=speakers, random_state=0
    ... )
    (0.125, 0.0, 0.375)
    """
    check_consistent_length(y_true, y_pred, y_pred_baseline, groups)
    y_true, y_pred, baseline = map(np.asarray, (y_true, y_pred, y_pred_baseline))

    def difference(rows):
        return metric(y_true[rows], y_pred[rows]) - metric(y_true[rows], baseline[rows])

    interval = _bootstrap_speakers(difference, groups, confidence_level, n_resamples, random_state)
    return float(difference(slice(None))), *interval


def _bootstrap_speakers(statistic, groups, confidence_level, n_resamples, random_state):
    """Return the percentile interval of a function of the indices of recordings."""
    check_not_missing(groups, "groups", "leave them out, or name their speakers")
    speakers, speaker_indices = np.unique(np.asarray(groups), return_inverse=True)
    if len(speakers) < 2:
        raise ValueError(
            f"groups has {len(speakers)} speaker(s); an interval over speakers needs at least 2."
        )
    positions = [np.flatnonzero(speaker_indices == number) for number in range(len(speakers))]

    def resampled_statistic(drawn):
        return statistic(np.concatenate([positions[int(number)] for number in drawn]))

    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    resampled = bootstrap(
        (np.arange(len(speakers)),),
        resampled_statistic,
        n_resamples=n_resamples,
        confidence_level=confidence_level,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(seed),
    )
    low, high = resampled.confidence_interval
    return float(low), float(high)
