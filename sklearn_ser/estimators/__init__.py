"""scikit-learn classifiers and regressors over torch networks."""

from ._emohrnet import EmoHRNetClassifier
from ._hyperbolic_fusion import HyperbolicFusionClassifier

__all__ = ["EmoHRNetClassifier", "HyperbolicFusionClassifier"]
