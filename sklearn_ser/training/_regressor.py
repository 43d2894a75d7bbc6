"""Base class of the torch regressors: targets, concordance loss and score."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length

from sklearn_ser._sklearn import Interval, check_sample_weight
from sklearn_ser._targets import binary_exponent, check_numbers, find_missing, scale_columns
from sklearn_ser.nn import concordance_loss

from ._classifier import check_groups
from ._estimator import TorchEstimator, TrainingSet


class TorchRegressor(MultiOutputMixin, RegressorMixin, TorchEstimator):
    """Regressor of one or more targets, trained with the concordance loss.

    A subclass calls `encode_targets` in `fit`, and `_scale_back` on the outputs of its module in
    `predict`. Columns of the training targets are the standardised targets and the sample weight.
    """

    _parameter_constraints: dict = {
        **TorchEstimator._parameter_constraints,
        # The concordance is that of a batch.
        "batch_size": [Interval(Integral, 2, None, closed="left")],
    }
    _warmup = 0.1

    target_names_: list[str]
    target_mean_: np.ndarray
    target_scale_: np.ndarray
    _has_target_axis: bool

    def score(self, X, y, sample_weight=None):
        """Compute the coefficient of determination R² of the predictions.

        Parameters
        ----------
        X : array-like of shape (n_recordings, ...)
            As in `fit`.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            Targets, in any unit. Columns of a data frame are found by their names, if these are
            those of `target_names_`.
        sample_weight : array-like of shape (n_recordings,), default=None
            Weights of the recordings.

        Returns
        -------
        r2 : float
            Mean over the targets, at most 1.

        Raises
        ------
        ValueError
            If recordings can't be used, and so have no prediction.
        """
        return score_targets(self, X, y, sample_weight)

    def _standardize(self, y):
        # Halves, whose difference does not overflow.
        scale = np.where(self.target_scale_ > 0, self.target_scale_, 2)
        return (y / 2 - self.target_mean_ / 2) / (scale / 2)

    def _scale_back(self, outputs):
        """Return predictions in the units and with the number of axes of `y`."""
        largest = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            predictions = outputs.astype(np.float64) * self.target_scale_ + self.target_mean_
        predictions = predictions.clip(-largest, largest)
        return predictions if self._has_target_axis else predictions[:, 0]

    def _loss(self, outputs, targets):
        weights = targets[:, -1]
        is_varied = torch.from_numpy(self.target_scale_ > 0).to(outputs.device)
        loss = concordance_loss(outputs[:, is_varied], targets[:, :-1][:, is_varied], weights)
        # The concordance depends on ratios of weights only; a batch counts by its mean weight.
        return loss * weights.sum() / (weights > 0).sum().clamp_min(1)

    def _score(self, outputs, targets):
        is_varied = torch.from_numpy(self.target_scale_ > 0)
        if not is_varied.any():
            return 0.0
        n_targets = len(is_varied)
        loss = concordance_loss(
            outputs.float()[:, is_varied],
            targets[:, :n_targets][:, is_varied],
            targets[:, n_targets],
        )
        return 1 - float(loss) / int(is_varied.sum())


def encode_targets(estimator, y, sample_weight, groups, *, n_recordings, skip=()):
    """Validate the arguments of `fit` other than `X`, and standardise the targets.

    Sets `target_names_`, and unless it is a warm start `target_mean_` and `target_scale_`.

    Parameters
    ----------
    estimator : TorchRegressor
        The estimator to fit.
    y, sample_weight, groups : array-like
        Arguments of `fit`.
    n_recordings : int
        Number of recordings in `X`.
    skip : sequence of int, default=()
        Indices of recordings that cannot be used.

    Returns
    -------
    training_set : TrainingSet
        With targets of shape (n_recordings, n_targets + 1).
    plan : TrainingPlan
        Seeds, and the split into a training and a validation set.

    Raises
    ------
    ValueError
        If targets are missing, no recording has a weight above zero, or a warm start has other
        targets.
    """
    values, names, has_axis = read_targets(y, n_recordings)
    if estimator._is_warm_start and names != estimator.target_names_:
        raise ValueError(
            f"warm_start=True can't continue with the targets {names}: the network was trained on "
            f"{estimator.target_names_}."
        )
    groups = check_groups(groups, n_recordings)
    weights = check_sample_weight(sample_weight, values, dtype=np.float64, ensure_non_negative=True)
    weights = weights / (weights.max(initial=0) or 1)  # so that their sum cannot overflow
    weights[list(skip)] = 0
    kept = np.flatnonzero(weights.astype(np.float32))
    if not len(kept):
        raise ValueError("No recording is left to train on: none can be used.")
    targets = np.zeros((n_recordings, len(names) + 1), dtype=np.float32)
    targets[kept, -1] = weights[kept] / weights[kept].mean()
    groups = groups[kept] if groups is not None and estimator.early_stopping else None
    training_set = TrainingSet(targets, kept, groups=groups)
    plan = estimator._plan(training_set)
    estimator.target_names_, estimator._has_target_axis = names, has_axis
    if not estimator._is_warm_start:
        own = plan.training
        estimator.target_mean_, estimator.target_scale_ = moments(values[own], weights[own])
    targets[kept, :-1] = estimator._standardize(values[kept])
    return training_set, plan


def score_targets(regressor, X, y, sample_weight=None):
    """Compute the coefficient of determination R² of predictions, the mean over the targets.

    Parameters
    ----------
    regressor : estimator
        Fitted regressor with `target_names_`.
    X : array-like of shape (n_recordings, ...)
        Recordings.
    y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        Targets. Columns of a data frame with the names of the targets are put in their order.
    sample_weight : array-like of shape (n_recordings,), default=None
        Weights of the recordings.

    Returns
    -------
    r2 : float

    Raises
    ------
    ValueError
        If `y` has another number of targets, or recordings can't be used, and so have no
        prediction.
    """
    true, names, _ = read_targets(y, len(X))
    own = list(regressor.target_names_)
    if len(names) != len(own):
        raise ValueError(
            f"y has {len(names)} targets, {', '.join(names)}, and {type(regressor).__name__} "
            f"predicts {len(own)}: {', '.join(own)}."
        )
    if hasattr(y, "columns") and len(set(names)) == len(names) and set(names) == set(own):
        true = true[:, [names.index(name) for name in own]]
    predicted = regressor.predict(X)
    missing = find_missing(predicted)
    if len(missing):
        raise ValueError(
            f"R² needs a prediction for each recording, and {len(missing)} can't be used, the "
            f"first at position {missing[0]}. Leave them out of X and y."
        )
    scaled = scale_columns(true, predicted.reshape(len(predicted), -1))
    return r2_score(*scaled, sample_weight=sample_weight)


def read_targets(y, n_recordings):
    """Validate targets, and find their names.

    Parameters
    ----------
    y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        Targets. A Series or data frame has names.
    n_recordings : int
        Number of recordings in `X`.

    Returns
    -------
    values : ndarray of shape (n_recordings, n_targets)
        Targets.
    names : list of str
        Names of the targets; "target0" and so on if they have none.
    has_axis : bool
        Whether `y` has two axes.

    Raises
    ------
    ValueError
        If targets are missing, infinite or no numbers.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None.")
    names = getattr(y, "columns", None)
    if names is None and getattr(y, "name", None) not in (None, ""):  # "" in polars
        names = [y.name]
    check_numbers(y, "y")
    values = check_array(
        y, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name="y"
    )
    check_consistent_length(values, range(n_recordings))
    has_axis = values.ndim == 2
    values = values.reshape(len(values), -1)
    if names is None:
        names = [f"target{number}" for number in range(values.shape[1])]
    return values, [str(name) for name in names], has_axis


def moments(y, weights):
    """Return the mean and standard deviation of each target; exact for a constant one.

    Parameters
    ----------
    y : ndarray of shape (n_recordings, n_targets)
        Targets.
    weights : ndarray of shape (n_recordings,)
        Sample weights.

    Returns
    -------
    mean, scale : ndarray of shape (n_targets,)
        The scale of a constant target is 0.
    """
    is_constant = (y == y[0]).all(axis=0)
    exponent = binary_exponent(y)
    scaled = np.ldexp(y, -exponent)
    mean = np.average(scaled, axis=0, weights=weights)
    variance = np.average((scaled - mean) ** 2, axis=0, weights=weights)
    scale = np.ldexp(np.sqrt(variance), exponent)
    return np.where(is_constant, y[0], np.ldexp(mean, exponent)), np.where(is_constant, 0.0, scale)
