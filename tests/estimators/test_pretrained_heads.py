"""PretrainedEmotionClassifier and PretrainedEmotionRegressor."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from sklearn_ser import (
    EmbeddingStore,
    PretrainedEmotionClassifier,
    PretrainedEmotionRegressor,
    RecordingError,
)
from sklearn_ser.audio import SegmentOfFile
from sklearn_ser.backbones._wav2vec2 import Wav2Vec2Backbone
from small_networks import HEAD_NETWORKS, make_network, mostly_slow, save_network, small_network

RATE = 16000
REGRESSORS = ["dense-dim", "wavlm-dim", "wavlm-valence"]
CLASSIFIERS = [name for name in HEAD_NETWORKS if name not in REGRESSORS]
EMOTIONS = ["anger", "happiness", "neutral", "sadness"]


def _voices(*durations, seed=0):
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(int(d * RATE))).astype(np.float32) for d in durations]


def _estimator(name, **parameters):
    kind = PretrainedEmotionRegressor if name in REGRESSORS else PretrainedEmotionClassifier
    return kind(small_network(name), **parameters)


def _outputs(estimator, X):
    """Return the outputs of the head as transformers returns them, but sorted by class."""
    if isinstance(estimator, PretrainedEmotionClassifier):
        return estimator.decision_function(X)
    return estimator.predict(X).reshape(len(X), -1)


def _expected(name, waveform):
    """Return the logits of transformers' feature extractor and network."""
    network = make_network(name)
    if "whisper" in name:
        extractor = WhisperFeatureExtractor()
    else:
        extractor = Wav2Vec2FeatureExtractor(do_normalize=HEAD_NETWORKS[name][2])
    inputs = extractor(waveform, sampling_rate=RATE, return_tensors="pt")
    features = inputs["input_features" if "whisper" in name else "input_values"]
    with torch.no_grad():
        logits = network(features).logits[0].numpy()
    if name in REGRESSORS:
        return logits
    names = HEAD_NETWORKS[name][1]["id2label"].values()
    return logits[np.argsort(list(names))]


def _distance(outputs, expected):
    return np.linalg.norm(outputs - expected) / np.linalg.norm(expected)


@pytest.fixture
def passes(monkeypatch):
    """Return a list to which the number of windows in each batch is appended."""
    batches = []
    original = Wav2Vec2Backbone.encode_layers

    def encode(self, waveforms, last_layer, **settings):
        batches.append(len(waveforms))
        return original(self, waveforms, last_layer, **settings)

    monkeypatch.setattr(Wav2Vec2Backbone, "encode_layers", encode)
    return batches


# Output


@pytest.mark.parametrize("name", HEAD_NETWORKS)
def test_outputs_are_those_of_transformers_in_any_batch(name):
    recordings = _voices(0.5, 1.3, 0.9)
    together = _outputs(_estimator(name), recordings)
    backward = _outputs(_estimator(name, batch_size=2), recordings[::-1])[::-1]
    for row, other, waveform in zip(together, backward, recordings, strict=True):
        expected = _expected(name, waveform)
        assert _distance(row, expected) <= 1e-5
        assert _distance(other, expected) <= 1e-5


@pytest.mark.parametrize("name", mostly_slow(["wav2vec2-er", "dense-er", "whisper-er"]))
def test_recordings_do_not_depend_on_their_batch(name):
    recordings = _voices(0.01, 2.3, 0.4, 5.0, 0.4)
    together = _outputs(_estimator(name), recordings)
    assert np.isfinite(together).all()
    for row, recording in zip(together, recordings, strict=True):
        assert _distance(row, _outputs(_estimator(name), [recording])[0]) <= 1e-5


