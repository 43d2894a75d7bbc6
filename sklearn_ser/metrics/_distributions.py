"""Metrics for soft labels: predicted probabilities against the shares of annotators."""

from numbers import Real

import numpy as np
from scipy.special import rel_entr
from sklearn.metrics import f1_score
from sklearn.utils import check_consistent_length

from sklearn_ser._shares import is_soft, read_shares
from sklearn_ser._sklearn import Interval, StrOptions, check_sample_weight, validate_params

# Shares are compared with a threshold up to rounding, so that equal shares are treated equally.
_ROUNDING = 1e-6


@validate_params(
    {
        "y_true": ["array-like"],
        "y_proba": ["array-like"],
        "divergence": [StrOptions({"jensen-shannon", "kullback-leibler"})],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def distribution_divergence(y_true, y_proba, *, divergence="jensen-shannon", sample_weight=None):
    """Compute the mean divergence of predicted probabilities from the shares of annotators.

    Logarithms are to base 2.

    Parameters
    ----------
    y_true : array-like of shape (n_recordings, n_classes)
        Shares of the classes in the votes of annotators, or counts of votes. The columns of a data
        frame are sorted by name, as are those of `predict_proba`. Those of an array must be in
        this order.
    y_proba : array-like of shape (n_recordings, n_classes) or (n_recordings,)
        Predicted probabilities. Rows are divided by their sum, as those of `y_true`. For two
        classes it may be the probability of the second, which scikit-learn passes to scorers.
    divergence : {"jensen-shannon", "kullback-leibler"}, default="jensen-shannon"
        The divergence of a recording.

        - "jensen-shannon": the mean of the Kullback-Leibler divergences of both distributions from
          their average. It is symmetric, and from 0 to 1. It is the divergence; its square root is
          the distance of :func:`scipy.spatial.distance.jensenshannon`.
        - "kullback-leibler": of the shares from the probabilities, in bits. It is the
          cross-entropy minus the entropy of the shares, and infinite where a class with votes has
          a probability of zero.

    sample_weight : array-like of shape (n_recordings,), default=None
        Sample weights.

    Returns
    -------
    divergence : float
        Mean over recordings; 0 for equal distributions.

    Raises
    ------
    ValueError
        If the shapes or names of classes differ, or if a row is negative or has a sum of zero.

    See Also
    --------
    distribution_f1_score : F1 score of the classes with more than a threshold of the votes.
    distribution_divergence_scorer : Scorer for the ``scoring`` parameter of searches.

    References
    ----------
    J. Lin, "Divergence Measures Based on the Shannon Entropy", IEEE Transactions on Information
    Theory 37(1), 1991.

    Examples
    --------
    >>> from sklearn_ser.metrics import distribution_divergence
    >>> votes = [[4, 1, 0], [0, 2, 3]]
    >>> round(distribution_divergence(votes, [[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]]), 4)
    0.0614
    >>> distribution_divergence(votes, [[0.8, 0.2, 0], [0, 0.4, 0.6]])
    0.0
    """
    shares, probabilities, weights = _check_distributions(y_true, y_proba, sample_weight)
    if divergence == "jensen-shannon":
        middle = (shares + probabilities) / 2
        of_rows = (_relative_entropy(shares, middle) + _relative_entropy(probabilities, middle)) / 2
    else:
        of_rows = _relative_entropy(shares, probabilities)
    is_counted = weights > 0  # others may be infinite
    mean = np.average(of_rows[is_counted], weights=weights[is_counted])
    return float(max(mean, 0))  # rounding may give values below zero


@validate_params(
    {
        "y_true": ["array-like"],
        "y_proba": ["array-like"],
        "threshold": [Interval(Real, 0, 1, closed="left"), None],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def distribution_f1_score(y_true, y_proba, *, threshold=None, sample_weight=None):
    """Compute the macro F1 score of the classes with more than a threshold of the votes.

    A recording has each class whose share is above the threshold, and so it may have several. It
    is the metric of the benchmark EMO-SUPERB for soft labels.

    Parameters
    ----------
    y_true : array-like of shape (n_recordings, n_classes)
        Shares of the classes in the votes of annotators, or counts of votes; see
        `distribution_divergence`.
    y_proba : array-like of shape (n_recordings, n_classes) or (n_recordings,)
        Predicted probabilities; see `distribution_divergence`.
    threshold : float, default=None
        Threshold of the shares and probabilities. None is one over the number of classes.
    sample_weight : array-like of shape (n_recordings,), default=None
        Sample weights.

    Returns
    -------
    score : float
        Mean of the F1 scores of the classes, from 0 to 1. The score of a class that no recording
        has, neither in `y_true` nor in `y_proba`, is 0.

    Raises
    ------
    ValueError
        If the shapes or names of classes differ, or if a row is negative or has a sum of zero.

    See Also
    --------
    distribution_divergence : Divergence of the distributions, without a threshold.

    Notes
    -----
    EMO-SUPERB's code averages the scores of batches of test recordings. Here the score is computed
    over all recordings.

    References
    ----------
    H. Wu, H.-C. Chou, K.-W. Chang et al., "Open-Emotion: A Reproducible EMO-SUPERB for Speech
    Emotion Recognition Systems", SLT 2024, arXiv 2402.13018.

    Examples
    --------
    >>> from sklearn_ser.metrics import distribution_f1_score
    >>> votes = [[4, 1, 0], [0, 2, 3]]  # classes 0, and 1 and 2
    >>> round(distribution_f1_score(votes, [[0.8, 0.1, 0.1], [0.1, 0.3, 0.6]]), 4)
    0.6667
    """
    shares, probabilities, weights = _check_distributions(y_true, y_proba, sample_weight)
    limit = (1 / shares.shape[1] if threshold is None else threshold) + _ROUNDING
    score = f1_score(
        shares > limit,
        probabilities > limit,
        average="macro",
        sample_weight=weights,
        zero_division=0,
    )
    return float(score)


def _check_distributions(y_true, y_proba, sample_weight):
    """Return shares and probabilities with the same order of classes, and the sample weights."""
    shares, names = read_shares(y_true, name="y_true")
    if not is_soft(y_proba) and shares.shape[1] == 2:
        second = np.asarray(y_proba, dtype=np.float64).ravel()
        y_proba = np.column_stack([1 - second, second])
    probabilities, predicted_names = read_shares(y_proba, name="y_proba")
    check_consistent_length(shares, probabilities, sample_weight)
    if shares.shape != probabilities.shape:
        raise ValueError(
            f"y_true has {shares.shape[1]} classes and y_proba {probabilities.shape[1]}; they must "
            "have the same."
        )
    are_named = names is not None and predicted_names is not None
    if are_named and not np.array_equal(names, predicted_names):
        raise ValueError(
            f"The columns of y_true are named {names.tolist()} and those of y_proba "
            f"{predicted_names.tolist()}; they must be the same classes."
        )
    weights = check_sample_weight(sample_weight, shares, ensure_non_negative=True)
    return shares, probabilities, weights


def _relative_entropy(shares, others):
    """Return the Kullback-Leibler divergence of each row, in bits."""
    return rel_entr(shares, others).sum(axis=1) / np.log(2)
