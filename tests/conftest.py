"""Shared fixtures: where real corpora lie, and recordings that need none."""

import os

# scikit-learn's array API checks run only where SciPy was imported under this.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")


@pytest.fixture
def corpus_folder():
    """Return a function from a corpus's name to its folder; skips where there is none."""

    def find(name):
        data = os.environ.get("SKLEARN_SER_DATA")
        if not data:
            pytest.skip("SKLEARN_SER_DATA is unset: no real recordings at hand")
        folder = Path(data) / name
        if not folder.is_dir():
            pytest.skip(f"SKLEARN_SER_DATA has no folder {name}")
        return folder

    return find


@pytest.fixture
def tone():
    """Return one second of a 440 Hz tone at 16 kHz."""
    return np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
