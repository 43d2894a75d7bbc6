"""What all classifiers over torch share: classes, weights and speakers, loss and prediction."""

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
    """Classifier whose module gives logits, and whose targets hold the weights of classes.

    A subclass has the parameter `class_weight`, calls `encode_classes` in `fit`, and defines
    `_logits(X)`, for what `predict_proba` is given.
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
            In the order of `classes_`; each row sums to one.
        """
        check_is_fitted(self, "state_")
        # In float64, so that they sum to one.
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
            Of the type they had in `y`.
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
    """Check what `fit` is given beside `X`, and make targets of it; set `classes_`.

    Parameters
    ----------
    estimator : TorchEstimator
        A classifier with the parameter `class_weight`. Where it goes on from an earlier `fit`,
        its `classes_` stay.
    X : ndarray of shape (n_recordings, ...)
        The inputs, validated.
    y, sample_weight, groups : array-like of shape (n_recordings,)
        As for `fit`.

    Returns
    -------
    training_set : TrainingSet
        Of the recordings with a weight above zero.
    weights : ndarray of shape (n_recordings,)
        The weights, of which the largest is 1.

    Raises
    ------
    ValueError
        If there are fewer than two classes with weight, or new ones where the training goes on.
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
    _refuse_one_class(estimator, labels[kept])
    targets = weighted_targets(
        labels, weights, classes=estimator.classes_, class_weight=estimator.class_weight
    )
    _refuse_weights_of_classes(estimator, targets)
    groups = None if groups is None else groups[kept]
    return TrainingSet(targets, kept, labels[kept], groups), weights


def check_groups(groups, n_recordings):
    """Return the number of each recording's speaker, if speakers are given."""
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
            f"groups names no speaker for {len(nameless)} of {n_recordings} recordings, the first "
            f"at position {nameless[0]}: leave them out, or give them a name."
        )
    return np.unique(groups, return_inverse=True)[1]


def _positions_in(known, classes):
    new = np.setdiff1d(classes, known)
    if len(new):
        raise ValueError(
            f"y has the classes {new.tolist()}, which the training to go on from did not have. It "
            f"had {known.tolist()}; with warm_start=False training begins anew."
        )
    return np.searchsorted(known, classes)


def _refuse_one_class(estimator, labels):
    spoken = estimator.classes_[np.unique(labels)].tolist()
    if len(spoken) < 2:
        held = f"one class, {spoken[0]!r}" if spoken else "none"
        raise ValueError(
            f"{type(estimator).__name__} needs recordings of at least two classes, and y holds "
            f"{held} with a weight above zero."
        )


def _refuse_weights_of_classes(estimator, targets):
    if (targets < 0).any() or np.count_nonzero(targets.any(axis=0)) < 2:
        raise ValueError(
            f"class_weight={estimator.class_weight!r} leaves fewer than two classes with a weight "
            "above zero, or gives one below zero."
        )


def weighted_targets(labels, weights, *, classes, class_weight):
    """Turn labels into one column for each class that holds the weight of the recording.

    What mixes recordings may then mix their targets, weights and all. The mean of torch's
    cross-entropy under such targets divides by the number of recordings, not by the weights of
    the batch, so that a recording counts the same in whatever batch it is.

    Parameters
    ----------
    labels : ndarray of int of shape (n_recordings,)
        Positions in `classes`.
    weights : ndarray of shape (n_recordings,)
        Weights; recordings of weight zero have no part in it.
    classes : ndarray of shape (n_classes,)
        The classes, as `class_weight` calls them.
    class_weight : dict, "balanced" or None
        What the weights of each class are multiplied by.

    Returns
    -------
    targets : ndarray of shape (n_recordings, n_classes), float32
        The weights have a mean of one, so that no unit of theirs matters.
    """
    rows = np.flatnonzero(weights)
    spoken = np.unique(labels[rows])
    factors = np.ones(len(classes))
    factors[spoken] = compute_class_weight(
        class_weight,
        classes=classes[spoken],
        y=classes[labels[rows]],
        sample_weight=weights[rows],
    )
    weights = weights * factors[labels]
    targets = np.zeros((len(labels), len(classes)), dtype=np.float32)
    targets[np.arange(len(labels)), labels] = weights / (weights[rows].mean() or 1)
    return targets


def recall(logits, targets):
    """Compute the unweighted average recall under weighted targets, as tensors on the CPU."""
    rows = targets.any(dim=1)  # those with weight
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
