"""XVectorEmbedder."""

import pickle
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import Pipeline

from sklearn_ser import EmbeddingStore, RecordingError, WavLMEmbedder, XVectorEmbedder
from sklearn_ser.backbones._ge2e import GE2EBackbone
from sklearn_ser.backbones._wav2vec2_xvector import Wav2Vec2XVectorBackbone
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import unweighted_average_recall
from small_networks import make_network, small_network
from small_speaker_networks import need_speechbrain, save_ge2e, save_speechbrain

RATE = 16000


def _wavlm(**parameters):
    return XVectorEmbedder(small_network("wavlm-sv"), **parameters)


def _voices(*durations, seed=0):
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(int(d * RATE))).astype(np.float32) for d in durations]


@pytest.fixture(scope="module")
def ge2e(tmp_path_factory):
    return save_ge2e(tmp_path_factory.mktemp("ge2e") / "pretrained.pt")


@pytest.fixture(params=["wavlm", "ge2e", "xvector", "ecapa"], scope="module")
def model(request, ge2e, tmp_path_factory):
    """The folder of a small network of each type."""
    if request.param in ("xvector", "ecapa"):
        need_speechbrain()
        return str(save_speechbrain(request.param, tmp_path_factory.mktemp(request.param)))
    return small_network("wavlm-sv") if request.param == "wavlm" else str(ge2e.parent)


@pytest.fixture
def passes(monkeypatch):
    """Return a list to which the lengths of each encoded batch are appended."""
    batches = []
    for backbone in (Wav2Vec2XVectorBackbone, GE2EBackbone):

        def encode(self, waveforms, last_layer, original=backbone.encode):
            batches.append([len(waveform) for waveform in waveforms])
            return original(self, waveforms, last_layer)

        monkeypatch.setattr(backbone, "encode", encode)
    return batches


# Output


def test_rows_are_the_same_alone_in_any_batch_and_order(model):
    recordings = _voices(0.4, 2.3, 0.01, 0.4, 5.0)
    rows = XVectorEmbedder(model).fit_transform(recordings)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    backward = XVectorEmbedder(model, batch_size=2).fit_transform(recordings[::-1])[::-1]
    alone = np.stack([XVectorEmbedder(model).fit_transform([r])[0] for r in recordings])
    for own, other, expected in zip(rows, backward, alone, strict=True):
        assert np.linalg.norm(own - expected) <= 1e-5 * np.linalg.norm(expected)
        assert np.linalg.norm(other - expected) <= 1e-5 * np.linalg.norm(expected)


def test_rows_are_transformers_embeddings():
    recordings = _voices(0.5, 1.3)
    for row, waveform in zip(_wavlm().fit_transform(recordings), recordings, strict=True):
        normalised = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
        with torch.no_grad():
            network = make_network("wavlm-sv")
            expected = network(torch.from_numpy(normalised)[None]).embeddings[0].numpy()
        assert np.linalg.norm(row - expected) <= 1e-5 * np.linalg.norm(expected)


def test_short_recordings_are_padded_with_zeros(model):
    short = _voices(0.02)[0]
    embedder = XVectorEmbedder(model)
    backbone = embedder._load_backbone()
    padded = np.pad(backbone.prepare(short), (0, max(0, backbone.min_samples - len(short))))
    (expected,) = backbone.encode([padded], 0)
    np.testing.assert_allclose(embedder.fit_transform([short])[0], expected[0, 0], rtol=1e-5)


def test_columns_are_named_after_the_network(model):
    embedder = XVectorEmbedder(model).set_output(transform="pandas")
    frame = embedder.fit_transform(_voices(0.4, 0.5))
    prefix = embedder._load_backbone().name
    assert list(frame.columns) == [f"{prefix}_dim{i:04d}" for i in range(frame.shape[1])]
    assert list(embedder.get_feature_names_out()) == list(frame.columns)


# Long recordings


