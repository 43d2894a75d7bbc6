"""Figures of merit for emotion classes."""

import numpy as np
from sklearn.metrics import confusion_matrix


def unweighted_average_recall(y_true, y_pred, *, sample_weight=None):
    """Compute the unweighted average recall (UAR): the mean of the recalls of the classes.

    Every class counts the same, however many recordings it has. It is the figure the field
    reports where classes are uneven. Compute it over pooled predictions rather than as a mean
    over folds: a speaker who lacks a class has no recall for it.

    Parameters
    ----------
    y_true : array-like of shape (n_recordings,)
        True classes. The classes that occur here are averaged over.
    y_pred : array-like of shape (n_recordings,)
        Predicted classes.
    sample_weight : array-like of shape (n_recordings,), default=None
        Weights of the recordings within their class.

    Returns
    -------
    recall : float
        From 0 to 1; chance is one over the number of classes.

    See Also
    --------
    sklearn.metrics.balanced_accuracy_score : The same number, with a warning for predicted
        classes that do not occur.
    confidence_interval : How far it would move with other speakers.

    References
    ----------
    B. Schuller, S. Steidl, A. Batliner, "The INTERSPEECH 2009 Emotion Challenge", 2009.

    Examples
    --------
    >>> from sklearn_ser.metrics import unweighted_average_recall
    >>> unweighted_average_recall(["anger", "anger", "anger", "fear"], ["anger"] * 4)
    0.5
    """
    matrix = confusion_matrix(y_true, y_pred, sample_weight=sample_weight)
    spoken = matrix.sum(axis=1) > 0
    return float(np.mean(np.diag(matrix)[spoken] / matrix[spoken].sum(axis=1)))
