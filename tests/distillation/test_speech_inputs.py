"""Recordings as batches: which part of them, and the layers of a teacher beside it."""

import numpy as np
import pytest
import torch

from sklearn_ser.distillation import (
    Reader,
    SpeechFeatures,
    SpeechInputs,
    load_teacher,
    read_speech_student,
)
from small_networks import small_network


@pytest.fixture(scope="module")
def recordings():
    rng = np.random.default_rng(0)
    levels = np.linspace(-3, 0, 24)
    lengths = rng.integers(400, 12000, 24)
    return [
        (10**level * rng.normal(size=length)).astype(np.float32)
        for level, length in zip(levels, lengths, strict=True)
    ]


@pytest.fixture
def reader():
    settings, _ = read_speech_student(small_network("wavlm"))
    return Reader(SpeechFeatures(settings), sampling_rate=16000, channel=None, n_jobs=None)


def test_what_is_scored_is_the_middle_of_long_recordings(recordings, reader):
    rng = np.random.default_rng(0)
    inputs = SpeechInputs(recordings, reader, max_seconds=0.1, rng=rng)
    positions = np.arange(4)
    parts = [inputs[positions]["features"] for _ in range(2)]
    assert not torch.equal(*parts)
    middle = inputs.in_the_middle()
    parts = [middle[positions]["features"] for _ in range(2)]
    assert torch.equal(*parts)


def test_layers_of_a_teacher_are_standardized(recordings, reader):
    teacher = load_teacher(
        small_network("hubert"),
        (1, 3),
        reader.network,
        device="cpu",
        local_files_only=False,
    )
    inputs = SpeechInputs(recordings, reader, max_seconds=9, rng=None, teacher=teacher)
    teacher.standardize(inputs, np.arange(len(recordings)))
    layers = inputs[range(len(recordings))]["teacher"]
    assert layers.shape[1] == 2
    torch.testing.assert_close(layers.mean(0), torch.zeros_like(layers[0]), atol=1e-2, rtol=0)
    torch.testing.assert_close(layers.std(0), torch.ones_like(layers[0]), atol=2e-2, rtol=0)