def test_long_recordings_are_the_mean_of_windows_evenly_spread(model):
    recording = _voices(2.5)[0]
    row = XVectorEmbedder(model, window=1.0).fit_transform([recording])[0]
    whole = XVectorEmbedder(model, window=None).fit_transform([recording])[0]
    if "ge2e" in model:  # splits recordings itself
        np.testing.assert_array_equal(row, whole)
        return
    backbone = XVectorEmbedder(model)._load_backbone()
    prepared = backbone.prepare(recording)
    windows = [prepared[start : start + RATE] for start in (0, 12000, 24000)]
    (vectors,) = backbone.encode(windows, 0)
    expected = vectors[:, 0].double().mean(dim=0).numpy()
    assert np.linalg.norm(row - expected) <= 1e-5 * np.linalg.norm(expected)
    assert np.linalg.norm(row - whole) > 1e-3 * np.linalg.norm(whole)


def test_too_short_window_raises():
    with pytest.raises(ValueError, match=r"window=0\.1 s is too short.*needs at least 0\.325 s"):
        _wavlm(window=0.1).fit_transform(_voices(1.0))


# Cache


def test_each_recording_is_embedded_once(model, tmp_path):
    recordings = _voices(0.4, 0.5, 0.6)
    embedder = XVectorEmbedder(model, memory=tmp_path)
    rows = embedder.fit_transform(recordings)
    assert len(EmbeddingStore(tmp_path)) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(XVectorEmbedder(model)._load_backbone()), "encode", None)
        np.testing.assert_array_equal(clone(embedder).fit_transform(recordings[::-1]), rows[::-1])


def test_layers_and_embeddings_of_a_checkpoint_have_different_cache_keys(tmp_path):
    """Both use the same files, and here also the same dimension."""
    recordings = _voices(0.5)
    folder = small_network("wavlm-sv")
    kept = EmbeddingStore(tmp_path)
    layers = WavLMEmbedder(folder, layers=0, memory=kept).fit_transform(recordings)
    vectors = XVectorEmbedder(folder, memory=kept).fit_transform(recordings)
    assert len(kept) == 2
    np.testing.assert_array_equal(
        WavLMEmbedder(folder, layers=0, memory=kept).fit_transform(recordings), layers
    )
    np.testing.assert_array_equal(_wavlm(memory=kept).fit_transform(recordings), vectors)


@pytest.mark.slow
def test_search_over_checkpoints_embeds_each_recording_once_per_checkpoint(ge2e, tmp_path, passes):
    recordings = _voices(*np.linspace(0.4, 0.6, 12))
    pipeline = Pipeline([("features", _wavlm()), ("classifier", LogisticRegression())])
    candidates = [_wavlm(memory=tmp_path), XVectorEmbedder(ge2e, memory=tmp_path)]
    grid = {"features": candidates, "classifier__C": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(recordings, np.arange(12) % 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert sum(len(batch) for batch in passes) == 2 * 12


# scikit-learn, and errors


def test_weights_are_loaded_at_the_first_recording(model, monkeypatch):
    from sklearn_ser.backbones import _loading

    monkeypatch.setattr(_loading, "_networks", type(_loading._networks)())
    embedder = clone(XVectorEmbedder(model)).fit(_voices(0.4))
    embedder.get_feature_names_out()
    assert not _loading._networks
    embedder.transform(_voices(0.4))
    clone(embedder).transform(_voices(0.4))
    assert len(_loading._networks) == 1


def test_pickles_carry_no_weights(model):
    embedder = XVectorEmbedder(model)
    before = len(pickle.dumps(embedder))
    rows = embedder.fit_transform(_voices(0.4))
    assert len(pickle.dumps(embedder)) == before
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(embedder)).transform(_voices(0.4)), rows
    )


