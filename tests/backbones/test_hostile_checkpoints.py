"""Damaged, absurd and malicious checkpoints: an error that names the file, and nothing executed."""

import contextlib
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from hostile_checkpoints import CANARY, CASES, LOADERS, MEMORY, PICKLED
from small_speaker_networks import need_speechbrain

# Advice, or internals, of other libraries that no message may repeat.
ADVICE = ("weights_only", "trust_remote_code", "add_safe_globals", "torch.load")
FAST = {"wavlm", "text"}  # loaders of which few cases are slow
EXTRAS = {"snac": "snac", "encodec package": "encodec"}  # packages that loaders need
SECONDS = 20  # for what takes less than one


@contextlib.contextmanager
def limited(n_bytes):
    """Limit the memory that the process may allocate, and the time that it takes."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)

    def stop(number, frame):
        raise TimeoutError(f"it takes more than {SECONDS} s")

    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + n_bytes, before[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


def embed(loader, folder):
    embedder_class = LOADERS[loader][0]
    inputs = ["leave me alone"] if loader == "text" else [np.full(24000, 0.1, dtype=np.float32)]
    estimator = embedder_class(str(folder)).fit(inputs)
    method = "transform" if hasattr(estimator, "transform") else "predict_proba"
    return getattr(estimator, method)(inputs)


@pytest.fixture(scope="session")
def sound():
    """Return what each loader computes from the sound checkpoint, and its folder."""
    kept = {}

    def load(loader):
        if loader == "speechbrain":
            need_speechbrain()
        elif loader in EXTRAS:
            pytest.importorskip(EXTRAS[loader])
        if loader not in kept:
            folder = LOADERS[loader][1]()
            kept[loader] = Path(folder), embed(loader, folder)
        return kept[loader]

    return load


def _marked(case):
    is_fast = case.name == "pickle with code" or (case.loader in FAST and case.name != "zip bomb")
    return pytest.param(case, marks=() if is_fast else pytest.mark.slow, id=str(case))


@pytest.mark.parametrize("case", [_marked(case) for case in CASES])
def test_hostile_checkpoint(case, sound, tmp_path):
    original, expected = sound(case.loader)
    folder = Path(shutil.copytree(original, tmp_path / "network"))
    case.change(folder, LOADERS[case.loader][2])
    if case.says is None:
        with limited(MEMORY):
            rows = embed(case.loader, folder)
        np.testing.assert_array_equal(rows, expected)
    else:
        with limited(MEMORY), pytest.raises((OSError, ValueError), match=case.says) as caught:
            embed(case.loader, folder)
        message = str(caught.value)
        assert str(folder) in message
        assert not [advice for advice in ADVICE if advice in message]
    assert not list(tmp_path.rglob(CANARY))


def test_each_loader_has_a_canary():
    canaries = {case.loader for case in CASES if "code" in case.name}
    assert set(PICKLED) <= canaries
    assert len(CASES) > 150
