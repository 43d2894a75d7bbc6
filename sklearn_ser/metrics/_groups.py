"""Scores of groups of recordings or speakers."""

import numpy as np
from sklearn.utils.validation import check_consistent_length

from sklearn_ser._sklearn import validate_params
from sklearn_ser._targets import check_labels

from ._confidence import SHARED_CONSTRAINTS, confidence_interval


@validate_params(
    SHARED_CONSTRAINTS | {"by": ["array-like"], "groups": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def score_by_group(
    metric,
    y_true,
    y_pred,
    *,
    by,
    groups=None,
    confidence_level=0.95,
    n_resamples=1000,
    random_state=None,
):
    """Compute a metric for each group of recordings, such as each sex, age, corpus or speaker.

    Parameters
    ----------
    metric : callable
        Function ``metric(y_true, y_pred)`` that returns a float.
    y_true : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True targets.
    y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        Predictions. Each must be made by a model that was not trained on the speaker.
    by : array-like of shape (n_recordings,)
        Group of each recording. Recordings without a group (None, NaN) have a row of their own,
        which is the last.
    groups : array-like of shape (n_recordings,), default=None
        Speaker of each recording, for the confidence intervals. Without speakers there are no
        intervals, since intervals over recordings would be too narrow.
    confidence_level : float, default=0.95
        Confidence level of the intervals.
    n_resamples : int, default=1000
        Number of bootstrap resamples. Each draws as many speakers as the group has.
    random_state : int, RandomState instance or None, default=None
        Random state of the resampling.

    Returns
    -------
    table : DataFrame of shape (n_groups, n_columns)
        One row for each group, in sorted order or, for a categorical `by`, in the order of its
        categories. The columns are ``n_recordings`` and ``score``, and with `groups` also
        ``n_speakers`` and the bounds of the confidence interval over speakers, ``low`` and
        ``high``, which are NaN for a group of one speaker.

    See Also
    --------
    confidence_interval : Confidence interval of all recordings.

    Notes
    -----
    `unweighted_average_recall` of a group averages the recalls of the classes that occur in the
    group. Scores of groups with different classes are therefore not comparable.

    Examples
    --------
    >>> from sklearn_ser.metrics import score_by_group, unweighted_average_recall
    >>> y_true = ["anger", "fear"] * 4
    >>> y_pred = ["anger", "fear"] * 3 + ["anger", "anger"]
    >>> sex = ["male"] * 4 + ["female"] * 4
    >>> speakers = ["03", "03", "10", "10", "08", "08", "09", "09"]
    >>> score_by_group(
    ...     unweighted_average_recall, y_true, y_pred, by=sex, groups=speakers, random_state=0
    ... )
            n_recordings  n_speakers  score  low  high
    female             4           2   0.75  0.5   1.0
    male               4           2   1.00  1.0   1.0

    The score of each speaker, the lowest first:

    >>> score_by_group(unweighted_average_recall, y_true, y_pred, by=speakers).sort_values("score")
        n_recordings  score
    09             2    0.5
    03             2    1.0
    08             2    1.0
    10             2    1.0
    """
    import pandas as pd  # imported where used, since importing it takes long

    check_consistent_length(y_true, y_pred, by, groups)
    if groups is not None:
        check_labels(groups, "groups")
    arrays = [np.asarray(values) for values in (y_true, y_pred, groups) if values is not None]
    settings = {
        "confidence_level": confidence_level,
        "n_resamples": n_resamples,
        "random_state": random_state,
    }
    by = pd.Series(by).reset_index(drop=True)
    rows_of = dict(list(pd.Series(by.index).groupby(by, dropna=False, observed=True)))
    table = [
        _score(metric, *(values[rows] for values in arrays), **settings)
        for rows in rows_of.values()
    ]
    return pd.DataFrame(table, index=pd.Index(list(rows_of), name=by.name))


def _score(metric, y_true, y_pred, speakers=None, **settings):
    """Return the row of one group."""
    score = float(metric(y_true, y_pred))
    if speakers is None:
        return {"n_recordings": len(y_true), "score": score}
    n_speakers = len(np.unique(speakers))
    low, high = np.nan, np.nan
    if n_speakers > 1:
        low, high = confidence_interval(metric, y_true, y_pred, groups=speakers, **settings)
    return {
        "n_recordings": len(y_true),
        "n_speakers": n_speakers,
        "score": score,
        "low": low,
        "high": high,
    }