def test_unusable_recordings_do_not_affect_others(model, tmp_path):
    good = _voices(0.4, 0.6)
    mixed = [good[0], str(tmp_path / "absent.wav"), np.array([np.nan, 0.0]), good[1]]
    with pytest.raises(RecordingError, match=r"Recording 1: .*absent\.wav"):
        XVectorEmbedder(model).fit_transform(mixed)
    with pytest.warns(UserWarning, match=r"recording 1: .*recording 2: "):
        rows = XVectorEmbedder(model, on_error="nan").fit_transform(mixed)
    assert np.isnan(rows[1:3]).all()
    np.testing.assert_allclose(
        rows[[0, 3]], XVectorEmbedder(model).fit_transform(good), rtol=1e-4, atol=1e-6
    )


def test_silence_and_constants_have_finite_rows(model):
    recordings = [np.zeros(8000, np.float32), np.full(8000, 0.1, np.float32)]
    assert np.isfinite(XVectorEmbedder(model).fit_transform(recordings)).all()


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_missing_model_is_named_with_two_remedies(offline):
    need_speechbrain()
    with pytest.raises(OSError, match="speechbrain/spkrec-xvect-voxceleb") as caught:
        XVectorEmbedder().fit_transform(_voices(0.4))
    assert "hf download speechbrain/spkrec-xvect-voxceleb" in str(caught.value)
    assert "model='path/to/folder'" in str(caught.value)


def test_speechbrain_on_the_hub_is_known_by_its_files(offline, tmp_path):
    """Its models also have a config.json, but not one of transformers."""
    need_speechbrain()
    home = offline / "models--speechbrain--spkrec-ecapa-voxceleb"
    folder = save_speechbrain("ecapa", tmp_path / "local")
    (folder / "config.json").write_text('{"speechbrain_interface": "EncoderClassifier"}')
    snapshot = Path(shutil.copytree(folder, home / "snapshots" / ("a" * 40)))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("a" * 40)
    embedder = XVectorEmbedder("speechbrain/spkrec-ecapa-voxceleb")
    assert embedder._load_backbone().checkpoint.folder == snapshot
    expected = XVectorEmbedder(folder).fit_transform(_voices(0.4))
    np.testing.assert_array_equal(embedder.fit_transform(_voices(0.4)), expected)


# Real weights on real recordings


def _equal_error_rate(vectors, speakers):
    """Return the equal error rate of speaker verification."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(len(vectors), 1)
    accepted, found, _ = roc_curve(
        speakers[first] == speakers[second], (vectors[first] * vectors[second]).sum(axis=1)
    )
    nearest = np.argmin(np.abs(accepted - (1 - found)))
    return (accepted[nearest] + 1 - found[nearest]) / 2


@pytest.mark.slow
def test_ge2e_verifies_speakers(corpus_folder, weights_folder):
    corpus = load_ravdess(corpus_folder("ravdess"))
    neutral = np.flatnonzero(corpus.target == "neutral")
    embedder = XVectorEmbedder(weights_folder("ge2e"))
    vectors = embedder.fit_transform([corpus.recordings[row] for row in neutral])
    assert _equal_error_rate(vectors, np.asarray(corpus.groups)[neutral]) <= 0.03


@pytest.mark.slow
def test_ge2e_recognises_emotions(corpus_folder, weights_folder):
    """A linear probe, with regularisation tuned by inner cross-validation over speakers."""
    corpus = load_emodb(corpus_folder("emodb"))
    rows = np.arange(0, len(corpus.recordings), 2)
    recordings = [corpus.recordings[row] for row in rows]
    emotions, speakers = corpus.target[rows], corpus.groups[rows]
    vectors = XVectorEmbedder(weights_folder("ge2e")).fit_transform(recordings)
    predicted = np.empty_like(emotions)
    for train, test in LeaveOneGroupOut().split(vectors, groups=speakers):
        probe = GridSearchCV(
            LogisticRegression(max_iter=3000),
            {"C": [1, 10]},
            cv=GroupKFold(3),
            scoring="balanced_accuracy",
        )
        probe.fit(vectors[train], emotions[train], groups=speakers[train])
        predicted[test] = probe.predict(vectors[test])
    assert unweighted_average_recall(emotions, predicted) >= 0.69  # of all recordings .73
