"""Learn softmax weights over layers together with a linear head.

`layers` is an array of shape (n_samples, n_layers, n_dims). It may be large and in float32: it is
processed in batches of rows and never copied as a whole.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.preprocessing import LabelBinarizer, StandardScaler, scale
from sklearn.utils import gen_batches

from sklearn_ser._targets import scale_columns

# Number of values in a batch of rows: 4 MiB in float64, about the size of a processor's cache.
_BATCH_VALUES = 2**19
# Number of corrections of L-BFGS. The default of 10 needs up to four times as many iterations if
# the layers have about as many dimensions as there are recordings.
_N_CORRECTIONS = 100


class LearnedWeights(NamedTuple):
    """Result of `learn_weights`: weights, head and convergence of the optimisation."""

    weights: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    n_iter: int
    converged: bool


def batches(layers):
    """Generate slices of rows that fit into the cache."""
    n_samples, n_layers, n_dims = layers.shape
    return gen_batches(n_samples, max(1, _BATCH_VALUES // (n_layers * n_dims)))


def standardization(layers):
    """Compute mean and standard deviation of each dimension of each layer, both (n_layers, n_dims).

    The standard deviation of a constant dimension is replaced by 1.
    """
    scaler = StandardScaler()
    for rows in batches(layers):
        scaler.partial_fit(layers[rows].reshape(rows.stop - rows.start, -1).astype(np.float64))
    return scaler.mean_.reshape(layers.shape[1:]), scaler.scale_.reshape(layers.shape[1:])


def correlations(layers, mean, scale):
    """Compute the correlations between layers for each dimension, (n_dims, n_layers, n_layers).

    If ``C`` is the matrix of a dimension, ``w @ C @ w`` is its variance in the sum with weights
    ``w``.
    """
    n_samples, n_layers, n_dims = layers.shape
    total = np.zeros((n_dims, n_layers, n_layers))
    for rows in batches(layers):
        by_dim = np.moveaxis((layers[rows] - mean) / scale, 2, 0)
        total += np.swapaxes(by_dim, 1, 2) @ by_dim
    return total / n_samples


def weighted_sum(layers, weights, mean, scale):
    """Compute weighted sums of the standardised layers.

    Parameters
    ----------
    layers : ndarray of shape (n_samples, n_layers, n_dims)
        Layers, not standardised.
    weights : ndarray of shape (n_sets, n_layers)
        Sets of weights.
    mean, scale : ndarray of shape (n_layers, n_dims)
        Results of `standardization`.

    Returns
    -------
    sums : ndarray of shape (n_samples, n_sets * n_dims), of the dtype of `layers`
        Sums for each set of weights, concatenated.
    """
    sums = np.empty((len(layers), len(weights) * layers.shape[2]), dtype=layers.dtype)
    for rows in batches(layers):
        standardized = (layers[rows] - mean) / scale
        sums[rows] = (weights @ standardized).reshape(len(standardized), -1)
    return sums


def cross_entropy(outputs, targets):
    """Return the sum of the cross-entropies and its gradient with respect to `outputs`."""
    log_probabilities = log_softmax(outputs, axis=1)
    return -np.sum(targets * log_probabilities), np.exp(log_probabilities) - targets


def squared_error(outputs, targets):
    """Return half the sum of squared errors and its gradient with respect to `outputs`."""
    errors = outputs - targets
    return np.sum(errors**2) / 2, errors


def one_hot(labels):
    """Encode labels with one column per class, also for two classes."""
    columns = LabelBinarizer().fit_transform(labels).astype(np.float64)
    return np.hstack([1 - columns, columns]) if columns.shape[1] == 1 else columns


def standardize_target(values):
    """Scale a target to zero mean and unit variance, as one column."""
    values = np.asarray(values, dtype=np.float64)[:, np.newaxis]
    return scale(*scale_columns(values))


# Encoding and loss of each kind of target.
HEADS: dict[str, tuple[Callable, Callable]] = {
    "classes": (one_hot, cross_entropy),
    "continuous": (standardize_target, squared_error),
}


def objective(parameters, layers, mean, scale, correlation, targets, loss, alpha):
    """Compute the mean loss plus penalty, and its gradient.

    With weights ``w = softmax(logits)``, standardised layers ``Z``, a head ``W, b`` and `n`
    samples, the objective is
    ``loss((sum_l w_l Z_l) W + b, targets) / n + alpha / 2 * ||s W||^2``, where ``s`` are the
    standard deviations of the dimensions of the sum. The penalty is the same as if the sum were
    standardised. Without ``s`` it would be larger for sums of dissimilar layers, whose variance is
    lower, and all weight would go to one layer.

    Parameters
    ----------
    parameters : ndarray of shape (n_layers + n_dims * n_outputs + n_outputs,)
        Logits of the layers, coefficients and intercepts of the head.
    layers : ndarray of shape (n_samples, n_layers, n_dims)
        Layers, not standardised.
    mean, scale : ndarray of shape (n_layers, n_dims)
        Results of `standardization`.
    correlation : ndarray of shape (n_dims, n_layers, n_layers)
        Result of `correlations`.
    targets : ndarray of shape (n_samples, n_outputs)
        One column per class, or the standardised target.
    loss : callable
        Maps outputs and targets to the sum of losses and its gradient with respect to the outputs.
    alpha : float
        Strength of the L2 penalty.

    Returns
    -------
    value : float
        Value of the objective.
    gradient : ndarray of the shape of `parameters`
        Gradient of the objective.
    """
    n_samples, n_layers, n_dims = layers.shape
    logits, coef, intercept = _unpack(parameters, n_layers, n_dims)
    weights = softmax(logits)
    value, by_weights = 0.0, np.zeros_like(weights)
    by_coef, by_intercept = np.zeros_like(coef), np.zeros_like(intercept)
    for rows in batches(layers):
        standardized = layers[rows] - mean
        standardized /= scale
        mixed = weights @ standardized
        batch_loss, residuals = loss(mixed @ coef + intercept, targets[rows])
        value += batch_loss
        by_mixed = residuals @ coef.T
        by_weights += (standardized @ by_mixed[:, :, np.newaxis]).sum(axis=(0, 2))
        by_coef += mixed.T @ residuals
        by_intercept += residuals.sum(axis=0)
    # Add the penalty and its gradient.
    covariance = correlation @ weights
    variance, squares = covariance @ weights, np.sum(coef**2, axis=1)
    value = value / n_samples + alpha / 2 * (variance @ squares)
    by_weights += n_samples * alpha * (squares @ covariance)
    by_coef += n_samples * alpha * variance[:, np.newaxis] * coef
    by_logits = weights * (by_weights - weights @ by_weights)
    gradient = np.concatenate([by_logits, by_coef.ravel(), by_intercept]) / n_samples
    return value, gradient


def learn_weights(layers, y, mean, scale, correlation, *, kind, alpha, max_iter, tol):
    """Learn weights over the layers together with a linear head, by L-BFGS in float64.

    The optimisation starts from equal weights and a head of zeros, and is deterministic. The
    objective is convex in the head but not in weights and head, so the result is a local minimum.

    Parameters
    ----------
    layers : ndarray of shape (n_samples, n_layers, n_dims)
        Layers, not standardised.
    y : ndarray of shape (n_samples,)
        Classes or numbers.
    mean, scale : ndarray of shape (n_layers, n_dims)
        Results of `standardization`.
    correlation : ndarray of shape (n_dims, n_layers, n_layers)
        Result of `correlations`.
    kind : {"classes", "continuous"}
        Kind of target.
    alpha : float
        Strength of the L2 penalty on the coefficients of the head.
    max_iter : int
        Maximum number of iterations.
    tol : float
        The optimisation stops when the largest entry of the gradient is at most `tol`.

    Returns
    -------
    learned : LearnedWeights
        Weights of shape (n_layers,), head and convergence.
    """
    encode, loss = HEADS[kind]
    targets = encode(y)
    _, n_layers, n_dims = layers.shape
    result = minimize(
        objective,
        np.zeros(n_layers + (n_dims + 1) * targets.shape[1]),
        args=(layers, mean, scale, correlation, targets, loss, alpha),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": max_iter,
            "maxcor": _N_CORRECTIONS,
            "gtol": tol,
            "ftol": 64 * np.finfo(float).eps,  # so that `gtol` is the stopping criterion
        },
    )
    logits, coef, intercept = _unpack(result.x, n_layers, n_dims)
    return LearnedWeights(softmax(logits), coef, intercept, int(result.nit), result.status == 0)


def _unpack(parameters, n_layers, n_dims):
    """Return logits, coefficients of shape (n_dims, n_outputs) and intercepts, as views."""
    logits, head = parameters[:n_layers], parameters[n_layers:]
    n_outputs = len(head) // (n_dims + 1)
    return logits, head[: n_dims * n_outputs].reshape(n_dims, n_outputs), head[-n_outputs:]
