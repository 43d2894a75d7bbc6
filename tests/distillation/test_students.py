"""Encoders that are trained: equal to the frozen ones, cut down, counted, saved."""

import json

import numpy as np
import pytest
import torch
import transformers
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from sklearn_ser.audio import load_waveform
from sklearn_ser.backbones import load_speech_backbone, load_text_backbone
from sklearn_ser.datasets import load_emodb
from sklearn_ser.distillation._students import (
    SpeechStudent,
    TextStudent,
    count_parameters,
    read_speech_student,
    read_text_student,
    tokenize,
)
from sklearn_ser.embedders import HubertEmbedder, WhisperEmbedder
from small_networks import NETWORKS, small_network
from small_text_networks import SENTENCES, small_text_network

RNG = np.random.default_rng(0)
WAVEFORMS = [(0.1 * RNG.normal(size=n)).astype(np.float32) for n in (16000, 400, 7777)]


def load(model, **parameters):
    settings, weights = read_speech_student(model, **parameters)
    student = SpeechStudent(json.loads(json.dumps(settings)))  # plain types alone
    student.load_state_dict(weights)
    return student.eval()


def run(student, waveforms=WAVEFORMS):
    reading = student.front_end
    pieces = [reading.features(reading.prepare(waveform)) for waveform in waveforms]
    return student(torch.cat(pieces), [len(piece) for piece in pieces])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_student_computes_what_the_frozen_network_does(name):
    student = load(small_network(name))
    with torch.no_grad():
        hidden_states = run(student)
    backbone = load_speech_backbone(small_network(name), device="cpu")
    prepared = [
        np.pad(backbone.prepare(w), (0, max(0, backbone.min_samples - len(w)))) for w in WAVEFORMS
    ]
    *_, expected = backbone.encode(prepared, backbone.n_layers - 1)
    for own, reference, waveform in zip(hidden_states, expected, prepared, strict=True):
        assert len(own) == backbone.n_frames(len(waveform))
        torch.testing.assert_close(own, reference)


@pytest.mark.parametrize("name", ["wavlm", "hubert-large", "whisper"])
def test_memory_is_saved_without_another_result(name):
    gradients = []
    for checkpointing in (False, True):
        settings, weights = read_speech_student(small_network(name))
        student = SpeechStudent(settings, gradient_checkpointing=checkpointing).train()
        student.load_state_dict(weights)
        torch.manual_seed(0)
        torch.cat(run(student)).square().mean().backward()
        gradients.append([p.grad for p in student.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("name", "width"), [("hubert", 16), ("wavlm-large", 16), ("whisper", 16)])
def test_first_layers_and_a_corner_of_the_weights(name, width):
    whole, student = load(small_network(name)), load(small_network(name), n_layers=1)
    assert len(student.blocks) == 1
    for mine, theirs in zip(
        student.blocks[0].parameters(), whole.blocks[0].parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    narrow = load(small_network(name), n_layers=2, width=width)
    assert narrow.n_dims == width
    hidden_states = torch.cat(run(narrow))
    assert hidden_states.shape[1] == width
    assert torch.isfinite(hidden_states).all()
    mine = dict(narrow.blocks[1].named_parameters())
    for label, theirs in whole.blocks[1].named_parameters():
        corner = tuple(slice(size) for size in mine[label].shape)
        torch.testing.assert_close(mine[label], theirs[corner], rtol=0, atol=0)


def features_of(student, waveforms):
    return [student.front_end.features(student.front_end.prepare(w)) for w in waveforms]


def test_fitted_at_its_own_width_a_student_is_the_whole():
    whole, student = (load(small_network("whisper"), n_layers=2) for _ in range(2))
    for parameter in student.parameters():
        torch.nn.init.normal_(parameter)
    student.narrow(small_network("whisper"), features_of(student, WAVEFORMS[:1]))
    for mine, theirs in zip(student.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("n_samples", [1, 160000])
def test_silence_and_a_single_frame_narrow_too(n_samples):
    student = load(small_network("whisper"), n_layers=2, width=16)
    student.narrow(
        small_network("whisper"), features_of(student, [np.zeros(n_samples, dtype=np.float32)])
    )
    assert all(torch.isfinite(parameter).all() for parameter in student.parameters())


@pytest.mark.slow
def test_a_fitted_narrow_student_of_a_real_network_tells_what_the_whole_does(
    corpus_folder, weights_folder
):
    folder = weights_folder("whisper-base-encoder")
    paths = load_emodb(corpus_folder("emodb")).recordings[::30]
    waveforms = [load_waveform(path, sampling_rate=None, target_rate=16000) for path in paths]
    seen, unseen = waveforms[::2], waveforms[1::2]
    student, whole = load(folder, n_layers=2, width=320), load(folder, n_layers=2)

    def explained():
        """Return how much of the whole's frames a map from the student's explains elsewhere."""
        frames = [vectors(student, seen), vectors(student, unseen)]
        wanted = [vectors(whole, seen), vectors(whole, unseen)]
        found = Ridge(100.0).fit(frames[0], wanted[0]).predict(frames[1])
        return r2_score(wanted[1], found, multioutput="variance_weighted")

    cut_out = explained()
    student.narrow(folder, features_of(student, seen))
    assert explained() > cut_out + 0.08  # of .63, .76


@torch.no_grad()
def vectors(student, waveforms):
    return torch.cat(run(student, waveforms)).double().numpy()


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"n_student_layers=4 must be from 1 to the 3"):
        read_speech_student(small_network("hubert"), n_layers=4)
    for width in (24, 48, 0):
        with pytest.raises(ValueError, match=rf"^width={width} must be a multiple of 16"):
            read_speech_student(small_network("hubert"), width=width)


@pytest.mark.parametrize("name", ["hubert", "whisper"])
def test_what_is_frozen(name):
    student = load(small_network(name))
    student.freeze_convolutions()
    frozen = {label.split(".")[1] for label, p in student.named_parameters() if not p.requires_grad}
    front = {"feature_extractor"} if name == "hubert" else {"conv1", "conv2", "embed_positions"}
    assert frozen == front


def test_no_gradient_is_computed_for_frozen_convolutions():
    student = load(small_network("hubert"))
    student.train()
    states = []
    student.network.feature_extractor.register_forward_hook(lambda *a: states.append(a[-1]))
    run(student)
    student.freeze_convolutions()
    run(student)
    free, frozen = (s.requires_grad for s in (states[0], states[-1]))
    assert free
    assert not frozen


def test_a_batch_norm_keeps_its_statistics(tmp_path):
    model = small_network("hubert")
    config = transformers.HubertConfig.from_pretrained(model, conv_pos_batch_norm=True)
    transformers.HubertModel(config).save_pretrained(tmp_path)
    student = load(str(tmp_path))
    student.train()
    before = {name: values.clone() for name, values in student.named_buffers()}
    run(student)
    assert any("running_mean" in name for name in before)
    for name, values in student.named_buffers():
        assert torch.equal(values, before[name])


@pytest.mark.parametrize(
    ("name", "embedder"), [("hubert", HubertEmbedder), ("whisper", WhisperEmbedder)]
)
def test_an_embedder_takes_what_was_saved(name, embedder, tmp_path):
    student = load(small_network(name), n_layers=2, width=16)
    student.save(tmp_path / "student")
    settings = {"context": "recording"} if name == "whisper" else {}
    found = embedder(tmp_path / "student", **settings).fit_transform(WAVEFORMS)
    with torch.no_grad():
        hidden_states = run(student)
    expected = [own.mean(0).numpy() for own in hidden_states]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "mpnet"])
