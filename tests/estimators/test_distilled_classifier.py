"""DistilledClassifier: recordings and transcripts in, emotions out, soft labels, teachers."""

import pickle

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.special import rel_entr, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils.class_weight import compute_class_weight

from sklearn_ser import DistilledClassifier, DistilledRegressor, RecordingError, WhisperEmbedder
from sklearn_ser.audio import SegmentOfFile, cut_into_segments
from sklearn_ser.distillation._students import read_speech_student, read_text_student
from small_networks import small_network
from small_text_networks import small_text_network

CLASSES = ["anger", "joy", "sadness"]
QUICK = {
    "hidden_size": 16,
    "max_epochs": 2,
    "batch_size": 8,
    "device": "cpu",
    "random_state": 0,
}
# One batch, whose loss is that of the initial weights.
STILL = {"learning_rate": 1e-12, "encoder_learning_rate": 1e-12, "dropout": 0.0, "max_epochs": 1}


def quick(audio_model=None, **parameters):
    return DistilledClassifier(audio_model or small_network("wavlm-short"), **QUICK | parameters)


@pytest.fixture(scope="module")
def emotions(recordings):
    return np.repeat(CLASSES[::-1], len(recordings) // 3)


@pytest.fixture(scope="module")
def shares(recordings):
    shares = np.random.default_rng(1).dirichlet(np.ones(3), len(recordings))
    return pd.DataFrame(shares, columns=CLASSES)


def same_bits(one, other):
    return one.state_.keys() == other.state_.keys() and all(
        np.array_equal(one.state_[name], other.state_[name]) for name in one.state_
    )


def assert_close(one, other):
    for name, values in one.state_.items():
        np.testing.assert_allclose(other.state_[name], values, atol=1e-6)


# What it learns


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "attentive_statistics"])
def test_it_learns_what_can_be_heard(recordings, emotions, pooling):
    rates = {"learning_rate": 2e-2, "encoder_learning_rate": 1e-3}
    classifier = quick(
        small_network("wavlm"), pooling=pooling, dropout=0.0, max_epochs=15, **rates
    ).fit(recordings, emotions)
    assert classifier.score(recordings, emotions) > 0.9
    assert classifier.predict(recordings).dtype == emotions.dtype
    probabilities = classifier.predict_proba(recordings)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(
        classifier.classes_[probabilities.argmax(axis=1)], classifier.predict(recordings)
    )


