"""Which column holds recordings, and which transcripts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_ser.estimators._speech_table import read_speech_table

WAVEFORMS = [np.ones(5, dtype=np.float32), np.ones(7, dtype=np.float32)]
PATHS = ["a.wav", "b.wav"]
TEXTS = ["Leave me alone.", None]


def read(X, *, text_model="a model"):
    recordings, transcripts = read_speech_table(
        SimpleNamespace(text_model=text_model), X, reset=True
    )
    return list(recordings), transcripts


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame({"path": PATHS, "transcript": TEXTS}),
        pl.DataFrame({"path": PATHS, "transcript": TEXTS}),
        pd.DataFrame({"Text": TEXTS, "age": [3, 4], "File": PATHS}),
    ],
    ids=["pandas", "polars", "case and others"],
)
def test_columns_are_found_by_their_names(X):
    assert read(X) == (PATHS, TEXTS)


def test_columns_of_an_array_are_recordings_and_transcripts():
    array = np.array([PATHS, TEXTS], dtype=object).T
    assert read(array) == (PATHS, TEXTS)
    array = np.array([[Path(path) for path in PATHS], [None, None]], dtype=object).T
    assert read(array) == (list(array[:, 0]), [None] * 2)
    assert read(array, text_model=None) == (list(array[:, 0]), None)


def test_an_array_of_three_columns_is_ambiguous():
    array = np.array([PATHS, TEXTS, TEXTS], dtype=object).T
    with pytest.raises(ValueError, match="X has 3 columns without names"):
        read(array)


def test_recordings_alone_have_no_transcripts():
    for X in (PATHS, pd.Series(PATHS), pd.DataFrame({"anything": PATHS}), WAVEFORMS):
        recordings, transcripts = read(X)
        assert transcripts is None
        assert len(recordings) == 2
    X = pd.DataFrame({"path": PATHS, "sex": ["f", "m"]})
    assert read(X, text_model=None) == (PATHS, None)


def test_what_is_not_called_a_transcript_is_none():
    assert read(pd.DataFrame({"path": PATHS, "emotion": ["anger", "fear"]})) == (PATHS, None)
    # Nor need transcripts be in order where no model reads them.
    X = pd.DataFrame({"path": PATHS, "text": [1, 2], "sentence": TEXTS})
    assert read(X, text_model=None) == (PATHS, None)


def test_the_columns_of_fit_are_those_of_prediction():
    estimator = SimpleNamespace(text_model="a model")
    fitted = pd.DataFrame({"path": PATHS, "text": TEXTS})
    read_speech_table(estimator, fitted, reset=True)
    more = fitted.assign(file=PATHS[::-1], sentence=TEXTS[::-1])
    assert read_speech_table(estimator, more, reset=False) == (PATHS, TEXTS)
    other = pd.DataFrame({"path": PATHS, "sentence": TEXTS})
    assert read_speech_table(estimator, other, reset=False) == (PATHS, TEXTS)
    array = np.array([PATHS, TEXTS], dtype=object).T
    assert read_speech_table(estimator, array, reset=False) == (PATHS, TEXTS)
    assert read_speech_table(estimator, fitted[["path"]], reset=False) == (PATHS, None)
    # Transcripts that were ignored in fit are ignored in prediction.
    without = SimpleNamespace(text_model=None)
    read_speech_table(without, fitted, reset=True)
    assert read_speech_table(without, fitted, reset=False) == (PATHS, None)


def test_waveforms_in_a_column():
    X = pd.DataFrame({"audio": WAVEFORMS, "text": TEXTS})
    recordings, transcripts = read(X)
    assert [len(recording) for recording in recordings] == [5, 7]
    assert transcripts == TEXTS


def test_missing_and_blank_transcripts_are_none():
    X = pd.DataFrame({"path": ["f"] * 5, "text": ["yes", None, np.nan, pd.NA, "  "]})
    assert read(X)[1] == ["yes", None, None, None, None]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({"a": PATHS, "b": TEXTS}, r"columns 'a', 'b' of X, none .* Rename .* to 'recording'"),
        ({"path": PATHS, "file": PATHS, "text": TEXTS}, "'file' may .* Rename .* to 'recording'"),
        ({"path": PATHS, "text": TEXTS, "sentence": TEXTS}, "may .* Rename .* to 'transcript'"),
        ({"path": PATHS, "text": ["yes", 3]}, "the first at position 1: it is of type int"),
    ],
)
def test_ambiguous_columns_are_named(X, message):
    with pytest.raises(ValueError, match=message):
        read(pd.DataFrame(X))
