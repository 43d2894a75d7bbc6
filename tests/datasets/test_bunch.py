"""Selection of emotions and contents of the Bunch."""

import numpy as np
import pandas as pd
import pytest

from sklearn_ser.datasets import (
    _cremad,
    _emodb,
    _emovo,
    _iemocap,
    _msp_podcast,
    _ravdess,
    _savee,
    _tess,
)
from sklearn_ser.datasets._bunch import EMOTIONS, make_bunch

KEYS = ("recordings", "target", "target_names", "groups", "frame", "DESCR")
PATHS = ["a.wav", "b.wav", "c.wav", "d.wav"]
COLUMNS = {
    "emotion": ["calm", "anger", "neutral", "calm"],
    "speaker": ["03", "08", "03", "08"],
    "age": [31, 34, 31, 34],
}


def bunch(**options):
    return make_bunch({"recording": PATHS, **COLUMNS}, descr="text", **options)


def test_keys_and_values():
    data = bunch(keys={"ages": "age"})
    assert set(data) == {*KEYS, "ages"}
    assert data.recordings.tolist() == PATHS
    assert data.recordings.dtype.kind == data.target.dtype.kind == data.groups.dtype.kind == "U"
    assert data.target.tolist() == COLUMNS["emotion"]
    assert data.target_names == ["anger", "calm", "neutral"]
    assert data.groups.tolist() == COLUMNS["speaker"]
    assert data.DESCR == "text"
    assert list(data.frame) == ["recording", "emotion", "speaker", "age"]
    assert data.frame["age"].tolist() == data.ages.tolist() == COLUMNS["age"]


def test_sequence_keeps_a_subset_of_every_part():
    data = bunch(emotions=["neutral", "calm"], keys={"ages": "age"})
    assert data.recordings.tolist() == ["a.wav", "c.wav", "d.wav"]
    assert data.target.tolist() == ["calm", "neutral", "calm"]
    assert data.target_names == ["calm", "neutral"]
    assert data.groups.tolist() == ["03", "03", "08"]
    assert data.frame["age"].tolist() == data.ages.tolist() == [31, 31, 34]
    assert data.frame.index.tolist() == [0, 1, 2]


def test_mapping_merges_and_keeps_its_keys_only():
    data = bunch(emotions={"calm": "neutral", "neutral": "neutral"})
    assert data.target.tolist() == ["neutral"] * 3
    assert data.target_names == ["neutral"]
    assert data.frame["emotion"].tolist() == ["neutral"] * 3


def test_long_new_name_is_not_truncated():
    data = bunch(emotions={"anger": "a very long new name"})
    assert data.target.tolist() == ["a very long new name"]


@pytest.mark.parametrize("emotions", [["joy", "calm"], {"joy": "happiness", "calm": "calm"}])
def test_unknown_emotion_names_it_and_all_known_ones(emotions):
    with pytest.raises(ValueError, match=r"names 'joy', .*have 'anger', 'calm', 'neutral'\."):
        bunch(emotions=emotions)


def test_emotion_that_only_the_complete_corpus_has():
    data = bunch(emotions=["anger", "disgust"], known_emotions=["disgust"])
    assert data.target.tolist() == ["anger"]
    with pytest.raises(ValueError, match=r"selects none of the 4 recordings.*'anger', 'calm'"):
        bunch(emotions=["disgust"], known_emotions=["disgust"])


@pytest.mark.parametrize("emotions", ["calm", [], {}])
def test_invalid_emotions(emotions):
    with pytest.raises(ValueError, match=r"must be a list of emotions to keep"):
        bunch(emotions=emotions)


def test_without_speakers():
    columns = {"recording": PATHS, "emotion": COLUMNS["emotion"]}
    assert make_bunch(columns, descr="").groups is None
    assert make_bunch(columns, descr="", as_frame=True).groups is None


def test_arrays_hold_none_where_a_text_is_missing():
    data = make_bunch(
        {"recording": PATHS, **COLUMNS, "text": ["a", None, "b", np.nan], "same": "de"},
        keys={"text": "text", "language": "same"},
        descr="",
    )
    assert data.text.tolist() == ["a", None, "b", None]
    assert data.frame["text"].isna().tolist() == [False, True, False, True]
    assert data.language.dtype.kind == "U"


def test_several_outputs():
    columns = {"recording": PATHS, **COLUMNS, "loud": [1.0, 2.0, 3.0, 4.0]}
    options = {"outputs": ["loud", "age"], "emotions": ["calm"], "descr": ""}
    data = make_bunch(columns, **options)
    assert data.target.tolist() == [[1.0, 31.0], [4.0, 34.0]]
    assert data.target_names == ["loud", "age"]
    data = make_bunch(columns, as_frame=True, **options)
    pd.testing.assert_frame_equal(data.target, data.frame[["loud", "age"]])


def test_return_X_y():
    recordings, target = bunch(emotions=["calm"], return_X_y=True)
    assert recordings.tolist() == ["a.wav", "d.wav"]
    assert target.tolist() == ["calm", "calm"]


def test_as_frame():
    data = bunch(emotions=["calm"], as_frame=True)
    for series, column in (
        (data.recordings, "recording"),
        (data.target, "emotion"),
        (data.groups, "speaker"),
    ):
        pd.testing.assert_series_equal(series, data.frame[column])
    X, y = bunch(emotions=["calm"], as_frame=True, return_X_y=True)
    pd.testing.assert_series_equal(X, data.recordings)
    pd.testing.assert_series_equal(y, data.target)


@pytest.mark.parametrize("lengths", [(3, 3, 3, 3), (3, 4, 5, 6)])
def test_waveforms_stay_a_list_and_need_no_path_column(lengths):
    waveforms = [np.full(length, float(length)) for length in lengths]
    data = make_bunch(COLUMNS, waveforms=waveforms, emotions=["calm"], descr="")
    assert isinstance(data.recordings, list)
    assert data.recordings[0] is waveforms[0]
    assert data.recordings[1] is waveforms[3]
    assert "recording" not in data.frame
    series = make_bunch(COLUMNS, waveforms=waveforms, descr="", as_frame=True).recordings
    assert series.name == "recording"
    assert series.iloc[3] is waveforms[3]


def test_corpora_share_one_vocabulary():
    assert sorted(EMOTIONS) == list(EMOTIONS)
    for module in (_cremad, _emodb, _emovo, _iemocap, _msp_podcast, _ravdess, _savee, _tess):
        assert set(module._EMOTIONS.values()) <= set(EMOTIONS)