def test_probabilities_are_the_softmax_in_the_order_of_sorted_classes():
    recordings = _voices(0.5, 1.3, 0.7)
    classifier = _estimator("wav2vec2-er")
    assert list(classifier.classes_) == EMOTIONS
    logits = torch.from_numpy(classifier.decision_function(recordings)).double()
    probabilities = classifier.predict_proba(recordings)
    np.testing.assert_allclose(probabilities, logits.softmax(dim=1), rtol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    best = [EMOTIONS[i] for i in probabilities.argmax(axis=1)]
    assert list(classifier.predict(recordings)) == best
    assert classifier.score(recordings, best) == 1


def test_decision_of_two_classes_is_the_difference_of_logits(tmp_path):
    network = make_network("hubert-er")
    network.config.id2label = {0: "low", 1: "high"}
    network.classifier = torch.nn.Linear(24, 2)
    save_network(network, tmp_path, True)
    classifier = PretrainedEmotionClassifier(tmp_path)
    recordings = _voices(0.5, 0.6)
    decision = classifier.decision_function(recordings)
    assert list(classifier.classes_) == ["high", "low"]
    probabilities = classifier.predict_proba(recordings)
    np.testing.assert_allclose(1 / (1 + np.exp(-decision)), probabilities[:, 1], rtol=1e-6)


def test_targets_are_named_in_the_order_of_the_columns():
    regressor = _estimator("dense-dim")
    assert list(regressor.target_names_) == ["arousal", "dominance", "valence"]
    assert regressor.predict(_voices(0.5, 0.6)).shape == (2, 3)
    assert _estimator("wavlm-valence").predict(_voices(0.5, 0.6)).shape == (2,)


def test_dimensions_are_targets_where_the_checkpoint_has_no_problem_type(tmp_path):
    folder = _changed("wavlm-dim", tmp_path, problem_type=None)
    assert PretrainedEmotionRegressor(folder).predict(_voices(0.5)).shape == (1, 3)


def test_half_precision_is_near():
    recordings = _voices(0.5, 1.3)
    exact = _outputs(_estimator("wav2vec2-er"), recordings)
    near = _outputs(_estimator("wav2vec2-er", dtype="bfloat16"), recordings)
    assert 1e-6 < _distance(near, exact) < 0.05


@pytest.mark.parametrize("name", ["wav2vec2-er", "dense-dim"])
def test_long_recordings_are_the_mean_of_windows_evenly_spread(name):
    recording = _voices(2.5)[0]
    normalised = (recording - recording.mean()) / np.sqrt(recording.var() + 1e-7)
    (row,) = _outputs(_estimator(name, window=1.0), [recording])
    # Each window is normalised again by transformers, so its extractor is left out.
    network = make_network(name)
    with torch.no_grad():
        windows = torch.from_numpy(normalised).unfold(0, RATE, 12000)
        expected = network(windows).logits.mean(dim=0).numpy()
    if name == "wav2vec2-er":
        expected = expected[np.argsort(list(HEAD_NETWORKS[name][1]["id2label"].values()))]
    assert _distance(row, expected) <= 1e-5


def test_whisper_takes_windows_of_thirty_seconds_at_most():
    with pytest.raises(ValueError, match="at most 30 s"):
        _estimator("whisper-er", window=None).predict(_voices(0.5))


# Inputs


def test_segments_and_paths_are_as_arrays(tmp_path):
    recording = _voices(2.0)[0]
    path = str(tmp_path / "call.wav")
    soundfile.write(path, recording, RATE, subtype="FLOAT")
    classifier = _estimator("hubert-er")
    expected = classifier.predict_proba([recording, recording[8000:24000]])
    found = classifier.predict_proba([path, SegmentOfFile(path, 0.5, 1.5)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_unusable_recordings_are_nan_or_raise(tmp_path):
    recordings = [_voices(0.5)[0], str(tmp_path / "missing.wav"), np.array([np.nan])]
    with pytest.raises(RecordingError, match=r"missing\.wav"):
        _estimator("hubert-er").predict_proba(recordings)
    lenient = _estimator("hubert-er", on_error="nan")
    with pytest.warns(UserWarning, match=r"missing\.wav"):
        probabilities = lenient.fit(recordings).predict_proba(recordings)
    assert list(np.isnan(probabilities).all(axis=1)) == [False, True, True]
    with pytest.warns(UserWarning, match=r"missing\.wav"):
        predicted = lenient.predict(recordings)
    assert predicted[0] in lenient.classes_
    assert list(predicted[1:]) == [None, None]
    with pytest.warns(UserWarning, match=r"missing\.wav"):
        assert lenient.score(recordings, [predicted[0]] * 3) == pytest.approx(1 / 3)
    with pytest.warns(UserWarning, match=r"missing\.wav"):
        targets = _estimator("dense-dim", on_error="nan").predict(recordings)
    assert list(np.isnan(targets).all(axis=1)) == [False, True, True]
    with (
        pytest.warns(UserWarning, match=r"missing\.wav"),
        pytest.raises(ValueError, match="2 can't be used, the first at position 1"),
    ):
        _estimator("dense-dim", on_error="nan").score(recordings, np.zeros((3, 3)))


def test_columns_are_scored_by_their_names():
    regressor, recordings = _estimator("dense-dim"), _voices(0.5, 0.6, 0.7)
    predicted = pd.DataFrame(regressor.predict(recordings), columns=regressor.target_names_)
    assert regressor.score(recordings, predicted) == pytest.approx(1)
    assert regressor.score(recordings, predicted[["valence", "arousal", "dominance"]]) == (
        pytest.approx(1)
    )
    assert regressor.score(recordings, predicted.to_numpy()[:, ::-1]) < 0
    one = _estimator("wavlm-valence")
    assert one.score(recordings, one.predict(recordings)) == pytest.approx(1)


# As an estimator


def test_nothing_is_fitted():
    recordings = _voices(0.5, 0.6)
    classifier = _estimator("hubert-er")
    before = classifier.predict_proba(recordings)
    assert classifier.fit(recordings, ["a", "b"]) is classifier
    assert list(classifier.classes_) == EMOTIONS
    np.testing.assert_array_equal(classifier.predict_proba(recordings), before)


def test_clones_and_pickles_predict_the_same_without_weights():
    recordings = _voices(0.5, 0.6)
    classifier = _estimator("hubert-er")
    expected = classifier.predict_proba(recordings)
    pickled = pickle.dumps(classifier)
    assert len(pickled) < 2000
    for copy in (pickle.loads(pickled), clone(classifier)):
        assert copy.get_params() == classifier.get_params()
        np.testing.assert_array_equal(copy.predict_proba(recordings), expected)


def test_the_html_representation_does_not_need_the_checkpoint():
    absent = PretrainedEmotionClassifier("no/such-model", local_files_only=True)
    assert "no/such-model" in absent._repr_html_()
    assert "no/such-model" in make_pipeline(absent)._repr_html_()
    assert "classes_" not in dir(absent)
    with pytest.raises(AttributeError, match=r"No classes_, .* model='no/such-model' is neither"):
        absent.classes_  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'target_names_'"):
        absent.target_names_  # noqa: B018


def test_predictions_are_cached_by_content(tmp_path, passes):
    recordings = _voices(0.5, 0.6)
    classifier = _estimator("hubert-er", memory=EmbeddingStore(tmp_path))
    expected = classifier.predict_proba(recordings)
    assert sum(passes) == 2
    np.testing.assert_array_equal(classifier.predict_proba(recordings[::-1])[::-1], expected)
    assert sum(passes) == 2


def test_probabilities_can_be_calibrated():
    recordings = _voices(*[0.1] * 16)
    classifier = _estimator("hubert-er")
    y = np.resize(EMOTIONS, 16)
    calibrated = CalibratedClassifierCV(
        FrozenEstimator(classifier), method="temperature", cv=2
    ).fit(recordings, y)
    assert list(calibrated.classes_) == EMOTIONS
    np.testing.assert_allclose(calibrated.predict_proba(recordings).sum(axis=1), 1, rtol=1e-6)


# Checkpoints


def _changed(name, folder, **settings):
    """Return a copy of a small network with another configuration."""
    copy = folder / name
    shutil.copytree(small_network(name), copy)
    config = json.loads((copy / "config.json").read_text())
    config = {key: value for key, value in (config | settings).items() if value is not None}
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wavlm", "WavLMModel, without a head .*use WavLMEmbedder or HubertEmbedder"),
        ("whisper", "WhisperModel, without a head .*use WhisperEmbedder"),
        ("wavlm-sv", "WavLMForXVector, without a head"),
        ("dense-dim", "regression head .arousal, dominance, valence.: use PretrainedEmotionRegr"),
    ],
)
def test_the_classifier_needs_a_classification_head(name, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        PretrainedEmotionClassifier(small_network(name)).fit(_voices(0.5))


def test_the_regressor_needs_a_regression_head():
    with pytest.raises(ValueError, match=r"neutral, .*: use PretrainedEmotionClassifier"):
        PretrainedEmotionRegressor(small_network("hubert-er")).predict(_voices(0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"problem_type": "multi_label_classification"}, "multi_label_classification .*neutral"),
        ({"id2label": {"0": "a", "1": "a", "2": "b", "3": "c"}}, "id2label in the config.json"),
        ({"id2label": {"0": "a", "1": "b"}}, "do not match .*2 of another shape"),
        ({"classifier_proj_size": 7}, "of another shape .*classifier.weight"),
        ({"use_weighted_layer_sum": True}, "1 missing .layer_weights."),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(settings, message, tmp_path):
    folder = _changed("hubert-er", tmp_path, **settings)
    with pytest.raises(ValueError, match=message) as caught:
        PretrainedEmotionClassifier(folder).fit(_voices(0.5))
    assert str(folder) in str(caught.value)


def test_an_adapter_is_refused(tmp_path):
    folder = _changed("dense-er", tmp_path, add_adapter=True)
    with pytest.raises(ValueError, match=r"dense-er.* has an adapter"):
        PretrainedEmotionClassifier(folder).fit(_voices(0.5))


def test_an_unknown_pooling_is_named(tmp_path):
    folder = _changed("dense-er", tmp_path, pooling_mode="median")
    with pytest.raises(ValueError, match="pooling_mode='median', and mean, sum, max"):
        PretrainedEmotionClassifier(folder).fit(_voices(0.5))


def test_weights_of_torch_are_read_without_unpickling_objects(tmp_path):
    expected = _outputs(_estimator("dense-dim"), _voices(0.5))
    folder = _changed("dense-dim", tmp_path)
    weights = make_network("dense-dim").state_dict()
    Path(folder, "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    found = PretrainedEmotionRegressor(folder).predict(_voices(0.5))
    assert _distance(found, expected) <= 1e-6
    torch.save({**weights, "object": Path("a")}, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="other than tensors"):
        PretrainedEmotionRegressor(folder).predict(_voices(0.5))


def test_damaged_weights_are_named(tmp_path):
    folder = _changed("hubert-er", tmp_path)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(OSError, match=r"hubert-er.* can't be read"):
        PretrainedEmotionClassifier(folder).fit(_voices(0.5))


def test_sharded_weights_are_read(tmp_path):
    network = make_network("hubert-er")
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    expected = _outputs(_estimator("hubert-er"), _voices(0.5))
    found = PretrainedEmotionClassifier(tmp_path).decision_function(_voices(0.5))
    assert _distance(found, expected) <= 1e-6
