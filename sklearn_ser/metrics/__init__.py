"""Metrics for speech emotion recognition, and their confidence intervals."""

from ._classification import unweighted_average_recall
from ._confidence import confidence_interval
from ._distributions import (
    distribution_divergence,
    distribution_divergence_scorer,
    distribution_f1_score,
)
from ._regression import concordance_correlation_coefficient, concordance_scorer

__all__ = [
    "concordance_correlation_coefficient",
    "concordance_scorer",
    "confidence_interval",
    "distribution_divergence",
    "distribution_divergence_scorer",
    "distribution_f1_score",
    "unweighted_average_recall",
]
