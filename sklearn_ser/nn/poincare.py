"""Operations on the Poincaré ball, as functions of tensors.

The ball of curvature −c is the set of points with √c‖x‖ < 1. At c = 0 it is Euclidean space, with
lengths multiplied by two, and all functions are analytic in c there. ``c`` is a number or a
tensor, which may be learned, that broadcasts against ``x[..., :1]``. Vectors are along the last
axis.

Away from the origin and the boundary, the results equal those of geoopt 0.5.1 in float64 (the tests
compare them). Casting to float64 and calling geoopt was tried, because geoopt in float32 loses all
digits of log₀ at norms of 1e-8, and has errors of 1e-4 to 1e-3 at norms of .9. In float64 these
errors are negligible, but others remain:

- For 0 < c ≤ 1e-8, derivatives by c are wrong (those of exp₀, log₀ and the distance to the origin
  have the opposite sign), and long vectors are, too: at √c‖v‖ = 1, √c‖exp₀(v)‖ is 1.33, not .76.
- artanh is log(1 + x) − log(1 − x), clipped at 1 − 1e-7: the derivative of log₀ at the origin is
  1.055, not 1, and distances are at most 16.8 / √c.
- 1e-15 is added to c. At c = 1e-6, distances between points at up to 6 / √c from the origin have
  relative errors of 1e-6, and the triangle inequality is violated by 9e-7.
- The gradient of a zero normal vector is zero, so that it is never trained.
- (−x) ⊕ x is not exactly the origin, and distances are not exactly symmetric.

The operations also take 1.8 to 2.4 times as long on one CPU thread: exp₀, ⊕, projection and log₀ of
a float32 batch of 32 × 120 take 3.6 ms instead of 1.5, with the backward pass. `fit` with MLP
branches takes 1.3 to 1.5 times as long. geoopt is therefore used only for Riemannian Adam and its
parameters.

Here the derivatives of functions of c‖x‖² are in closed form, and Möbius addition is computed as

    x ⊕ y = (a w + q x) / (q + a b),  w = x + y, q = c‖w‖², a = 1 − c‖x‖², b = 1 − c‖y‖²

which avoids cancellation. Only first derivatives are supported.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

# Projection moves points to √c‖x‖ = 1 − MARGIN, so that further operations are accurate.
MARGIN = 1e-3


def exp0(v, c=1.0, max_norm=None):
    """Map a tangent vector at the origin to the ball: tanh(√c‖v‖) v / (√c‖v‖).

    If `max_norm` is given, the vector is first clipped to this norm, as by `clip_norm`.
    """
    if _is_euclidean(c):
        return v if max_norm is None else clip_norm(v, max_norm)
    return _RadialMap.apply(v, c, _TANH, True, max_norm)


def log0(x, c=1.0):
    """Map a point to the tangent space at the origin: artanh(√c‖x‖) x / (√c‖x‖)."""
    return x if _is_euclidean(c) else _RadialMap.apply(x, c, _ARTANH, True)


def clip_norm(v, max_norm):
    """Clip the norms of vectors."""
    return v * _clip_factor(_squared_norm(v), _square(max_norm, v.dtype))


def project(x, c=1.0, margin=MARGIN):
    """Move points with √c‖x‖ > 1 − margin to √c‖x‖ = 1 − margin."""
    if _is_euclidean(c):
        return x
    return x * _clip_factor(c * _squared_norm(x), (1 - margin) ** 2)


def mobius_add(x, y, c=1.0):
    """Compute the Möbius addition, which is neither commutative nor associative."""
    return x + y if _is_euclidean(c) else _MobiusAddition.apply(x, y, c)


def distance(x, y, c=1.0):
    """Compute the hyperbolic distance between points.

    Returns
    -------
    distance : Tensor of shape (...)
        (2/√c) arsinh(√c‖x − y‖ / √((1 − c‖x‖²)(1 − c‖y‖²))), which is accurate for close points
        and finite for distant ones.
    """
    product = _gap(_squared_norm(x), c) * _gap(_squared_norm(y), c)
    chord = torch.linalg.vector_norm(x - y, dim=-1, keepdim=True)
    return 2 * _RadialMap.apply(chord * product.rsqrt(), c, _ARSINH, False).squeeze(-1)


def distance_to_origin(x, c=1.0):
    """Compute the hyperbolic distance to the origin: (2/√c) artanh(√c‖x‖), of shape (...)."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return 2 * _RadialMap.apply(norm, c, _ARTANH, False).squeeze(-1)


