"""Torch modules and tensor functions. Knows neither scikit-learn nor the hub."""

from . import poincare
from .distilled import (
    FRAME_POOLINGS,
    TEXT_FUSIONS,
    DistilledNetwork,
    LayerPredictor,
    Standardization,
    VectorRegressor,
    initialize_heads,
)
from .hrnet import VARIANTS, HRNet, initialize_network, pad_spectrograms
from .hyperbolic_fusion import (
    BRANCH_SIZES,
    FUSIONS,
    HyperbolicFusionNetwork,
    initialize_fusion_network,
)
from .losses import concordance_loss, distillation_loss
from .pooling import POOLINGS, merge_statistics, pool_frames
from .precision import exact_convolutions
from .spec_augment import add_noise, crop_spectrograms, mask_spectrograms, mix_up

__all__ = [
    "BRANCH_SIZES",
    "FRAME_POOLINGS",
    "FUSIONS",
    "POOLINGS",
    "TEXT_FUSIONS",
    "VARIANTS",
    "DistilledNetwork",
    "HRNet",
    "HyperbolicFusionNetwork",
    "LayerPredictor",
    "Standardization",
    "VectorRegressor",
    "add_noise",
    "concordance_loss",
    "crop_spectrograms",
    "distillation_loss",
    "exact_convolutions",
    "initialize_fusion_network",
    "initialize_heads",
    "initialize_network",
    "mask_spectrograms",
    "merge_statistics",
    "mix_up",
    "pad_spectrograms",
    "poincare",
    "pool_frames",
]
