"""Base class of the torch classifiers: classes, class weights, loss and prediction."""

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score, recall_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d
from torch.nn import functional

from sklearn_ser._shares import is_soft, read_shares
from sklearn_ser._sklearn import StrOptions, check_sample_weight, check_y
from sklearn_ser._targets import binary_exponent, check_labels, check_not_missing, find_missing

from ._estimator import TorchEstimator, TrainingSet


class TorchClassifier(ClassifierMixin, TorchEstimator):
    """Classifier whose module returns logits, trained with weighted cross-entropy.

    A subclass has the parameters `classes` and `class_weight`, calls `encode_classes` in `fit`, and
    defines `_logits(X)`, which returns the logits of the input of `predict_proba`.
    """

    _parameter_constraints: dict = {
        **TorchEstimator._parameter_constraints,
        "classes": ["array-like", None],
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
        probabilities = self.predict_proba(X)
        return most_probable(self.classes_, probabilities)

    def score(self, X, y, sample_weight=None):
        """Compute the accuracy of the predicted classes.

        Parameters
        ----------
        X : array-like of shape (n_recordings, ...)
            As in `fit`.
        y : array-like of shape (n_recordings,) or (n_recordings, n_classes)
            Emotions, or shares or counts of votes as in `fit`.
        sample_weight : array-like of shape (n_recordings,), default=None
            Weights of the recordings.

        Returns
        -------
        accuracy : float
            Fraction of the recordings whose predicted class has the most votes. If m classes have
            the most votes, each of them counts as 1/m, as if the tie were broken at random. None,
            for a recording that can't be used, counts as wrong.
        """
        if not is_soft(y):
            return score_classes(y, self.predict(X), sample_weight)
        names, shares = _named_shares(self, y)
        has_most_votes = shares == shares.max(axis=1, keepdims=True)
        is_predicted = self.predict(X)[:, np.newaxis] == names
        hits = (has_most_votes & is_predicted).sum(axis=1) / has_most_votes.sum(axis=1)
        return float(np.average(hits, weights=sample_weight))

    def _logits(self, X):
        raise NotImplementedError

    def _loss(self, outputs, targets):
        return functional.cross_entropy(outputs, targets)

    def _score(self, outputs, targets):
        return recall(outputs, targets)


def score_classes(y, predicted, sample_weight=None):
    """Compute the accuracy; None, for a recording that can't be used, counts as wrong.

    Parameters
    ----------
    y : array-like of shape (n_recordings,)
        Classes.
    predicted : ndarray of shape (n_recordings,)
        Predicted classes.
    sample_weight : array-like of shape (n_recordings,), default=None
        Weights of the recordings.

    Returns
    -------
    accuracy : float
    """
    check_labels(y, "y")
    if not len(find_missing(predicted)):
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))
    check_consistent_length(y, predicted, sample_weight)
    return float(np.average(column_or_1d(y) == predicted, weights=sample_weight))


def most_probable(classes, scores):
    """Return the class with the highest score for each recording.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The classes.
    scores : ndarray of shape (n_recordings, n_classes)
        Probabilities or logits. Rows of recordings that cannot be used are NaN.

    Returns
    -------
    predicted : ndarray of shape (n_recordings,)
        If there are rows of NaN, an array of objects, with None for these rows.
    """
    predicted = classes[scores.argmax(axis=1)]
    is_missing = np.isnan(scores).any(axis=1)
    return np.where(is_missing, None, predicted) if is_missing.any() else predicted