@pytest.mark.slow
def test_it_learns_what_is_said(table):
    y = np.array(["anger", "joy", "neutral", "anger"] * (len(table) // 4))
    classifier = quick(
        small_network("wavlm-short"),
        text_model=small_text_network("bert"),
        dropout=0.0,
        max_epochs=12,
        learning_rate=1e-2,
    ).fit(table, y)
    assert classifier.score(table, y) > 0.9
    assert classifier.predict_proba(list(table["path"])).shape == (len(table), 3)


@pytest.mark.slow
def test_it_is_searched_and_cross_validated_by_speakers(recordings, emotions, speakers):
    grid = {"label_smoothing": [0.0, 0.1]}
    search = GridSearchCV(quick(max_epochs=1), grid, cv=GroupKFold(2), scoring="neg_log_loss")
    search.fit(recordings, emotions, groups=speakers)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    predicted = cross_val_predict(
        clone(quick(max_epochs=1)),
        recordings,
        emotions,
        cv=GroupKFold(3),
        groups=speakers,
        method="predict_proba",
    )
    assert predicted.shape == (len(recordings), 3)


# Exact batches


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wavlm", "hubert-large", "whisper"])
def test_a_prediction_is_the_same_alone_and_in_any_batch(table, emotions, name):
    classifier = quick(
        small_network(name), text_model=small_text_network("bert"), fusion="cross_attention"
    ).fit(table, emotions)
    together = classifier.predict_proba(table)
    np.testing.assert_allclose(classifier.predict_proba(table[::-1])[::-1], together, atol=5e-6)
    classifier.set_params(batch_size=1)
    for row in range(4):
        alone = classifier.predict_proba(table.iloc[[row]])
        np.testing.assert_allclose(alone, together[[row]], atol=5e-6)


def test_probabilities_of_long_recordings_are_the_mean_over_windows(recordings, emotions):
    classifier = quick(max_duration=0.1).fit(recordings, emotions)
    long = np.concatenate(recordings)[:8000]
    windows = classifier.predict_proba(list(long.reshape(5, 1600)))
    np.testing.assert_allclose(classifier.predict_proba([long])[0], windows.mean(0), atol=5e-6)


# What is trained


def _changed(classifier, part, read, model):
    """Return the names of the weights of an encoder that training has changed."""
    return {
        name
        for name, before in read(model)[1].items()
        if not np.array_equal(before, classifier.state_[f"{part}.{name}"])
    }


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_the_last_layers_are_trained(table, emotions, lora_rank):
    model, text_model = small_network("wavlm"), small_text_network("bert")
    settings = {"text_model": text_model, "encoder_learning_rate": 1e-2, "lora_rank": lora_rank}
    last = quick(model, n_trainable_layers=1, **settings).fit(table, emotions)
    of_audio = _changed(last, "audio", read_speech_student, model)
    of_text = _changed(last, "text", read_text_student, text_model)
    assert of_audio
    assert {name.partition("layers.")[2][0] for name in of_audio} == {"2"}
    assert len({name.partition("layer.")[2][0] for name in of_text}) == 1
    head = quick(model, n_trainable_layers=0, **settings).fit(table, emotions)
    assert not _changed(head, "audio", read_speech_student, model)
    assert not _changed(head, "text", read_text_student, text_model)
    with pytest.raises(ValueError, match=r"n_trainable_layers=9 .* layers of an encoder"):
        quick(model, n_trainable_layers=9).fit(table, emotions)


@pytest.mark.parametrize("name", ["wavlm", "whisper"])
def test_adapters_change_queries_and_values_by_a_low_rank(table, emotions, name):
    model, text_model = small_network(name), small_text_network("bert")
    settings = {"text_model": text_model, "learning_rate": 1e-2, "encoder_learning_rate": 1e-2}
    adapted = quick(model, lora_rank=2, **settings).fit(table, emotions)
    whole = quick(model, **settings).fit(table, emotions)
    assert adapted.state_.keys() == whole.state_.keys()
    changed = set()
    for part, read, source in (
        ("audio", read_speech_student, model),
        ("text", read_text_student, text_model),
    ):
        for key, before in read(source)[1].items():
            difference = adapted.state_[f"{part}.{key}"] - before.numpy()
            if difference.any():
                changed.add(key.split(".")[-2])
                assert np.linalg.matrix_rank(difference, tol=1e-5) == 2
    assert changed == {"q_proj", "v_proj", "query", "value"}
    assert adapted.n_trainable_parameters_ < whole.n_trainable_parameters_ / 2
    # The fitted network needs no adapters.
    expected = adapted.predict_proba(table)
    adapted.set_params(lora_rank=None)
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(adapted)).predict_proba(table), expected, atol=1e-5
    )


@pytest.mark.slow
def test_adapters_go_on(recordings, emotions):
    settings = {"lora_rank": 2, "encoder_learning_rate": 1e-2, "early_stopping": True}
    warm = quick(warm_start=True, validation_fraction=0.3, **settings).fit(recordings, emotions)
    before = warm.state_["audio.network.encoder.layers.0.attention.q_proj.weight"]
    warm.fit(recordings, emotions)
    after = warm.state_["audio.network.encoder.layers.0.attention.q_proj.weight"]
    assert np.linalg.matrix_rank(after - before, tol=1e-6) == 2
    assert warm.best_score_ in warm.history_["valid_score"]


def test_lower_layers_learn_more_slowly(recordings, emotions):
    classifier = quick(
        small_network("wavlm"), layer_decay=0.5, learning_rate=0.1, encoder_learning_rate=1e-3
    ).fit(recordings, emotions)
    module = classifier._fitted_module()
    groups = classifier._optimizer(module).param_groups
    rate_of = {p: group["lr"] for group in groups for p in group["params"]}
    network = module.audio.network
    last, *_, first = [
        {rate_of[p] for p in block.parameters()} for block in network.encoder.layers[::-1]
    ]
    assert (last, first) == ({1e-3}, {2.5e-4})
    assert {rate_of[p] for p in network.feature_projection.parameters()} == {1.25e-4}
    assert {rate_of[p] for p in module.head.parameters() if p.numel()} == {0.1}
    assert groups[-1]["lr"] == 0.1  # that of the learning curve
    assert classifier.history_["learning_rate"][0] > 1e-3


# Labels


BALANCED = {"class_weight": "balanced", "early_stopping": True, "validation_fraction": 0.3}


