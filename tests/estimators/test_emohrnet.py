"""EmoHRNetClassifier: training, validation of input, and persistence."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline

from sklearn_ser import EmoHRNetClassifier, LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech

pytestmark = pytest.mark.usefixtures("small_hrnet")
SMALL = {"width": 2, "head_width": 2, "max_epochs": 2, "random_state": 0}


def small(**parameters):
    return EmoHRNetClassifier(**SMALL | parameters)


@pytest.fixture(scope="module")
def fitted(spectrograms):
    return small(max_epochs=8, learning_rate=1e-2, batch_size=16).fit(*spectrograms)


def same_bits(one, other):
    return all(np.array_equal(one.state_[name], other.state_[name]) for name in one.state_)


# Training


def test_it_learns_and_names_emotions(fitted, spectrograms):
    X, y = spectrograms
    assert fitted.score(X, y) >= 0.95
    assert fitted.classes_.tolist() == ["anger", "fear", "sadness"]
    probability = fitted.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    assert (fitted.classes_[probability.argmax(axis=1)] == fitted.predict(X)).all()


def test_probabilities_are_averaged_over_shifts(fitted, spectrograms):
    X = np.concatenate([spectrograms[0]] * 2, axis=2)
    alone = clone(fitted).set_params(n_shifts=1)
    vars(alone).update({name: v for name, v in vars(fitted).items() if name.endswith("_")})
    step = X.shape[2] // 40
    moved = []
    for offset in (-2 * step, -step, 0, step, 2 * step):
        batch = np.repeat(X.min(axis=2, keepdims=True), X.shape[2], axis=2)
        kept = X[..., max(-offset, 0) : X.shape[2] + min(-offset, 0)]
        batch[..., max(offset, 0) : X.shape[2] + min(offset, 0)] = kept
        moved.append(alone.predict_proba(batch))
    assert step > 0
    np.testing.assert_allclose(fitted.predict_proba(X), np.mean(moved, axis=0), atol=1e-6)


def test_each_augmentation_can_be_disabled(spectrograms):
    X, _ = spectrograms
    off = {"crop": 1, "n_frequency_masks": 0, "n_time_masks": 0, "mixup": 0, "noise": 0}
    off |= {"band_shift": 0, "time_stretch": 0, "mask_ramp": 0}
    inputs = torch.from_numpy(X[:4, np.newaxis])
    targets = torch.eye(4)
    classifier = small(**off)
    for name, on in {
        "crop": 0.5,
        "n_frequency_masks": 2,
        "n_time_masks": 2,
        "mixup": 0.4,
        "noise": 1.0,
        "band_shift": 0.1,
        "time_stretch": 0.1,
    }.items():
        draws = torch.Generator().manual_seed(1)
        unchanged, same = classifier._augment(inputs, targets, 0.0, draws)
        assert torch.equal(unchanged, inputs)
        assert torch.equal(same, targets)
        changed, _ = small(**off | {name: on})._augment(inputs, targets, 0.0, draws)
        assert changed.shape == inputs.shape
        assert not torch.equal(changed, inputs)


def test_masks_grow_until_the_end_of_the_ramp(spectrograms):
    X, _ = spectrograms
    inputs = torch.from_numpy(X[:1]).expand(64, -1, -1)[:, None]
    off = {"crop": 1, "mixup": 0, "band_shift": 0, "time_stretch": 0}
    classifier = small(**off, mask_ramp=0.5, n_frequency_masks=1, n_time_masks=1)

    def n_masked(progress):
        draws = torch.Generator().manual_seed(1)
        masked, _ = classifier._augment(inputs, torch.eye(64), progress, draws)
        return int((masked != inputs).sum())

    assert n_masked(0.0) == 0 < n_masked(0.25) < n_masked(0.5) == n_masked(1.0)


def test_the_learning_rate_warms_up(spectrograms):
    history = small(max_epochs=4, warmup=0.5, schedule=None).fit(*spectrograms).history_
    rates = np.array(history["learning_rate"])
    assert (np.diff(rates[:2]) > 0).all()
    assert rates[0] < 0.002
    np.testing.assert_allclose(rates[2:], 0.002)


def test_label_smoothing_moves_probabilities_towards_uniform(fitted, spectrograms):
    X, y = spectrograms
    parameters = fitted.get_params() | {"label_smoothing": 0.5}
    smoothed = EmoHRNetClassifier(**parameters).fit(X, y).predict_proba(X).max(axis=1).mean()
    assert smoothed < fitted.predict_proba(X).max(axis=1).mean()
    # The optimum is the smoothed label.
    assert smoothed == pytest.approx(1 - 0.5 / 2, abs=0.15)


@pytest.mark.slow
def test_units_make_no_difference(spectrograms):
    X, y = spectrograms
    one, other = small(max_epochs=1).fit(X, y), small(max_epochs=1)
    other.fit(4 * X, y)  # four, so that nothing is rounded
    assert (other.mean_, other.scale_) == (4 * one.mean_, 4 * one.scale_)
    assert same_bits(one, other)
    np.testing.assert_array_equal(other.predict_proba(4 * X), one.predict_proba(X))


@pytest.mark.slow
def test_zero_weights_are_ignored_by_mean_and_standard_deviation(spectrograms):
    X, y = spectrograms
    outlying = np.concatenate([X, 1000 + X[:1]])
    weights = np.append(np.ones(len(X)), 0)
    weighted = small(max_epochs=1).fit(outlying, np.append(y, y[0]), sample_weight=weights)
    assert same_bits(weighted, small(max_epochs=1).fit(X, y))
    assert weighted.mean_ == pytest.approx(X.mean(dtype=np.float64))
    assert weighted.scale_ == pytest.approx(X.std(dtype=np.float64))


# Input


@pytest.mark.slow
def test_prediction_takes_another_number_of_frames(fitted, spectrograms):
    X, y = spectrograms
    for n_frames in (1, 20, 40, 100):
        assert fitted.predict_proba(np.resize(X, (3, 24, n_frames))).shape == (3, 3)
    assert np.mean(fitted.predict(X[:, :, :32]) == y) > 0.8


def test_another_number_of_bands_raises(fitted, spectrograms):
    X, _ = spectrograms
    with pytest.raises(ValueError, match=r"in fit it was \(n_recordings, 24, any n_frames\)"):
        fitted.predict(X[:, :20])
    with pytest.raises(ValueError, match=r"X has shape \(48, 40\)"):
        fitted.predict(X[:, 0])


@pytest.mark.slow
def test_a_table_is_one_band_and_sets_n_features_in(spectrograms):
    X, y = spectrograms
    table = X[:, 0]
    classifier = small().fit(table, y)
    assert classifier.n_features_in_ == 40
    assert classifier.n_bands_ == 1
    assert same_bits(classifier, small().fit(X[:, :1], y))
    with pytest.raises(ValueError, match="X has 39 features"):
        classifier.predict(table[:, 1:])
    with pytest.raises(ValueError, match="in fit it was a table"):
        classifier.predict(X[:, :1])
    assert not hasattr(classifier.fit(X, y), "n_features_in_")


@pytest.mark.parametrize(
    "recordings",
    [
        ["a.wav", "b.wav"],
        np.array(["a.wav", "b.wav"]),
        [np.zeros(3), np.zeros(4)],
        [(np.zeros(3), 16000), (np.zeros(4), 16000)],
        [{"array": np.zeros(3), "sampling_rate": 16000}] * 2,
    ],
    ids=["paths", "array of paths", "arrays", "pairs", "dicts"],
)
def test_recordings_raise_and_name_LogMelSpectrogram(fitted, recordings):
    for method in (lambda X: small().fit(X, ["a", "b"]), fitted.predict):
        with pytest.raises(ValueError, match="put LogMelSpectrogram before it"):
            method(recordings)


def test_a_frame_of_paths_raises_and_names_LogMelSpectrogram():
    with pytest.raises(ValueError, match="put LogMelSpectrogram before it"):
        small().fit(pd.DataFrame({"path": ["a.wav", "b.wav"]}), ["a", "b"])


def test_positions_of_nan_are_listed(fitted, spectrograms):
    X, y = spectrograms
    bad = X.copy()
    bad[[3, 17]] = np.nan
    message = r"in 2 of 48 spectrograms, at position 3, 17\. LogMelSpectrogram\(on_error='nan'\)"
    for method in (fitted.predict, lambda X: small().fit(X, y)):
        with pytest.raises(ValueError, match=message):
            method(bad)


@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (4, 3, 0), (4, 0, 3)])
def test_other_shapes_raise(shape):
    with pytest.raises(ValueError, match=r"should have \(n_recordings, n_bands, n_frames\)"):
        small().fit(np.zeros(shape), ["a", "b", "a", "b"])


def test_classes_of_weight_zero_are_not_held_out(spectrograms):
    X, y = spectrograms
    classes = np.unique(y)
    weights = dict.fromkeys(classes, 1) | {classes[-1]: 0}
    groups = np.unique(y, return_inverse=True)[1] * 100 + np.arange(len(y)) % 3
    for seed in range(4):
        classifier = small(class_weight=weights, early_stopping=True, random_state=seed)
        assert classifier.fit(X, y, groups=groups).best_score_ >= 0


def test_unequal_spectrograms_raise_and_name_LogMelSpectrogram():
    X = [np.zeros((4, 3)), np.zeros((4, 5))]
    with pytest.raises(ValueError, match=r"shape \(4, 3\) .* \(4, 5\)\. LogMelSpectrogram\(dur"):
        small().fit(X, ["a", "b"])


@pytest.mark.slow
def test_an_object_array_of_spectrograms_is_stacked(spectrograms):
    X, y = spectrograms
    objects = np.empty(len(X), dtype=object)
    objects[:] = list(X)
    assert same_bits(small(max_epochs=1).fit(objects, y), small(max_epochs=1).fit(X, y))


# Batch normalisation


@pytest.mark.parametrize("n", [2, 3, 33])
def test_no_recording_is_dropped_or_alone_in_a_batch(n):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 8, 8)), np.arange(n) % 2
    seen = []

    class Spy(EmoHRNetClassifier):
        def _loss(self, outputs, targets):
            seen.append(len(outputs))
            return super()._loss(outputs, targets)

    Spy(**SMALL | {"max_epochs": 1}).fit(X, y)
    assert sum(seen) == n
    assert min(seen) >= 2


# Warm start, parameters, precision


@pytest.mark.slow
def test_warm_start_keeps_the_standardisation(spectrograms):
    X, y = spectrograms
    classifier = small(warm_start=True).fit(X, y)
    mean = classifier.mean_
    classifier.fit(X[y != "fear"] + 5, y[y != "fear"])
    assert classifier.n_iter_ == 4
    assert classifier.mean_ == mean
    assert classifier.classes_.tolist() == ["anger", "fear", "sadness"]
    with pytest.raises(ValueError, match="in fit it was"):
        classifier.fit(X[:, :20], y)
    with pytest.raises(ValueError, match=r"can't continue with width=3: .* width=2"):
        classifier.set_params(width=3).fit(X, y)


@pytest.mark.slow
def test_parameters_set_after_fit_do_not_touch_the_network(spectrograms):
    X, y = spectrograms
    classifier = small().fit(X, y)
    expected = classifier.predict_proba(X)
    classifier.set_params(variant="W18", width=7)
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)


@pytest.mark.slow
def test_low_precision_learns_too(spectrograms):
    X, y = spectrograms
    parameters = {"max_epochs": 8, "learning_rate": 1e-2, "batch_size": 16}
    classifier = small(dtype="bfloat16", **parameters).fit(X, y)
    assert classifier.score(X, y) >= 0.9
    assert {values.dtype.kind for values in classifier.state_.values()} == {"f", "i"}
    assert all(v.dtype == np.float32 for v in classifier.state_.values() if v.dtype.kind == "f")


# Persistence, searches and callbacks


@pytest.mark.slow
def test_skops_reads_it_without_trust_in_anything(fitted, spectrograms):
    skops = pytest.importorskip("skops.io")
    stored = skops.dumps(fitted)
    untrusted = skops.get_untrusted_types(data=stored)
    assert untrusted == ["sklearn_ser.estimators._emohrnet.EmoHRNetClassifier"]
    loaded = skops.loads(stored, trusted=untrusted)
    X, _ = spectrograms
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_pickles_predict_alike_and_are_as_large_as_the_weights(fitted, spectrograms):
    X, _ = spectrograms
    stored = pickle.dumps(fitted)
    n_bytes = sum(values.nbytes for values in fitted.state_.values())
    assert len(stored) < 1.2 * n_bytes + 100_000
    loaded = pickle.load(io.BytesIO(stored))
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert clone(loaded).get_params() == fitted.get_params()


@pytest.fixture(scope="module")
def corpus():
    return make_emotional_speech(n_speakers=4, n_sentences=1, random_state=0)


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(
        LogMelSpectrogram(n_mels=16, duration=1.0, hop_length=512), small(max_epochs=1)
    )


@pytest.mark.slow
def test_a_search_over_bands_and_width_with_speakers(corpus, pipeline):
    search = GridSearchCV(
        pipeline,
        [
            {"logmelspectrogram__n_mels": [16], "emohrnetclassifier__width": [2]},
            {"logmelspectrogram__n_mels": [24], "emohrnetclassifier__width": [3]},
        ],
        cv=GroupKFold(2),
        scoring="balanced_accuracy",
        error_score="raise",
    )
    search.fit(corpus.recordings, corpus.target, groups=corpus.groups)
    best = search.best_estimator_[-1]
    assert best.architecture_["width"] == search.best_params_["emohrnetclassifier__width"]
    assert best.n_bands_ == search.best_params_["logmelspectrogram__n_mels"]


@pytest.mark.slow
def test_speakers_are_routed_to_folds_and_early_stopping(corpus, pipeline):
    with config_context(enable_metadata_routing=True):
        stopping = clone(pipeline).set_params(
            emohrnetclassifier__early_stopping=True,
            emohrnetclassifier__validation_fraction=0.5,
            logmelspectrogram__n_mels=8,
        )
        split = EmoHRNetClassifier._split
        held_out = []

        def spy(self, training_set, seed):
            training, validation = split(self, training_set, seed)
            groups = dict(zip(training_set.positions, training_set.groups, strict=True))
            held_out.append(({groups[i] for i in training}, {groups[i] for i in validation}))
            return training, validation

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EmoHRNetClassifier, "_split", spy)
            result = cross_validate(
                stopping,
                corpus.recordings,
                corpus.target,
                cv=GroupKFold(2),
                params={"groups": corpus.groups},
                error_score="raise",
            )
    assert len(result["test_score"]) == len(held_out) == 2
    for training, validation in held_out:
        assert len(training) == len(validation) == 1
        assert not training & validation


@pytest.mark.slow
def test_progress_bars_reach_down_to_epochs(corpus, pipeline, capsys, monkeypatch):
    progress = pytest.importorskip("rich.progress")
    seen = []
    update = progress.Progress.update

    def spy(self, task_id, **keywords):
        update(self, task_id, **keywords)
        task = next(task for task in self.tasks if task.id == task_id)
        if "EmoHRNetClassifier" in task.description:
            seen.append(task.completed / task.total)

    monkeypatch.setattr(progress.Progress, "update", spy)
    trained = clone(pipeline).set_params(emohrnetclassifier__max_epochs=3)
    trained.set_callbacks(ProgressBar()).fit(corpus.recordings, corpus.target)
    assert "EmoHRNetClassifier" in capsys.readouterr().out
    np.testing.assert_allclose(seen[:3], [1 / 3, 2 / 3, 1])
