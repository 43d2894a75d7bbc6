"""scikit-learn classifiers and regressors over torch networks."""

from ._concordance import ConcordanceRegressor
from ._distilled_classifier import DistilledClassifier
from ._distilled_regressor import DistilledRegressor
from ._emohrnet import EmoHRNetClassifier
from ._hyperbolic_fusion import HyperbolicFusionClassifier
from ._pretrained_classifier import PretrainedEmotionClassifier
from ._pretrained_regressor import PretrainedEmotionRegressor

__all__ = [
    "ConcordanceRegressor",
    "DistilledClassifier",
    "DistilledRegressor",
    "EmoHRNetClassifier",
    "HyperbolicFusionClassifier",
    "PretrainedEmotionClassifier",
    "PretrainedEmotionRegressor",
]
