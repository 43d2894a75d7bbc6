"""Multidimensional scaling: exact if possible, else a local minimum of the stress."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold import smacof

from sklearn_ser.nn import poincare, poincare_scaling

N, N_DIMS = 40, 6


def _points(c, n_dims=N_DIMS, reach=2.0, seed=0):
    """Return random points with a scale of `reach`."""
    tangents = np.random.default_rng(seed).normal(scale=reach / n_dims**0.5, size=(N, n_dims))
    return poincare.exp0(torch.from_numpy(tangents), c)


def _moved(points, c):
    """Return rotated and translated points."""
    rng = np.random.default_rng(1)
    rotation = torch.from_numpy(np.linalg.qr(rng.normal(size=(N_DIMS, N_DIMS)))[0])
    aside = poincare.exp0(torch.from_numpy(rng.normal(scale=0.3, size=N_DIMS)), c)
    return poincare.mobius_add(aside, points @ rotation, c)


def _stress(scaled, points, c):
    targets = poincare_scaling.pairwise_distances(points, c)
    return float(poincare_scaling.stress(poincare_scaling.pairwise_distances(scaled, c), targets))


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_pairs_are_in_the_order_of_scipy(c):
    points = _points(c)
    found = poincare_scaling.pairwise_distances(points, c).numpy()
    x = points.numpy()
    if c:
        gap = 1 - (x**2).sum(1)
        one, other = np.triu_indices(N, 1)
        expected = np.arccosh(1 + 2 * pdist(x, "sqeuclidean") / (gap[one] * gap[other]))
    else:
        expected = 2 * pdist(x)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_stress_is_relative():
    targets = torch.tensor([3.0, 4.0])
    assert float(poincare_scaling.stress(targets, targets)) == 0
    assert float(poincare_scaling.stress(1.1 * targets, targets)) == pytest.approx(0.1)


@pytest.mark.parametrize("c", [0.0, 0.3, 1.0, 4.0])
def test_a_disk_within_the_ball_is_recovered(c):
    flat = torch.nn.functional.pad(_points(c, n_dims=2), (0, N_DIMS - 2))
    points = _moved(flat, c)
    scaled = poincare_scaling.scale(points, c)
    assert scaled.shape == (N, 2)
    distances = poincare_scaling.pairwise_distances(scaled, c)
    torch.testing.assert_close(
        distances, poincare_scaling.pairwise_distances(flat, c), rtol=1e-6, atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("c", [0.0, 0.3, 1.0, 4.0])
def test_no_small_change_lowers_the_stress(c):
    points = _points(c)
    start, scaled = (poincare_scaling.scale(points, c, max_iter=n) for n in (0, 500))
    least = _stress(scaled, points, c)
    assert least < 0.9 * _stress(start, points, c)
    rng = np.random.default_rng(2)
    for _ in range(20):
        change = poincare.exp0(torch.from_numpy(rng.normal(scale=0.02, size=(N, 2))), c)
        assert _stress(poincare.mobius_add(scaled, change, c), points, c) > least


def test_without_curvature_it_is_metric_scaling():
    points = _points(0.0)
    start = poincare_scaling.scale(points, 0.0, max_iter=0)
    targets = squareform(2 * pdist(points.numpy()))
    reference, _ = smacof(
        targets, init=2 * start.numpy(), n_init=1, max_iter=3000, eps=1e-12, normalized_stress=False
    )
    expected = _stress(torch.from_numpy(reference) / 2, points, 0.0)
    assert _stress(poincare_scaling.scale(points, 0.0), points, 0.0) < 1.001 * expected


@pytest.mark.parametrize("c", [0.3, 1.0])
def test_result_is_invariant_to_translations(c):
    points = _points(c)
    stress = _stress(poincare_scaling.scale(points, c), points, c)
    moved = _moved(points, c)
    assert _stress(poincare_scaling.scale(moved, c), moved, c) == pytest.approx(stress, rel=1e-3)


def test_points_near_the_boundary_stay_on_the_disk():
    directions = _points(0.0)
    points = poincare.project(1e3 * directions / directions.norm(dim=1, keepdim=True))
    scaled = poincare_scaling.scale(points.float())
    assert scaled.dtype == torch.float64
    assert torch.isfinite(scaled).all()
    assert (scaled.norm(dim=1) < 1).all()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_result_is_independent_of_the_grad_mode(context):
    with context():
        within = poincare_scaling.scale(_points(1.0))
    assert torch.equal(poincare_scaling.scale(_points(1.0)), within)
