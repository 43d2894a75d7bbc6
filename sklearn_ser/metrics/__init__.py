"""Metrics for speech emotion recognition, and their confidence intervals."""

from ._classification import unweighted_average_recall
from ._confidence import confidence_interval
from ._regression import concordance_correlation_coefficient, concordance_scorer

__all__ = [
    "concordance_correlation_coefficient",
    "concordance_scorer",
    "confidence_interval",
    "unweighted_average_recall",
]
