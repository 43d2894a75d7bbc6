"""SpeakerNormalizer on tables, recordings, layers and spectrograms."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    LeaveOneGroupOut,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_ser import (
    EmoHRNetClassifier,
    HyperbolicFusionClassifier,
    LayerSelector,
    LogMelSpectrogram,
    SpeakerNormalizer,
    WhisperEmbedder,
)
from sklearn_ser.audio import SegmentOfFile
from sklearn_ser.datasets import load_emodb, make_emotional_speech
from sklearn_ser.metrics import paired_difference, unweighted_average_recall
from small_networks import small_network

N_SPEAKERS, N_RECORDINGS, N_DIMS = 6, 12, 5
STATISTICS = LogMelSpectrogram(n_mels=8, pooling="mean", normalize=None)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def draw(rng, n_speakers=N_SPEAKERS, n_recordings=N_RECORDINGS, first=0, shape=(N_DIMS,)):
    """Draw features with a level of each speaker, and names of the speakers."""
    levels = 3 * rng.normal(size=(n_speakers, 1, *shape))
    features = levels + rng.normal(size=(n_speakers, n_recordings, *shape))
    names = [f"speaker{first + i}" for i in range(n_speakers)]
    return features.reshape(-1, *shape), np.repeat(names, n_recordings)


def table_of(features, speakers):
    columns = {f"feature{i}": column for i, column in enumerate(features.T)}
    return pd.DataFrame({"feature_set": 1.0, **columns, "speaker": speakers}).drop(
        columns="feature_set"
    )


def recordings_of(corpus):
    return pd.DataFrame(
        {"recording": list(corpus.recordings), "speaker": corpus.groups, "emotion": corpus.target}
    )


@pytest.fixture(scope="module")
def corpus():
    return make_emotional_speech(n_speakers=4, n_sentences=1, random_state=0)


def test_it_removes_the_empirical_bayes_estimate(rng):
    X, speakers = draw(rng)
    new, new_speakers = draw(rng, n_speakers=1, n_recordings=3, first=90)
    normalizer = SpeakerNormalizer().fit(X, groups=speakers)
    means = pd.DataFrame(X).groupby(speakers).mean().to_numpy()
    within = pd.DataFrame(X).groupby(speakers).var(ddof=1).to_numpy().mean(axis=0)
    between = means.var(axis=0, ddof=1) - within / N_RECORDINGS
    shown = min(1, np.mean(new.var(axis=0, ddof=1) / within))
    error = within * (1 - shown + shown / 3)
    offset = between / (between + error) * (new.mean(axis=0) - means.mean(axis=0))
    np.testing.assert_allclose(normalizer.transform(new, groups=new_speakers), new - offset)


def test_many_recordings_center_the_speaker(rng):
    X, speakers = draw(rng, n_recordings=500)
    normalizer = SpeakerNormalizer().fit(X, groups=speakers)
    new, names = draw(rng, n_speakers=2, n_recordings=100_000, first=90)
    centered = normalizer.transform(2 * new, groups=names)  # at least as diverse as in training
    grand_mean = normalizer.population_["mean"]
    np.testing.assert_allclose(centered[:100_000].mean(axis=0), grand_mean, atol=1e-3)


@pytest.mark.parametrize("scale", [False, True])
def test_without_recordings_nothing_changes(rng, scale):
    X, speakers = draw(rng)
    normalizer = SpeakerNormalizer(n_enrollment=0, scale=scale).fit(X, groups=speakers)
    new, names = draw(rng, n_speakers=2, first=90)
    np.testing.assert_array_equal(normalizer.transform(new, groups=names), new)
    unknown = normalizer.transform(new, groups=[None, np.nan, pd.NA, *names[3:]])
    np.testing.assert_array_equal(unknown, new)


def test_copies_of_one_recording_count_once(rng):
    X, speakers = draw(rng)
    normalizer = SpeakerNormalizer().fit(X, groups=speakers)
    one = rng.normal(size=(1, N_DIMS))
    copies = np.repeat(one, 50, axis=0)
    expected = normalizer.transform(one, groups=["new"])
    np.testing.assert_allclose(normalizer.transform(copies, groups=["new"] * 50)[:1], expected)


def test_little_diversity_shrinks_more(rng):
    X, speakers = draw(rng)
    normalizer = SpeakerNormalizer().fit(X, groups=speakers)
    deviations = rng.normal(size=(20, N_DIMS))
    deviations -= deviations.mean(axis=0)
    moves = [
        np.abs(normalizer.transform(5 + size * deviations, groups=["new"] * 20).mean(axis=0) - 5)
        for size in (0.1, 0.5, 1.0)
    ]
    assert (moves[0] < moves[1]).all()
    assert (moves[1] < moves[2]).all()


def test_one_training_speaker_warns_and_changes_nothing(rng):
    X, speakers = draw(rng, n_speakers=1)
    normalizer = SpeakerNormalizer()
    with pytest.warns(UserWarning, match="needs at least two"):
        np.testing.assert_array_equal(normalizer.fit_transform(X, groups=speakers), X)
    np.testing.assert_array_equal(normalizer.transform(X, groups=["new"] * len(X)), X)
    with pytest.warns(UserWarning, match="one of them with two"):
        SpeakerNormalizer().fit(X, groups=np.arange(len(X)))


@pytest.mark.parametrize("scale", [False, True])
def test_constant_features_stay_constant(rng, scale):
    X, speakers = draw(rng)
    X[:, 0] = 7.1
    X[:, 1] = speakers == "speaker0"  # constant within speakers
    normalized = SpeakerNormalizer(scale=scale).fit_transform(X, groups=speakers)
    np.testing.assert_allclose(normalized[:, 0], 7.1)
    np.testing.assert_allclose(normalized[:, 1], 1 / N_SPEAKERS)
    assert np.isfinite(normalized).all()


@pytest.mark.parametrize("scale", [False, True])
def test_a_single_recording_is_shrunk_and_not_scaled(rng, scale):
    X, speakers = draw(rng)
    X, speakers = X[: -N_RECORDINGS + 1], speakers[: -N_RECORDINGS + 1]  # the last has one
    normalizer = SpeakerNormalizer(scale=scale).fit(X, groups=speakers)
    new = rng.normal(size=(1, N_DIMS))
    expected = SpeakerNormalizer().fit(X, groups=speakers).transform(new, groups=["new"])
    np.testing.assert_allclose(normalizer.transform(new, groups=["new"]), expected)
    assert normalizer.speakers_["speaker5"]["n_recordings"] == 1


def test_scale_reduces_the_spread_of_variable_speakers(rng):
    spreads = np.repeat([1.0, 1.0, 3.0, 1.0, 1.0, 2.0], 400)
    X, speakers = rng.normal(size=(2400, N_DIMS)), np.repeat(np.arange(6), 400)
    X = 5 + spreads[:, np.newaxis] * X
    normalized = SpeakerNormalizer(scale=True).fit_transform(X, groups=speakers)
    deviations = pd.DataFrame(normalized).groupby(speakers).std().mean(axis=1)
    pooled = np.sqrt(np.mean(spreads**2))
    np.testing.assert_allclose(deviations[[2, 5]], pooled, rtol=0.05)
    np.testing.assert_allclose(normalized.mean(axis=0), 5, atol=0.1)


def test_scale_does_not_inflate_after_copies_of_one_recording(rng):
    spreads = np.repeat(np.linspace(0.2, 4, 8), 20)[:, np.newaxis]
    X, speakers = spreads * rng.normal(size=(160, N_DIMS)), np.repeat(np.arange(8), 20)
    normalizer = SpeakerNormalizer(scale=True).fit(X, groups=speakers)
    normalizer.enroll(np.repeat(X[:1], 50, axis=0), [99] * 50)
    rows = rng.normal(size=(20, N_DIMS))
    offsets = normalizer.transform(rows, groups=[99] * 20) - rows
    np.testing.assert_allclose(offsets, offsets[:1].repeat(20, axis=0), atol=1e-12)


def test_speakers_of_equal_spread_are_hardly_scaled(rng):
    X, speakers = draw(rng, n_recordings=50)
    centered = SpeakerNormalizer().fit_transform(X, groups=speakers)
    scaled = SpeakerNormalizer(scale=True).fit_transform(X, groups=speakers)
    np.testing.assert_allclose(scaled.std(axis=0), centered.std(axis=0), rtol=0.02)


def test_the_order_of_rows_does_not_matter(rng):
    X, speakers = draw(rng)
    new, names = draw(rng, n_speakers=3, first=90)
    order, new_order = rng.permutation(len(X)), rng.permutation(len(new))
    normalizer = SpeakerNormalizer(scale=True)
    expected = normalizer.fit(X, groups=speakers).transform(new, groups=names)
    normalizer.fit(X[order], groups=speakers[order])
    shuffled = normalizer.transform(new[new_order], groups=names[new_order])
    np.testing.assert_allclose(shuffled, expected[new_order], rtol=1e-12)


def test_n_enrollment_uses_the_first_recordings(rng):
    X, speakers = draw(rng)
    new, names = draw(rng, n_speakers=1, first=90)
    normalizer = SpeakerNormalizer(n_enrollment=2).fit(X, groups=speakers)
    few = normalizer.transform(new, groups=names)
    changed = new.copy()
    changed[2:] += 100
    np.testing.assert_allclose(normalizer.transform(changed, groups=names)[:2], few[:2])
    alone = normalizer.transform(new[:2], groups=names[:2])
    np.testing.assert_allclose(alone, few[:2])


def test_no_leakage_from_labels_and_test_speakers(rng):
    X, speakers = draw(rng)
    y = rng.integers(2, size=len(X))
    table = table_of(X, speakers)
    train = np.isin(speakers, ["speaker0", "speaker1", "speaker2", "speaker3"])
    pipeline = make_pipeline(SpeakerNormalizer(), LogisticRegression())
    expected = pipeline.fit(table[train], y[train]).predict_proba(table[~train])
    # Other labels of the test recordings and another order of the test speakers.
    rest = table[~train].iloc[::-1]
    np.testing.assert_allclose(pipeline.predict_proba(rest)[::-1], expected)
    first = table[~train][:N_RECORDINGS]  # one of the two test speakers
    np.testing.assert_allclose(pipeline.predict_proba(first), expected[:N_RECORDINGS])
    # The statistics do not depend on labels.
    statistics = SpeakerNormalizer().fit(table[train], y[train]).population_
    shuffled = SpeakerNormalizer().fit(table[train], rng.permutation(y[train])).population_
    np.testing.assert_array_equal(statistics["mean"], shuffled["mean"])


def test_training_rows_are_the_same_in_fit_transform_and_transform(rng):
    X, speakers = draw(rng)
    normalizer = SpeakerNormalizer(n_enrollment=1)
    normalized = normalizer.fit_transform(X.astype(np.float32), groups=speakers)
    assert normalized.dtype == np.float32
    for row in (0, 30):
        alone = normalizer.transform(X[row : row + 1].astype(np.float32), groups=speakers[[row]])
        np.testing.assert_array_equal(alone[0], normalized[row])


def test_enroll_makes_predictions_independent_of_the_call(rng):
    X, speakers = draw(rng)
    new, names = draw(rng, n_speakers=2, first=90)
    at_once = SpeakerNormalizer().fit(X, groups=speakers).transform(new, groups=names)
    normalizer = SpeakerNormalizer(n_enrollment=0).fit(X, groups=speakers)
    assert normalizer.enroll(new[:3], names[:3]) is normalizer
    normalizer.enroll(new[3:], names[3:])  # in two parts
    one_by_one = [normalizer.transform(new[[i]], groups=names[[i]])[0] for i in range(len(new))]
    np.testing.assert_allclose(one_by_one, at_once, rtol=1e-10)
    assert normalizer.speakers_["speaker90"]["n_recordings"] == N_RECORDINGS
    assert "speaker90" not in normalizer.fit(X, groups=speakers).speakers_


def test_enrolled_speakers_survive_a_pickle(rng):
    X, speakers = draw(rng)
    normalizer = SpeakerNormalizer().fit(X, groups=speakers).enroll(X[:4] + 9, ["new"] * 4)
    copy = pickle.loads(pickle.dumps(normalizer))
    row = X[:1] + 9
    np.testing.assert_array_equal(
        copy.transform(row, groups=["new"]), normalizer.transform(row, groups=["new"])
    )


def test_rows_of_nan_are_ignored_and_remain(rng):
    X, speakers = draw(rng)
    broken = X.copy()
    broken[3, 2] = np.nan
    expected = SpeakerNormalizer().fit(np.delete(X, 3, 0), groups=np.delete(speakers, 3))
    normalizer = SpeakerNormalizer()
    normalized = normalizer.fit_transform(broken, groups=speakers)
    assert np.isnan(normalized[3, 2])
    np.testing.assert_allclose(normalizer.population_["mean"], expected.population_["mean"])
    np.testing.assert_allclose(
        np.delete(normalized, 3, 0),
        expected.transform(np.delete(X, 3, 0), groups=np.delete(speakers, 3)),
    )
    all_missing = np.full((2, N_DIMS), np.nan)
    assert np.isnan(normalizer.transform(all_missing, groups=["new", "new"])).all()


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_tables_of_features(rng, make):
    X, speakers = draw(rng)
    table = table_of(X, speakers)
    expected = SpeakerNormalizer().fit_transform(X, groups=speakers)
    container = make(table.to_dict(orient="list"))
    normalizer = SpeakerNormalizer()
    np.testing.assert_allclose(normalizer.fit_transform(container), expected)
    np.testing.assert_allclose(normalizer.transform(container), expected)
    names = [f"feature{i}" for i in range(N_DIMS)]
    assert normalizer.get_feature_names_out().tolist() == names
    frame = normalizer.set_output(transform="pandas").transform(container)
    assert list(frame.columns) == names
    with pytest.raises(ValueError, match="feature names"):
        normalizer.transform(container[["speaker", *names]])


def test_a_column_of_speakers_by_name_and_by_position(rng):
    X, speakers = draw(rng)
    expected = SpeakerNormalizer().fit_transform(X, groups=speakers)
    named = table_of(X, speakers).rename(columns={"speaker": "who"})
    np.testing.assert_allclose(SpeakerNormalizer(speaker="who").fit_transform(named), expected)
    codes = pd.factorize(speakers)[0]
    array = np.column_stack([X, codes])
    for position in (N_DIMS, -1):
        normalizer = SpeakerNormalizer(speaker=position)
        np.testing.assert_allclose(normalizer.fit_transform(array), expected)
        assert normalizer.get_feature_names_out().tolist() == [f"x{i}" for i in range(N_DIMS)]


def test_layers(rng):
    X, speakers = draw(rng, shape=(3, 4))
    flat = X.reshape(len(X), -1)
    expected = SpeakerNormalizer().fit_transform(flat, groups=speakers).reshape(X.shape)
    normalizer = SpeakerNormalizer()
    np.testing.assert_allclose(normalizer.fit_transform(X, groups=speakers), expected)
    with pytest.raises(ValueError, match=r"\(3, 3\), but \(3, 4\) in fit"):
        normalizer.transform(X[:, :, :3], groups=speakers)
    with pytest.raises(ValueError, match="three axes"):
        normalizer.set_output(transform="pandas").transform(X, groups=speakers)


def test_spectrograms_lose_the_mean_spectrum_of_the_speaker(rng):
    n_frames = 40
    X, speakers = draw(rng, shape=(N_DIMS,))
    spectrograms = X[:, :, np.newaxis] + rng.normal(size=(len(X), N_DIMS, n_frames))
    normalizer = SpeakerNormalizer(time_axis=-1)
    normalized = normalizer.fit_transform(spectrograms, groups=speakers)
    of_means = SpeakerNormalizer().fit_transform(spectrograms.mean(axis=-1), groups=speakers)
    np.testing.assert_allclose(normalized.mean(axis=-1), of_means)
    # Nothing but a constant per band is subtracted, and any number of frames can be transformed.
    np.testing.assert_allclose(np.ptp(spectrograms - normalized, axis=-1), 0, atol=1e-12)
    longer = np.concatenate([spectrograms, spectrograms], axis=-1)
    np.testing.assert_allclose(
        normalizer.transform(longer, groups=speakers)[..., :n_frames], normalized
    )
    scaled = SpeakerNormalizer(time_axis=-1, scale=True).fit(spectrograms, groups=speakers)
    frame_variance = spectrograms[:N_RECORDINGS].var(axis=-1).mean(axis=0)
    np.testing.assert_allclose(scaled.speakers_["speaker0"]["frame_variance"], frame_variance)


@pytest.mark.parametrize("axis", [0, 3, -3])
def test_time_axis_must_be_frames(rng, axis):
    X, speakers = draw(rng, shape=(3, 4))
    with pytest.raises(ValueError, match=f"time_axis={axis}"):
        SpeakerNormalizer(time_axis=axis).fit(X, groups=speakers)
    with pytest.raises(ValueError, match="time_axis=-1"):
        SpeakerNormalizer(time_axis=-1).fit(X[:, 0], groups=speakers)


def test_a_fit_that_fails_leaves_nothing_to_transform_with(rng):
    X, speakers = draw(rng)
    normalizer = SpeakerNormalizer(time_axis=1)
    with pytest.raises(ValueError, match="time_axis=1"):
        normalizer.fit(X, groups=speakers)
    with pytest.raises(NotFittedError):
        normalizer.transform(X, groups=speakers)


def test_recordings_in_a_table(corpus):
    table = recordings_of(corpus)
    expected = SpeakerNormalizer().fit_transform(
        STATISTICS.transform(corpus.recordings), groups=corpus.groups
    )
    normalizer = SpeakerNormalizer(STATISTICS)
    np.testing.assert_allclose(normalizer.fit_transform(table), expected, rtol=1e-5)
    # Other columns are ignored, and may be missing in prediction.
    few = normalizer.transform(table[["speaker", "recording"]][:3])
    np.testing.assert_allclose(few, expected[:3], rtol=1e-5)
    renamed = table.rename(columns={"recording": "utterance1", "speaker": "who"})
    named = SpeakerNormalizer(STATISTICS, speaker="who", recording="utterance1")
    np.testing.assert_allclose(named.fit_transform(renamed), expected, rtol=1e-5)
    without = renamed.drop(columns="who")
    grouped = SpeakerNormalizer(STATISTICS, recording="utterance1")
    found = grouped.fit_transform(without, groups=corpus.groups)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    single = renamed[["utterance1", "who"]]
    np.testing.assert_allclose(
        SpeakerNormalizer(STATISTICS, speaker="who").fit_transform(single), expected, rtol=1e-5
    )
    as_list = SpeakerNormalizer(STATISTICS).fit_transform(corpus.recordings, groups=corpus.groups)
    np.testing.assert_allclose(as_list, expected, rtol=1e-5)
    array = np.empty((len(table), 2), dtype=object)
    array[:, 0], array[:, 1] = list(corpus.recordings), corpus.groups
    by_position = SpeakerNormalizer(STATISTICS, speaker=1).fit_transform(array)
    np.testing.assert_allclose(by_position, expected, rtol=1e-5)
    names = normalizer.get_feature_names_out()
    assert names.tolist() == STATISTICS.get_feature_names_out().tolist()


def test_segments_in_a_table(corpus, tmp_path):
    import soundfile

    path = str(tmp_path / "long.wav")
    soundfile.write(path, np.concatenate(corpus.recordings[:4]), 16000, subtype="FLOAT")
    starts, ends = [0.0, 0.5, 1.0, 1.5], [0.5, 1.0, 1.5, 2.0]
    segments = [SegmentOfFile(path, *times) for times in zip(starts, ends, strict=True)]
    speakers = ["a", "a", "b", "b"]
    expected = SpeakerNormalizer(STATISTICS).fit_transform(segments, groups=speakers)
    table = pd.DataFrame(
        {"file": path, "start": starts, "end": ends, "speaker": speakers, "n_words": 3}
    )
    np.testing.assert_array_equal(SpeakerNormalizer(STATISTICS).fit_transform(table), expected)
    indexed = table.set_index(["file", "start", "end"])[["speaker"]]
    np.testing.assert_array_equal(SpeakerNormalizer(STATISTICS).fit_transform(indexed), expected)


def test_a_column_transformer_gets_all_other_columns(corpus):
    table = recordings_of(corpus).assign(sex=["female", "male"] * (len(corpus.target) // 2))
    columns = make_column_transformer(
        (STATISTICS, "recording"), (OneHotEncoder(sparse_output=False), ["sex"])
    )
    n_columns = 8 + 2
    assert SpeakerNormalizer(columns).fit_transform(table).shape == (len(table), n_columns)
    in_pipeline = make_pipeline(columns)
    assert SpeakerNormalizer(in_pipeline).fit_transform(table).shape == (len(table), n_columns)


def test_missing_speakers_raise(rng, corpus):
    X, speakers = draw(rng)
    for values in (X, pd.DataFrame(X)):
        with pytest.raises(ValueError, match="table with a column of speakers"):
            SpeakerNormalizer().fit(values)
    normalizer = SpeakerNormalizer().fit(X, groups=speakers)
    with pytest.raises(ValueError, match="needs the speaker of each recording"):
        normalizer.transform(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        normalizer.transform(X, groups=speakers[:5])
    with pytest.raises(ValueError, match=r"speaker='who' is no column.*'speaker'"):
        SpeakerNormalizer(STATISTICS, speaker="who").fit(recordings_of(corpus))
    with pytest.raises(ValueError, match="needs the speaker of each recording"):
        SpeakerNormalizer(STATISTICS).fit(corpus.recordings)


def test_errors_name_the_recording_of_the_table(corpus):
    table = recordings_of(corpus)[["recording", "speaker"]]
    table.at[2, "recording"] = "missing.wav"
    with pytest.raises(ValueError, match=r"ecording 2.*missing\.wav"):
        SpeakerNormalizer(STATISTICS).fit(table)


def test_cross_validation_and_searches(corpus):
    table = recordings_of(corpus)
    pipeline = make_pipeline(SpeakerNormalizer(STATISTICS), LogisticRegression(max_iter=3000))
    cv, kwargs = LeaveOneGroupOut(), {"groups": corpus.groups}
    predicted = cross_val_predict(pipeline, table, corpus.target, cv=cv, **kwargs)
    features = STATISTICS.transform(corpus.recordings)
    for train, test in cv.split(features, corpus.target, corpus.groups):
        normalizer = SpeakerNormalizer().fit(features[train], groups=corpus.groups[train])
        by_hand = LogisticRegression(max_iter=3000).fit(
            normalizer.transform(features[train], groups=corpus.groups[train]),
            corpus.target[train],
        )
        rows = normalizer.transform(features[test], groups=corpus.groups[test])
        assert (by_hand.predict(rows) == predicted[test]).mean() > 0.9
    search = GridSearchCV(
        pipeline,
        {
            "speakernormalizer__scale": [False, True],
            "speakernormalizer__transformer__n_mels": [4, 8],
        },
        cv=GroupKFold(2),
        scoring="balanced_accuracy",
        error_score="raise",
    )
    scores = cross_validate(
        search.fit(table, corpus.target, **kwargs).best_estimator_,
        table,
        corpus.target,
        cv=GroupKFold(2),
        error_score="raise",
        **kwargs,
    )
    assert np.isfinite(scores["test_score"]).all()
    assert len(search.cv_results_["params"]) == 4


def test_groups_are_routed_through_a_pipeline(corpus):
    table = recordings_of(corpus)
    pipeline = make_pipeline(SpeakerNormalizer(STATISTICS), LogisticRegression(max_iter=3000))
    expected = pipeline.fit(table, corpus.target).predict_proba(table)
    with config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline.fit(corpus.recordings, corpus.target, groups=corpus.groups)
        routed = pipeline.predict_proba(corpus.recordings, groups=corpus.groups)
        np.testing.assert_allclose(routed, expected, rtol=1e-4)
        with pytest.raises(ValueError, match="needs the speaker"):
            pipeline.predict(corpus.recordings)


def test_each_recording_is_embedded_once_in_fit(corpus):
    calls = []

    class Counting(LogMelSpectrogram):
        def transform(self, X):
            calls.append(len(X))
            return super().transform(X)

    Counting.__name__ = "LogMelSpectrogram"
    table = recordings_of(corpus)
    counting = Counting(n_mels=8, pooling="mean", normalize=None)
    SpeakerNormalizer(counting).fit_transform(table)
    assert calls == [len(table)]


def test_with_layers_of_a_network_and_a_selector(corpus):
    table = recordings_of(corpus)[["recording", "speaker"]]
    embedder = WhisperEmbedder(small_network("whisper"), layers="all", context="recording")
    pipeline = make_pipeline(SpeakerNormalizer(embedder), LayerSelector(1), LogisticRegression())
    probabilities = pipeline.fit(table, corpus.target).predict_proba(table)
    layers = embedder.transform(corpus.recordings)
    normalized = SpeakerNormalizer().fit_transform(layers, groups=corpus.groups)
    np.testing.assert_allclose(
        pipeline[:2].transform(table), normalized[:, 1], rtol=1e-4, atol=1e-5
    )
    assert probabilities.shape == (len(table), 7)


def test_before_emohrnet_and_fusion(corpus):
    table = recordings_of(corpus)[["recording", "speaker"]]
    spectrograms = LogMelSpectrogram(n_mels=32, duration=0.6, normalize=None)
    network = make_pipeline(
        SpeakerNormalizer(spectrograms, time_axis=-1),
        EmoHRNetClassifier(width=2, head_width=2, max_epochs=1, random_state=0),
    )
    assert network.fit(table, corpus.target).predict(table[:3]).shape == (3,)
    both = FeatureUnion(
        [
            ("statistics", STATISTICS),
            ("maxima", LogMelSpectrogram(n_mels=6, pooling="max", normalize=None)),
        ]
    )
    fusion = make_pipeline(
        SpeakerNormalizer(both).set_output(transform="pandas"),
        HyperbolicFusionClassifier(max_epochs=1, random_state=0),
    )
    fusion.fit(table, corpus.target)
    assert [len(columns) for columns in fusion[-1].blocks_.values()] == [8, 6]


def test_unusable_rows_do_not_count_as_enrolled(rng):
    X, speakers = draw(rng)
    normalizer = SpeakerNormalizer(n_enrollment=1).fit(X, groups=speakers)
    new = rng.normal(size=(3, N_DIMS))
    expected = normalizer.transform(new, groups=["new"] * 3)
    with_nan = np.vstack([np.full(N_DIMS, np.nan), new])
    np.testing.assert_array_equal(normalizer.transform(with_nan, groups=["new"] * 4)[1:], expected)


def test_misleading_input_warns_or_raises(rng, corpus):
    X, speakers = draw(rng)
    codes = pd.factorize(speakers)[0]
    normalizer = SpeakerNormalizer().fit(X, groups=codes)
    with pytest.warns(UserWarning, match="another type than in fit, such as '0' compared with 0"):
        normalizer.transform(X, groups=codes.astype(str))
    X[:, 0] = np.nan
    with pytest.warns(UserWarning, match=f"0 known speakers, without the {len(X)} rows"):
        normalizer.fit(X, groups=codes)
    with pytest.warns(UserWarning, match="too few speakers"):
        normalizer.enroll(X, codes)
    with pytest.raises(ValueError, match="must be one-dimensional"):
        normalizer.fit(X, groups=[(code, 1) for code in codes])
    table = recordings_of(corpus).rename(columns={"recording": "clip"})
    with pytest.raises(ValueError, match="Choose one with the parameter `recording`"):
        SpeakerNormalizer(STATISTICS).fit(table)
    layers = rng.normal(size=(len(codes), 2, 3))
    with pytest.raises(ValueError, match=r"no columns to name\. Use flatten=True"):
        SpeakerNormalizer().fit(layers, groups=codes).get_feature_names_out()


def test_it_gains_on_new_speakers_of_a_real_corpus(corpus_folder):
    """One speaker of Emo-DB out, linear classifier on log-mel statistics: .63 without it."""
    emodb = load_emodb(corpus_folder("emodb"))
    front_end = LogMelSpectrogram(
        n_mels=40, pooling="mean_std_delta", duration=None, normalize=None
    )
    features = pd.DataFrame(front_end.fit_transform(emodb.recordings)).add_prefix("feature")
    table = features.assign(speaker=emodb.groups)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))

    def predict(*steps, X):
        pipeline = make_pipeline(*steps, classifier)
        return cross_val_predict(
            pipeline, X, emodb.target, groups=emodb.groups, cv=LeaveOneGroupOut()
        )

    strict = predict(X=features)
    few, enrolled = (predict(SpeakerNormalizer(n_enrollment=k), X=table) for k in (5, None))
    for predicted, least_gain in ((few, 0.03), (enrolled, 0.08)):
        gain, low, _ = paired_difference(
            unweighted_average_recall,
            emodb.target,
            predicted,
            strict,
            groups=emodb.groups,
            n_resamples=200,
            random_state=0,
        )
        assert gain > least_gain
        assert low > 0
