"""Batches of recordings: crops, what cannot be used, prefetching, layers of a teacher."""

import gc
import threading
import weakref

import numpy as np
import pytest
import torch

from sklearn_ser.audio import ErrorCollector, RecordingError
from sklearn_ser.backbones import load_speech_backbone
from sklearn_ser.distillation._distill_encoder import make_teacher
from sklearn_ser.distillation._speech_inputs import (
    Reader,
    SpeechInputs,
    TokenSequences,
    tokenize_transcripts,
)
from sklearn_ser.distillation._students import (
    SpeechFeatures,
    read_speech_student,
    read_text_student,
)
from small_networks import small_network
from small_text_networks import small_text_network


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


def make_inputs(recordings, reader, *, max_seconds=9, rng=None, on_error="raise"):
    problems = ErrorCollector(on_error)
    return SpeechInputs(recordings, reader, max_seconds=max_seconds, rng=rng, problems=problems)


def test_what_is_scored_is_the_middle_of_long_recordings(recordings, reader):
    rng = np.random.default_rng(0)
    inputs = make_inputs(recordings, reader, max_seconds=0.1, rng=rng)
    parts = [next(inputs.batches([range(4)]))[1]["features"] for _ in range(2)]
    assert not torch.equal(*parts)
    middle = inputs.center_crop()
    parts = [next(middle.batches([range(4)]))[1]["features"] for _ in range(2)]
    assert torch.equal(*parts)


def test_batches_leave_out_what_cannot_be_used(recordings, reader):
    bad = [*recordings[:3], np.zeros(0), *recordings[3:5], np.full(500, np.nan)]
    inputs = make_inputs(bad, reader, on_error="nan")
    found = [positions.tolist() for positions, _ in inputs.batches([[2, 3], [6], [0, 1, 4]])]
    assert found == [[2], [0, 1, 4]]
    assert sorted(inputs.problems.by_position) == [3, 6]
    with pytest.raises(ValueError, match="None of the 2 recordings"):
        next(inputs.batches([[3], [6]]))
    with pytest.warns(
        UserWarning, match=r"2 recordings can't be used .*recording 3: .*recording 6"
    ):
        inputs.warn_skipped()
    with pytest.raises(RecordingError, match="Recording 3"):
        list(make_inputs(bad, reader).batches([range(7)]))


def test_reading_goes_on_while_a_batch_is_used(recordings, reader):
    """What is read ahead: the next batch, and no more than that."""
    read, ahead = [], threading.Event()

    class OnDemand:
        def __len__(self):
            return len(recordings)

        def __getitem__(self, position):
            read.append(position)
            if len(read) == 8:
                ahead.set()
            return recordings[position]

    batches = make_inputs(OnDemand(), reader).batches(np.arange(24).reshape(6, 4))
    next(batches)
    assert ahead.wait(timeout=30)
    batches.close()
    assert 8 <= len(read) <= 10
    assert read == sorted(read)


def test_layers_of_a_teacher_are_standardized(recordings, reader):
    backbone = load_speech_backbone(small_network("hubert"), device="cpu")
    teacher = make_teacher(backbone, (1, 3), reader.features, "hubert")
    inputs = make_inputs(recordings, reader)
    inputs.teacher = teacher
    teacher.fit_scaler(inputs)
    layers = next(inputs.batches([range(len(recordings))]))[1]["teacher"]
    assert layers.shape[1] == 2
    torch.testing.assert_close(layers.mean(0), torch.zeros_like(layers[0]), atol=1e-2, rtol=0)
    torch.testing.assert_close(layers.std(0), torch.ones_like(layers[0]), atol=2e-2, rtol=0)


def test_only_crops_are_prefetched(reader, monkeypatch):
    """Whole recordings are dropped as soon as they are cropped."""
    whole = []
    read = Reader.read

    def watch(self, recording):
        waveform = read(self, recording)
        whole.append(weakref.ref(waveform))
        return waveform

    monkeypatch.setattr(Reader, "read", watch)
    long = [np.random.default_rng(row).normal(0, 0.1, 50000) for row in range(12)]
    batches = make_inputs(long, reader, max_seconds=0.1).batches(np.arange(12).reshape(3, 4))
    next(batches)
    gc.collect()
    assert len(whole) >= 4
    assert sum(reference() is not None for reference in whole) <= 2  # those that are being read
    batches.close()


@pytest.mark.parametrize("n_jobs", [2, 4])
def test_the_number_of_threads_makes_no_difference(recordings, reader, n_jobs):
    splits = np.arange(24).reshape(4, 6)

    def epoch(n_jobs):
        reader.n_jobs = n_jobs
        rng = np.random.default_rng(0)
        inputs = make_inputs(recordings, reader, max_seconds=0.1, rng=rng)
        return [batch["features"] for _, batch in inputs.batches(splits)]

    for one, many in zip(epoch(None), epoch(n_jobs), strict=True):
        assert torch.equal(one, many)


def test_transcripts_are_tokenized_in_parts(monkeypatch):
    settings, _ = read_text_student(small_text_network("bert"))
    texts = ["Leave me alone.", None, "I am so happy", "no " * 600, None, "no"]
    whole = list(tokenize_transcripts(settings | {"max_tokens": None}, (texts, texts)))
    assert [len(ids) > 0 for ids in whole] == [text is not None for text in texts]
    monkeypatch.setattr("sklearn_ser.distillation._speech_inputs._N_TOKENIZED", 2)
    with pytest.warns(UserWarning, match=r"1 transcript\(s\) are truncated .*at position 3"):
        tokens = TokenSequences(tokenize_transcripts(settings | {"max_tokens": 99}, (texts, texts)))
    assert [tokens[row].tolist()[:98] for row in range(6)] == [ids[:98] for ids in whole]
    assert list(tokenize_transcripts(settings, (texts, None))) == [[]] * 6
