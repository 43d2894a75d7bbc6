"""Metrics for emotion classes."""

import numpy as np
from sklearn.metrics import recall_score


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
    recalls = recall_score(
        y_true, y_pred, average=None, sample_weight=sample_weight, zero_division=np.nan
    )
    return float(np.nanmean(recalls))  # undefined for classes that do not occur in y_true
