"""Torch modules and tensor functions. Knows neither scikit-learn nor the hub."""

from . import poincare
from .pooling import POOLINGS, merge_statistics, pool_frames
from .precision import exact_convolutions

__all__ = ["POOLINGS", "exact_convolutions", "merge_statistics", "poincare", "pool_frames"]