def geodesic(x, y, t, c=1.0):
    """Compute points on the geodesic from x to y.

    Parameters
    ----------
    x, y : Tensor of shape (..., n_dims)
        Points on the ball.
    t : float or Tensor that broadcasts against ``x[..., :1]``
        Position: 0 is x and 1 is y. The geodesic extends beyond both.
    c : float or Tensor
        The ball has curvature −c.
    """
    return mobius_add(x, exp0(t * log0(mobius_add(-x, y, c), c), c), c)


def gyromidpoint(points, weights=None, c=1.0):
    """Compute the weighted midpoint of points, which does not depend on their order.

    Parameters
    ----------
    points : Tensor of shape (..., n_points, n_dims)
        Points on the ball.
    weights : Tensor of shape (..., n_points), optional
        Non-negative weights, not all zero. Only their ratios matter.
    c : float or Tensor that broadcasts against ``midpoint[..., :1]``
        The ball has curvature −c.

    Returns
    -------
    midpoint : Tensor of shape (..., n_dims)
        ½ ⊗ Σ wλx / Σ w(λ − 1), with λ the conformal factor, in closed form. The square root is
        the norm of a sum of unit vectors in Minkowski space, which is at least the sum of the
        weights. This bounds rounding errors near the boundary.
    """
    squared = _squared_norm(points)
    weights = torch.ones_like(squared) if weights is None else weights.unsqueeze(-1)
    c_points = c.unsqueeze(-2) if isinstance(c, torch.Tensor) and c.dim() else c
    coefficients = weights / _gap(squared, c_points)
    space = 2 * (coefficients * points).sum(-2)
    time = (coefficients * (1 + c_points * squared)).sum(-2)
    squared_length = time * time - c * _squared_norm(space)
    minimum = weights.sum(-2) ** 2
    # Not torch.maximum, whose gradient at ties, such as c = 0, depends on the torch version.
    squared_length = torch.where(squared_length < minimum, minimum, squared_length)
    return space / (time + squared_length.sqrt())


