"""Arithmetic on the Poincaré ball, as functions of tensors.

The ball of curvature −c holds the points with √c‖x‖ < 1; at c = 0 it is Euclid's space, with
lengths twice as long, and every function is analytic there, in c too. ``c`` is a number or a
tensor, perhaps learned, that broadcasts against ``x[..., :1]``. Vectors lie along the last axis.

geoopt 0.5.1 gives the same numbers in float64 (the tests compare), and its conformal factor,
exp₀ and projection are sound in float32 too. The rest is not: artanh as log(1 + x) − log(1 − x)
leaves log₀ three digits at norms of 1e-5 and none at 1e-8, and so distances, geodesics and
midpoints; at norms of .9, sums of nearly opposite points are off by 1e-4 and distances to
hyperplanes by nearly 1e-3, and behind a hyperplane near the rim they are three times too long.
For 0 < c < 1e-8 what has a root of c has a wrong derivative by c, most with the sign turned. And
all take up to twice as long as what is below, which a training step feels. So points are moved
by the functions here, and what geoopt gives is Riemannian Adam and the parameters that it knows.

Here a function of c‖x‖² has its derivative in closed form, and Möbius addition is written as

    x ⊕ y = (a w + q x) / (q + a b),  w = x + y, q = c‖w‖², a = 1 − c‖x‖², b = 1 − c‖y‖²

where no two terms cancel. Derivatives can be taken once.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

# Where the ball ends for points that further arithmetic awaits: √c‖x‖ = 1 − MARGIN.
MARGIN = 1e-3


def exp0(v, c=1.0, max_norm=None):
    """Take a tangent vector at the origin to the ball: tanh(√c‖v‖) v / (√c‖v‖).

    With `max_norm`, as if the vector had gone through `clip_norm` before.
    """
    if _is_flat(c):
        return v if max_norm is None else clip_norm(v, max_norm)
    return _Odd.apply(v, c, _TANH, True, max_norm)


def log0(x, c=1.0):
    """Take a point to the tangent space at the origin: artanh(√c‖x‖) x / (√c‖x‖)."""
    return x if _is_flat(c) else _Odd.apply(x, c, _ARTANH, True)


def clip_norm(v, max_norm):
    """Shorten the vectors that are longer than a norm to it."""
    return v * _shrinkage(_squared_norm(v), _square_of(max_norm, v.dtype))


def project(x, c=1.0, margin=MARGIN):
    """Move the points with √c‖x‖ > 1 − margin to where it is 1 − margin."""
    if _is_flat(c):
        return x
    return x * _shrinkage(c * _squared_norm(x), (1 - margin) ** 2)


def mobius_add(x, y, c=1.0):
    """Add points as the ball does; neither commutative nor associative."""
    return x + y if _is_flat(c) else _MobiusAddition.apply(x, y, c)


def distance(x, y, c=1.0):
    """Measure the way from one point to another along the ball.

    Returns
    -------
    distance : Tensor of shape (...)
        (2/√c) arsinh(√c‖x − y‖ / √((1 − c‖x‖²)(1 − c‖y‖²))): exact for close points, and finite
        for far ones.
    """
    stretch = _gap(_squared_norm(x), c) * _gap(_squared_norm(y), c)
    chord = torch.linalg.vector_norm(x - y, dim=-1, keepdim=True)
    return 2 * _Odd.apply(chord * stretch.rsqrt(), c, _ARSINH, False).squeeze(-1)


def distance_to_origin(x, c=1.0):
    """Measure the way from the origin: (2/√c) artanh(√c‖x‖), of shape (...)."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return 2 * _Odd.apply(norm, c, _ARTANH, False).squeeze(-1)


def geodesic(x, y, t, c=1.0):
    """Walk from x to y: the point after the share t of the way.

    Parameters
    ----------
    x, y : Tensor of shape (..., n_dims)
    t : float or Tensor that broadcasts against ``x[..., :1]``
        0 is x and 1 is y; the line goes on beyond both.
    c : float or Tensor
    """
    return mobius_add(x, exp0(t * log0(mobius_add(-x, y, c), c), c), c)


