"""RAVDESS: file names, vocal channels and EmoBox's folds."""

import warnings
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import PredefinedSplit

from sklearn_ser.datasets import load_ravdess
from sklearn_ser.datasets._ravdess import _LAYOUT

SUNG = {"neutral", "calm", "happiness", "sadness", "anger", "fear"}


@pytest.fixture(scope="module")
def whole(grow_to_read, ravdess_names):
    """Return the complete corpus, which must not be changed."""
    return grow_to_read(*(f"Actor_{name[-2:]}/{name}.wav" for name in ravdess_names))


@pytest.fixture
def full(grow, ravdess_names):
    """Return a complete corpus that may be changed."""
    return grow(*(f"Actor_{name[-2:]}/{name}.wav" for name in ravdess_names))


@pytest.fixture(autouse=True)
def strict():
    """Fail on unexpected warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channel", "n_recordings", "n_actors", "n_neutral", "n_calm"),
    [("speech", 1440, 24, 96, 192), ("song", 1012, 23, 92, 184), ("both", 2452, 24, 188, 376)],
)
def test_channels(whole, channel, n_recordings, n_actors, n_neutral, n_calm):
    data = load_ravdess(whole, vocal_channel=channel)
    assert len(data.recordings) == n_recordings
    assert len(set(data.groups)) == n_actors
    counts = Counter(data.target)
    assert counts["neutral"] == n_neutral
    assert counts["calm"] == n_calm
    assert (set(data.target_names) == SUNG) == (channel == "song")
    channels = {"speech", "song"} if channel == "both" else {channel}
    assert set(data.frame["vocal_channel"]) == channels


def test_labels_are_parsed_from_file_names(grow):
    folder = grow("03-01-06-01-02-01-12.WAV", "03-02-05-02-01-02-01.flac")
    with pytest.warns(UserWarning, match="2 of 2452"):
        data = load_ravdess(folder, vocal_channel="both")
    assert data.recordings.tolist() == [
        str(folder / "03-02-05-02-01-02-01.flac"),
        str(folder / "03-01-06-01-02-01-12.WAV"),
    ]
    assert data.frame.iloc[:, 1:].to_dict("records") == [
        {
            "emotion": "anger",
            "speaker": "01",
            "sex": "male",
            "intensity": "strong",
            "sentence": "01",
            "text": "Kids are talking by the door.",
            "repetition": 2,
            "vocal_channel": "song",
            "language": "en",
            "emobox_fold": 0,
        },
        {
            "emotion": "fear",
            "speaker": "12",
            "sex": "female",
            "intensity": "normal",
            "sentence": "02",
            "text": "Dogs are sitting by the door.",
            "repetition": 1,
            "vocal_channel": "speech",
            "language": "en",
            "emobox_fold": 1,
        },
    ]


def test_pattern_matches_only_names_of_the_corpus(ravdess_names):
    parts = product(range(5), range(4), range(10), range(4), range(4), range(4), range(26))
    names = ("-".join(f"{part:02d}" for part in name) for name in parts if name[0] == 3)
    assert {name for name in names if _LAYOUT.fields(name)} == set(ravdess_names)
    # Videos with sound, transcoded to audio, are other recordings of the same performance.
    assert _LAYOUT.fields("01-01-06-01-02-01-12") is None


@pytest.mark.slow
def test_missing_recordings_are_named(one_warning, full):
    for name in ("03-01-04-01-01-01-02", "03-01-03-01-01-01-02", "03-01-08-02-02-02-24"):
        (full / f"Actor_{name[-2:]}" / f"{name}.wav").unlink()
    _, message = one_warning(load_ravdess, full)
    assert "1437 of 1440 recordings; speaker 02 has 58 of 60, 24 has 59 of 60." in message
    assert "Missing: 03-01-03-01-01-01-02, 03-01-04-01-01-01-02, 03-01-08-02-02-02-24." in message


def test_only_the_chosen_channel_may_be_missing(grow, ravdess_names):
    folder = grow(*(f"{name}.wav" for name in ravdess_names if name[3:5] == "01"))
    assert len(load_ravdess(folder).recordings) == 1440
    with pytest.raises(ValueError, match=r"1440 recordings of RAVDESS.*vocal_channel='song'"):
        load_ravdess(folder, vocal_channel="song")
    with pytest.warns(UserWarning, match=r"1440 of 2452 recordings; speaker 01 has 60 of 104"):
        load_ravdess(folder, vocal_channel="both")


@pytest.mark.slow
def test_copy_that_holds_the_corpus_twice(one_warning, grow, ravdess_names):
    speech = [f"Actor_{name[-2:]}/{name}.wav" for name in ravdess_names if name[3:5] == "01"]
    folder = grow(*speech, *(f"audio_speech_actors_01-24/{name}" for name in speech))
    data, message = one_warning(load_ravdess, folder)
    name = "Actor_01/03-01-01-01-01-01-01.wav"
    assert (
        f"1440 recordings occur more than once, such as {name} and "
        f"audio_speech_actors_01-24/{name}."
    ) in message
    assert len(data.recordings) == 1440
    assert all(Path(recording).parent.parent == folder for recording in data.recordings)


@pytest.mark.slow
def test_unknown_names(full):
    for name in ("03-01-01-02-01-01-01", "03-02-07-01-01-01-01", "03-02-02-01-01-01-18"):
        (full / f"{name}.wav").touch()
    with pytest.warns(UserWarning, match="3 audio files skipped"):
        assert len(load_ravdess(full, vocal_channel="both").recordings) == 2452


@pytest.mark.slow
def test_song_has_no_disgust(whole):
    with pytest.raises(ValueError, match="'disgust', which these recordings do not have"):
        load_ravdess(whole, vocal_channel="song", emotions=["anger", "disgust"])


@pytest.mark.slow
def test_emotions_filter_the_folds(whole):
    merged = {"calm": "neutral", "neutral": "neutral", "anger": "anger"}
    data = load_ravdess(whole, emotions=merged)
    assert Counter(data.target) == {"neutral": 96 + 192, "anger": 192}
    assert len(data.emobox_folds) == len(data.target)
    assert data.frame["emobox_fold"].tolist() == data.emobox_folds.tolist()


@pytest.mark.slow
def test_emobox_folds_keep_actors_apart(whole):
    data = load_ravdess(whole)
    assert data.emobox_folds.dtype.kind == "i"
    splits = list(PredefinedSplit(data.emobox_folds).split())
    assert len(splits) == 6
    assert sum(len(test) for _, test in splits) == 1440
    for train, test in splits:
        assert not set(data.groups[train]) & set(data.groups[test])
        assert len(train) + len(test) == 1440
        assert len(test) == 240
    published = [
        {"01", "11", "20", "21"},
        {"04", "10", "12", "14"},
        {"08", "09", "19", "23"},
        {"03", "05", "07", "24"},
        {"02", "15", "16", "18"},
        {"06", "13", "17", "22"},
    ]
    assert [set(data.groups[data.emobox_folds == fold]) for fold in range(6)] == published


def test_channel_is_validated():
    with pytest.raises(ValueError, match="'vocal_channel' parameter of load_ravdess"):
        load_ravdess("nowhere", vocal_channel="video")


def test_wrong_folder_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Actor_01/ to Actor_24/.*1188976"):
        load_ravdess(tmp_path / "nowhere")


@pytest.mark.slow
def test_description_has_the_corpus_counts(whole):
    data = load_ravdess(whole, vocal_channel="both")
    for emotion in data.target_names:
        line = next(line for line in data.DESCR.splitlines() if line.startswith(f"{emotion} "))
        of_emotion = data.frame.loc[data.target == emotion, "vocal_channel"]
        said = [int(cell) for cell in line.split()[1:]]
        assert said == [(of_emotion == channel).sum() for channel in ("speech", "song")]


def test_real_corpus(metadata):
    folder, rows = metadata("ravdess")
    data = load_ravdess(folder)
    assert len(rows) == 1440
    relative = [Path(r).relative_to(folder).as_posix() for r in data.recordings]
    assert relative == [row["file"] for row in rows]
    for column in ("emotion", "speaker", "sex", "intensity", "sentence", "text", "language"):
        assert data.frame[column].tolist() == [row[column] for row in rows], column
    assert data.frame["repetition"].tolist() == [int(row["repetition"]) for row in rows]
    assert data.target.tolist() == [row["emotion"] for row in rows]
    assert data.groups.tolist() == [row["speaker"] for row in rows]
    assert np.bincount(data.emobox_folds).tolist() == [240] * 6
