"""Torch modules and tensor functions, independent of scikit-learn and the Hugging Face hub."""

from . import poincare
from .distilled import (
    FRAME_POOLINGS,
    TEXT_FUSIONS,
    DistilledNetwork,
    LayerPredictor,
    PredictionHead,
    Standardization,
    make_head,
)
from .hrnet import VARIANTS, HRNet, ShiftAverage, pad_spectrograms
from .hyperbolic_fusion import (
    BRANCH_SIZES,
    FUSIONS,
    MAX_FEATURE,
    HyperbolicFusionNetwork,
)
from .losses import concordance_loss, distillation_loss, softened_divergence
from .low_rank import LowRankLinear, add_adapters
from .pooling import merge_statistics, pool_frames
from .precision import exact_convolutions
from .spec_augment import (
    add_noise,
    crop_spectrograms,
    mask_spectrograms,
    mix_up,
    warp_spectrograms,
)

__all__ = [
    "BRANCH_SIZES",
    "FRAME_POOLINGS",
    "FUSIONS",
    "MAX_FEATURE",
    "TEXT_FUSIONS",
    "VARIANTS",
    "DistilledNetwork",
    "HRNet",
    "HyperbolicFusionNetwork",
    "LayerPredictor",
    "LowRankLinear",
    "PredictionHead",
    "ShiftAverage",
    "Standardization",
    "add_adapters",
    "add_noise",
    "concordance_loss",
    "crop_spectrograms",
    "distillation_loss",
    "exact_convolutions",
    "make_head",
    "mask_spectrograms",
    "merge_statistics",
    "mix_up",
    "pad_spectrograms",
    "poincare",
    "pool_frames",
    "softened_divergence",
    "warp_spectrograms",
]
