"""SNAC equals the forward pass of its package."""

import json
import shutil

import numpy as np
import pytest
import torch

from sklearn_ser.backbones import load_codec

pytest.importorskip("snac")

from small_codecs import SNAC, make_snac, save_snac

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snac")
    save_snac(folder)
    return folder


def _noise(n_samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def _by_package(waveform):
    network = make_snac()
    with torch.no_grad():
        samples = network.preprocess(torch.from_numpy(waveform)[None, None])
        quantized = network.quantizer.from_codes(network.encode(samples))
        return network.encoder(samples)[0].T, quantized[0].T


@pytest.mark.parametrize("n_samples", [1, 511, 512, 513, 2049, 30000])
def test_each_recording_is_encoded_as_the_package_does(folder, n_samples):
    backbone = load_codec(folder, device="cpu")
    waveform = _noise(n_samples)
    latents, *_, quantized = (layer[0] for layer in backbone.encode([waveform], 3))
    for own, expected in zip((latents, quantized), _by_package(waveform), strict=True):
        expected = expected[: len(own)]  # the package pads to whole frames of the slowest stage
        assert torch.linalg.norm(own - expected) <= TOLERANCE * torch.linalg.norm(expected)
    assert backbone.n_frames(n_samples) == -(-n_samples // 512) == len(latents)


def test_fewer_stages_are_the_first_ones(folder):
    backbone = load_codec(folder, device="cpu")
    waveform = _noise(20000)
    layers = [layer[0] for layer in backbone.encode([waveform], 3)]
    with torch.no_grad():
        network = make_snac()
        codes = network.encode(torch.from_numpy(waveform)[None, None])
        coarse = network.quantizer.quantizers[0]
        words = coarse.out_proj(coarse.decode_code(codes[0])).repeat_interleave(4, dim=-1)
    np.testing.assert_allclose(layers[1], words[0].T[: len(layers[1])], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(layers[1], layers[2])


def test_results_do_not_depend_on_neighbours(folder):
    backbone = load_codec(folder, device="cpu")
    waveforms = [_noise(30000), _noise(700, seed=1)]
    together = list(backbone.encode(waveforms, 3))
    for row, waveform in enumerate(waveforms):
        for own, alone in zip(together, backbone.encode([waveform], 3), strict=True):
            assert torch.equal(own[row], alone[0])


def test_name_and_sizes(folder):
    backbone = load_codec(folder, device="cpu")
    assert (backbone.name, backbone.sampling_rate, backbone.stride) == ("snac24", 24000, 512)
    assert (backbone.n_dims, backbone.codec.n_quantizers) == (64, 3)
    assert make_snac().latent_dim == 64


def test_mismatched_weights_raise(folder, tmp_path):
    save_snac(tmp_path)
    weights = make_snac().state_dict()
    weights["stray"] = weights.pop("encoder.block.0.bias")
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"1 missing \(encoder.*1 unexpected \(stray\)"):
        next(load_codec(tmp_path, device="cpu").encode([_noise(600)], 0))


@pytest.mark.parametrize(
    ("config", "says"),
    [([1], "is not a JSON object"), (SNAC | {"what": 1}, "does not support: what")],
)
def test_unsupported_settings_raise(folder, tmp_path, config, says):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=says):
        load_codec(copy, device="cpu")


def test_missing_settings_are_the_defaults_of_the_package(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    few = {name: value for name, value in SNAC.items() if name not in ("noise", "depthwise")}
    (copy / "config.json").write_text(json.dumps(few))
    [[first]] = load_codec(copy, device="cpu").encode([np.ones(9000, np.float32)], 0)
    [[second]] = load_codec(folder, device="cpu").encode([np.ones(9000, np.float32)], 0)
    assert torch.equal(first, second)
