"""The Poincaré ball: equal to geoopt in float64, and accurate where geoopt is not."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ser.nn import poincare

N_DIMS = 5
NORMAL = torch.from_numpy(np.random.default_rng(6).standard_normal(N_DIMS))
CURVATURES = [1e-6, 1e-3, 0.3, 1.0, 10.0]

# Name -> a function of two points (or tangent vectors) and c.
OPERATIONS = {
    "exp0": lambda x, y, c: poincare.exp0(x, c),
    "exp0_of_clipped": lambda x, y, c: poincare.exp0(x, c, max_norm=0.7),
    "log0": lambda x, y, c: poincare.log0(x, c),
    "project": lambda x, y, c: poincare.project(x, c),
    "mobius_add": poincare.mobius_add,
    "distance": poincare.distance,
    "distance_to_origin": lambda x, y, c: poincare.distance_to_origin(x, c),
    "geodesic": lambda x, y, c: poincare.geodesic(x, y, 0.3, c),
    "gyromidpoint": lambda x, y, c: poincare.gyromidpoint(torch.stack([x, y], -2), c=c),
    "weighted_gyromidpoint": lambda x, y, c: poincare.gyromidpoint(
        torch.stack([x, y], -2), x.new_tensor([0.2, 3.0]), c
    ),
    "hyperplane_logits": lambda x, y, c: poincare.hyperplane_logits(
        x, y, NORMAL.to(x.dtype).expand(y.shape), c
    ),
}
# Tangent vectors have any norm, points have √c‖x‖ < 1.
TAKES_TANGENTS = {"exp0", "exp0_of_clipped"}

every_operation = pytest.mark.parametrize("name", OPERATIONS)


def _directions(n, seed=0):
    directions = np.random.default_rng(seed).standard_normal((n, N_DIMS))
    return torch.from_numpy(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _points(c, seed=0, n=60, reach=0.9):
    """Return points with √c‖x‖ ≤ reach, half of them close to the origin."""
    norms = reach * 10.0 ** -torch.linspace(0, 6, n, dtype=torch.float64)
    order = np.random.default_rng(seed).permutation(n)
    return _directions(n, seed) * norms[order].unsqueeze(-1) / math.sqrt(c)


def _pairs(c):
    """Return pairs of points, some of which nearly cancel."""
    x, y = _points(c, seed=1), _points(c, seed=2)
    y[:20] = -x[:20] * (1 - 1e-2 * _points(1.0, seed=3)[:20].abs())
    return x, y


def _gradients(name, x, y, c):
    """Return the value at x, y and c, and the gradients by its arguments."""
    inputs = [x.clone().requires_grad_(), y.clone().requires_grad_(), c.clone().requires_grad_()]
    value = OPERATIONS[name](*inputs)
    gradients = torch.autograd.grad(value.sum(), inputs, allow_unused=True)
    return value.detach(), [gradient for gradient in gradients if gradient is not None]


@pytest.fixture(scope="module")
def geoopt_operations():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from geoopt.manifolds.stereographic import math as stereographic

    def both(x, y):
        return torch.stack([x, y], -2)

    return {
        "exp0": lambda x, y, k: stereographic.expmap0(x, k=k),
        "log0": lambda x, y, k: stereographic.logmap0(x, k=k),
        "project": lambda x, y, k: stereographic.project(x, k=k, eps=poincare.MARGIN),
        "mobius_add": lambda x, y, k: stereographic.mobius_add(x, y, k=k),
        "distance": lambda x, y, k: stereographic.dist(x, y, k=k),
        "distance_to_origin": lambda x, y, k: stereographic.dist0(x, k=k),
        "geodesic": lambda x, y, k: stereographic.geodesic(
            torch.tensor(0.3, dtype=x.dtype), x, y, k=k
        ),
        "gyromidpoint": lambda x, y, k: stereographic.weighted_midpoint(
            both(x, y), k=k, reducedim=[1]
        ),
        "weighted_gyromidpoint": lambda x, y, k: stereographic.weighted_midpoint(
            both(x, y), torch.tensor([0.2, 3.0], dtype=x.dtype), k=k, reducedim=[1]
        ),
        # The normal at the origin, transported to y, is multiplied by 2 / λ, and norms there by λ.
        "hyperplane_logits": lambda x, y, k: (
            2
            * NORMAL.norm()
            * stereographic.dist2plane(x.unsqueeze(1), y, NORMAL, k=k, signed=True)
        ),
    }


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"exp0_of_clipped"}))
def test_equals_geoopt_in_float64(name, geoopt_operations):
    for c in CURVATURES:
        x, y = _pairs(c)
        expected = geoopt_operations[name](x, y, torch.tensor(-c, dtype=torch.float64))
        difference = (OPERATIONS[name](x, y, c) - expected).abs()
        tolerance = 1e-10 + 1e-14 / c  # geoopt adds 1e-15 to curvatures
        assert (difference <= tolerance * (1 + expected.abs())).all(), (c, difference.max())


@every_operation
def test_float32_error_is_relative_to_the_input(name):
    for c in CURVATURES:
        x, y = (points.float() for points in _pairs(c))
        assert _error_of_float32(name, x, y, torch.tensor(c)) < 1e-5, c


def _error_of_float32(name, x, y, c):
    """Return the largest error relative to the norms of the inputs and outputs."""
    value = OPERATIONS[name](x, y, c).double()
    expected = OPERATIONS[name](x.double(), y.double(), c.double())
    if name == "hyperplane_logits":  # its two inputs make a table
        size = torch.maximum(expected.abs(), 1 / c.sqrt())
    elif expected.dim() == 1:
        size = expected.abs()
    else:
        size = torch.maximum(x.norm(dim=-1, keepdim=True), expected.norm(dim=-1, keepdim=True))
        if "midpoint" in name or name == "geodesic":
            size = torch.maximum(size, y.norm(dim=-1, keepdim=True))
    return ((value - expected).abs() / size.clamp_min(1e-30)).max()


@pytest.mark.parametrize("name", ["log0", "distance", "distance_to_origin", "mobius_add"])
def test_float32_keeps_its_digits_at_small_norms(name):
    x, y = _directions(40, 1).float() * 1e-8, _directions(40, 2).float() * 1e-8
    value, expected = (OPERATIONS[name](*pair, 1.0) for pair in [(x, y), (x.double(), y.double())])
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-12)


@every_operation
def test_gradients_are_those_of_finite_differences(name):
    for c in (1e-4, 0.01, 0.3, 4.0):
        _check_gradients(name, c)


def _check_gradients(name, c):
    norms = torch.linspace(0.1, 0.8, 6, dtype=torch.float64).unsqueeze(-1) / math.sqrt(c)
    x, y = norms * _directions(6, 1), norms.flip(0) * _directions(6, 2)
    c = torch.tensor(c, dtype=torch.float64)
    inputs = [value.clone().requires_grad_() for value in (x, y, c)]
    # Steps are small compared with the ball, and curvatures stay positive.
    scaled = [1 / c.sqrt(), 1 / c.sqrt(), c]
    units = [
        (value / scale).detach().requires_grad_()
        for value, scale in zip(inputs, scaled, strict=True)
    ]

    def operation(*units):
        return OPERATIONS[name](*(unit * scale for unit, scale in zip(units, scaled, strict=True)))

    assert torch.autograd.gradcheck(
        operation, units, eps=1e-6, atol=1e-5, rtol=1e-5, fast_mode=True
    )


@every_operation
def test_values_and_gradients_are_finite_in_float32(name):
    for c in (0.0, *CURVATURES):
        x, y = _far_pairs(c, any_norm=name in TAKES_TANGENTS)
        value, gradients = _gradients(name, x, y, torch.tensor(c))
        assert value.isfinite().all(), c
        assert all(gradient.isfinite().all() for gradient in gradients), c


def _far_pairs(c, *, any_norm):
    """Return pairs for all pairs of norms, in different, equal and opposite directions."""
    norms = [0, 1e-12, 1e-8, 1, 50, 1e4]
    if not any_norm:
        radius = 1 / math.sqrt(c) if c else math.inf
        norms = [norm for norm in norms if norm < radius] + [radius * (1 - 1e-7)] * (c > 0)
    directions = torch.cat([_directions(6), -_directions(6)])
    pairs = []
    for norm_x, norm_y in itertools.product(norms, norms):
        x, y = norm_x * directions, norm_y * _directions(12, seed=9 * (norm_x != norm_y))
        pairs += [(x, y), (x, x), (x, -x)]
    return [torch.cat(points).float() for points in zip(*pairs, strict=True)]


@pytest.mark.parametrize("zero", [0, 0.0, torch.tensor(0.0), torch.zeros(60, 1)])
def test_zero_curvature_is_exactly_euclidean(zero):
    x, y = (points.float() for points in _pairs(1.0))
    exact = [
        (poincare.exp0(x, zero), x),
        (poincare.log0(x, zero), x),
        (poincare.exp0(x, zero, max_norm=0.1), poincare.clip_norm(x, 0.1)),
        (poincare.project(100 * x, zero), 100 * x),
        (poincare.mobius_add(x, y, zero), x + y),
        (poincare.distance(x, y, zero), 2 * torch.linalg.vector_norm(x - y, dim=-1)),
        (poincare.distance_to_origin(x, zero), 2 * torch.linalg.vector_norm(x, dim=-1)),
        (poincare.geodesic(x, y, 0.25, zero), x + 0.25 * (-x + y)),
        (poincare.gyromidpoint(torch.stack([x, y], -2), c=zero), (x + y) / 2),
    ]
    for value, expected in exact:
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
    normals = NORMAL.float().expand(60, -1)
    logits = poincare.hyperplane_logits(x, y, normals, zero)
    expected = 4 * (x.unsqueeze(1) - y) @ NORMAL.float()
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@every_operation
def test_gradients_converge_to_those_at_zero_curvature(name):
    x, y = (_points(1.0, seed, n=12) for seed in (1, 2))
    c = torch.tensor(0.0, dtype=torch.float64)
    value, gradients = _gradients(name, x, y, c)
    near_value, near = _gradients(name, x, y, c + 1e-8)
    torch.testing.assert_close(near_value, value, rtol=1e-5, atol=1e-6)
    for gradient, nearby in zip(gradients, near, strict=True):
        torch.testing.assert_close(nearby, gradient, rtol=1e-5, atol=1e-5)
    # The last gradient is by c, one-sided, because c is not negative.
    h = 1e-6
    one, two = (OPERATIONS[name](x, y, c + step).sum() for step in (h, 2 * h))
    slope = (-3 * value.sum() + 4 * one - two) / (2 * h)
    torch.testing.assert_close(gradients[-1], slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"hyperplane_logits"}))
def test_curvature_broadcasts_over_rows(name):
    c = torch.linspace(0.1, 2, 7, dtype=torch.float64).unsqueeze(-1).requires_grad_()
    x, y = (_points(2.0, seed, n=7) for seed in (1, 2))
    value = OPERATIONS[name](x, y, c)
    rows = [OPERATIONS[name](x[i], y[i], c[i].item()) for i in range(7)]
    torch.testing.assert_close(value, torch.stack(rows), rtol=1e-12, atol=1e-12)
    value.sum().backward()
    assert c.grad.shape == c.shape


def test_one_argument_broadcasts_and_gets_its_gradient():
    x = _points(1.0, seed=1, n=4).unsqueeze(1).requires_grad_()
    y = _points(1.0, seed=2, n=3).requires_grad_()
    poincare.mobius_add(x, y).sum().backward()
    apart_x, apart_y = (value.detach().expand(4, 3, N_DIMS).clone() for value in (x, y))
    apart_x.requires_grad_(), apart_y.requires_grad_()
    poincare.mobius_add(apart_x, apart_y).sum().backward()
    torch.testing.assert_close(x.grad, apart_x.grad.sum(1, keepdim=True))
    torch.testing.assert_close(y.grad, apart_y.grad.sum(0))


def test_clipping_and_projection_do_not_change_short_vectors():
    x = _points(4.0, reach=0.99).float()
    assert torch.equal(poincare.project(x, 4.0, margin=0.0), x)
    assert torch.equal(poincare.project(x, torch.tensor(4.0), margin=0.01), x)
    assert torch.equal(poincare.clip_norm(x, 0.5), x)
    far = poincare.project(1e3 * _directions(9), 4.0)
    torch.testing.assert_close(far, (1 - poincare.MARGIN) / 2 * _directions(9))
    torch.testing.assert_close(poincare.clip_norm(1e3 * x, 1e-9).norm(dim=-1).max().item(), 1e-9)


def test_exp0_with_max_norm_equals_clipping_before():
    v = (_directions(9) * torch.linspace(0, 3, 9, dtype=torch.float64)[:, None]).requires_grad_()
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    weights = torch.arange(9 * N_DIMS, dtype=torch.float64).reshape(9, N_DIMS)
    at_once = poincare.exp0(v, c, max_norm=1.0)
    in_turn = poincare.exp0(poincare.clip_norm(v, 1.0), c)
    torch.testing.assert_close(at_once, in_turn)
    for one, two in zip(
        torch.autograd.grad((weights * at_once).sum(), [v, c]),
        torch.autograd.grad((weights * in_turn).sum(), [v, c]),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_the_gradient_at_the_origin_is_that_of_the_identity():
    for function in (poincare.exp0, poincare.log0, lambda v: poincare.exp0(v, 1.0, 1.0)):
        v = torch.zeros(3, N_DIMS, requires_grad=True)
        function(v).sum().backward()
        assert torch.equal(v.grad, torch.ones(3, N_DIMS))


def test_a_geodesic_has_its_ends_and_a_constant_speed():
    x, y = (_points(1.0, seed, reach=0.7) for seed in (1, 2))
    torch.testing.assert_close(poincare.geodesic(x, y, 0.0), x)
    torch.testing.assert_close(poincare.geodesic(x, y, 1.0), y)
    whole = poincare.distance(x, y)
    for t in (0.2, 0.5, 1.5):
        torch.testing.assert_close(poincare.distance(x, poincare.geodesic(x, y, t)), t * whole)


def test_the_gyromidpoint_of_two_is_halfway():
    x, y = (_points(2.0, seed) for seed in (1, 2))
    halfway = poincare.geodesic(x, y, 0.5, 2.0)
    torch.testing.assert_close(poincare.gyromidpoint(torch.stack([x, y], -2), c=2.0), halfway)


def test_gyromidpoint_weights_and_order():
    points = _points(1.0, n=4)
    twice = poincare.gyromidpoint(points[[0, 1, 1, 3]])
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(poincare.gyromidpoint(points, weights), twice)
    torch.testing.assert_close(poincare.gyromidpoint(points[[3, 2, 1, 0]], weights.flip(0)), twice)


def test_hyperplane_logits_are_zero_on_the_hyperplane():
    normal, p = _directions(1, seed=4)[0], _points(1.0, seed=5, n=1)[0]
    across = _directions(9, seed=6)
    across = across - (across @ normal).unsqueeze(-1) * normal
    on_it = poincare.mobius_add(p, poincare.exp0(across))
    zero = poincare.hyperplane_logits(on_it, p[None], normal[None])
    torch.testing.assert_close(zero, torch.zeros_like(zero))
    beyond = poincare.mobius_add(p, poincare.exp0(0.3 * normal))
    torch.testing.assert_close(
        poincare.hyperplane_logits(
            beyond[None], torch.stack([p, p]), torch.stack([normal, -normal])
        ),
        2 * poincare.distance(beyond, p) * torch.tensor([[1.0, -1.0]], dtype=torch.float64),
    )


def test_zero_normal_has_zero_logits_and_a_gradient():
    x, points = _points(1.0, n=4).float(), _points(1.0, seed=2, n=3).float()
    normals = torch.zeros(3, N_DIMS, requires_grad=True)
    logits = poincare.hyperplane_logits(x, points, normals)
    assert torch.equal(logits, torch.zeros(4, 3))
    logits.sum().backward()
    assert normals.grad.isfinite().all()
    assert normals.grad.abs().max() > 0


def test_second_derivatives_raise():
    v = _directions(2).requires_grad_()
    (gradient,) = torch.autograd.grad(poincare.exp0(v).square().sum(), v, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@st.composite
def _balls(draw):
    """Draw a curvature and three points on its ball with √c · artanh-norm up to 3."""
    c = 10.0 ** draw(st.floats(-6, 1))
    seed, n_dims = draw(st.integers(0, 10**6)), draw(st.integers(1, 6))
    lengths = torch.tensor(draw(st.tuples(*[st.floats(0, 3)] * 3)), dtype=torch.float64)
    directions = torch.from_numpy(np.random.default_rng(seed).standard_normal((3, n_dims)))
    directions = directions / directions.norm(dim=-1, keepdim=True)
    tangents = lengths.unsqueeze(-1) * directions / math.sqrt(c)
    return c, tangents, poincare.exp0(tangents, c)


def _assert_same(value, expected, c):
    torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-8 / math.sqrt(c))


identity = settings(max_examples=60, deadline=None)


@identity
@given(_balls())
def test_the_origin_is_neutral_and_opposites_cancel(ball):
    c, _, points = ball
    origin = torch.zeros_like(points)
    assert torch.equal(poincare.mobius_add(origin, points, c), points)
    _assert_same(poincare.mobius_add(points, origin, c), points, c)
    assert torch.equal(poincare.mobius_add(-points, points, c), origin)


@identity
@given(_balls())
def test_left_cancellation(ball):
    c, _, (x, y, _) = ball
    _assert_same(poincare.mobius_add(-x, poincare.mobius_add(x, y, c), c), y, c)


@identity
@given(_balls())
def test_logarithm_undoes_exponential(ball):
    c, tangents, points = ball
    _assert_same(poincare.log0(points, c), tangents, c)
    _assert_same(poincare.exp0(poincare.log0(points, c), c), points, c)


@identity
@given(_balls())
def test_distances_are_symmetric_and_obey_the_triangle_inequality(ball):
    c, tangents, (x, y, z) = ball
    distance = poincare.distance(x, y, c)
    assert distance == poincare.distance(y, x, c)
    detour = poincare.distance(x, z, c) + poincare.distance(z, y, c)
    assert distance <= detour * (1 + 1e-8)
    to_origin = poincare.distance_to_origin(x, c)
    _assert_same(to_origin, poincare.distance(x, torch.zeros_like(x), c), c)
    _assert_same(to_origin, 2 * tangents[0].norm(), c)


@identity
@given(_balls())
def test_distances_are_invariant_to_translations(ball):
    c, _, (x, y, z) = ball
    moved = poincare.distance(poincare.mobius_add(z, x, c), poincare.mobius_add(z, y, c), c)
    torch.testing.assert_close(moved, poincare.distance(x, y, c), rtol=1e-5, atol=1e-5 / c**0.5)
