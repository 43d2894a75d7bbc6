"""Multidimensional scaling on the Poincaré ball."""

import torch
from scipy.optimize import minimize

from . import poincare

# Tolerance of the squared stress. Smaller changes are invisible in a plot.
_FTOL = 1e-8


def pairwise_distances(points, c=1.0):
    """Compute the hyperbolic distances between all pairs of points.

    Parameters
    ----------
    points : Tensor of shape (n_points, n_dims)
        Points on the ball.
    c : float
        The ball has curvature −c.

    Returns
    -------
    distances : Tensor of shape (n_points * (n_points - 1) / 2,)
        Condensed distances, in the order of `scipy.spatial.distance.pdist`.
    """
    # One point at a time, because all pairs at once take n_points² × n_dims numbers.
    return torch.cat(
        [poincare.distance(point, points[i:], c) for i, point in enumerate(points[:-1], start=1)]
    )


def stress(distances, targets):
    """Compute Kruskal's stress of distances: √(Σ(d − δ)² / Σδ²)."""
    return ((distances - targets).square().sum() / targets.square().sum()).sqrt()


@torch.inference_mode(False)  # the caller may be in inference mode
@torch.enable_grad()
def scale(points, c=1.0, n_dims=2, max_iter=500):
    """Embed points in a ball of fewer dimensions, preserving their distances.

    For the initial solution, the points are translated so that their midpoint is the origin, and
    projected on the principal components in the tangent space. L-BFGS then minimises the stress
    locally.

    Parameters
    ----------
    points : Tensor of shape (n_points, at least n_dims)
        Points on the ball.
    c : float
        Both balls have curvature −c. With 0 this is Euclidean metric scaling.
    n_dims : int
        Number of dimensions of the embedding.
    max_iter : int
        Maximum number of iterations.

    Returns
    -------
    scaled : Tensor of shape (n_points, n_dims)
        The embedded points, in float64.
    """
    points = points.double()
    targets = pairwise_distances(points, c)
    midpoint = poincare.gyromidpoint(points, c=c)
    tangents = poincare.log0(poincare.mobius_add(-midpoint, points, c), c)
    *_, directions = torch.linalg.svd(tangents, full_matrices=False)
    start = tangents @ directions[:n_dims].T
    first, second = torch.triu_indices(len(points), len(points), 1)

    def squared_stress(flat):
        tangents = torch.from_numpy(flat).view(start.shape).requires_grad_()
        scaled = poincare.exp0(tangents, c)
        distances = poincare.distance(
            scaled.index_select(0, first), scaled.index_select(0, second), c
        )
        loss = stress(distances, targets).square()
        (gradient,) = torch.autograd.grad(loss, tangents)
        return loss.item(), gradient.numpy().ravel()

    options = {"maxiter": max_iter, "ftol": _FTOL, "gtol": 0}
    found = minimize(
        squared_stress, start.ravel().numpy(), jac=True, method="L-BFGS-B", options=options
    )
    return poincare.exp0(torch.from_numpy(found.x).view(start.shape), c)