def gyromidpoint(points, weights=None, c=1.0):
    """Take the weighted midpoint of points, the same in any order.

    Parameters
    ----------
    points : Tensor of shape (..., n_points, n_dims)
    weights : Tensor of shape (..., n_points), optional
        Not negative, and not all zero; only their ratios matter.
    c : float or Tensor that broadcasts against ``midpoint[..., :1]``

    Returns
    -------
    midpoint : Tensor of shape (..., n_dims)
        ½ ⊗ Σ wλx / Σ w(λ − 1) with λ the conformal factor, as the root below has it in closed
        form. The root is that of a sum of unit vectors of Minkowski's space, which is at least
        as long as the sum of the weights: that keeps rounding near the rim within bounds.
    """
    squared = _squared_norm(points)
    weights = torch.ones_like(squared) if weights is None else weights.unsqueeze(-1)
    of_each = c.unsqueeze(-2) if isinstance(c, torch.Tensor) and c.dim() else c
    pull = weights / _gap(squared, of_each)
    total = 2 * (pull * points).sum(-2)
    time = (pull * (1 + of_each * squared)).sum(-2)
    length = time * time - c * _squared_norm(total)
    least = weights.sum(-2) ** 2
    # Not `maximum`, whose gradient where both are equal, as at c = 0, depends on the torch version.
    length = torch.where(length < least, least, length)
    return total / (time + length.sqrt())


def hyperplane_logits(x, points, normals, c=1.0):
    """Score classes by hyperplanes: multinomial logistic regression on the ball.

    Each score is the signed distance to the hyperplane of a class times twice the length of its
    normal; at c = 0 it is 4⟨x − p, a⟩.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_dims)
    points : Tensor of shape (n_classes, n_dims)
        A point on each hyperplane.
    normals : Tensor of shape (n_classes, n_dims)
        Normals, of any length, in the tangent space at the origin: those at `points` are
        carried there along the geodesic, which keeps their direction.
    c : float or Tensor of no dimensions

    Returns
    -------
    logits : Tensor of shape (n_samples, n_classes)

    References
    ----------
    Ganea, Bécigneul and Hofmann: "Hyperbolic neural networks". NeurIPS 2018.
    """
    squared_x, squared_points = _squared_norm(x), _squared_norm(points)
    gap_x, gap_points = _gap(squared_x, c), _gap(squared_points, c).mT
    offset = _dot(points, normals).mT
    beyond = (1 + c * squared_x - 2 * c * (x @ points.mT)) / gap_points
    height = 2 * (x @ normals.mT - offset * beyond) / gap_x
    length = torch.linalg.vector_norm(normals, dim=-1).clamp_min(torch.finfo(x.dtype).tiny ** 0.25)
    return 2 * length * _Odd.apply(height / length, c, _ARSINH, False)


def _is_flat(c):
    return not isinstance(c, torch.Tensor) and c == 0


def _dot(x, y):
    return (x * y).sum(-1, keepdim=True)


def _squared_norm(x):
    return (x * x).sum(-1, keepdim=True)


def _square_of(max_norm, dtype):
    """Square a number, as far as the type of the vectors goes."""
    info = torch.finfo(dtype)
    return min(max(max_norm**2, info.tiny), info.max)


def _gap(squared_norm, c):
    """Return 1 − c‖x‖², never below what rounding leaves of it."""
    return (1 - c * squared_norm).clamp_min(torch.finfo(squared_norm.dtype).eps)


def _shrinkage(squared_norm, limit):
    """Return the factor that brings squared norms down to a limit: exactly 1 below it."""
    return (limit / squared_norm.clamp_min(limit)).sqrt()


def _root(u):
    """Return a root that may be divided by."""
    return u.clamp_min(torch.finfo(u.dtype).tiny).sqrt()


def _tanh(u):
    root = _root(u)
    return root.tanh() / root, root.cosh().pow(-2)


def _artanh(u):
    u = u.clamp_max(1 - torch.finfo(u.dtype).eps)
    root = _root(u)
    return root.atanh() / root, (1 - u).reciprocal()


def _arsinh(u):
    root = _root(u)
    return root.asinh() / root, (1 + u).rsqrt()


class _Profile(NamedTuple):
    """An odd function g, through f(u) = g(√u)/√u, which is analytic at zero."""

    evaluate: Callable  # u → f(u) and g'(√u)
    slope: tuple  # the first coefficients of f'(u) at zero


