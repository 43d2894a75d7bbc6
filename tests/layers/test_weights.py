"""Weighted sums of layers: gradients, and results of other implementations."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from sklearn_ser.layers import _weights
from sklearn_ser.layers._weights import (
    HEADS,
    batches,
    correlations,
    learn_weights,
    objective,
    one_hot,
    standardization,
    standardize_target,
    weighted_sum,
)

N_SAMPLES, N_LAYERS, N_DIMS = 90, 4, 5
KINDS = ["classes", "continuous"]


@pytest.fixture
def layers():
    """Return layers whose scales differ by orders of magnitude."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(N_SAMPLES, N_LAYERS, N_DIMS))
    return noise * np.array([1, 1e-3, 1e3, 10])[:, np.newaxis] + 7


@pytest.fixture
def targets(layers):
    """Return classes encoded in layer 1, and numbers encoded in layers 2 and 3."""
    rng = np.random.default_rng(1)
    standardized = (layers - layers.mean(axis=0)) / layers.std(axis=0)
    scores = standardized[:, 1, :3] + 0.5 * rng.normal(size=(N_SAMPLES, 3))
    number = standardized[:, 2, 0] + standardized[:, 3, 1] + 0.3 * rng.normal(size=N_SAMPLES)
    return {
        "classes": np.array(["anger", "fear", "joy"])[scores.argmax(axis=1)],
        "continuous": 100 + 5 * number,
    }


def _arguments(layers, targets, kind, alpha=0.05):
    encode, loss = HEADS[kind]
    return layers, *_statistics(layers), encode(targets[kind]), loss, alpha


def _statistics(layers):
    mean, scale = standardization(layers)
    return mean, scale, correlations(layers, mean, scale)


def test_standardisation_is_scikit_learns(layers):
    mean, scale = standardization(layers)
    scaler = StandardScaler().fit(layers.reshape(N_SAMPLES, -1))
    np.testing.assert_allclose(mean.ravel(), scaler.mean_, rtol=1e-13)
    np.testing.assert_allclose(scale.ravel(), scaler.scale_, rtol=1e-12)


def test_a_dimension_that_does_not_vary_is_scaled_by_one(layers):
    layers[:, 2, 3] = 0.1
    mean, scale = standardization(layers)
    assert (mean[2, 3], scale[2, 3]) == (pytest.approx(0.1, abs=1e-15), 1)
    sums = weighted_sum(layers, np.eye(N_LAYERS)[[2]], mean, scale)
    np.testing.assert_allclose(sums[:, 3], 0, atol=1e-15)


def test_correlations_are_numpys(layers, monkeypatch):
    monkeypatch.setattr(_weights, "_BATCH_VALUES", 7 * N_LAYERS * N_DIMS)
    layers[:, 1] += layers[:, 0]
    *_, correlation = _statistics(layers)
    for dim in range(N_DIMS):
        expected = np.corrcoef(layers[:, :, dim], rowvar=False)
        np.testing.assert_allclose(correlation[dim], expected, atol=1e-12)


