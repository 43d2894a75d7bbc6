"""EMOVO: file names and two microphones."""

import warnings
from collections import Counter
from itertools import product

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.model_selection import LeaveOneGroupOut

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.audio import SegmentOfFile
from sklearn_ser.datasets import load_emovo
from sklearn_ser.datasets._emovo import _LAYOUT

SENTENCES = [
    *("b1", "b2", "b3"),
    *("l1", "l2", "l3", "l4"),
    *("n1", "n2", "n3", "n4", "n5"),
    "d1",
    "d2",
]
NAMES = [
    f"{emotion}-{speaker}-{sentence}"
    for speaker in ("f1", "f2", "f3", "m1", "m2", "m3")
    for emotion in ("dis", "gio", "neu", "pau", "rab", "sor", "tri")
    for sentence in SENTENCES
]


@pytest.fixture
def full(grow):
    return grow(*(f"{name[4:6]}/{name}.wav" for name in NAMES))


@pytest.fixture(autouse=True)
def strict():
    """Fail on unexpected warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_complete_corpus(full):
    data = load_emovo(full)
    assert Counter(data.groups) == dict.fromkeys(("f1", "f2", "f3", "m1", "m2", "m3"), 98)
    emotions = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert Counter(data.target) == dict.fromkeys(emotions, 84)
    assert LeaveOneGroupOut().get_n_splits(groups=data.groups) == 6
    assert Counter(data.frame["kind"]) == {
        "short": 126,
        "long": 168,
        "nonsense": 210,
        "question": 84,
    }
    assert "588 recordings" in data.DESCR


def test_labels_are_parsed_from_file_names(grow):
    folder = grow("m3/TRI-M3-N5.WAV", "f1/dis-f1-b1.flac")
    with pytest.warns(UserWarning, match="2 of 588"):
        data = load_emovo(folder, channel=None)
    paths = [str(folder / "f1/dis-f1-b1.flac"), str(folder / "m3/TRI-M3-N5.WAV")]
    assert data.recordings.tolist() == paths
    assert data.frame.to_dict("records") == [
        {
            "recording": paths[0],
            "path": paths[0],
            "emotion": "disgust",
            "speaker": "f1",
            "sex": "female",
            "sentence": "b1",
            "text": "Gli operai si alzano presto.",
            "kind": "short",
            "language": "it",
        },
        {
            "recording": paths[1],
            "path": paths[1],
            "emotion": "sadness",
            "speaker": "m3",
            "sex": "male",
            "sentence": "n5",
            "text": "Uno quarantatré dieci mille cinquantasette venti.",
            "kind": "nonsense",
            "language": "it",
        },
    ]


def test_pattern_matches_only_names_of_the_corpus():
    emotions = ("ang", "dis", "gio", "neu", "pau", "rab", "sor", "tri")
    kinds = [f"{kind}{number}" for kind in "abdln" for number in range(7)]
    speakers = [f"{sex}{number}" for sex in "fmx" for number in range(5)]
    names = map("-".join, product(emotions, speakers, kinds))
    assert {name for name in names if _LAYOUT.fields(name)} == set(NAMES)
    assert _LAYOUT.fields("dis-f1-b1-copy") is None


@pytest.mark.parametrize("channel", ["louder", 0, 1])
def test_recordings_are_channels(full, channel):
    data = load_emovo(full, channel=channel, emotions=["anger", "fear"])
    assert isinstance(data.recordings, np.ndarray)
    assert data.recordings.shape == (168,)
    assert data.recordings.tolist() == data.frame["recording"].tolist()
    paths = data.frame["path"]
    assert data.recordings.tolist() == [SegmentOfFile(path, channel=channel) for path in paths]
    assert all("/rab-" in path or "/pau-" in path for path in paths)


def test_as_frame_keeps_the_channels(full):
    data = load_emovo(full, as_frame=True)
    assert isinstance(data.recordings, pd.Series)
    assert data.recordings.iloc[0] == SegmentOfFile(data.frame["path"].iloc[0], channel="louder")
    pd.testing.assert_series_equal(data.recordings, data.frame["recording"])
    pd.testing.assert_index_equal(data.recordings.index, data.target.index)
    X, y = load_emovo(full, as_frame=True, return_X_y=True)
    pd.testing.assert_series_equal(X, data.recordings)
    pd.testing.assert_series_equal(y, data.target)
    paths = load_emovo(full, as_frame=True, channel=None)
    pd.testing.assert_series_equal(paths.recordings, paths.frame["recording"])


def test_microphones_give_different_features(tmp_path):
    rng = np.random.default_rng(0)
    voice = rng.normal(size=48000) * 0.1
    # The second microphone records the voice later, louder and with inverted polarity.
    stereo = np.stack([voice, -1.5 * np.roll(voice, 40)], axis=1)
    soundfile.write(tmp_path / "dis-f1-b1.wav", stereo, 48000, subtype="FLOAT")

    def features(microphone, **options):
        with pytest.warns(UserWarning, match="1 of 588"):
            recordings = load_emovo(tmp_path, channel=microphone).recordings
        return LogMelSpectrogram(normalize=None, **options).fit_transform(recordings)

    np.testing.assert_array_equal(features("louder"), features(1))
    np.testing.assert_array_equal(features(0), features(None, channel=0))
    np.testing.assert_array_equal(features(1), features(None, channel=1))
    assert np.abs(features(0) - features(1)).max() > 0.1


def test_missing_recordings_are_named(one_warning, full):
    for name in ("dis-f1-b1", "tri-m3-d2", "gio-f1-n4"):
        (full / name[4:6] / f"{name}.wav").unlink()
    _, message = one_warning(load_emovo, full)
    assert "585 of 588 recordings; speaker f1 has 96 of 98, m3 has 97 of 98." in message
    assert "Missing: dis-f1-b1, gio-f1-n4, tri-m3-d2." in message


def test_copies_and_other_names(full):
    (full / "copy" / "f1").mkdir(parents=True)
    (full / "copy" / "f1" / "dis-f1-b1.wav").write_text("dis-f1-b1.wav")
    (full / "f1" / "dis-f1-b9.wav").touch()
    with (
        pytest.warns(UserWarning, match=r"1 recordings occur more than once.*copy/f1/dis"),
        pytest.warns(UserWarning, match=r"1 audio files skipped.*f1/dis-f1-b9\.wav"),
    ):
        data = load_emovo(full)
    assert len(data.recordings) == 588
    assert data.recordings[0].path == str(full / "f1" / "dis-f1-b1.wav")


@pytest.mark.parametrize("channel", [2, -1, "quieter", 0.5])
def test_channel_is_validated(channel):
    with pytest.raises(ValueError, match="'channel' parameter of load_emovo"):
        load_emovo("nowhere", channel=channel)
