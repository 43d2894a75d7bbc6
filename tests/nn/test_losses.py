"""Losses of regression and distillation against direct computations."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sklearn_ser.metrics import concordance_correlation_coefficient
from sklearn_ser.nn import concordance_loss, distillation_loss, softened_divergence


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    outputs = targets + torch.randn(20, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(20, generator=generator, dtype=torch.float64)
    return outputs, targets, weights


def test_the_loss_is_that_of_the_metric(batch):
    outputs, targets, weights = batch
    coefficients = concordance_correlation_coefficient(
        targets, outputs, multioutput="raw_values", sample_weight=weights
    )
    loss = concordance_loss(outputs, targets, weights)
    assert float(loss) == pytest.approx(3 - coefficients.sum(), abs=1e-12)
    assert float(concordance_loss(outputs, targets, 7 * weights)) == pytest.approx(float(loss))


def test_the_gradient_is_that_of_differences(batch):
    outputs, targets, weights = batch
    torch.autograd.gradcheck(
        lambda o: concordance_loss(o, targets, weights), outputs.requires_grad_()
    )


@pytest.mark.parametrize("case", ["no weight", "one recording", "constant output", "no target"])
def test_where_nothing_can_agree_the_gradient_is_finite(batch, case):
    outputs, targets, weights = (values.float() for values in batch)
    if case == "no weight":
        weights = torch.zeros(20)
    elif case == "one recording":
        outputs, targets, weights = outputs[:1], targets[:1], weights[:1]
    elif case == "constant output":
        outputs = torch.zeros_like(outputs)
    else:
        outputs, targets = outputs[:, :0], targets[:, :0]
    outputs = outputs.clone().requires_grad_()
    loss = concordance_loss(outputs, targets, weights)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(outputs.grad).all()
    if case in ("no weight", "no target"):
        assert float(loss) == 0
        assert not outputs.grad.any()


def test_distillation_loss_is_l1_minus_log_sigmoid_of_the_cosine():
    generator = torch.Generator().manual_seed(0)
    predicted, layer = torch.randn(2, 5, 8, generator=generator)
    expected = [
        np.abs(p - t).mean() - np.log(1 / (1 + np.exp(-(p @ t) / np.sqrt((p @ p) * (t @ t)))))
        for p, t in zip(predicted.double().numpy(), layer.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(distillation_loss(predicted, layer), expected, rtol=1e-5)
    perfect = distillation_loss(layer, layer)
    np.testing.assert_allclose(perfect, -F.logsigmoid(torch.ones(5)), rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_divergence_of_softened_probabilities(batch, temperature):
    logits, of_teacher, weights = batch
    student, teacher = (
        torch.distributions.Categorical(logits=values / temperature)
        for values in (logits, of_teacher)
    )
    divergences = torch.distributions.kl_divergence(teacher, student)
    expected = temperature**2 * (weights * divergences).mean()
    loss = softened_divergence(logits, of_teacher.softmax(dim=1), weights, temperature=temperature)
    assert float(loss) == pytest.approx(float(expected), rel=1e-12)


def test_gradients_of_the_divergence_at_a_high_temperature(batch):
    # Those of half the squared difference of the centred logits, divided by their number.
    logits, of_teacher, _ = batch
    loss = softened_divergence(
        logits.requires_grad_(), of_teacher.softmax(dim=1), torch.ones(20), temperature=1e4
    )
    (gradient,) = torch.autograd.grad(loss, logits)
    difference = logits - of_teacher
    expected = (difference - difference.mean(dim=1, keepdim=True)) / 3 / 20
    torch.testing.assert_close(gradient, expected.detach(), rtol=0, atol=1e-5)


def test_classes_that_a_teacher_excludes():
    probabilities = torch.tensor([[0.5, 0.5, 0.0]])
    logits = torch.zeros(1, 3, requires_grad=True)
    loss = softened_divergence(logits, probabilities, torch.ones(1), temperature=2.0)
    assert float(loss) == pytest.approx(4 * np.log(3 / 2), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(gradient).all()
