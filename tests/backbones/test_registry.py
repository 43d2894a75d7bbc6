"""Backbones are found by name, follow the interface, and are shared."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from sklearn_ser import WhisperEmbedder
from sklearn_ser.backbones import (
    SPEECH_BACKBONES,
    AudioBackbone,
    SpeechBackbone,
    load_backbone,
    load_speech_backbone,
    load_text_backbone,
)
from sklearn_ser.backbones._registry import choose_device
from small_networks import small_network
from small_text_networks import small_text_network


def _speech(folder, **settings):
    return load_speech_backbone(folder, device="cpu", **settings)


@pytest.mark.parametrize(
    ("name", "column"),
    [("wavlm", "wavlm"), ("xls-r", "wav2vec2"), ("data2vec", "data2vec"), ("whisper", "whisper")],
)
def test_speech_encoder_is_found_by_its_model_type(name, column):
    backbone = _speech(small_network(name))
    assert backbone.name == column
    assert type(backbone) is SPEECH_BACKBONES[backbone.config.model_type]
    assert (backbone.n_layers, backbone.n_dims, backbone.stride) == (4, 32, 320)


def test_default_context_of_whisper_is_the_recording():
    assert _speech(small_network("whisper")).context == "recording"
    whole = load_backbone(
        small_network("whisper"), family="whisper", device="cpu", dtype="float32", context="30s"
    )
    assert whole.context == "30s"


@pytest.mark.parametrize(
    ("family", "name", "says"),
    [
        ("wav2vec2", "whisper", "'whisper', and this class supports wavlm.*use WhisperEmbedder"),
        ("whisper", "hubert", "'hubert', and this class supports whisper: use HubertEmbedder"),
        ("speaker", "hubert", "'hubert', and this class supports wavlm, .*use HubertEmbedder"),
    ],
)
def test_the_wrong_family_names_the_right_embedder(family, name, says):
    with pytest.raises(ValueError, match=says):
        load_backbone(small_network(name), family=family, device="cpu", dtype="float32")


def test_model_that_is_not_a_speech_encoder_raises(tmp_path):
    folder = shutil.copytree(small_network("wavlm"), tmp_path / "network")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match=r"'bert', and this .* supports .*choose another model"):
        _speech(folder)


def test_defaults_of_a_backbone():
    class Constant(AudioBackbone):
        name, sampling_rate, n_dims = "constant", 8000, 1

        def encode(self, inputs, last_layer):
            yield torch.ones(len(inputs), 1, 1)

    backbone = Constant(None, device="cpu", dtype=torch.float32)
    waveform = np.zeros(5, dtype=np.float32)
    assert backbone.prepare(waveform) is waveform
    sizes = backbone.n_layers, backbone.n_frames(99), backbone.n_samples_processed(99)
    assert sizes == (1, 1, 99)
    assert backbone.stride is backbone.max_samples is backbone.context is None
    assert (backbone.min_samples, backbone.cuts_by_itself, backbone.fingerprint) == (1, False, ())


@pytest.mark.parametrize("name", ["wavlm", "hubert-large", "whisper"])
def test_rebuilt_network_equals_the_frozen_one(name):
    """Tests `from_settings`, `build_network` and `hidden_states`, which students use."""
    frozen = _speech(small_network(name))
    rebuilt = type(frozen).from_settings(frozen.config, frozen.extractor.to_dict())
    assert isinstance(rebuilt, SpeechBackbone)
    network = rebuilt.build_network().eval()
    network.load_state_dict(frozen.bare_network().state_dict())
    waveform = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    prepared = rebuilt.prepare(waveform)
    features = rebuilt.features(prepared)
    assert len(rebuilt.blocks(network)) == rebuilt.n_layers - 1
    with torch.no_grad():
        *_, last = rebuilt.hidden_states(network, [features], rebuilt.n_layers - 1)
    *_, expected = frozen.encode([prepared], frozen.n_layers - 1)
    (last,), (expected,) = last, expected
    assert len(last) == frozen.n_frames(8000)
    assert torch.linalg.norm(last - expected) <= 1e-5 * torch.linalg.norm(expected)
    rebuilt.freeze_convolutions(network)
    is_trained = [weight.requires_grad for weight in network.parameters()]
    assert any(is_trained)
    assert not all(is_trained)


def test_the_same_settings_share_a_backbone_and_others_do_not():
    folder = small_network("wavlm")
    first = _speech(folder)
    assert first is _speech(folder)
    assert first is not _speech(folder, dtype="bfloat16")
    assert _speech(folder, parameter="audio_model").checkpoint.label.startswith("audio_model=")


def test_a_changed_file_creates_a_new_backbone(tmp_path):
    folder = shutil.copytree(small_network("wavlm"), tmp_path / "network")
    before = _speech(folder)
    preprocessing = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(
        json.dumps(preprocessing | {"do_normalize": not preprocessing["do_normalize"]})
    )
    after = _speech(folder)
    assert after.extractor.do_normalize is not before.extractor.do_normalize
    (folder / "preprocessor_config.json").unlink()
    assert _speech(folder).extractor.do_normalize  # default of transformers


def test_a_preprocessor_of_another_whisper_raises_in_fit(tmp_path):
    folder = shutil.copytree(small_network("whisper"), tmp_path / "network")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"feature_size": 20}))
    embedder = WhisperEmbedder(folder)
    with pytest.raises(ValueError, match=r"computes 20 mel bands .* its network takes 80"):
        embedder.fit([np.zeros(16000)])


def test_each_thread_has_a_tokenizer_of_its_own():
    """Truncation is part of a tokenizer's state, so concurrent calls would interfere."""
    folder = small_text_network("bert")
    texts = [f"{'no ' * n}happy" for n in range(1, 30)]
    backbones = [
        load_text_backbone(folder, device="cpu", dtype="float32", max_length=limit)
        for limit in (5, 9) * 20
    ]
    expected = [backbone.tokenize(texts) for backbone in backbones[:2]]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda backbone: backbone.tokenize(texts), backbones))
    assert found == expected * 20


def test_unavailable_device_is_named():
    with pytest.raises(ValueError, match="device='nowhere' can't be used here"):
        choose_device("nowhere")
    assert choose_device("cpu") == "cpu"
