"""Full-batch training of hyperbolic fusion with linear branches, and scores of single blocks."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import recall_score

from sklearn_ser._warnings import warn
from sklearn_ser.nn import MAX_FEATURE

# Largest curvature of cross-entropy along a logit.
_CURVATURE = 0.25
_INTERCEPT_SCALE = 1 / np.sqrt(_CURVATURE)


class Block(NamedTuple):
    """Features of a block in coordinates where the loss is about equally curved.

    Attributes
    ----------
    values : ndarray of shape (n_recordings, n_axes)
        Coordinates of the recordings: their features times `axes`.
    axes : ndarray of shape (n_features, n_axes)
        Scaled principal axes of the features. They are orthogonal.
    decay : ndarray of shape (n_axes, 1)
        L2 penalty of each coordinate of the weights.
    """

    values: np.ndarray
    axes: np.ndarray
    decay: np.ndarray


def make_block(features, weights, penalty):
    """Compute the coordinates of a block.

    The Hessian of the cross-entropy of a linear classifier of zero weights, with the penalty, is
    close to the identity in them, so that L-BFGS needs few iterations, however correlated the
    features are.

    Parameters
    ----------
    features : ndarray of shape (n_recordings, n_features)
        Standardised features. NaN is replaced by zero.
    weights : ndarray of shape (n_recordings,)
        Weights of the recordings, whose sum is one.
    penalty : float
        L2 penalty of the weights of the features.

    Returns
    -------
    block : Block
    """
    features = np.nan_to_num(features, nan=0.0).clip(-MAX_FEATURE, MAX_FEATURE).astype(np.float64)
    scaled = np.sqrt(_CURVATURE * weights)[:, np.newaxis] * features
    is_wide = features.shape[1] > len(features)
    curvatures, axes = eigh(scaled @ scaled.T if is_wide else scaled.T @ scaled)
    kept = curvatures > len(axes) * np.finfo(float).eps * curvatures.max(initial=0)
    curvatures, axes = curvatures[kept], axes[:, kept]
    if is_wide:
        axes = scaled.T @ axes / np.sqrt(curvatures)
    scales = 1 / np.sqrt(penalty + curvatures)
    axes = axes * scales
    return Block(features @ axes, axes, penalty * scales[:, np.newaxis] ** 2)


def held_out_recall(block, targets, labels, groups=None):
    """Compute the unweighted average recall of a block alone, by cross-validation without refits.

    The classifier is a ridge regression of the classes, whose predictions for a recording that is
    left out of the training have a closed form.

    Parameters
    ----------
    block : Block
        The block, of the recordings that have it.
    targets : ndarray of shape (n_recordings, n_classes)
        Weighted shares of the classes, whose sum over all recordings of the training is one.
    labels : ndarray of int of shape (n_recordings,)
        True classes.
    groups : ndarray of int of shape (n_recordings,), default=None
        Speakers, each of which is left out. If None, each recording is left out.

    Returns
    -------
    recall : float
    """
    weights = targets.sum(axis=1, keepdims=True)
    shares = targets / weights - targets.sum(axis=0) / targets.sum()
    scaled = _CURVATURE * weights * block.values
    errors = shares - block.values @ (scaled.T @ shares)
    if groups is None:
        errors /= 1 - (scaled * block.values).sum(axis=1, keepdims=True)
    else:
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            errors[rows] = _hold_out(block.values[rows], scaled[rows], errors[rows])
    predicted = (shares - errors).argmax(axis=1)
    return recall_score(
        labels, predicted, labels=np.unique(labels), average="macro", sample_weight=weights[:, 0]
    )


def _hold_out(values, scaled, errors):
    """Return the errors of a ridge regression for rows that are left out of its training.

    They solve (1 − values scaledᵀ) x = errors, by a system with as many unknowns as there are rows
    or columns, whichever are fewer (Woodbury's identity).
    """
    if len(values) <= values.shape[1]:
        return np.linalg.solve(np.eye(len(values)) - values @ scaled.T, errors)
    system = np.eye(values.shape[1]) - scaled.T @ values
    return errors + values @ np.linalg.solve(system, scaled.T @ errors)


class LinearTraining:
    """Loss of a network with linear branches, and its minimisation by L-BFGS.

    The loss is {CE(fused) + a/B Σ CE(block)} / (1 + a), the cross-entropies of the network and of
    each of its B blocks alone, plus the L2 penalty of the weights.

    Parameters
    ----------
    network : HyperbolicFusionNetwork
        The network, of type float64.
    blocks : list of Block
        Its blocks.
    present : ndarray of bool of shape (n_recordings, n_blocks)
        Which blocks are present.
    targets : ndarray of shape (n_recordings, n_classes)
        Weighted shares of the classes, whose sum is one.
    block_loss : float
        a, the weight of the cross-entropies of the blocks.
    """

    def __init__(self, network, blocks, present, targets, block_loss):
        self.network, self.blocks = network, blocks
        network.needs_projection = False  # float64 is accurate up to the boundary
        self.present = torch.from_numpy(present.astype(np.float64))
        of_block = block_loss / len(blocks) * self.present.T.unsqueeze(2)
        of_loss = torch.cat([torch.ones_like(of_block[:1]), of_block]) / (1 + block_loss)
        self.targets = of_loss * torch.from_numpy(targets)
        self.totals = self.targets.sum(-1, keepdim=True)
        self.weights = torch.from_numpy(targets).sum(1, keepdim=True)
        self.n_classes = targets.shape[1]
        self.ends = np.cumsum([block.values.shape[1] for block in blocks]).tolist()

    def minimize(self, tol, max_iter):
        """Minimise the loss from the weights of the network, and set its weights.

        Parameters
        ----------
        tol : float
            Largest entry of the gradient at convergence.
        max_iter : int
            Maximum number of iterations.

        Returns
        -------
        losses : list of float
            The loss after each iteration.
        """
        losses: list[float] = []

        def follow(intermediate_result):
            losses.append(float(intermediate_result.fun))

        found = minimize(
            self.loss,
            self._start(),
            jac=True,
            method="L-BFGS-B",
            callback=follow,
            options={"maxiter": max_iter, "gtol": tol, "ftol": 0},
        )
        if not found.success:
            warn(
                f"L-BFGS stopped after {found.nit} iterations, before it converged: "
                f"{found.message.strip(': ')}. Raise max_iter={max_iter} or tol={tol}, or lower C.",
                ConvergenceWarning,
            )
        self._set_weights(found.x)
        return losses or [float(found.fun)]

    def loss(self, coordinates):
        """Return the loss of weights in the coordinates of the blocks, and its gradient."""
        weights = self._split(coordinates)
        bias = torch.from_numpy(coordinates[-self.n_classes :]) * _INTERCEPT_SCALE
        tangents = [
            torch.from_numpy(block.values @ w).requires_grad_()
            for block, w in zip(self.blocks, weights, strict=True)
        ]
        fused = self.network.fuse_tangents(tangents, self.present, self._curvature(tangents))
        fused = fused.unflatten(1, (-1, self.n_classes)).sum(1)
        with torch.no_grad():
            logits = torch.stack([fused, *tangents]) + bias
            log_shares = logits.log_softmax(-1)
            loss = -(log_shares * self.targets).sum().item()
            by_fused, *by_blocks = by_logits = log_shares.exp() * self.totals - self.targets
        by_tangents = torch.autograd.grad(fused, tangents, by_fused)
        gradients = []
        for block, w, *parts in zip(self.blocks, weights, by_tangents, by_blocks, strict=True):
            loss += (block.decay * w**2).sum() / 2
            gradients.append((block.values.T @ sum(parts).numpy() + block.decay * w).ravel())
        by_bias = by_logits.sum((0, 1)).numpy() * _INTERCEPT_SCALE
        return loss, np.concatenate([*gradients, by_bias])

    def _curvature(self, tangents):
        return self.network.relative_curvature(self._mean_squared_norm(tangents))

    def _mean_squared_norm(self, tangents):
        """Return the mean over recordings, and over the blocks that they have."""
        squared = torch.stack([(v * v).sum(1) for v in tangents], dim=1)
        return (self.weights * squared).sum() / (self.weights * self.present).sum()

    def _split(self, coordinates):
        rows = coordinates[: -self.n_classes].reshape(-1, self.n_classes)
        return np.split(rows, self.ends[:-1])

    def _start(self):
        """Return the coordinates of the weights of the network."""
        parts = []
        for block, branch in zip(self.blocks, self.network.branches, strict=True):
            lengths = np.square(block.axes).sum(axis=0)[:, np.newaxis]
            parts.append((block.axes.T @ branch.weight.detach().numpy().T / lengths).ravel())
        return np.concatenate([*parts, self.network.head.bias.detach() / _INTERCEPT_SCALE])

    @torch.no_grad()
    def _set_weights(self, coordinates):
        self.network.head.bias.copy_(
            torch.from_numpy(coordinates[-self.n_classes :] * _INTERCEPT_SCALE)
        )
        tangents = []
        for block, w, branch in zip(
            self.blocks, self._split(coordinates), self.network.branches, strict=True
        ):
            branch.weight.copy_(torch.from_numpy(block.axes @ w).T)
            tangents.append(torch.from_numpy(block.values @ w))
        self.network.mean_squared_norm.copy_(self._mean_squared_norm(tangents))
