"""Figures of merit of the field, and how sure they are."""

from ._classification import unweighted_average_recall
from ._confidence import confidence_interval

__all__ = ["confidence_interval", "unweighted_average_recall"]