def encode_classes(estimator, X, y, sample_weight, groups, *, skip=()):
    """Validate the arguments of `fit` other than `X`, encode the classes, and set `classes_`.

    Parameters
    ----------
    estimator : TorchEstimator
        A classifier with the parameters `classes` and `class_weight`. With a warm start, its
        `classes_` are kept.
    X : sequence of length n_recordings
        Validated inputs.
    y : array-like of shape (n_recordings,) or (n_recordings, n_classes)
        Argument of `fit`: classes, or shares of the classes.
    sample_weight, groups : array-like of shape (n_recordings,)
        Arguments of `fit`.
    skip : sequence of int, default=()
        Indices of recordings that cannot be used.

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
    _check_class_weight(estimator.class_weight)
    read = _named_shares if is_soft(y) else _one_hot
    classes, shares = read(estimator, y)
    check_consistent_length(X, shares)
    if estimator._is_warm_start:
        shares = _shares_of(estimator.classes_, classes, shares)
    else:
        estimator.classes_ = classes
    groups = check_groups(groups, len(shares))
    weights = check_sample_weight(sample_weight, shares, dtype=np.float64, ensure_non_negative=True)
    largest = weights.max(initial=0) or 1.0
    weights = weights / largest  # so that no sum of them overflows
    weights[list(skip)] = 0
    weights[weights.astype(np.float32) == 0] = 0
    kept = np.flatnonzero(weights)
    _check_two_classes(estimator, shares[kept])
    by_class = {"classes": estimator.classes_, "class_weight": estimator.class_weight}
    targets = weighted_targets(shares, weights, **by_class)
    if np.count_nonzero(targets.any(axis=0)) < 2:
        raise ValueError(
            f"class_weight={estimator.class_weight!r} must be above zero for at least two classes, "
            "also in float32 and relative to the largest."
        )
    kept = kept[targets[kept].any(axis=1)]  # without classes of weight zero
    training_set = TrainingSet(
        targets,
        kept,
        strata=shares[kept].argmax(axis=1),
        groups=None if groups is None else groups[kept],
        total_weight=_total_weight(largest, _class_weighted(shares, weights, **by_class)),
    )
    return training_set, weights


def _one_hot(estimator, y):
    """Return the sorted classes of a target with one axis, and a share of one for each."""
    check_labels(y, "y")
    y = check_y(y, estimator=estimator)
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    return classes, np.eye(len(classes))[labels]


def _named_shares(estimator, y):
    """Return the sorted classes of a target with two axes, and the shares of each."""
    shares, names = read_shares(y)
    if estimator.classes is not None:
        check_labels(estimator.classes, "classes")
    given = None if estimator.classes is None else np.asarray(estimator.classes)
    if given is None and names is None:
        raise ValueError(
            f"y of shape {shares.shape} has the share of a class in each column, but the classes "
            "have no names: pass a data frame whose columns are the classes, or set classes=. "
            "(cross_val_predict removes the names, and replaces shares by ranks for "
            "predict_proba: use cross_validate with return_estimator=True.)"
        )
    if given is None:
        return names, shares
    if not np.array_equal(np.unique(given), given) or len(given) != shares.shape[1]:
        raise ValueError(
            f"classes={given.tolist()} must be the {shares.shape[1]} names of the columns of y, "
            "without repetition and sorted, as are the columns of predict_proba. A data frame "
            "may have its columns in any order."
        )
    if names is not None and not np.array_equal(names, given):
        raise ValueError(
            f"The columns of y are named {names.tolist()}, but classes={given.tolist()}. They "
            "must be the same. Set classes=None to use the names of the columns."
        )
    return given, shares


def check_groups(groups, n_recordings):
    """Return the speakers as integers, or None if `groups` is None."""
    if groups is None:
        return None
    groups = column_or_1d(groups)
    if len(groups) != n_recordings:
        raise ValueError(
            f"groups names the speakers of {len(groups)} recordings, and X has {n_recordings}."
        )
    check_not_missing(groups, "groups", "leave them out, or name their speakers")
    check_labels(groups, "groups")
    return np.unique(groups, return_inverse=True)[1]


def _shares_of(known, classes, shares):
    """Return the shares of the known classes, of which `classes` may be some."""
    new = np.setdiff1d(classes, known)
    if len(new):
        raise ValueError(
            f"y has the classes {new.tolist()}, which the previous training did not have. It had "
            f"{known.tolist()}. Set warm_start=False to train from scratch."
        )
    of_known = np.zeros((len(shares), len(known)))
    of_known[:, np.searchsorted(known, classes)] = shares
    return of_known


def _check_two_classes(estimator, shares):
    present = estimator.classes_[shares.any(axis=0)].tolist()
    if len(present) < 2:
        found = f"one class, {present[0]!r}" if present else "none"
        raise ValueError(
            f"{type(estimator).__name__} needs recordings of at least two classes, and y has "
            f"{found} with a weight above zero."
        )


def _check_class_weight(class_weight):
    largest = float(np.finfo(np.float64).max)
    for name, weight in class_weight.items() if isinstance(class_weight, dict) else ():
        if not isinstance(weight, (int, float, np.number)) or not 0 <= weight <= largest:
            raise ValueError(
                f"class_weight={class_weight!r} has the weight {weight!r} for the class {name!r}; "
                "weights must be non-negative numbers, and finite."
            )


def _total_weight(largest, weights):
    with np.errstate(over="ignore"):  # infinity leaves no penalty, as does a number near it
        return float(largest) * float(weights.sum())


def weighted_targets(shares, weights, *, classes, class_weight):
    """Multiply the shares of the classes by the weights of the recordings.

    Mixup can then mix targets and weights together. The mean of torch's cross-entropy with such
    targets divides by the number of recordings, not by the sum of the weights of the batch, so
    that the weight of a recording does not depend on its batch.

    The class weight of a recording is the mean over its shares. Its shares are not changed, so
    that the loss of a recording is lowest for its own distribution, whatever the class weights.

    Parameters
    ----------
    shares : ndarray of shape (n_recordings, n_classes)
        Share of each class. Each row sums to one.
    weights : ndarray of shape (n_recordings,)
        Sample weights.
    classes : ndarray of shape (n_classes,)
        Classes, as `class_weight` names them.
    class_weight : dict, "balanced" or None
        Factors of the weights of each class. "balanced" are inversely proportional to the sums of
        weighted shares.

    Returns
    -------
    targets : ndarray of shape (n_recordings, n_classes), float32
        Nonzero weights have a mean of one.
    """
    scaled = _class_weighted(shares, weights, classes=classes, class_weight=class_weight)
    scaled = np.ldexp(scaled, -binary_exponent(scaled))  # so that their sum does not overflow
    scaled /= scaled[weights > 0].mean() or 1
    return (shares * scaled[:, np.newaxis]).astype(np.float32)


def smooth_labels(training_set, label_smoothing):
    """Spread a share of each label evenly over all classes.

    Parameters
    ----------
    training_set : TrainingSet
        Its targets are weighted shares of the classes. Weights are not changed.
    label_smoothing : float
        Share to spread.

    Returns
    -------
    smoothed : TrainingSet
    """
    targets = training_set.targets
    spread = label_smoothing * targets.mean(axis=1, keepdims=True)
    smoothed = (1 - label_smoothing) * targets + spread
    return training_set._replace(targets=smoothed.astype(np.float32))


def _class_weighted(shares, weights, *, classes, class_weight):
    """Multiply the weight of each recording by the mean of the weights of its classes."""
    rows = np.flatnonzero(weights)
    recordings, labels = np.nonzero(shares[rows])  # a recording has a part in each of its classes
    present = np.unique(labels)
    factors = np.ones(len(classes))
    factors[present] = compute_class_weight(
        class_weight,
        classes=classes[present],
        y=classes[labels],
        sample_weight=weights[rows][recordings] * shares[rows][recordings, labels],
    )
    return weights * (shares @ factors)


def recall(logits, targets):
    """Return the unweighted average recall, from logits and weighted shares.

    The true class is that of the largest share, the first of several.
    """
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
