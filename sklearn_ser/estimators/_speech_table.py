"""Input of the distilled estimators: recordings, or a table of recordings and transcripts."""

import os
from typing import Any, NamedTuple

import numpy as np

from sklearn_ser._targets import is_missing_value
from sklearn_ser.audio import choose_column, select_recordings
from sklearn_ser.embedders import check_recordings, find_text_problems

# Number of rows by which the content of an object array is recognised.
_N_ROWS_INSPECTED = 100


class Speech(NamedTuple):
    """Recordings, and their transcripts.

    Attributes
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings.
    transcripts : list of (str or None), or None
        None for each transcript that is missing; None if there is no column of transcripts.
    """

    recordings: Any
    transcripts: list | None = None


def read_speech_table(estimator, X, *, reset):
    """Split `X` into recordings and transcripts.

    Parameters
    ----------
    estimator : estimator
        With the parameter `text_model`; without one, transcripts are ignored.
    X : sequence of recordings, table of waveforms, or table with recordings and transcripts
        Columns are found by their usual names. Those of an array without names are the recordings
        and the transcripts.
    reset : bool
        Whether `X` is the input of `fit`, whose columns are remembered.

    Returns
    -------
    speech : Speech
        Recordings and transcripts.

    Raises
    ------
    ValueError
        If the columns are ambiguous, or a transcript is no text.
    """
    if not _has_columns_of_objects(X):
        return Speech(check_recordings(estimator, X, reset=reset))
    names = _column_names(X)
    known = {} if reset else estimator.__dict__.get("_columns", {})
    recording = known.get("recording")
    if recording not in names:
        recording = _find_recording(names)
    transcript = known.get("transcript")
    if transcript not in names:
        was_ignored = known and transcript is None
        transcript = None if was_ignored else _find_transcript(estimator, names, recording)
    if reset:
        estimator._columns = {"recording": recording, "transcript": transcript}
    is_frame = hasattr(X, "columns")
    found = select_recordings(X, recording) if is_frame else _column(X, names, recording)
    recordings = check_recordings(estimator, found, reset=reset)
    if transcript is None:
        return Speech(recordings)
    return Speech(recordings, _as_texts(_column(X, names, transcript)))


def concatenate_recordings(parts, problems):
    """Return sequences of recordings as one, and collect files that do not exist.

    Parameters
    ----------
    parts : list of sequence
        Recordings with targets, and optionally others without.
    problems : ErrorCollector
        Collects missing files by their position in the result.

    Returns
    -------
    recordings : sequence
    """
    problems.add_missing(parts[0])
    if len(parts) == 1:
        return parts[0]
    problems.add_missing(parts[1], offset=len(parts[0]), suffix=" (of unlabeled=)")
    return ConcatSequence(*parts)


class ConcatSequence:
    """Two sequences of recordings as one, without fetching any."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def __len__(self):
        """Return the number of recordings."""
        return len(self.first) + len(self.second)

    def __getitem__(self, position):
        """Return one recording."""
        n_first = len(self.first)
        return self.first[position] if position < n_first else self.second[position - n_first]


def _has_columns_of_objects(X):
    """Return whether `X` is a table with a column that does not hold numbers."""
    if isinstance(X, (list, tuple)) or not hasattr(X, "shape") or len(X.shape) != 2:
        return False
    if hasattr(X, "toarray") or (X.shape[1] == 1 and not hasattr(X, "columns")):
        return False
    if hasattr(X, "columns"):
        return any(np.asarray(X[name]).dtype.kind not in "biufc" for name in X.columns)
    if X.dtype.kind != "O":
        return X.dtype.kind in "UST"
    kinds = (str, bytes, dict, tuple, np.ndarray, os.PathLike)
    return any(isinstance(value, kinds) for value in X[:_N_ROWS_INSPECTED].flat)


def _column_names(X):
    if hasattr(X, "columns"):
        return list(X.columns)
    if X.shape[1] > 2:
        raise ValueError(
            f"X has {X.shape[1]} columns without names: pass two, the recordings and the "
            "transcripts, or a data frame."
        )
    return ["recording", "transcript"][: X.shape[1]]


def _column(X, names, name):
    return X[name] if hasattr(X, "columns") else X[:, names.index(name)]


def _find_recording(names):
    """Return the column of recordings. A single column may have any name."""
    return names[0] if len(names) == 1 else choose_column(names, "recording", table="X")


def _find_transcript(estimator, names, recording):
    """Return the column of transcripts, or None if there is none or no `text_model`."""
    if estimator.text_model is None:
        return None
    others = [name for name in names if name != recording]
    return choose_column(others, "transcript", table="X", optional=True)


def _as_texts(column):
    """Return texts, None for each that is missing or blank."""
    texts = [None if is_missing_value(text) else text for text in list(column)]
    problems = find_text_problems(["" if text is None else text for text in texts])
    if problems:
        position, problem = next(iter(problems.items()))
        raise ValueError(
            f"{len(problems)} transcripts can't be used, the first at position {position}: "
            f"{problem}. A transcript is a str, or None where there is none."
        )
    return [None if text is None or not text.strip() else str(text) for text in texts]
