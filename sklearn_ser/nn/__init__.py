"""Torch modules and tensor functions. Knows neither scikit-learn nor the hub."""

from .hrnet import VARIANTS, HRNet, initialize_network, pad_with_silence
from .pooling import POOLINGS, merge_statistics, pool_frames
from .precision import exact_convolutions

__all__ = [
    "POOLINGS",
    "VARIANTS",
    "HRNet",
    "exact_convolutions",
    "initialize_network",
    "merge_statistics",
    "pad_with_silence",
    "pool_frames",
]
