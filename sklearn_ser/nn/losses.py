"""Concordance loss, and distillation losses of hidden states and of probabilities."""

import torch
from torch.nn import functional as F

# Minimum of a denominator.
_EPSILON = 1e-8


def concordance_loss(outputs, targets, weights):
    """Return one minus the concordance correlation coefficient of a batch, summed over targets.

    Parameters
    ----------
    outputs : Tensor of shape (n_recordings, n_targets)
        Predictions.
    targets : Tensor of shape (n_recordings, n_targets)
        Targets.
    weights : Tensor of shape (n_recordings,)
        Non-negative sample weights. If all are zero, the loss is zero.

    Returns
    -------
    loss : Tensor of shape ()
        From 0 to 2 for each target. Uses population moments [1]_.

    References
    ----------
    .. [1] L. I.-K. Lin (1989), "A Concordance Correlation Coefficient to Evaluate
       Reproducibility", Biometrics 45(1), 255-268.
    """
    total = weights.sum()
    weights = (weights / total.clamp_min(_EPSILON))[:, None]
    output_mean, target_mean = (weights * outputs).sum(0), (weights * targets).sum(0)
    outputs, targets = outputs - output_mean, targets - target_mean
    covariance = (weights * outputs * targets).sum(0)
    spread = (weights * (outputs**2 + targets**2)).sum(0) + (output_mean - target_mean) ** 2
    coefficients = 2 * covariance / spread.clamp_min(_EPSILON)
    return (1 - coefficients).sum() * (total > 0)


def distillation_loss(predicted, hidden_states):
    """Return the loss of DistilHuBERT [1]_ for each frame.

    It is the mean absolute error plus the negative log-sigmoid of the cosine similarity.

    Parameters
    ----------
    predicted : Tensor of shape (..., n_dims)
        Predictions of the student.
    hidden_states : Tensor of shape (..., n_dims)
        Hidden states of the teacher.

    Returns
    -------
    loss : Tensor of shape (...)

    References
    ----------
    .. [1] H.-J. Chang, S. Yang, H. Lee, "DistilHuBERT: Speech Representation Learning by
       Layer-wise Distillation of Hidden-unit BERT", ICASSP 2022, arXiv 2110.01900.
    """
    difference = F.l1_loss(predicted, hidden_states, reduction="none").mean(-1)
    return difference - F.logsigmoid(torch.cosine_similarity(predicted, hidden_states, dim=-1))


def softened_divergence(logits, probabilities, weights, *, temperature):
    """Return the Kullback-Leibler divergence from a teacher's probabilities at a temperature [1]_.

    Parameters
    ----------
    logits : Tensor of shape (n_recordings, n_classes)
        Outputs of the student.
    probabilities : Tensor of shape (n_recordings, n_classes)
        Probabilities of the teacher. Each row sums to one.
    weights : Tensor of shape (n_recordings,)
        Sample weights.
    temperature : float
        Both distributions are softened by it: logits are divided, and probabilities raised to the
        power of its inverse.

    Returns
    -------
    loss : Tensor of shape ()
        Weighted sum divided by the number of recordings, times the square of the temperature, so
        that gradients have about the same size at all temperatures.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015,
       arXiv 1503.02531.
    """
    softened = probabilities ** (1 / temperature)
    softened = softened / softened.sum(dim=1, keepdim=True)
    predicted = F.log_softmax(logits / temperature, dim=1)
    divergences = F.kl_div(predicted, softened, reduction="none").sum(dim=1)
    return temperature**2 * (weights * divergences).mean()
