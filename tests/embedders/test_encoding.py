"""WindowPooler: windows, batches and pooling for a network with known frames."""

import numpy as np
import pytest
import torch

from sklearn_ser.backbones import AudioBackbone
from sklearn_ser.embedders._encoding import WindowPooler, encode_or_halve

RATE = 16000


class Averages(AudioBackbone):
    """Frames of ten samples; layer k is their mean and their maximum, times k + 1."""

    name, sampling_rate, n_layers, n_dims, stride, min_samples = "averages", RATE, 3, 2, 10, 10

    def __init__(self):
        super().__init__(None, device="cpu", dtype=torch.float32)

    def n_frames(self, n_samples):
        return n_samples // 10

    def encode(self, inputs, last_layer):
        longest = max(map(len, inputs))
        padded = np.stack([np.pad(own, (0, longest - len(own))) for own in inputs])
        frames = torch.from_numpy(padded[:, : longest // 10 * 10]).unflatten(1, (-1, 10))
        both = torch.stack([frames.mean(2), frames.amax(2)], dim=2)
        yield from (both * (layer + 1) for layer in range(last_layer + 1))


def _pooler(**settings):
    given = {"pooling": "mean", "window": 30.0, "hop": None, "batch_size": 16} | settings
    return WindowPooler(Averages(), **given)


def _noise(*lengths):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(length).astype(np.float32) for length in lengths]


def _frames(waveform):
    frames = waveform[: len(waveform) // 10 * 10].reshape(-1, 10)
    return np.stack([frames.mean(axis=1), frames.max(axis=1)], axis=1)


def test_an_hour_is_split_into_windows_of_half_a_minute():
    pooler = _pooler()
    pieces = list(pooler._cut(0, np.zeros(3600 * RATE, dtype=np.float32)))
    assert len(pieces) == 150  # the hop is 0.8 * window
    assert max(len(piece.waveform) for piece in pieces) == 30 * RATE
    assert [len(batch) for batch in pooler._batches(pieces)] == [1] * 150


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", lambda frames: frames.mean(0)),
        ("mean_std", lambda frames: np.concatenate([frames.mean(0), frames.std(0)])),
        ("max", lambda frames: frames.max(0)),
        (lambda frames: np.median(frames, axis=0), lambda frames: np.median(frames, axis=0)),
    ],
)
def test_windows_are_pooled_as_the_whole_recording(pooling, pool):
    waveforms = _noise(3210, 95, 10)
    pooler = _pooler(pooling=pooling, window=0.05)
    found = {index: own for batch in pooler.encode(waveforms, 1) for index, own in batch.items()}
    for index, waveform in enumerate(waveforms):
        expected = pool(_frames(waveform))
        assert found[index].shape == (2, pooler.n_columns)
        np.testing.assert_allclose(found[index][0], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[index][1], 2 * expected, rtol=1e-5, atol=1e-6)


def test_short_recordings_are_padded_with_zeros():
    [batch] = _pooler().encode([np.ones(4, dtype=np.float32)], 0)
    np.testing.assert_allclose(batch[0], [[0.4, 1.0]])


def test_recordings_are_complete_with_the_batch_of_their_last_window():
    batches = list(_pooler(window=0.05, batch_size=2).encode(_noise(2000, 500, 400), 0))
    assert [index for batch in batches for index in batch] == [0, 1, 2]
    assert {} in batches  # only windows of the first recording


@pytest.mark.parametrize(
    ("pooling", "names"),
    [
        ("mean", ["dim0000", "dim0001"]),
        ("mean_std", ["mean_dim0000", "mean_dim0001", "std_dim0000", "std_dim0001"]),
        (lambda frames: frames[0, :1], ["pooled0000"]),
    ],
)
def test_column_names(pooling, names):
    assert _pooler(pooling=pooling).column_names() == names


def test_no_windows_for_a_network_that_splits_recordings(monkeypatch):
    monkeypatch.setattr(Averages, "cuts_by_itself", True)
    pooler = _pooler(window=0.05, hop=0.02)
    assert (pooler.window, pooler.hop) == (None, None)
    assert len(list(pooler._cut(0, np.zeros(5000, dtype=np.float32)))) == 1


def test_halves_are_encoded_in_order():
    sizes = []

    def encode(batch):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise MemoryError
        return [2 * batch[0]]

    assert encode_or_halve(encode, [1, 2, 3], str) == [2, 4, 6]
    assert sizes == [3, 1, 2, 1, 1]
    with pytest.raises(MemoryError, match="too large: 7"):
        encode_or_halve(lambda batch: encode([*batch, 0]), [7], lambda one: f"too large: {one}")
