"""Metrics for speech emotion recognition, and their confidence intervals.

Importing this module registers the scorers, so that scikit-learn accepts
``scoring="unweighted_average_recall"`` and ``scoring="concordance_correlation_coefficient"``.
"""

from ._classification import unweighted_average_recall
from ._confidence import confidence_interval, paired_difference
from ._distributions import distribution_divergence, distribution_f1_score
from ._groups import score_by_group
from ._regression import concordance_correlation_coefficient
from ._scorers import (
    concordance_scorer,
    distribution_divergence_scorer,
    unweighted_average_recall_scorer,
)

__all__ = [
    "concordance_correlation_coefficient",
    "concordance_scorer",
    "confidence_interval",
    "distribution_divergence",
    "distribution_divergence_scorer",
    "distribution_f1_score",
    "paired_difference",
    "score_by_group",
    "unweighted_average_recall",
    "unweighted_average_recall_scorer",
]
