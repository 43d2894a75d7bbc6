"""Fixtures for the tests of estimators."""

import numpy as np
import pandas as pd
import pytest

# Number of the recordings.
N = 24


@pytest.fixture(scope="module")
def spectrograms():
    """Return spectrograms of three emotions, with power at low, middle or high frequencies."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 16)
    X = rng.normal(size=(48, 24, 40)).astype(np.float32)
    for row, label in zip(X, labels, strict=True):
        row[8 * label : 8 * label + 8] += 2
    return X, np.array(["anger", "fear", "sadness"])[labels]


@pytest.fixture(scope="module")
def recordings():
    """Return noises of increasing loudness and of any length."""
    rng = np.random.default_rng(0)
    loudness = np.linspace(-3, 0, N)
    lengths = rng.integers(400, 6000, N)
    return [
        (10**level * rng.normal(size=length)).astype(np.float32)
        for level, length in zip(loudness, lengths, strict=True)
    ]


@pytest.fixture(scope="module")
def speakers():
    """Return the speaker of each recording."""
    return np.arange(N) % 6


@pytest.fixture(scope="module")
def table(recordings):
    """Return the recordings with transcripts, some of which are missing."""
    texts = ["Leave me alone.", "I am so happy", None, "no"] * (N // 4)
    return pd.DataFrame({"path": recordings, "transcript": texts})