def test_a_student_of_text_computes_what_the_frozen_network_does(name):
    settings, weights = read_text_student(small_text_network(name))
    student = TextStudent(json.loads(json.dumps(settings))).eval()
    student.load_state_dict(weights)
    backbone = load_text_backbone(small_text_network(name), device="cpu", dtype="float32")
    expected_ids, _ = backbone.tokenize(SENTENCES)
    token_ids, n_tokens = tokenize(settings, SENTENCES)
    assert [tuple(ids) for ids in token_ids] == expected_ids
    with torch.no_grad():
        hidden_states = student(
            torch.tensor([token for ids in token_ids for token in ids]), n_tokens
        )
    for own, ids in zip(hidden_states, expected_ids, strict=True):
        *_, expected = backbone.encode([ids], backbone.n_layers - 1)
        torch.testing.assert_close(own, expected[0])


def test_long_texts_are_cut_as_the_frozen_networks_are():
    model = small_text_network("bert")
    settings, _ = read_text_student(model)
    settings["max_tokens"] = 6
    backbone = load_text_backbone(model, device="cpu", dtype="float32", max_length=6)
    found = tokenize(settings, SENTENCES)
    expected = backbone.tokenize(SENTENCES)
    assert [tuple(ids) for ids in found[0]] == expected[0]
    assert found[1] == expected[1]


def test_no_text_has_no_states():
    settings, weights = read_text_student(small_text_network("bert"))
    student = TextStudent(settings).eval()
    student.load_state_dict(weights)
    hidden_states = student(torch.zeros(0, dtype=torch.long), [0, 0])
    assert [own.shape for own in hidden_states] == [(0, 32)] * 2


def test_words_are_frozen_alone():
    settings, _ = read_text_student(small_text_network("distilbert"))
    student = TextStudent(settings)
    student.freeze_word_embeddings()
    frozen = [label for label, p in student.named_parameters() if not p.requires_grad]
    assert frozen == ["network.embeddings.word_embeddings.weight"]


def test_a_fifth_of_hubert_large():
    """De Oliveira et al. (2023): about 20 % of the large model's trainable parameters."""
    with torch.device("meta"):
        large = transformers.HubertModel(
            transformers.HubertConfig(
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                intermediate_size=4096,
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                conv_bias=True,
            )
        )
        large.feature_extractor.requires_grad_(False)
        audio = SpeechStudent(
            {
                "model_type": "hubert",
                "config": transformers.HubertConfig(num_hidden_layers=2).to_dict(),
                "preprocessing": {},
            }
        )
        audio.freeze_convolutions()
        text = TextStudent(
            {
                "class_name": "DistilBertModel",
                "config": transformers.DistilBertConfig().to_dict(),
            }
        )
        text.freeze_word_embeddings()
    n_large = count_parameters(large, trainable=True)
    n_small = count_parameters(audio, trainable=True) + count_parameters(text, trainable=True)
    assert n_large == pytest.approx(311.2e6, abs=0.05e6)
    assert n_small == pytest.approx(62.2e6, abs=0.05e6)
    assert n_small / n_large == pytest.approx(0.1999, abs=5e-5)


def test_two_layers_of_a_real_encoder(weights_folder):
    model = weights_folder("whisper-base-encoder")
    whole = count_parameters(load_speech_backbone(model, device="cpu"))
    assert count_parameters(load(model, n_layers=2)) / whole == pytest.approx(0.388, abs=0.001)
    assert count_parameters(load(model, n_layers=2, width=320)) / whole < 0.2
