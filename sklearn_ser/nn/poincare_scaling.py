"""Multidimensional scaling on the Poincaré ball: a few dimensions in place of many."""

import torch
from scipy.optimize import minimize

from . import poincare

# A step that lowers the squared stress by less is the last: smaller ones can't be seen, and would
# take most of the time.
_FTOL = 1e-8


def pairwise_distances(points, c=1.0):
    """Measure the way between any two points along the ball.

    Parameters
    ----------
    points : Tensor of shape (n_points, n_dims)
    c : float

    Returns
    -------
    distances : Tensor of shape (n_points * (n_points - 1) / 2,)
        From the first to all others, from the second to those after it, and so on.
    """
    # Point by point: all at once they would need n_points² × n_dims numbers.
    return torch.cat(
        [poincare.distance(point, points[i:], c) for i, point in enumerate(points[:-1], start=1)]
    )


def stress(distances, targets):
    """Compare distances with what they should be: Kruskal's √(Σ(d − δ)² / Σδ²)."""
    return ((distances - targets).square().sum() / targets.square().sum()).sqrt()


@torch.inference_mode(False)  # whatever the user has set around the picture
@torch.enable_grad()
def scale(points, c=1.0, n_dims=2, max_iter=500):
    """Find points on a ball of few dimensions whose distances are close to those of others.

    The points are moved along the ball until their midpoint is the origin, and are projected on
    their principal directions in the tangent space there. From that start, L-BFGS lowers the
    stress, to where it is least nearby.

    Parameters
    ----------
    points : Tensor of shape (n_points, at least n_dims)
    c : float
        Of both balls; with 0 this is Euclid's metric scaling.
    n_dims : int
    max_iter : int
        Number of steps at most.

    Returns
    -------
    scaled : Tensor of shape (n_points, n_dims)
        In double precision.
    """
    points = points.double()
    targets = pairwise_distances(points, c)
    midpoint = poincare.gyromidpoint(points, c=c)
    tangents = poincare.log0(poincare.mobius_add(-midpoint, points, c), c)
    *_, directions = torch.linalg.svd(tangents, full_matrices=False)
    start = tangents @ directions[:n_dims].T
    one, other = torch.triu_indices(len(points), len(points), 1)

    def squared_stress(flat):
        tangents = torch.from_numpy(flat).view(start.shape).requires_grad_()
        scaled = poincare.exp0(tangents, c)
        ways = poincare.distance(scaled.index_select(0, one), scaled.index_select(0, other), c)
        loss = stress(ways, targets).square()
        (gradient,) = torch.autograd.grad(loss, tangents)
        return loss.item(), gradient.numpy().ravel()

    options = {"maxiter": max_iter, "ftol": _FTOL, "gtol": 0}
    found = minimize(
        squared_stress, start.ravel().numpy(), jac=True, method="L-BFGS-B", options=options
    )
    return poincare.exp0(torch.from_numpy(found.x).view(start.shape), c)
