"""What all estimators over torch share: parameters, batches, the training loop, prediction.

Knows neither recordings nor what the networks are. The loop, and with it skorch, is imported where
a training begins: who only predicts does without.
"""

from ._batches import Samples, call, to_device
from ._classifier import TorchClassifier, check_groups, encode_classes
from ._estimator import Learnable, TorchEstimator, merge_repetitions, ready_to_train
from ._optimizers import Together
from ._targets import moments, read_targets

__all__ = [
    "Learnable",
    "Samples",
    "Together",
    "TorchClassifier",
    "TorchEstimator",
    "call",
    "check_groups",
    "encode_classes",
    "merge_repetitions",
    "moments",
    "read_targets",
    "ready_to_train",
    "to_device",
]
