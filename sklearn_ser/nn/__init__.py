"""Torch modules and tensor functions. Knows neither scikit-learn nor the hub."""

from .pooling import POOLINGS, merge_statistics, pool_frames

__all__ = ["POOLINGS", "merge_statistics", "pool_frames"]
