"""Metrics for emotion classes."""

import numpy as np
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_consistent_length, column_or_1d

from sklearn_ser._sklearn import check_sample_weight
from sklearn_ser._targets import check_labels


def unweighted_average_recall(y_true, y_pred, *, sample_weight=None):
    """Compute the unweighted average recall (UAR): the mean of the recalls of the classes.

    All classes have the same weight, regardless of their number of recordings. It is the standard
    metric of the field for imbalanced classes. Compute it over pooled predictions rather than as a
    mean over folds: the recall of a class is undefined for a speaker without recordings of it.

    Parameters
    ----------
    y_true : array-like of shape (n_recordings,)
        True classes. The recall is averaged over the classes that occur here.
    y_pred : array-like of shape (n_recordings,)
        Predicted classes.
    sample_weight : array-like of shape (n_recordings,), default=None
        Sample weights. They affect the recall within each class.

    Returns
    -------
    recall : float
        Unweighted average recall, from 0 to 1; the chance level is one over the number of
        classes.

    See Also
    --------
    sklearn.metrics.balanced_accuracy_score : The same metric, with a warning for predicted
        classes that do not occur.
    unweighted_average_recall_scorer : Scorer for the `scoring` parameter of searches, also
        ``scoring="unweighted_average_recall"``.
    confidence_interval : Confidence interval over speakers.

    References
    ----------
    B. Schuller, S. Steidl, A. Batliner, "The INTERSPEECH 2009 Emotion Challenge", 2009.

    Examples
    --------
    >>> from sklearn_ser.metrics import unweighted_average_recall
    >>> unweighted_average_recall(["anger", "anger", "anger", "fear"], ["anger"] * 4)
    0.5
    """
    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    check_consistent_length(y_true, y_pred, sample_weight)
    if not len(y_true):
        raise ValueError("y_true is empty, so that no recall is defined.")
    check_labels(y_true, "y_true")
    check_labels(y_pred, "y_pred")
    unique_labels(y_true, y_pred)  # raises for text and numbers together, NaN and continuous values
    weights = check_sample_weight(sample_weight, y_true, dtype=np.float64, ensure_non_negative=True)
    classes, codes = np.unique(y_true, return_inverse=True)
    totals = np.bincount(codes, weights)
    hits = np.bincount(codes, weights * (y_true == y_pred), minlength=len(classes))
    occurs = totals > 0  # a class without weight does not count
    return float(np.mean(hits[occurs] / totals[occurs]))
