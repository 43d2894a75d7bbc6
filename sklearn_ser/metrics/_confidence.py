"""Confidence intervals over speakers."""

from numbers import Integral, Real

import numpy as np
from scipy.stats import bootstrap
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from sklearn_ser._sklearn import Interval, validate_params


@validate_params(
    {
        "metric": [callable],
        "y_true": ["array-like"],
        "y_pred": ["array-like"],
        "groups": ["array-like"],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
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
    y_true : array-like of shape (n_recordings,)
        True targets.
    y_pred : array-like of shape (n_recordings,)
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
    speakers, speaker_indices = np.unique(np.asarray(groups), return_inverse=True)
    if len(speakers) < 2:
        raise ValueError(
            f"groups has {len(speakers)} speaker(s); an interval over speakers needs at least 2."
        )
    positions = [np.flatnonzero(speaker_indices == number) for number in range(len(speakers))]

    def resampled_metric(drawn):
        drawn_positions = np.concatenate([positions[int(number)] for number in drawn])
        return metric(y_true[drawn_positions], y_pred[drawn_positions])

    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    resampled = bootstrap(
        (np.arange(len(speakers)),),
        resampled_metric,
        n_resamples=n_resamples,
        confidence_level=confidence_level,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(seed),
    )
    low, high = resampled.confidence_interval
    return float(low), float(high)
