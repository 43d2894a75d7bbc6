"""Softmax weights over layers, learned together with a linear head: free functions.

`layers` is an array of shape (n_samples, n_layers, n_dims). It may be float32 and large: it is
read in batches of rows, and never copied as a whole.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.preprocessing import LabelBinarizer, StandardScaler, scale
from sklearn.utils import gen_batches

# Values in one batch of rows: 4 MiB in float64, about what a processor's cache holds.
_BATCH_VALUES = 2**19
# Steps that L-BFGS remembers. Its usual 10 took up to four times as many iterations where a layer
# has about as many dimensions as there are recordings.
_N_CORRECTIONS = 100


class LearnedWeights(NamedTuple):
    """What `learn_weights` found: `weights`, the head, and how the search for them went."""

    weights: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    n_iter: int
    converged: bool


def batches(layers):
    """Yield slices of rows that fit into the cache."""
    n_samples, n_layers, n_dims = layers.shape
    return gen_batches(n_samples, max(1, _BATCH_VALUES // (n_layers * n_dims)))


def standardization(layers):
    """Compute mean and scale of each dimension of each layer, both (n_layers, n_dims).

    The scale of a dimension that does not vary is 1.
    """
    scaler = StandardScaler()
    for rows in batches(layers):
        scaler.partial_fit(layers[rows].reshape(rows.stop - rows.start, -1).astype(np.float64))
    return scaler.mean_.reshape(layers.shape[1:]), scaler.scale_.reshape(layers.shape[1:])


def correlations(layers, mean, scale):
    """Compute how each dimension correlates between layers, (n_dims, n_layers, n_layers).

    With ``C`` for a dimension, ``w @ C @ w`` is its variance in the sum under weights ``w``.
    """
    n_samples, n_layers, n_dims = layers.shape
    total = np.zeros((n_dims, n_layers, n_layers))
    for rows in batches(layers):
        by_dim = np.moveaxis((layers[rows] - mean) / scale, 2, 0)
        total += np.swapaxes(by_dim, 1, 2) @ by_dim
    return total / n_samples


def weighted_sum(layers, weights, mean, scale):
    """Sum the standardised layers under each set of weights.

    Parameters
    ----------
    layers : ndarray of shape (n_samples, n_layers, n_dims)
        Layers as they are.
    weights : ndarray of shape (n_sets, n_layers)
        Sets of weights.
    mean, scale : ndarray of shape (n_layers, n_dims)
        What `standardization` returned.

    Returns
    -------
    sums : ndarray of shape (n_samples, n_sets * n_dims), of the dtype of `layers`
        The sums under the first set, then those under the second, and so on.
    """
    sums = np.empty((len(layers), len(weights) * layers.shape[2]), dtype=layers.dtype)
    for rows in batches(layers):
        standardized = (layers[rows] - mean) / scale
        sums[rows] = (weights @ standardized).reshape(len(standardized), -1)
    return sums


def cross_entropy(outputs, targets):
    """Return the sum of the multinomial cross-entropies, and their gradient by `outputs`."""
    log_probabilities = log_softmax(outputs, axis=1)
    return -np.sum(targets * log_probabilities), np.exp(log_probabilities) - targets


def squared_error(outputs, targets):
    """Return half the sum of squared errors, and their gradient by `outputs`."""
    errors = outputs - targets
    return np.sum(errors**2) / 2, errors


def one_hot(labels):
    """Return a column for each class, also for two of them."""
    columns = LabelBinarizer().fit_transform(labels).astype(np.float64)
    return np.hstack([1 - columns, columns]) if columns.shape[1] == 1 else columns


def standard_column(values):
    """Return one column of zero mean and unit variance, so that no unit of `y` matters."""
    return scale(np.asarray(values, dtype=np.float64))[:, np.newaxis]


# How the head is trained for each kind of target: the target's columns, and the loss.
HEADS: dict[str, tuple[Callable, Callable]] = {
    "classes": (one_hot, cross_entropy),
    "continuous": (standard_column, squared_error),
}


def objective(parameters, layers, mean, scale, correlation, targets, loss, alpha):
    """Compute mean loss plus penalty, and its gradient.

    With weights ``w = softmax(logits)`` over the standardised layers ``Z``, a head ``W, b`` and
    `n` samples, this is ``loss((sum_l w_l Z_l) W + b, targets) / n + alpha / 2 * ||s W||^2``,
    where ``s`` holds the standard deviation of each dimension of the sum. So the penalty is what
    it would be if the sum were standardised. Without ``s`` it would weigh more on sums of layers
    that differ, as these have less variance, and would draw all weight to one layer.

    Parameters
    ----------
    parameters : ndarray of shape (n_layers + n_dims * n_outputs + n_outputs,)
        Logits of the layers, coefficients and intercepts of the head.
    layers : ndarray of shape (n_samples, n_layers, n_dims)
        Layers as they are.
    mean, scale : ndarray of shape (n_layers, n_dims)
        What `standardization` returned.
    correlation : ndarray of shape (n_dims, n_layers, n_layers)
        What `correlations` returned.
    targets : ndarray of shape (n_samples, n_outputs)
        One column per class, or the standardised target.
    loss : callable
        From outputs and targets to the sum of losses and its gradient by the outputs.
    alpha : float
        Strength of the penalty.

    Returns
    -------
    value : float
        The objective.
    gradient : ndarray of the shape of `parameters`
        Its gradient.
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
    # The penalty, and what it adds to the sums of gradients over samples.
    covariance = correlation @ weights
    variance, squares = covariance @ weights, np.sum(coef**2, axis=1)
    value = value / n_samples + alpha / 2 * (variance @ squares)
    by_weights += n_samples * alpha * (squares @ covariance)
    by_coef += n_samples * alpha * variance[:, np.newaxis] * coef
    by_logits = weights * (by_weights - weights @ by_weights)
    gradient = np.concatenate([by_logits, by_coef.ravel(), by_intercept]) / n_samples
    return value, gradient


def learn_weights(layers, y, mean, scale, correlation, *, kind, alpha, max_iter, tol):
    """Learn weights over the layers and a linear head together, by L-BFGS in float64.

    The search begins at equal weights and a head of zeros, and draws nothing at random. The
    objective is convex in the head alone, not in both: what is found is a local minimum.

    Parameters
    ----------
    layers : ndarray of shape (n_samples, n_layers, n_dims)
        Layers as they are.
    y : ndarray of shape (n_samples,)
        Classes or numbers.
    mean, scale : ndarray of shape (n_layers, n_dims)
        What `standardization` returned.
    correlation : ndarray of shape (n_dims, n_layers, n_layers)
        What `correlations` returned.
    kind : {"classes", "continuous"}
        What `y` holds.
    alpha : float
        Strength of the penalty on the head's coefficients.
    max_iter : int
        Largest number of iterations.
    tol : float
        Largest entry of the gradient at which the search ends.

    Returns
    -------
    learned : LearnedWeights
        Weights of shape (n_layers,), and the head.
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
            "ftol": 64 * np.finfo(float).eps,  # so that the gradient decides
        },
    )
    logits, coef, intercept = _unpack(result.x, n_layers, n_dims)
    return LearnedWeights(softmax(logits), coef, intercept, int(result.nit), result.status == 0)


def _unpack(parameters, n_layers, n_dims):
    """Return logits, coefficients (n_dims, n_outputs) and intercepts, as views."""
    logits, head = parameters[:n_layers], parameters[n_layers:]
    n_outputs = len(head) // (n_dims + 1)
    return logits, head[: n_dims * n_outputs].reshape(n_dims, n_outputs), head[-n_outputs:]
