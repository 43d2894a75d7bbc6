"""Fingerprints change with the recordings, and only with them."""

import io
import os

import numpy as np
import pytest
import soundfile
import torch

from sklearn_ser.audio import SegmentOfFile, fingerprint_recordings


@pytest.fixture
def paths(tmp_path):
    paths = [str(tmp_path / f"{name}.wav") for name in "abc"]
    for path in paths:
        soundfile.write(path, np.zeros(100), 16000)
    return paths


def test_files_count_by_path_size_and_time_and_are_not_opened(paths, monkeypatch):
    monkeypatch.setattr("builtins.open", pytest.fail)
    monkeypatch.setattr(soundfile, "SoundFile", pytest.fail)
    before = fingerprint_recordings(paths)
    assert before == fingerprint_recordings(list(paths))
    assert before != fingerprint_recordings(paths[::-1])
    assert before != fingerprint_recordings(paths[:2])
    status = os.stat(paths[0])
    os.utime(paths[0], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = fingerprint_recordings(paths)
    assert before != touched
    os.remove(paths[2])
    assert touched != fingerprint_recordings(paths)


NOISE = np.random.default_rng(0).normal(size=50).astype(np.float32)
LOUDER = NOISE * 2


@pytest.mark.parametrize(
    ("recording", "other"),
    [
        (NOISE, LOUDER),
        (NOISE, NOISE.astype(float)),
        ((NOISE, 16000), (NOISE, 8000)),
        (NOISE.tolist(), LOUDER.tolist()),
        (torch.from_numpy(NOISE), torch.from_numpy(LOUDER)),
        ({"array": NOISE, "sampling_rate": 8000}, {"array": LOUDER, "sampling_rate": 8000}),
        ({"bytes": b"RIFF", "path": "a"}, {"bytes": b"RIFX", "path": "a"}),
        (b"RIFF", bytearray(b"RIFX")),
        (SegmentOfFile("a", 0, 1), SegmentOfFile("a", 0, 2)),
        (SegmentOfFile("a", 0, 1), "a"),
        ({"path": "a", "start": 0, "end": 1}, {"path": "a", "start": 0, "end": 2}),
        (io.BytesIO(), None),
        (None, 0.5),
    ],
)
def test_other_recordings_differ(recording, other):
    first, second = fingerprint_recordings([recording]), fingerprint_recordings([other])
    assert first == fingerprint_recordings([recording])
    assert first != second


def test_tables_and_lazy_sequences():
    table = np.stack([NOISE, LOUDER])
    assert fingerprint_recordings(table) == fingerprint_recordings(table.copy())
    assert fingerprint_recordings(table) != fingerprint_recordings(table[::-1])

    class Lazy:
        def __init__(self, n):
            self.n = n

        def __len__(self):
            return self.n

        def __getitem__(self, position):
            pytest.fail("decoded")

    assert fingerprint_recordings(Lazy(3)) == fingerprint_recordings(Lazy(3))
    assert fingerprint_recordings(Lazy(3)) != fingerprint_recordings(Lazy(4))


def test_what_raises_counts_by_its_type():
    assert fingerprint_recordings([torch.zeros(3, requires_grad=True)])
