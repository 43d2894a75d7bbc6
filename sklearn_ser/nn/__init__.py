"""Torch modules and tensor functions. Knows neither scikit-learn nor the hub."""

from . import poincare
from .hrnet import VARIANTS, HRNet, initialize_network, pad_spectrograms
from .hyperbolic_fusion import (
    BRANCH_SIZES,
    FUSIONS,
    HyperbolicFusionNetwork,
    initialize_fusion_network,
)
from .pooling import POOLINGS, merge_statistics, pool_frames
from .precision import exact_convolutions
from .spec_augment import add_noise, crop_spectrograms, mask_spectrograms, mix_up

__all__ = [
    "BRANCH_SIZES",
    "FUSIONS",
    "POOLINGS",
    "VARIANTS",
    "HRNet",
    "HyperbolicFusionNetwork",
    "add_noise",
    "crop_spectrograms",
    "exact_convolutions",
    "initialize_fusion_network",
    "initialize_network",
    "mask_spectrograms",
    "merge_statistics",
    "mix_up",
    "pad_spectrograms",
    "poincare",
    "pool_frames",
]
