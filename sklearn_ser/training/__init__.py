"""What all estimators over torch share: parameters, batches, the training loop, prediction.

Knows neither recordings nor what the networks are. The loop, and with it skorch, is imported where
a training begins: who only predicts does without.
"""

from ._batches import Samples, call, to_device
from ._classifier import TorchClassifier, check_groups, encode_classes
from ._context import TrainingContext
from ._estimator import TorchEstimator, TrainingSet
from ._optimizers import CombinedOptimizer
from ._targets import moments, read_targets

__all__ = [
    "CombinedOptimizer",
    "Samples",
    "TorchClassifier",
    "TorchEstimator",
    "TrainingContext",
    "TrainingSet",
    "call",
    "check_groups",
    "encode_classes",
    "moments",
    "read_targets",
    "to_device",
]
