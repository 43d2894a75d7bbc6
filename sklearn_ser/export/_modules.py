"""Torch modules of which exported estimators are composed.

scikit-learn's arithmetic, and standardisation, is in float64 as in the estimators: in float32 the
difference of a feature and a large mean has few digits.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn


class OnnxStep(NamedTuple):
    """What is exported of an estimator, or of a step of a pipeline.

    Attributes
    ----------
    module : Module
        From the input to the output, in float32 or float64; with `classes` to a pair of the output
        and the index of the predicted class.
    input_name : str
        Name of the input in the graph.
    input_shape : tuple of int or None
        Shape of a sample. The length of an axis that is None is free.
    output_name : str, default="transformed"
        Name of the output in the graph.
    classes : ndarray of shape (n_classes,), default=None
        Classes of a classifier.
    targets : list of str, default=None
        Names of the targets of a regressor.
    """

    module: nn.Module
    input_name: str
    input_shape: tuple[int | None, ...]
    output_name: str = "transformed"
    classes: np.ndarray | None = None
    targets: list[str] | None = None


class _Constants(nn.Module):
    """Module with constant arrays."""

    def __init__(self, **arrays):
        super().__init__()
        for name, values in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.array(values)))


class Affine(_Constants):
    """Multiply by factors and add offsets, in float64.

    Parameters
    ----------
    factor, offset : array-like
        Broadcast against a sample.
    """

    def __init__(self, factor, offset):
        super().__init__(factor=np.asarray(factor, float), offset=np.asarray(offset, float))

    @classmethod
    def standardize(cls, mean, scale):
        """Subtract means and divide by standard deviations."""
        factor = 1 / np.asarray(scale, dtype=float)
        return cls(factor, -np.asarray(mean, dtype=float) * factor)

    def forward(self, values):
        """Transform values."""
        return values.double() * self.factor + self.offset


class Linear(_Constants):
    """Linear map in float64.

    Parameters
    ----------
    coef : ndarray of shape (n_outputs, n_features)
        Coefficients.
    intercept : float or ndarray of shape (n_outputs,)
        Intercepts.
    squeeze : bool
        Whether to remove the axis of the only output.
    """

    def __init__(self, coef, intercept, *, squeeze):
        super().__init__(weight=np.asarray(coef, float).T, intercept=np.asarray(intercept, float))
        self.squeeze = squeeze

    def forward(self, features):
        """Compute the outputs."""
        outputs = features.double() @ self.weight + self.intercept
        return outputs[:, 0] if self.squeeze else outputs


class Select(_Constants):
    """Select columns of a table, or layers, which are concatenated.

    Parameters
    ----------
    indices : ndarray of int
        Indices of the columns or layers.
    """

    def __init__(self, indices):
        super().__init__(indices=np.asarray(indices, dtype=np.int64))

    def forward(self, values):
        """Select along the second axis."""
        return values.index_select(1, self.indices).flatten(1)


class WeightedSum(_Constants):
    """Weighted sums over layers, in float64.

    Parameters
    ----------
    weights : ndarray of shape (n_sets, n_layers)
        Sets of weights, whose sums are concatenated.
    """

    def __init__(self, weights):
        super().__init__(weights=np.asarray(weights, float))

    def forward(self, layers):
        """Compute the sums."""
        return (self.weights @ layers.double()).flatten(1)


class Float32(nn.Module):
    """Convert to float32."""

    def forward(self, values):
        """Convert values."""
        return values.float()


class Probabilities(nn.Module):
    """Probabilities of the classes and index of the predicted class, from logits."""

    def forward(self, logits):
        """Compute the softmax; of zero and the logit if there is one logit for two classes."""
        logits = _one_for_each_class(logits)
        return logits.softmax(1).float(), logits.argmax(1)


class Scores(nn.Module):
    """Scores of a decision function and index of the predicted class."""

    def forward(self, scores):
        """Compute the index; the scores are not changed."""
        return scores.float(), _one_for_each_class(scores).argmax(1)


def _one_for_each_class(scores):
    return scores if scores.dim() == 2 else torch.stack([torch.zeros_like(scores), scores], dim=1)