def hyperplane_logits(x, points, normals, c=1.0):
    """Compute the logits of hyperbolic multinomial logistic regression.

    Each logit is the signed distance to the hyperplane of a class times twice the norm of its
    normal vector. At c = 0 it is 4⟨x − p, a⟩.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_dims)
        Points on the ball.
    points : Tensor of shape (n_classes, n_dims)
        A point on each hyperplane.
    normals : Tensor of shape (n_classes, n_dims)
        Normal vectors, of any norm, in the tangent space at the origin. They are the vectors at
        `points`, transported to the origin along the geodesic, which preserves their direction.
    c : float or Tensor of no dimensions
        The ball has curvature −c.

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
    return 2 * length * _RadialMap.apply(height / length, c, _ARSINH, False)


def _is_euclidean(c):
    return not isinstance(c, torch.Tensor) and c == 0


def _dot(x, y):
    return (x * y).sum(-1, keepdim=True)


def _squared_norm(x):
    return (x * x).sum(-1, keepdim=True)


def _square(max_norm, dtype):
    """Square a number, clipped to the range of a floating-point type."""
    info = torch.finfo(dtype)
    return min(max(max_norm**2, info.tiny), info.max)


def _gap(squared_norm, c):
    """Compute 1 − c‖x‖², at least the rounding error."""
    return (1 - c * squared_norm).clamp_min(torch.finfo(squared_norm.dtype).eps)


def _clip_factor(squared_norm, limit):
    """Compute the factor that clips squared norms to a limit: exactly 1 below it."""
    return (limit / squared_norm.clamp_min(limit)).sqrt()


def _positive_sqrt(u):
    """Compute a square root that is never 0."""
    return u.clamp_min(torch.finfo(u.dtype).tiny).sqrt()


def _tanh(u):
    root = _positive_sqrt(u)
    return root.tanh() / root, root.cosh().pow(-2)


def _artanh(u):
    u = u.clamp_max(1 - torch.finfo(u.dtype).eps)
    root = _positive_sqrt(u)
    return root.atanh() / root, (1 - u).reciprocal()


def _arsinh(u):
    root = _positive_sqrt(u)
    return root.asinh() / root, (1 + u).rsqrt()


class _OddFunction(NamedTuple):
    """An odd function g, represented by f(u) = g(√u)/√u, which is analytic at zero."""

    evaluate: Callable  # u → f(u) and g'(√u)
    series: tuple  # the first Taylor coefficients of f'(u) at zero


_TANH = _OddFunction(_tanh, (-1 / 3, 4 / 15, -17 / 105, 248 / 2835, -1382 / 31185))
_ARTANH = _OddFunction(_artanh, (1 / 3, 2 / 5, 3 / 7, 4 / 9, 5 / 11))
_ARSINH = _OddFunction(_arsinh, (-1 / 6, 3 / 20, -15 / 112, 35 / 288, -315 / 2816))


class _RadialMap(torch.autograd.Function):
    """Scale each vector, or each number, to the norm g(√c‖v‖)/√c for an odd function g.

    Norms are first clipped to `max_norm`.
    """

    @staticmethod
    def forward(ctx, v, c, function, is_vector, max_norm=None):
        squared = (_squared_norm(v) if is_vector else v * v).clamp_min(torch.finfo(v.dtype).tiny)
        clipped = squared if max_norm is None else squared.clamp_max(_square(max_norm, v.dtype))
        u = c * clipped
        factor, radial = function.evaluate(u)
        shrinkage = None if max_norm is None else (clipped / squared).sqrt()
        ctx.save_for_backward(v, squared, clipped, u, factor, radial, shrinkage)
        ctx.function, ctx.is_vector = function, is_vector
        ctx.shape = c.shape if isinstance(c, torch.Tensor) else None
        return factor * v if shrinkage is None else factor * shrinkage * v

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        v, squared, clipped, u, factor, radial, shrinkage = ctx.saved_tensors
        inner = _dot(grad, v) if ctx.is_vector else grad * v
        grad_v = grad_c = None
        if ctx.needs_input_grad[1]:
            by_c = _derivative(u, factor, radial, ctx.function.series) * clipped * inner
            by_c = by_c if shrinkage is None else by_c * shrinkage
            grad_c = by_c.sum_to_size(ctx.shape)
        if ctx.needs_input_grad[0]:
            if shrinkage is not None:
                factor, radial = factor * shrinkage, radial * (squared == clipped)
            # The derivative is g' along v and f orthogonal to it. Their difference cancels for
            # short vectors, but its rounding error is multiplied by v twice.
            difference = (radial - factor) / squared
            grad_v = torch.addcmul(factor * grad, difference * inner, v).sum_to_size(v.shape)
        return grad_v, grad_c, None, None, None


def _derivative(u, factor, radial, series):
    """Compute f'(u), by its Taylor series where the closed form would suffer cancellation."""
    info = torch.finfo(u.dtype)
    near = torch.zeros_like(u)
    for coefficient in reversed(series):
        near = near * u + coefficient
    far = (radial - factor) / (2 * u.clamp_min(info.tiny))
    return torch.where(u < info.eps ** (1 / 6), near, far)


class _MobiusAddition(torch.autograd.Function):
    """x ⊕ y = (a w + q x) / (q + a b); see the module docstring."""

    @staticmethod
    def forward(ctx, x, y, c):
        w = x + y
        x2, y2, w2 = _squared_norm(x), _squared_norm(y), _squared_norm(w)
        a, b, q = _gap(x2, c), _gap(y2, c), c * w2
        denominator = torch.addcmul(q, a, b)
        result = torch.addcmul(a * w, q, x) / denominator
        learned = isinstance(c, torch.Tensor)
        ctx.c = None if learned else c
        saved = (x, y, w, x2, y2, w2, a, b, q, denominator, result)
        ctx.save_for_backward(*saved, c if learned else None)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, y, w, x2, y2, w2, a, b, q, denominator, result, c = ctx.saved_tensors
        c = ctx.c if c is None else c
        grad = grad / denominator
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