@pytest.mark.parametrize("parameters", [{}, BALANCED], ids=["plain", "balanced"])
def test_one_vote_is_a_class(recordings, emotions, parameters):
    weights = np.random.default_rng(2).uniform(0, 2, len(recordings))
    votes = 5 * pd.get_dummies(emotions).astype(float)[CLASSES[::-1]]
    hard = quick(**parameters).fit(recordings, emotions, weights)
    assert same_bits(quick(**parameters).fit(recordings, votes, weights), hard)


def test_columns_of_an_array_are_named_by_classes(recordings, shares):
    named = quick(classes=CLASSES).fit(recordings, shares.to_numpy())
    assert same_bits(named, quick().fit(recordings, shares))
    assert named.classes_.tolist() == CLASSES
    with pytest.raises(ValueError, match="the classes have no names"):
        quick().fit(recordings, shares.to_numpy())
    assert 0 <= named.score(recordings, shares) <= 1


def test_class_weights_are_weights_of_recordings(recordings, emotions):
    rows = np.r_[0:4, 8:24]
    recordings, emotions = [recordings[row] for row in rows], emotions[rows]
    balanced = compute_class_weight("balanced", classes=np.array(CLASSES), y=emotions)
    weights = dict(zip(CLASSES, balanced, strict=True))
    expected = quick().fit(recordings, emotions, [weights[name] for name in emotions])
    assert_close(quick(class_weight="balanced").fit(recordings, emotions), expected)
    assert_close(quick(class_weight=weights).fit(recordings, emotions), expected)
    assert not same_bits(quick().fit(recordings, emotions), expected)


def test_weights_of_zero_leave_recordings_out(recordings, emotions):
    weights = np.ones(len(recordings))
    weights[::3] = 0
    kept = weights > 0
    some = quick().fit(recordings, emotions, weights)
    others = quick().fit([r for r, k in zip(recordings, kept, strict=True) if k], emotions[kept])
    assert same_bits(some, others)


@pytest.mark.parametrize("weighted", [False, True])
def test_smoothed_labels_are_soft_labels(recordings, emotions, weighted):
    weights = np.linspace(0.5, 2, len(recordings)) if weighted else None
    smoothed = 0.7 * pd.get_dummies(emotions).astype(float) + 0.3 / 3
    expected = quick().fit(recordings, smoothed, weights)
    assert_close(quick(label_smoothing=0.3).fit(recordings, emotions, weights), expected)


def test_labels_that_are_refused(recordings, emotions):
    numbers = np.linspace(0, 1, len(recordings))
    with pytest.raises(ValueError, match=r"label type: continuous.* use DistilledRegressor\."):
        quick().fit(recordings, numbers)
    regressor = DistilledRegressor(small_network("wavlm-short"))
    for strings in (emotions, list(emotions), pd.Series(emotions, dtype=object)):
        with pytest.raises(ValueError, match=r"'sadness'.* use DistilledClassifier\."):
            regressor.fit(recordings, strings)
    with pytest.raises(ValueError, match="at least two classes, and y has one class, 'joy'"):
        quick().fit(recordings, ["joy"] * len(recordings))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        quick().fit(recordings, emotions[1:])


# Early stopping


def test_whole_speakers_are_held_out(recordings, emotions, monkeypatch):
    held_out = []
    split = DistilledClassifier._split

    def spy(self, training_set, seed):
        held_out.append(split(self, training_set, seed))
        return held_out[-1]

    monkeypatch.setattr(DistilledClassifier, "_split", spy)
    speakers = np.arange(len(recordings)) % 6
    classifier = quick(early_stopping=True, validation_fraction=0.3, teacher=Loudness())
    classifier.fit(recordings, emotions, groups=speakers)
    training, validation = held_out[0]
    assert len(validation)
    assert not {*speakers[training]} & {*speakers[validation]}
    assert classifier.best_score_ == max(classifier.history_["valid_score"])
    assert 0 <= classifier.best_score_ <= 1


# Teachers


