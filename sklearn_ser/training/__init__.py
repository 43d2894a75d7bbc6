"""Base classes of the torch estimators: parameters, batches, training loop and prediction.

The training loop, and with it skorch, is imported only by `fit`.
"""

from ._batches import Samples, call, count_batches, to_device
from ._checkpoint import hash_arrays
from ._classifier import (
    TorchClassifier,
    encode_classes,
    most_probable,
    score_classes,
    smooth_labels,
)
from ._context import TrainingContext
from ._estimator import TorchEstimator, TrainingPlan, TrainingSet, as_arrays, callback_data
from ._optimizers import CombinedOptimizer
from ._progress import Progress
from ._regressor import TorchRegressor, encode_targets, score_targets

__all__ = [
    "CombinedOptimizer",
    "Progress",
    "Samples",
    "TorchClassifier",
    "TorchEstimator",
    "TorchRegressor",
    "TrainingContext",
    "TrainingPlan",
    "TrainingSet",
    "as_arrays",
    "call",
    "callback_data",
    "count_batches",
    "encode_classes",
    "encode_targets",
    "hash_arrays",
    "most_probable",
    "score_classes",
    "score_targets",
    "smooth_labels",
    "to_device",
]
