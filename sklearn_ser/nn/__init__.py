"""Torch modules and tensor functions. Knows neither scikit-learn nor the hub."""

from . import poincare
from .hyperbolic_fusion import HyperbolicFusionNetwork
from .pooling import POOLINGS, merge_statistics, pool_frames
from .precision import exact_convolutions

__all__ = [
    "POOLINGS",
    "HyperbolicFusionNetwork",
    "exact_convolutions",
    "merge_statistics",
    "poincare",
    "pool_frames",
]
