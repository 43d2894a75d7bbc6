"""Base class of the torch classifiers: classes, class weights, loss and prediction."""

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import recall_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d
from torch.nn import functional

from sklearn_ser._sklearn import StrOptions, check_sample_weight, check_y

from ._estimator import TorchEstimator, TrainingSet


class TorchClassifier(ClassifierMixin, TorchEstimator):
    """Classifier whose module returns logits, trained with weighted cross-entropy.

    A subclass has the parameter `class_weight`, calls `encode_classes` in `fit`, and defines
    `_logits(X)`, which returns the logits of the input of `predict_proba`.
    """

    _parameter_constraints: dict = {
        **TorchEstimator._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    classes_: np.ndarray

    def predict_proba(self, X):
        """Compute the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_recordings, ...)
            As in `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_recordings, n_classes)
            Columns are in the order of `classes_`. Each row sums to one.
        """
        check_is_fitted(self, "state_")
        # In float64, so that each row sums to one.
        return softmax(self._logits(X).astype(np.float64), axis=1)

    def predict(self, X):
        """Predict the class of each recording.

        Parameters
        ----------
        X : array-like of shape (n_recordings, ...)
            As in `fit`.

        Returns
        -------
        classes : ndarray of shape (n_recordings,)
            Predicted classes, of the type of `y` in `fit`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _logits(self, X):
        raise NotImplementedError

    def _loss(self, outputs, targets):
        return functional.cross_entropy(outputs, targets)

    def _score(self, outputs, targets):
        return recall(outputs, targets)


def encode_classes(estimator, X, y, sample_weight, groups):
    """Validate the arguments of `fit` other than `X`, encode the classes, and set `classes_`.

    Parameters
    ----------
    estimator : TorchEstimator
        A classifier with the parameter `class_weight`. With a warm start, its `classes_` are
        kept.
    X : ndarray of shape (n_recordings, ...)
        Validated inputs.
    y, sample_weight, groups : array-like of shape (n_recordings,)
        Arguments of `fit`.

    Returns
    -------
    training_set : TrainingSet
        Targets, and the recordings with a weight above zero.
    weights : ndarray of shape (n_recordings,)
        Sample weights, scaled to a maximum of 1.

    Raises
    ------
    ValueError
        If fewer than two classes have a weight above zero, or a warm start has new classes.
    """
    y = check_y(y, estimator=estimator)
    check_consistent_length(X, y)
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if estimator._is_warm_start:
        labels = _positions_in(estimator.classes_, classes)[labels]
    else:
        estimator.classes_ = classes
    groups = check_groups(groups, len(labels))
    weights = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    weights = weights / (weights.max(initial=0) or 1)  # so that no sum of them overflows
    kept = np.flatnonzero(weights)
    _check_two_classes(estimator, labels[kept])
    targets = weighted_targets(
        labels, weights, classes=estimator.classes_, class_weight=estimator.class_weight
    )
    _check_class_weight(estimator, targets)
    groups = None if groups is None else groups[kept]
    return TrainingSet(targets, kept, labels[kept], groups), weights


def check_groups(groups, n_recordings):
    """Return the speakers as integers, or None if `groups` is None."""
    if groups is None:
        return None
    groups = column_or_1d(groups)
    if len(groups) != n_recordings:
        raise ValueError(
            f"groups names the speakers of {len(groups)} recordings, and X has {n_recordings}."
        )
    nameless = np.flatnonzero([group is None or group != group for group in groups])
    if len(nameless):
        raise ValueError(
            f"groups is missing for {len(nameless)} of {n_recordings} recordings, the first at "
            f"position {nameless[0]}: leave them out, or name their speakers."
        )
    return np.unique(groups, return_inverse=True)[1]


def _positions_in(known, classes):
    new = np.setdiff1d(classes, known)
    if len(new):
        raise ValueError(
            f"y has the classes {new.tolist()}, which the previous training did not have. It had "
            f"{known.tolist()}. Set warm_start=False to train from scratch."
        )
    return np.searchsorted(known, classes)


def _check_two_classes(estimator, labels):
    present = estimator.classes_[np.unique(labels)].tolist()
    if len(present) < 2:
        found = f"one class, {present[0]!r}" if present else "none"
        raise ValueError(
            f"{type(estimator).__name__} needs recordings of at least two classes, and y has "
            f"{found} with a weight above zero."
        )


def _check_class_weight(estimator, targets):
    if (targets < 0).any() or np.count_nonzero(targets.any(axis=0)) < 2:
        raise ValueError(
            f"class_weight={estimator.class_weight!r} must be non-negative, and above zero for at "
            "least two classes."
        )


def weighted_targets(labels, weights, *, classes, class_weight):
    """One-hot encode labels, multiplied by the weights of the recordings.

    Mixup can then mix targets and weights together. The mean of torch's cross-entropy with such
    targets divides by the number of recordings, not by the sum of the weights of the batch, so
    that the weight of a recording does not depend on its batch.

    Parameters
    ----------
    labels : ndarray of int of shape (n_recordings,)
        Indices into `classes`.
    weights : ndarray of shape (n_recordings,)
        Sample weights.
    classes : ndarray of shape (n_classes,)
        Classes, as `class_weight` names them.
    class_weight : dict, "balanced" or None
        Factors of the weights of each class.

    Returns
    -------
    targets : ndarray of shape (n_recordings, n_classes), float32
        Nonzero weights have a mean of one.
    """
    rows = np.flatnonzero(weights)
    present = np.unique(labels[rows])
    factors = np.ones(len(classes))
    factors[present] = compute_class_weight(
        class_weight,
        classes=classes[present],
        y=classes[labels[rows]],
        sample_weight=weights[rows],
    )
    weights = weights * factors[labels]
    targets = np.zeros((len(labels), len(classes)), dtype=np.float32)
    targets[np.arange(len(labels)), labels] = weights / (weights[rows].mean() or 1)
    return targets


def recall(logits, targets):
    """Return the unweighted average recall, from logits and weighted one-hot targets."""
    rows = targets.any(dim=1)  # weight above zero
    logits, targets = logits[rows], targets[rows]
    labels = targets.argmax(dim=1)
    return float(
        recall_score(
            labels,
            logits.argmax(dim=1),
            labels=labels.unique(),
            average="macro",
            sample_weight=targets.sum(dim=1),
        )
    )
