"""SoundStream's encoder equals plain convolutions with the same weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sklearn_ser.backbones import load_codec

# The network has its full size.
pytestmark = pytest.mark.slow

NAME = "soundstream_variant_naturalspeech2.pt"
STRIDES = (2, 4, 5, 5)
WIDTH = 58


def _shapes():
    """Yield names and shapes of the weights in the format of the soundstream package."""

    def convolution(name, n_out, n_in, width):
        yield f"{name}.conv.weight", (n_out, n_in, width)
        yield f"{name}.conv.bias", (n_out,)

    yield from convolution("encoder.layers.0", WIDTH, 1, 7)
    for number, stride in enumerate(STRIDES, start=1):
        n_in = WIDTH * 2 ** (number - 1)
        for unit in range(3):
            name = f"encoder.layers.{number}.layers.{unit}.layers"
            yield from convolution(f"{name}.0", n_in, n_in, 7)
            yield from convolution(f"{name}.2", n_in, n_in, 1)
        yield from convolution(f"encoder.layers.{number}.layers.3", 2 * n_in, n_in, 2 * stride)
    yield from convolution("encoder.layers.5", 256, 16 * WIDTH, 3)
    for stage in range(16):
        name = f"quantizer.layers.{stage}._codebook"
        yield f"{name}.initted", (1,)
        yield f"{name}.cluster_size", (1, 1024)
        yield f"{name}.embed", (1, 1024, 256)
        yield f"{name}.embed_avg", (1, 1024, 256)
    yield from convolution("decoder.layers.0", 16 * WIDTH, 256, 7)


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    drawn = {}
    for name, shape in _shapes():
        size = (1 / np.prod(shape[1:])) ** 0.5 if len(shape) == 3 and "conv" in name else 0.1
        drawn[name] = size * torch.randn(shape, generator=generator)
    return drawn


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("soundstream")
    torch.save(weights, folder / NAME)
    return folder


def _noise(n_samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def _encode_by_hand(weights, waveform):
    def convolve(x, name, stride=1, dilation=1):
        weight, bias = weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"]
        n_past = dilation * (weight.shape[2] - 1) + 1 - stride
        x = F.pad(x, (n_past, 0), mode="reflect") if n_past else x
        return F.conv1d(x, weight, bias, stride=stride, dilation=dilation)

    x = convolve(torch.from_numpy(waveform)[None, None], "encoder.layers.0")
    for number, stride in enumerate(STRIDES, start=1):
        name = f"encoder.layers.{number}.layers"
        for unit, dilation in enumerate((1, 3, 9)):
            inner = F.elu(convolve(x, f"{name}.{unit}.layers.0", dilation=dilation))
            x = x + F.elu(convolve(inner, f"{name}.{unit}.layers.2"))
        x = convolve(x, f"{name}.3", stride=stride)
    return convolve(x, "encoder.layers.5")[0].T


def _quantize_by_hand(weights, latents):
    """Return the sums of codewords after each of the 16 stages, and before the first."""
    left = latents.double()
    totals = [torch.zeros_like(left)]
    for stage in range(16):
        words = weights[f"quantizer.layers.{stage}._codebook.embed"][0].double()
        distances = torch.cdist(left, words, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = words[distances.argmin(dim=1)]
        left = left - nearest
        totals.append(totals[-1] + nearest)
    return totals


@pytest.mark.parametrize("n_samples", [2200, 2399, 2400, 30001])
def test_latents_and_codewords_equal_those_of_plain_convolutions(folder, weights, n_samples):
    waveform = _noise(n_samples)
    backbone = load_codec(folder, device="cpu")
    layers = [layer[0] for layer in backbone.encode([waveform], 16)]
    latents = _encode_by_hand(weights, waveform)
    assert layers[0].shape == latents.shape == (n_samples // 200, 256)
    assert backbone.n_frames(n_samples) == n_samples // 200
    assert torch.linalg.norm(layers[0] - latents) <= 1e-5 * torch.linalg.norm(latents)
    quantized = _quantize_by_hand(weights, layers[0])
    for n_quantizers in (1, 4, 16):
        expected = quantized[n_quantizers]
        distance = torch.linalg.norm(layers[n_quantizers] - expected)
        assert distance <= 1e-5 * torch.linalg.norm(expected)


def test_too_short_recordings_are_padded(folder):
    backbone = load_codec(folder, device="cpu")
    assert backbone.min_samples == 2200
    next(backbone.encode([_noise(2200)], 0))
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        next(backbone.encode([_noise(2199)], 0))


def test_encoder_is_causal(folder):
    backbone = load_codec(folder, device="cpu")
    waveform = _noise(8000)
    changed = np.where(np.arange(8000) < 4000, waveform, 0).astype(np.float32)
    [own], [other] = (next(backbone.encode([x], 0)) for x in (waveform, changed))
    torch.testing.assert_close(own[:20], other[:20])
    assert not torch.allclose(own[20:], other[20:])


@pytest.mark.parametrize("lost", ["encoder.layers.2.layers.3.conv.bias", "quantizer.layers.15"])
def test_mismatched_weights_raise(weights, lost, tmp_path):
    kept = {key: value for key, value in weights.items() if not key.startswith(lost)}
    torch.save(kept, tmp_path / NAME)
    with pytest.raises(ValueError, match=rf"missing \({lost}"):
        next(load_codec(tmp_path / NAME, device="cpu").encode([_noise(3000)], 0))
    torch.save(weights | {"encoder.layers.6.conv.bias": torch.zeros(1)}, tmp_path / NAME)
    with pytest.raises(ValueError, match=r"1 unexpected \(encoder\.layers\.6"):
        next(load_codec(tmp_path / NAME, device="cpu").encode([_noise(3000)], 0))
