"""Shared fixtures: where real corpora lie, and recordings that need none."""

import atexit
import gc
import getpass
import os
import sys
import tempfile

# scikit-learn's array API checks run only where SciPy was imported under this.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# Test processes share the processors: threads within each of them would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where Python keeps no bytecode, each process would compile all that it imports. The tests keep it,
# away from the sources, in one folder for all their processes and for later runs: in the virtual
# environment, with which it goes, or else in one folder per user. Python replaces a file there as
# a whole, and tells by the source's size and time whether it still holds.
if sys.dont_write_bytecode and sys.pycache_prefix is None:
    _home = sys.prefix
    if sys.prefix == sys.base_prefix:
        _home = f"{tempfile.gettempdir()}/sklearn_ser-{getpass.getuser()}"
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = f"{_home}/bytecode"
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")
# What tests import stays: to look for garbage in it takes seconds in each process.
gc.disable()

# What a test needs that not every machine has, by the fixture that gives it.
MARKERS = {"corpus_folder": "corpus", "weights_folder": "weights"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests that need real corpora or networks, and the examples.

    Coverage is that of the fast tests: the slow ones repeat it, and would take a quarter longer.
    """
    for item in items:
        for fixture in MARKERS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKERS[fixture])
        if item.path.name == "test_examples.py":  # each starts Python anew
            item.add_marker("slow")
        if item.get_closest_marker("slow"):
            item.add_marker("no_cover")


def pytest_collection_finish():
    """Let the collection of garbage, from here on, leave alone what was imported."""
    gc.freeze()
    atexit.register(gc.unfreeze)
    gc.enable()


def pytest_runtest_setup(item):
    """Skip the tests that need a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA GPU at hand")


def _find(variable, name):
    home = os.environ.get(variable)
    if not home:
        pytest.skip(f"{variable} is unset: nothing real at hand")
    folder = Path(home) / name
    if not folder.is_dir():
        pytest.skip(f"{variable} has no folder {name}")
    return folder


@pytest.fixture
def corpus_folder():
    """Return a function from a corpus's name to its folder; skips where there is none."""
    return partial(_find, "SKLEARN_SER_DATA")


@pytest.fixture
def weights_folder():
    """Return a function from a pretrained network's name to its folder; skips likewise."""
    return partial(_find, "SKLEARN_SER_WEIGHTS")


@pytest.fixture(scope="session", autouse=True)
def networks_of_modules():
    """Make the small networks of which modules have the names before any test runs."""
    from small_networks import save_announced

    save_announced()


@pytest.fixture(scope="module")
def small_hrnet():
    """Make `EmoHRNetClassifier` several times as fast, for what any network shows.

    In place of three stages it has the last one, which has all branches and fuses them, and its
    stem is narrow.
    """
    from sklearn_ser.nn import hrnet

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hrnet, "_STEM_CHANNELS", 16)
        variant = hrnet.VARIANTS["small-v1"]
        smaller = variant._replace(first_channels=4, n_blocks=1, n_modules=(0, 0, 1))
        patch.setitem(hrnet.VARIANTS, "small-v1", smaller)
        yield


@pytest.fixture
def tone():
    """Return one second of a 440 Hz tone at 16 kHz."""
    return np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)


@pytest.fixture(autouse=True)
def no_measurement(monkeypatch):
    """Keep the tests independent of the processor: bfloat16 counts as twice as fast."""
    if "torch" in sys.modules:
        import sklearn_ser.backbones._device as device

        monkeypatch.setattr(device, "bfloat16_gain", lambda name: 2.0)


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that fits an estimator, and interrupts it after some epochs."""
    from sklearn_ser.training._checkpoint import Checkpoint

    def fit(estimator, X, y, n_epochs, **arguments):
        save, n_saved = Checkpoint.save, []

        def save_and_stop(self, **state):
            save(self, **state)
            n_saved.append(1)
            if len(n_saved) == n_epochs:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "save", save_and_stop)
            with pytest.raises(KeyboardInterrupt):
                estimator.fit(X, y, **arguments)

    return fit
