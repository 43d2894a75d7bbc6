"""scikit-learn classifiers and regressors over torch networks."""

from ._concordance import ConcordanceRegressor
from ._distilled_classifier import DistilledClassifier
from ._distilled_regressor import DistilledRegressor
from ._emohrnet import EmoHRNetClassifier
from ._hyperbolic_fusion import HyperbolicFusionClassifier

__all__ = [
    "ConcordanceRegressor",
    "DistilledClassifier",
    "DistilledRegressor",
    "EmoHRNetClassifier",
    "HyperbolicFusionClassifier",
]