def test_batches_cover_all_rows_once(monkeypatch, layers):
    monkeypatch.setattr(_weights, "_BATCH_VALUES", 7 * N_LAYERS * N_DIMS)
    rows = [row for batch in batches(layers) for row in range(batch.start, batch.stop)]
    assert rows == list(range(N_SAMPLES))
    assert next(iter(batches(layers))) == slice(0, 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_weighted_sum_is_that_of_standardised_layers(layers, dtype):
    weights = softmax(np.random.default_rng(2).normal(size=(2, N_LAYERS)), axis=1)
    mean, scale = standardization(layers)
    sums = weighted_sum(layers.astype(dtype), weights, mean, scale)
    assert sums.dtype == dtype
    expected = np.einsum("tl,nld->ntd", weights, (layers.astype(dtype) - mean) / scale)
    expected = expected.reshape(N_SAMPLES, -1).astype(dtype)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows_per_batch", [7, 1000])
def test_the_gradient_is_that_of_the_objective(layers, targets, kind, rows_per_batch, monkeypatch):
    monkeypatch.setattr(_weights, "_BATCH_VALUES", rows_per_batch * N_LAYERS * N_DIMS)
    arguments = _arguments(layers, targets, kind)
    n_parameters = N_LAYERS + (N_DIMS + 1) * arguments[4].shape[1]
    for seed in range(5):
        parameters = np.random.default_rng(seed).normal(size=n_parameters)
        error = check_grad(
            lambda *given: objective(*given)[0],
            lambda *given: objective(*given)[1],
            parameters,
            *arguments,
            epsilon=1e-7,
        )
        # Forward differences: rounding of 1e-16 / 1e-7 and curvature of 1e-7 in each of some
        # twenty entries.
        assert error < 1e-5
        assert np.linalg.norm(objective(parameters, *arguments)[1]) > 0.1


def _torch_objective(layers, targets, kind, alpha):
    """Return the objective and its parameters, written with torch's own losses."""
    standardized = StandardScaler().fit_transform(layers.reshape(N_SAMPLES, -1))
    standardized = torch.tensor(standardized.reshape(layers.shape))
    logits = torch.zeros(N_LAYERS, dtype=torch.float64, requires_grad=True)
    n_outputs = 3 if kind == "classes" else 1
    head = torch.nn.Linear(N_DIMS, n_outputs, dtype=torch.float64)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    if kind == "classes":
        codes = torch.tensor(np.unique(targets[kind], return_inverse=True)[1])
    else:
        number = targets[kind]
        codes = torch.tensor((number - number.mean()) / number.std())[:, None]

    def compute():
        mixed = torch.tensordot(torch.softmax(logits, dim=0), standardized, dims=([0], [1]))
        if kind == "classes":
            loss = torch.nn.functional.cross_entropy(head(mixed), codes)
        else:
            loss = torch.nn.functional.mse_loss(head(mixed), codes) / 2
        std = mixed.std(dim=0, correction=0)
        return loss + alpha / 2 * ((head.weight * std) ** 2).sum()

    return compute, logits, head


@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_and_its_gradient_are_torchs(layers, targets, kind):
    compute, logits, head = _torch_objective(layers, targets, kind, alpha=0.05)
    rng = np.random.default_rng(3)
    with torch.no_grad():
        for parameter in (logits, head.weight, head.bias):
            parameter.copy_(torch.tensor(rng.normal(size=parameter.shape)))
    value = compute()
    value.backward()
    parameters = np.concatenate(
        [
            logits.detach().numpy(),
            head.weight.detach().numpy().T.ravel(),
            head.bias.detach().numpy(),
        ]
    )
    ours, gradient = objective(parameters, *_arguments(layers, targets, kind))
    assert ours == pytest.approx(value.item(), rel=1e-12)
    expected = np.concatenate(
        [logits.grad.numpy(), head.weight.grad.numpy().T.ravel(), head.bias.grad.numpy()]
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_joint_optimum_is_torchs(layers, targets, kind):
    compute, logits, head = _torch_objective(layers, targets, kind, alpha=0.05)
    optimizer = torch.optim.LBFGS(
        [logits, *head.parameters()],
        max_iter=2000,
        tolerance_grad=1e-9,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        value = compute()
        value.backward()
        return value

    optimizer.step(closure)
    learned = learn_weights(
        layers, targets[kind], *_statistics(layers), kind=kind, alpha=0.05, max_iter=2000, tol=1e-8
    )
    assert learned.converged
    expected = torch.softmax(logits, dim=0).detach().numpy()
    np.testing.assert_allclose(learned.weights, expected, atol=1e-5)
    np.testing.assert_allclose(learned.coef, head.weight.detach().numpy().T, atol=1e-5)
    best = [2, 3] if kind == "continuous" else [1]
    assert learned.weights[best].sum() > 0.8


@pytest.fixture
def equal_sum(layers):
    """Return the standardised sum with equal weights, and its standard deviations."""
    mean, scale = standardization(layers)
    equal = ((layers - mean) / scale).mean(axis=1)
    return StandardScaler().fit_transform(equal), equal.std(axis=0)


def test_under_equal_weights_the_head_is_logistic_regression(
    layers, targets, equal_sum, monkeypatch
):
    standardized, std = equal_sum
    expected = LogisticRegression(C=1 / (0.05 * N_SAMPLES), tol=1e-10, max_iter=10000)
    expected.fit(standardized, targets["classes"])
    learned = _learn_head_alone(layers, targets, "classes", monkeypatch)
    np.testing.assert_array_equal(learned.weights, 1 / N_LAYERS)
    np.testing.assert_allclose(learned.coef.T * std, expected.coef_, atol=1e-6)
    np.testing.assert_allclose(
        learned.intercept - learned.intercept.mean(),
        expected.intercept_ - expected.intercept_.mean(),
        atol=1e-6,
    )


def test_under_equal_weights_the_head_is_ridge_regression(layers, targets, equal_sum, monkeypatch):
    standardized, std = equal_sum
    number = standardize_target(targets["continuous"])[:, 0]
    expected = Ridge(alpha=0.05 * N_SAMPLES).fit(standardized, number)
    learned = _learn_head_alone(layers, targets, "continuous", monkeypatch)
    np.testing.assert_allclose(learned.coef[:, 0] * std, expected.coef_, atol=1e-6)


def test_layers_that_agree_share_the_weight():
    # Four noisy copies of one signal: their mean has half the noise of each.
    rng = np.random.default_rng(4)
    signal = rng.normal(size=(2000, 1, 1))
    layers = signal + rng.normal(size=(2000, 4, 1))
    learned = learn_weights(
        layers,
        signal[:, 0, 0],
        *_statistics(layers),
        kind="continuous",
        alpha=0.1,
        max_iter=100,
        tol=1e-6,
    )
    np.testing.assert_allclose(learned.weights, 0.25, atol=0.03)


def _learn_head_alone(layers, targets, kind, monkeypatch):
    """Learn the head with the logits fixed at zero."""

    def frozen(parameters, *arguments):
        value, gradient = objective(parameters, *arguments)
        gradient[:N_LAYERS] = 0
        return value, gradient

    monkeypatch.setattr(_weights, "objective", frozen)
    return learn_weights(
        layers,
        targets[kind],
        *_statistics(layers),
        kind=kind,
        alpha=0.05,
        max_iter=1000,
        tol=1e-9,
    )


def test_encoding_of_targets():
    np.testing.assert_array_equal(one_hot(["b", "a"]), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(one_hot([3, 1, 2]), [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(standardize_target([1, 3])[:, 0], [-1, 1], atol=1e-15)
    np.testing.assert_array_equal(standardize_target([4.0, 4.0])[:, 0], [0, 0])


def test_memory_is_bounded():
    rng = np.random.default_rng(0)
    layers = rng.standard_normal((8000, 10, 64), dtype=np.float32)
    labels = rng.integers(0, 2, 8000)
    tracemalloc.start()
    mean, scale, correlation = _statistics(layers)
    learn_weights(
        layers, labels, mean, scale, correlation, kind="classes", alpha=1.0, max_iter=3, tol=1e-9
    )
    weighted_sum(layers, np.full((1, 10), 0.1), mean, scale)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A copy of the layers would need 20 MB, or twice that in float64.
    assert peak < 0.75 * layers.nbytes
