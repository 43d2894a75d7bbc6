"""Losses: agreement with ratings, and with the layers of a teacher."""

import torch
from torch.nn import functional as F

# Below this, a spread is that of rounding.
_EPSILON = 1e-8


def concordance_loss(outputs, targets, weights):
    """Sum, over targets, one minus the concordance correlation coefficient of a batch.

    Parameters
    ----------
    outputs : Tensor of shape (n_recordings, n_targets)
    targets : Tensor of shape (n_recordings, n_targets)
    weights : Tensor of shape (n_recordings,)
        None below zero. A batch without weight costs nothing.

    Returns
    -------
    loss : Tensor of shape ()
        From 0 to 2 for each target. With the moments of the population, as in Lin (1989).
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
    """Compare what a student predicts of a teacher's layer with the layer, frame by frame.

    Parameters
    ----------
    predicted : Tensor of shape (n_frames, n_dims)
    hidden_states : Tensor of shape (n_frames, n_dims)
        Of the teacher.

    Returns
    -------
    loss : Tensor of shape (n_frames,)
        The mean absolute difference, minus the logarithm of the logistic function of the cosine,
        as in DistilHuBERT.

    References
    ----------
    H.-J. Chang, S. Yang, H. Lee, "DistilHuBERT: Speech Representation Learning by Layer-wise
    Distillation of Hidden-unit BERT", ICASSP 2022, arXiv 2110.01900.
    """
    difference = F.l1_loss(predicted, hidden_states, reduction="none").mean(-1)
    return difference - F.logsigmoid(torch.cosine_similarity(predicted, hidden_states, dim=-1))
