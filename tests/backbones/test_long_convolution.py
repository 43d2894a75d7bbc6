"""The convolution by Fourier transforms equals torch's, for one recording at a time."""

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ser.backbones import load_backbone
from sklearn_ser.backbones._long_convolution import LongConvolution
from sklearn_ser.backbones._wav2vec2 import _positional
from small_networks import small_network


def _convolution(kernel_size):
    torch.manual_seed(kernel_size)
    return torch.nn.Conv1d(12, 8, kernel_size, padding=kernel_size // 2, groups=4)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    kernel_size=st.integers(64, 128),
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_equals_torch_within_each_recording(kernel_size, lengths):
    convolution = _convolution(kernel_size)
    recordings = [torch.randn(length, 12) for length in lengths]
    convolved = LongConvolution(convolution)(recordings)
    assert len(convolved) == len(recordings)
    for own, frames in zip(convolved, recordings, strict=True):
        expected = convolution(frames.T[None])[0, :, : len(frames)].T
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-5)


def test_no_recording_touches_another():
    convolution = LongConvolution(_convolution(128))
    silence, speech, damaged = torch.zeros(40, 12), torch.randn(300, 12), torch.full((9, 12), 1e38)
    alone = convolution([silence])[0], convolution([speech])[0]
    assert torch.equal(alone[0], convolution.bias.T.expand(40, -1))
    together = convolution([silence, damaged * 10, speech])
    assert not together[1].isfinite().any()
    assert torch.equal(together[0], alone[0])
    torch.testing.assert_close(together[2], alone[1], rtol=0, atol=1e-6)


def test_the_last_bit_does_not_depend_on_the_batch():
    convolution = LongConvolution(_convolution(128))
    recordings = [torch.randn(length, 12) for length in (7, 300, 49, 49, 130, 64, 99)]
    together = convolution(recordings)
    for frames, expected in zip(recordings, together, strict=True):
        assert torch.equal(convolution([frames])[0], expected)


@pytest.mark.parametrize(
    "other",
    [
        torch.nn.Conv1d(8, 8, 9, padding=4),  # a direct convolution is faster
        torch.nn.Conv1d(8, 8, 200, padding=100),  # too few valid outputs
        torch.nn.Conv1d(8, 8, 128, padding=63),
        torch.nn.Conv1d(8, 8, 128, padding=64, stride=2),
        torch.nn.Conv1d(8, 8, 128, padding=64).bfloat16(),  # no transforms of this precision
        torch.nn.Linear(8, 8),
        None,
    ],
)
def test_other_convolutions_do_not_fit(other):
    assert LongConvolution.fits(_convolution(128))
    assert not LongConvolution.fits(other)


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("wavlm", "float32", True),
        ("wavlm", "bfloat16", False),
        ("data2vec", "float32", False),
        ("hubert-batch-norm", "float32", False),
    ],
)
def test_is_used_for_one_long_kernel(name, dtype, expected, monkeypatch):
    backbone = load_backbone(small_network(name), family="wav2vec2", device="cpu", dtype=dtype)
    waveforms = [backbone.prepare(torch.randn(8000).numpy()) for _ in range(3)]
    n_calls = []
    monkeypatch.setattr(
        LongConvolution,
        "__call__",
        lambda self, recordings: n_calls.append(len(recordings)) or recordings,
    )
    list(backbone.encode(waveforms, 0))
    assert n_calls == ([3] if expected else [])


def test_goes_with_its_network():
    network = torch.nn.Linear(1, 1)
    _positional[network] = LongConvolution(_convolution(128))
    assert network in _positional
    n_before = len(_positional)
    del network
    gc.collect()
    assert len(_positional) == n_before - 1