class Loudness(ClassifierMixin, BaseEstimator):
    """Derives probabilities from the loudness of a recording; refuses soft labels."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y, sample_weight=None):
        self.n_fitted_, self.weights_ = len(X), sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        levels = np.array([np.log10(np.abs(x).max()) for x in X])
        logits = levels[:, np.newaxis] * np.linspace(-1, 1, len(self.classes_))
        return softmax(self.scale * logits, axis=1)


@pytest.mark.slow
def test_it_approaches_the_probabilities_of_its_teacher(recordings, emotions):
    settings = {"dropout": 0.0, "max_epochs": 20, "learning_rate": 2e-2}
    settings |= {"encoder_learning_rate": 1e-3, "audio_model": small_network("wavlm")}
    labels = np.random.default_rng(0).permutation(emotions)  # it does not learn from them
    classifier = quick(teacher=Loudness(2.0), alpha=1.0, **settings).fit(recordings, labels)
    taught = classifier.teacher_.predict_proba(recordings)
    divergences = rel_entr(taught, classifier.predict_proba(recordings)).sum(axis=1)
    spread = rel_entr(taught, taught.mean(axis=0)).sum(axis=1)
    assert divergences.mean() < spread.mean() / 2
    alone = quick(alpha=0.0, teacher=Loudness(), **settings).fit(recordings, labels)
    assert same_bits(alone, quick(**settings).fit(recordings, labels))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_by_hand(recordings, emotions, temperature):
    n, unlabeled = len(recordings), recordings[:7]
    weights = np.linspace(0.5, 2, n)
    weights /= weights.mean()
    classifier = quick(
        teacher=Loudness(), alpha=0.3, temperature=temperature, batch_size=n + 7, **STILL
    ).fit(recordings, emotions, weights, unlabeled=unlabeled)
    every = [*recordings, *unlabeled]
    predicted = classifier.predict_proba(every)
    labels = np.searchsorted(CLASSES, emotions)
    of_labels = -weights * np.log(predicted[np.arange(n), labels])
    taught, softened = (
        values ** (1 / temperature) / (values ** (1 / temperature)).sum(axis=1, keepdims=True)
        for values in (classifier.teacher_.predict_proba(every), predicted)
    )
    of_teacher = np.append(weights, np.ones(7)) * rel_entr(taught, softened).sum(axis=1)
    expected = 0.7 * of_labels.mean() + 0.3 * temperature**2 * of_teacher.mean()
    np.testing.assert_allclose(classifier.history_["train_loss"], [expected], rtol=1e-3)


def test_a_teacher_sees_weights_and_what_is_trained_on_alone(recordings, emotions):
    weights = np.arange(len(recordings)) % 3.0
    classifier = quick(teacher=Loudness(), class_weight="balanced", **STILL)
    teacher = classifier.fit(recordings, emotions, weights).teacher_
    assert teacher.n_fitted_ == np.count_nonzero(weights)
    np.testing.assert_allclose(teacher.weights_, weights[weights > 0] / 1.5)
    frozen = FrozenEstimator(Loudness().fit(recordings, emotions))
    with pytest.warns(UserWarning, match="teacher= takes no sample_weight"):
        classifier = quick(teacher=frozen, **STILL).fit(recordings, emotions, weights)
    assert classifier.teacher_.n_fitted_ == len(recordings)


@pytest.mark.slow
def test_a_pipeline_teaches_and_errors_name_it(recordings, emotions):
    embedder = WhisperEmbedder(small_network("whisper"), context="recording")
    pipeline = make_pipeline(embedder, LogisticRegression())
    classifier = quick(teacher=pipeline).fit(recordings, emotions, unlabeled=recordings[:3])
    assert classifier.teacher_.predict_proba(recordings).shape == (len(recordings), 3)
    broken = [*recordings[:-1], np.zeros(0)]
    with pytest.raises(RecordingError, match="Recording 23") as caught:
        quick(teacher=pipeline).fit(broken, emotions)
    assert "comes from teacher=" in caught.value.__notes__[0]


def test_teachers_of_some_classes_and_of_others(recordings, emotions):
    few = FrozenEstimator(Loudness().fit(recordings[:16], emotions[:16]))
    assert few.classes_.tolist() == CLASSES[1:]
    classifier = quick(teacher=few, alpha=1.0, learning_rate=0.1, max_epochs=8)
    classifier.fit(recordings, emotions)
    assert classifier.predict_proba(recordings)[:, 0].mean() < 0.1
    others = FrozenEstimator(Loudness().fit(recordings, ["anger", "fear"] * 12))
    with pytest.raises(ValueError, match=r"teacher= has the classes \['fear'\], which y has not"):
        quick(teacher=others).fit(recordings, emotions)
    with pytest.raises(ValueError, match=r"teacher.*'predict_proba'"):
        quick(teacher=Ridge()).fit(recordings, emotions)
    with pytest.raises(ValueError, match="unlabeled recordings need a teacher"):
        quick().fit(recordings, emotions, unlabeled=recordings)


# The rest of what every estimator does


def test_recordings_that_cannot_be_used(recordings, emotions):
    broken = [*recordings[:-1], np.array([])]
    with pytest.raises(RecordingError, match="ecording 23"):
        quick().fit(broken, emotions)
    lenient = quick(on_error="nan", teacher=Loudness())
    with pytest.warns(UserWarning, match="1 recordings can't be used and are left out"):
        lenient.fit(broken, emotions)
    assert lenient.teacher_.n_fitted_ == len(recordings) - 1
    with pytest.warns(UserWarning, match="NaN is in their place"):
        probabilities = lenient.predict_proba(broken)
    with pytest.warns(UserWarning, match="NaN is in their place"):
        predicted = lenient.predict(broken)
    assert np.isnan(probabilities[-1]).all()
    assert predicted[-1] is None
    with pytest.warns(UserWarning, match="NaN is in their place"):
        share = lenient.score(broken, emotions[:, np.newaxis])
    assert share == (predicted == emotions).mean()
    with pytest.raises(ValueError, match=r"none can be used \(recording 0: 'no.wav': there is no"):
        quick(on_error="nan").fit(["no.wav"] * 2, emotions[-2:])
    np.testing.assert_array_equal(predicted[:-1], lenient.predict(recordings[:-1]))


def test_a_table_of_segments_is_not_read_as_whole_files(recordings, emotions, tmp_path):
    path = str(tmp_path / "call.wav")
    soundfile.write(path, np.concatenate(recordings[:4]), 16000, subtype="FLOAT")
    table = cut_into_segments([path], duration=soundfile.info(path).duration / 4)
    classifier = quick(max_epochs=1).fit(table, emotions[6:10])
    segments = [SegmentOfFile(*row) for row in table.itertuples(index=False)]
    expected = quick(max_epochs=1).fit(segments, emotions[6:10])
    assert same_bits(classifier, expected)
    found = classifier.predict_proba(table)
    np.testing.assert_array_equal(found, classifier.predict_proba(segments))
    assert len(np.unique(found[:, 0])) == 4


@pytest.mark.parametrize("labels", ["str", "object", "int", "bool"])
def test_it_pickles_with_its_labels(recordings, emotions, labels):
    y = {
        "str": emotions,
        "object": emotions.astype(object),
        "int": np.searchsorted(CLASSES, emotions) * 10,
        "bool": emotions == "joy",
    }[labels]
    classifier = quick().fit(recordings, y)
    loaded = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(
        loaded.predict_proba(recordings), classifier.predict_proba(recordings)
    )
    predicted = loaded.predict(recordings)
    assert predicted.dtype == y.dtype
    assert set(predicted) <= set(y)
    assert not hasattr(clone(classifier), "state_")


@pytest.mark.slow
def test_skops_opens_it(recordings, emotions, tmp_path):
    io_of_skops = pytest.importorskip("skops.io")
    classifier = quick(max_epochs=1).fit(recordings, emotions)
    io_of_skops.dump(classifier, tmp_path / "classifier.skops")
    trusted = io_of_skops.get_untrusted_types(file=tmp_path / "classifier.skops")
    loaded = io_of_skops.load(tmp_path / "classifier.skops", trusted=trusted)
    np.testing.assert_array_equal(loaded.predict(recordings), classifier.predict(recordings))


@pytest.mark.slow
def test_it_is_repeatable_and_goes_on(recordings, emotions):
    one, other = (quick().fit(recordings, emotions) for _ in range(2))
    assert same_bits(one, other)
    warm = quick(warm_start=True).fit(recordings, emotions)
    assert same_bits(one, warm)
    assert warm.fit(recordings[:16], emotions[:16]).n_iter_ == 4
    assert warm.classes_.tolist() == CLASSES
    with pytest.raises(ValueError, match=r"y has the classes \['fear'\], which the previous"):
        warm.fit(recordings, ["anger", "fear"] * 12)


@pytest.mark.slow
def test_half_precision(table, emotions):
    settings = {"text_model": small_text_network("bert"), "teacher": TableLoudness()}
    classifier = quick(
        small_network("whisper"), dtype="bfloat16", early_stopping=True, **settings
    ).fit(table, emotions)
    assert np.isfinite(classifier.predict_proba(table)).all()


class TableLoudness(Loudness):
    """The same of a table."""

    def predict_proba(self, X):
        return super().predict_proba(X["path"])
