"""scikit-learn classifiers and regressors over torch networks."""

from ._emohrnet import EmoHRNetClassifier

__all__ = ["EmoHRNetClassifier"]
