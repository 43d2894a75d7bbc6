"""Speaker embeddings of the wav2vec 2.0 family equal those of transformers."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor

from sklearn_ser.backbones import load_backbone
from small_networks import (
    SPEAKER_NETWORKS,
    make_network,
    mostly_slow,
    save_network,
    small_network,
)


def _load(folder, dtype="float32"):
    return load_backbone(folder, family="speaker", device="cpu", dtype=dtype)


def _embed(backbone, waveforms):
    (embeddings,) = backbone.encode([backbone.prepare(waveform) for waveform in waveforms], 0)
    assert embeddings.shape == (len(waveforms), 1, backbone.n_dims)
    return embeddings[:, 0].float()


@functools.cache
def _transformers(name):
    return AutoFeatureExtractor.from_pretrained(small_network(name)), make_network(name)


def _by_transformers(name, waveform):
    extractor, network = _transformers(name)
    inputs = extractor(waveform, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        return network(inputs["input_values"]).embeddings[0]


def _noise(*lengths):
    rng = np.random.default_rng(0)
    return [(0.05 + rng.normal(0, 0.1, length)).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("name", mostly_slow(SPEAKER_NETWORKS))
@settings(max_examples=5, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(5200, 40000), min_size=1, max_size=4))
def test_ragged_batch_equals_transformers_alone(name, lengths):
    waveforms = _noise(*lengths)
    for own, waveform in zip(_embed(_load(small_network(name)), waveforms), waveforms, strict=True):
        expected = _by_transformers(name, waveform)
        assert torch.linalg.norm(own - expected) <= 1e-5 * torch.linalg.norm(expected)


def test_the_shortest_waveform_gives_two_frames_to_the_statistics():
    backbone = _load(small_network("wavlm-sv"))
    assert backbone.min_samples == 400 + 15 * 320
    shortest = _noise(backbone.min_samples)[0]
    assert _embed(backbone, [shortest]).isfinite().all()
    assert _embed(backbone, [np.append(shortest, shortest[:319])]).isfinite().all()
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert _embed(backbone, [shortest[:-1]]).isnan().any()


def test_sizes_are_known_without_loading_weights(monkeypatch):
    from sklearn_ser.backbones import _wav2vec2

    monkeypatch.setattr(_wav2vec2, "load_network", None)
    backbone = _load(small_network("unispeech-sat-sv"))
    assert (backbone.n_layers, backbone.n_dims, backbone.name) == (1, 20, "unispeechsatsv")
    assert backbone.n_frames(100_000) == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precision_stays_near(dtype):
    waveforms = _noise(8000, 20000)
    folder = small_network("wavlm-sv-weighted")
    exact, rough = _embed(_load(folder), waveforms), _embed(_load(folder, dtype=dtype), waveforms)
    distance = torch.linalg.norm(rough - exact, dim=1) / torch.linalg.norm(exact, dim=1)
    assert 0 < distance.max() <= 0.05


def _save_with(edit, folder):
    save_network(make_network("wavlm-sv"), folder, True)
    weights = load_file(folder / "model.safetensors")
    save_file(edit(weights), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_training_weights_may_be_missing(tmp_path):
    for_training = ("classifier", "objective", "wavlm.masked_spec_embed")
    folder = _save_with(
        lambda weights: {k: v for k, v in weights.items() if not k.startswith(for_training)},
        tmp_path,
    )
    waveforms = _noise(8000)
    expected = _embed(_load(small_network("wavlm-sv")), waveforms)
    np.testing.assert_array_equal(_embed(_load(folder), waveforms), expected)


def test_missing_weight_of_the_head_raises(tmp_path):
    folder = _save_with(
        lambda weights: {k: v for k, v in weights.items() if k != "projector.weight"}, tmp_path
    )
    with pytest.raises(ValueError, match=r"1 missing \(projector\.weight\)"):
        _embed(_load(folder), _noise(8000))


def test_network_without_head_raises_before_loading():
    with pytest.raises(ValueError, match=r"is a WavLMModel, without the head.*wavlm-base-plus-sv"):
        _load(small_network("wavlm"))
    with pytest.raises(ValueError, match=r"type 'whisper'.*use WhisperEmbedder"):
        _load(small_network("whisper"))
