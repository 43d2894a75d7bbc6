"""Fixtures for the tests of estimators."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def spectrograms():
    """Return spectrograms of three emotions, with power at low, middle or high frequencies."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 16)
    X = rng.normal(size=(48, 24, 40)).astype(np.float32)
    for row, label in zip(X, labels, strict=True):
        row[8 * label : 8 * label + 8] += 2
    return X, np.array(["anger", "fear", "sadness"])[labels]