_TANH = _Profile(_tanh, (-1 / 3, 4 / 15, -17 / 105, 248 / 2835, -1382 / 31185))
_ARTANH = _Profile(_artanh, (1 / 3, 2 / 5, 3 / 7, 4 / 9, 5 / 11))
_ARSINH = _Profile(_arsinh, (-1 / 6, 3 / 20, -15 / 112, 35 / 288, -315 / 2816))


class _Odd(torch.autograd.Function):
    """Bring each vector, or each number, to the length g(√c‖v‖)/√c for an odd function g.

    What is longer than `max_norm` counts as that long.
    """

    @staticmethod
    def forward(ctx, v, c, profile, of_vectors, max_norm=None):
        squared = (_squared_norm(v) if of_vectors else v * v).clamp_min(torch.finfo(v.dtype).tiny)
        held = squared if max_norm is None else squared.clamp_max(_square_of(max_norm, v.dtype))
        u = c * held
        factor, radial = profile.evaluate(u)
        shrinkage = None if max_norm is None else (held / squared).sqrt()
        ctx.save_for_backward(v, squared, held, u, factor, radial, shrinkage)
        ctx.profile, ctx.of_vectors = profile, of_vectors
        ctx.shape = c.shape if isinstance(c, torch.Tensor) else None
        return factor * v if shrinkage is None else factor * shrinkage * v

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        v, squared, held, u, factor, radial, shrinkage = ctx.saved_tensors
        along = _dot(grad, v) if ctx.of_vectors else grad * v
        grad_v = grad_c = None
        if ctx.needs_input_grad[1]:
            by_c = _slope(u, factor, radial, ctx.profile.slope) * held * along
            by_c = by_c if shrinkage is None else by_c * shrinkage
            grad_c = by_c.sum_to_size(ctx.shape)
        if ctx.needs_input_grad[0]:
            if shrinkage is not None:
                factor, radial = factor * shrinkage, radial * (squared == held)
            # What is along v grows with g', what is across with f. Their difference cancels in
            # short vectors, but what rounding leaves of it meets v twice.
            bend = (radial - factor) / squared
            grad_v = torch.addcmul(factor * grad, bend * along, v).sum_to_size(v.shape)
        return grad_v, grad_c, None, None, None


def _slope(u, factor, radial, series):
    """Return f'(u), by its series where the closed form would cancel."""
    info = torch.finfo(u.dtype)
    near = torch.zeros_like(u)
    for coefficient in reversed(series):
        near = near * u + coefficient
    far = (radial - factor) / (2 * u.clamp_min(info.tiny))
    return torch.where(u < info.eps ** (1 / 6), near, far)


class _MobiusAddition(torch.autograd.Function):
    """x ⊕ y = (a w + q x) / (q + a b); see the module."""

    @staticmethod
    def forward(ctx, x, y, c):
        w = x + y
        x2, y2, w2 = _squared_norm(x), _squared_norm(y), _squared_norm(w)
        a, b, q = _gap(x2, c), _gap(y2, c), c * w2
        whole = torch.addcmul(q, a, b)
        result = torch.addcmul(a * w, q, x) / whole
        learned = isinstance(c, torch.Tensor)
        ctx.c = None if learned else c
        ctx.save_for_backward(x, y, w, x2, y2, w2, a, b, q, whole, result, c if learned else None)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, y, w, x2, y2, w2, a, b, q, whole, result, c = ctx.saved_tensors
        c = ctx.c if c is None else c
        grad = grad / whole
        along_result = _dot(grad, result)
        by_q = _dot(grad, x) - along_result
        by_a = _dot(grad, w) - along_result * b
        by_b = -along_result * a
        twice = -2 * c
        grad_w = torch.addcmul(a * grad, -twice * by_q, w)
        grad_x = torch.addcmul(torch.addcmul(grad_w, q, grad), twice * by_a, x)
        grad_y = torch.addcmul(grad_w, twice * by_b, y)
        grad_c = None
        if ctx.needs_input_grad[2]:
            grad_c = (by_q * w2 - by_a * x2 - by_b * y2).sum_to_size(c.shape)
        return grad_x.sum_to_size(x.shape), grad_y.sum_to_size(y.shape), grad_c
