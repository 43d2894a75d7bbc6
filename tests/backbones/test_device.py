"""The choice of the precision."""

import numpy as np
import pytest
import torch

from sklearn_ser import WavLMEmbedder
from sklearn_ser.backbones import _device, choose_dtype
from small_networks import small_network

measure = _device.bfloat16_gain


@pytest.mark.parametrize(("gain", "dtype"), [(0.1, "float32"), (1.2, "float32"), (3.0, "bfloat16")])
def test_auto_takes_what_is_faster(monkeypatch, gain, dtype):
    monkeypatch.setattr(_device, "bfloat16_gain", lambda device: gain)
    assert choose_dtype("auto", "cpu") is getattr(torch, dtype)
    recording = np.sin(np.arange(8000) / 20)
    own, expected = (
        WavLMEmbedder(small_network("wavlm"), dtype=name).transform([recording])
        for name in ("auto", dtype)
    )
    np.testing.assert_array_equal(own, expected)


def test_bfloat16_warns_where_it_is_slower(monkeypatch):
    monkeypatch.setattr(_device, "bfloat16_gain", lambda device: 0.1)
    with pytest.warns(UserWarning, match=r"bfloat16 is 10\.0 times slower .* dtype='auto'"):
        assert choose_dtype("bfloat16", "cpu") is torch.bfloat16


def test_float32_is_not_measured(monkeypatch):
    monkeypatch.setattr(_device, "bfloat16_gain", None)
    assert choose_dtype("float32", "cpu") is torch.float32
    assert choose_dtype("float16", "cpu") is torch.float16


def test_the_measurement_is_made_once():
    measure.cache_clear()
    first = measure("cpu")
    assert 0.001 < first < 1000
    assert measure("cpu") == first
    assert measure.cache_info().misses == 1
