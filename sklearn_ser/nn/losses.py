"""Concordance loss, and distillation loss of hidden states."""

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
