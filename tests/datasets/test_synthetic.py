"""The synthetic corpus: reproducible, valid, and neither trivial nor too difficult."""

import numpy as np
import pandas as pd
import parselmouth
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.datasets._synthetic import EMOTIONS
from sklearn_ser.metrics import unweighted_average_recall

DEFAULT_EMOTIONS = ["anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"]
SMALL = {"n_speakers": 2, "emotions": ["anger", "sadness"], "n_sentences": 2}


@pytest.fixture(scope="module")
def corpus():
    return make_emotional_speech(random_state=0)


@pytest.fixture(scope="module")
def statistics(corpus):
    """Return the features of the quickstart."""
    front_end = LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None)
    return front_end.transform(corpus.recordings)


def recall_of(X, y, groups):
    """Return the recall over pooled predictions, leaving one speaker out."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    predicted = cross_val_predict(classifier, X, y, groups=groups, cv=LeaveOneGroupOut())
    return unweighted_average_recall(y, predicted)


def same(left, right):
    return len(left) == len(right) and all(map(np.array_equal, left, right))


@pytest.mark.slow
def test_each_speaker_says_each_sentence_in_each_emotion(corpus):
    assert len(corpus.recordings) == len(corpus.target) == len(corpus.groups) == 8 * 7 * 5
    assert corpus.target_names == DEFAULT_EMOTIONS
    cells = corpus.frame.groupby(["speaker", "emotion", "sentence"]).size()
    assert len(cells) == 280
    assert (cells == 1).all()
    assert sorted(set(corpus.groups)) == [f"speaker{number:02d}" for number in range(8)]
    assert corpus.frame.groupby("sex")["speaker"].nunique().to_dict() == {"female": 4, "male": 4}
    assert (corpus.frame.groupby("sentence")["text"].nunique() == 1).all()
    assert corpus.frame["text"].nunique() == 5


@pytest.mark.slow
def test_frame_agrees_with_the_rest(corpus):
    np.testing.assert_array_equal(corpus.frame["emotion"], corpus.target)
    np.testing.assert_array_equal(corpus.frame["speaker"], corpus.groups)
    durations = [len(recording) / corpus.sampling_rate for recording in corpus.recordings]
    np.testing.assert_allclose(corpus.frame["duration"], durations)
    assert "280 recordings of 8 speakers, 5 nonsense sentences" in corpus.DESCR


@pytest.mark.slow
def test_recordings_are_waveforms(corpus):
    for recording in corpus.recordings:
        assert recording.dtype == np.float32
        assert recording.ndim == 1
        assert np.isfinite(recording).all()
        assert np.abs(recording).max() <= 1
        assert abs(recording.mean()) < 0.01
        assert 0.8 < len(recording) / corpus.sampling_rate < 3.2
    assert 1.2 < corpus.frame["duration"].mean() < 2.0


def test_same_random_state_gives_the_same_bits():
    first, again, other = (
        make_emotional_speech(**SMALL, random_state=state).recordings for state in (7, 7, 8)
    )
    assert same(first, again)
    assert not same(first, other)


def test_random_state_instance_is_used_up():
    rng = np.random.RandomState(3)
    first = make_emotional_speech(**SMALL, random_state=rng).recordings
    second = make_emotional_speech(**SMALL, random_state=rng).recordings
    assert same(
        first, make_emotional_speech(**SMALL, random_state=np.random.RandomState(3))["recordings"]
    )
    assert not same(first, second)


def test_global_random_state_is_neither_used_nor_touched():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = make_emotional_speech(**SMALL, random_state=5).recordings
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert same(first, make_emotional_speech(**SMALL, random_state=5).recordings)


@pytest.mark.slow
def test_a_recording_does_not_depend_on_the_size_of_the_corpus(corpus):
    small = make_emotional_speech(2, ["sadness", "anger"], 2, random_state=0)
    large = corpus.frame.set_index(["speaker", "emotion", "sentence"])
    large["position"] = np.arange(len(large))
    keys = list(small.frame[["speaker", "emotion", "sentence"]].itertuples(index=False, name=None))
    assert same(small.recordings, [corpus.recordings[large.loc[key, "position"]] for key in keys])


@pytest.mark.slow
def test_audio_has_the_stated_f0(corpus):
    for position in range(0, len(corpus.recordings), 23):
        sound = parselmouth.Sound(
            corpus.recordings[position].astype(np.float64), corpus.sampling_rate
        )
        pitch = sound.to_pitch(pitch_floor=55, pitch_ceiling=600).selected_array["frequency"]
        semitones = 12 * np.log2(pitch[pitch > 0].mean() / corpus.frame["f0"][position])
        assert abs(semitones) < 0.5


@pytest.mark.slow
def test_emotions_move_the_voice_as_reported(corpus):
    frame = corpus.frame.assign(
        level=[20 * np.log10(recording.std()) for recording in corpus.recordings]
    )
    means = frame.groupby("emotion")[["f0", "level", "duration"]].mean()
    assert means["f0"][["anger", "fear", "happiness"]].min() > 1.1 * means["f0"]["neutral"]
    assert means["f0"][["boredom", "sadness"]].max() < means["f0"]["neutral"]
    assert means["level"]["anger"] > means["level"]["neutral"] + 2 > means["level"]["sadness"] + 4
    assert means["duration"]["fear"] < means["duration"]["neutral"] < means["duration"]["sadness"]


@pytest.mark.slow
def test_spectrum_tells_the_emotions_apart_but_not_perfectly(corpus, statistics):
    assert 0.6 < recall_of(statistics, corpus.target, corpus.groups) < 0.95


@pytest.mark.slow
def test_shuffled_labels_are_at_chance(corpus, statistics):
    rng = np.random.default_rng(0)
    y = corpus.target.copy()
    for speaker in set(corpus.groups):
        y[corpus.groups == speaker] = rng.permutation(y[corpus.groups == speaker])
    # Classes are balanced, so the recall equals the accuracy.
    low, high = binom.interval(0.999, len(y), 1 / 7) / np.array(len(y))
    assert low <= recall_of(statistics, y, corpus.groups) <= high


@pytest.mark.slow
def test_neither_pitch_nor_loudness_alone_tells_the_emotions_apart(corpus):
    pitch = np.log(corpus.frame[["f0"]].to_numpy())
    level = np.array([[20 * np.log10(recording.std())] for recording in corpus.recordings])
    assert recall_of(pitch, corpus.target, corpus.groups) <= 0.4
    assert recall_of(level, corpus.target, corpus.groups) <= 0.45


@pytest.mark.parametrize("sampling_rate", [8000, 22050, 48000])
def test_sampling_rate(sampling_rate):
    corpus = make_emotional_speech(1, ["neutral"], 1, sampling_rate=sampling_rate, random_state=0)
    reference = make_emotional_speech(1, ["neutral"], 1, random_state=0)
    assert corpus.sampling_rate == sampling_rate
    np.testing.assert_allclose(corpus.frame["duration"], reference.frame["duration"], atol=1e-3)
    np.testing.assert_allclose(corpus.frame["f0"], reference.frame["f0"], rtol=1e-3)
    assert np.isfinite(corpus.recordings[0]).all()


def test_every_emotion_can_be_made():
    corpus = make_emotional_speech(1, list(EMOTIONS), 1, random_state=0)
    assert corpus.target_names == sorted(EMOTIONS)
    assert corpus.target.tolist() == list(EMOTIONS)


def test_return_X_y():
    recordings, target = make_emotional_speech(**SMALL, random_state=0, return_X_y=True)
    assert len(recordings) == len(target) == 8
    assert isinstance(target, np.ndarray)
    assert target.tolist() == (["anger"] * 2 + ["sadness"] * 2) * 2


def test_as_frame_gives_series():
    corpus = make_emotional_speech(**SMALL, random_state=0, as_frame=True)
    assert isinstance(corpus.recordings, pd.Series)
    assert isinstance(corpus.target, pd.Series)
    assert isinstance(corpus.groups, pd.Series)
    _, target = make_emotional_speech(**SMALL, random_state=0, as_frame=True, return_X_y=True)
    pd.testing.assert_series_equal(target, corpus.target)


@pytest.mark.parametrize(
    ("emotions", "message"),
    [
        (["anger", "rage"], r"Unknown emotions \['rage'\].*'surprise'"),
        ([], "`emotions` is empty"),
        (["anger", "fear", "anger"], r"repeats \['anger'\]"),
    ],
)
def test_bad_emotions(emotions, message):
    with pytest.raises(ValueError, match=message):
        make_emotional_speech(emotions=emotions)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_speakers": 0},
        {"n_sentences": 1.5},
        {"emotions": "anger"},
        {"emotions": {"anger": "rage"}},
        {"sampling_rate": 4000},
        {"random_state": "seed"},
    ],
)
def test_bad_parameters(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        make_emotional_speech(**parameters)
