"""Checkpoints of the encodec package give equal embeddings in the package and transformers."""

import re

import numpy as np
import pytest
import torch
from transformers import EncodecConfig, EncodecModel

from sklearn_ser import CodecEmbedder
from sklearn_ser.backbones import load_codec

encodec = pytest.importorskip("encodec")
# The networks have their full size.
pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
FILES = {24: "encodec_24khz-d7cc33bc.th", 48: "encodec_48khz-7e698e3e.th"}
CONFIGS = {
    24: EncodecConfig(),
    48: EncodecConfig(
        sampling_rate=48000,
        audio_channels=2,
        normalize=True,
        chunk_length_s=1.0,
        overlap=0.01,
        norm_type="time_group_norm",
        use_causal_conv=False,
        target_bandwidths=[3.0, 6.0, 12.0, 24.0],
    ),
}


def _package_model(rate):
    """Build the package's network in full size, with codewords of the latents' magnitude."""
    models = encodec.EncodecModel
    build = models.encodec_model_24khz if rate == 24 else models.encodec_model_48khz
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = build(pretrained=False)
        left = model.encoder(0.1 * torch.randn(1, model.channels, 24000))
        for stage in model.quantizer.vq.layers:
            book = stage._codebook
            size, center = left.std(dim=(0, 2)), left.mean(dim=(0, 2))
            book.embed.copy_(center + size * torch.randn(book.embed.shape))
            book.inited.fill_(1)
            left = left - stage.decode(stage.encode(left))
    return model


def _as_in_transformers(key):
    key = key.replace("quantizer.vq.layers", "quantizer.layers").replace(
        "._codebook.", ".codebook."
    )
    key = re.sub(r"^(encoder|decoder)\.model\.", r"\1.layers.", key)
    key = re.sub(r"\.(conv|convtr)\.(conv|convtr|norm)\.", _last_part, key)
    key = key.replace("weight_g", "parametrizations.weight.original0")
    return key.replace("weight_v", "parametrizations.weight.original1")


def _last_part(match):
    return ".norm." if match[2] == "norm" else ".conv."


@pytest.fixture(scope="module", params=[24, 48])
def checkpoints(request, tmp_path_factory):
    """Return the rate, the package's model, and folders of the package and of transformers."""
    rate = request.param
    home = tmp_path_factory.mktemp(f"encodec{rate}")
    model = _package_model(rate)
    (home / "package").mkdir()
    torch.save(model.state_dict(), home / "package" / FILES[rate])
    other = EncodecModel(CONFIGS[rate])
    weights = {_as_in_transformers(key): value for key, value in model.state_dict().items()}
    other.load_state_dict(weights, strict=True)
    other.save_pretrained(home / "transformers")
    return rate, model, home / "package", home / "transformers"


def _noise(n_samples, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(n_samples)).astype(np.float32)


def _by_package(model, waveform, n_quantizers):
    """Return the latents and quantised latents of the package's encoder."""
    latents = []
    hook = model.encoder.register_forward_hook(lambda *call: latents.append(call[-1]))
    model.bandwidth = n_quantizers * model.frame_rate * model.bits_per_codebook / 1000
    with torch.no_grad():
        samples = torch.from_numpy(waveform)[None, None].expand(-1, model.channels, -1)
        encoded = model.encode(samples)
        quantized = [model.quantizer.decode(codes.transpose(0, 1)) for codes, _ in encoded]
    hook.remove()
    return [torch.cat(parts, dim=-1)[0].T for parts in (latents, quantized)]


@pytest.mark.parametrize("n_samples", [1, 500, 12345, 60000])
def test_both_libraries_equal_the_package(checkpoints, n_samples):
    rate, model, package, transformers = checkpoints
    waveform = _noise(n_samples)
    for folder in (package, package / FILES[rate], transformers):
        backbone = load_codec(folder, device="cpu")
        layers = [layer[0] for layer in backbone.encode([waveform], 8)]
        assert len(layers[0]) == backbone.n_frames(n_samples)
        for n_quantizers in (2, 8):
            latents, quantized = _by_package(model, waveform, n_quantizers)
            for own, expected in ((layers[0], latents), (layers[n_quantizers], quantized)):
                distance = torch.linalg.norm(own - expected) / torch.linalg.norm(expected)
                assert distance <= TOLERANCE


@pytest.mark.parametrize("representation", ["quantized", "latent"])
def test_the_same_embedding_from_either(checkpoints, representation):
    _, _, package, transformers = checkpoints
    recordings = [_noise(8000), _noise(20000, seed=1)]
    rows = [
        CodecEmbedder(folder, representation=representation, pooling="mean_std").fit_transform(
            recordings
        )
        for folder in (package, transformers)
    ]
    distance = np.linalg.norm(rows[0] - rows[1], axis=1) / np.linalg.norm(rows[1], axis=1)
    assert distance.max() <= TOLERANCE


def test_settings_of_the_package_are_those_of_its_networks(checkpoints):
    rate, model, package, _ = checkpoints
    codec = load_codec(package, device="cpu").codec
    assert codec.name == f"encodec{rate}"
    assert codec.sampling_rate == model.sample_rate
    assert codec.stride == model.encoder.hop_length
    assert codec.n_dims == model.encoder.dimension
    assert codec.n_quantizers == model.quantizer.n_q
    assert codec.n_channels == model.channels
    assert codec.is_normalised == model.normalize
    assert codec.segment == model.segment_length
    assert codec.segment_stride == model.segment_stride


def test_segments_are_independent(checkpoints):
    """A change in the last second does not affect the frames of the first."""
    rate, _, _, folder = checkpoints
    if rate == 24:
        pytest.skip("has no segments")
    backbone = load_codec(folder, device="cpu")
    first, second = _noise(90000), _noise(90000)
    second[60000:] = 0
    [own], [other] = (next(backbone.encode([waveform], 0)) for waveform in (first, second))
    assert torch.equal(own[:150], other[:150])
    assert not torch.equal(own[150:], other[150:])


def test_mismatched_weights_raise(checkpoints, tmp_path):
    rate, model, _, _ = checkpoints
    weights = dict(model.state_dict())
    lost = weights.pop("encoder.model.0.conv.conv.bias")
    path = tmp_path / FILES[rate]
    torch.save(weights, path)
    with pytest.raises(ValueError, match=r"1 missing \(encoder\.model\.0\.conv\.conv\.bias\)"):
        next(load_codec(path, device="cpu").encode([_noise(500)], 0))
    torch.save(weights | {"encoder.model.0.conv.conv.bias": lost, "stray": lost}, path)
    with pytest.raises(ValueError, match=r"1 unexpected \(stray\)"):
        next(load_codec(path, device="cpu").encode([_noise(500)], 0))
