"""What `DistilledRegressor` takes: recordings, or a table of recordings and transcripts."""

import os
from contextlib import contextmanager

import numpy as np

from sklearn_ser.audio import RecordingError, choose_column
from sklearn_ser.embedders import check_recordings, find_text_problems

# Rows of an array of objects that are looked at to tell what it holds.
_MAX_LOOKED_AT = 100


def read_speech_table(estimator, X, *, reset):
    """Split `X` into recordings and transcripts.

    Parameters
    ----------
    estimator : estimator
        With the parameters `recording_column` and `transcript_column`.
    X : sequence of recordings, table of waveforms, or table with recordings and transcripts
        What it was given.
    reset : bool
        Whether this is what it is fitted on.

    Returns
    -------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
    transcripts : list of str or None
        One for each recording, None for those that are missing; or None in place of the list,
        where `X` has no column of transcripts.

    Raises
    ------
    ValueError
        If it can't be told which column is which, or a transcript is no text.
    """
    if not _has_columns_of_objects(X):
        return check_recordings(estimator, X, reset=reset), None
    names = list(X.columns) if hasattr(X, "columns") else list(range(X.shape[1]))
    known = {} if reset else estimator.__dict__.get("_columns", {})
    recording = known.get("recording")
    if recording not in names:
        recording = _find_recording(estimator, names)
    transcript = known.get("transcript")
    if transcript not in names:
        transcript = None if known else _find_transcript(estimator, names, recording)
    if reset:
        estimator._columns = {"recording": recording, "transcript": transcript}
    recordings = check_recordings(estimator, _column(X, recording), reset=reset)
    transcripts = None if transcript is None else _as_texts(_column(X, transcript))
    return recordings, transcripts


def join_speech(labelled, more):
    """Put further recordings and transcripts behind those that have labels.

    Parameters
    ----------
    labelled : tuple (recordings, transcripts)
        From `read_speech_table`.
    more : tuple (recordings, transcripts) or None

    Returns
    -------
    recordings, transcripts
        As from `read_speech_table`.
    """
    recordings, transcripts = labelled
    if more is None:
        return recordings, transcripts
    if transcripts is not None:
        transcripts = transcripts + (more[1] or [None] * len(more[0]))
    return Chain(recordings, more[0]), transcripts


class Chain:
    """Two sequences of recordings as one; nothing is fetched before it is asked for."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def __len__(self):
        """Count the recordings of both."""
        return len(self.first) + len(self.second)

    def __getitem__(self, position):
        """Return one recording."""
        n_first = len(self.first)
        return self.first[position] if position < n_first else self.second[position - n_first]


@contextmanager
def naming_unlabeled(n_labelled):
    """Let errors about recordings that were put behind name their place in `unlabeled`."""
    try:
        yield
    except RecordingError as error:
        problems = {
            position - n_labelled: f"{problem} (of unlabeled=)"
            for position, problem in error.problems.items()
            if position >= n_labelled
        }
        if not problems:
            raise
        raise RecordingError(problems) from error.__cause__


def _has_columns_of_objects(X):
    """Tell a table with a column that holds no numbers."""
    if isinstance(X, (list, tuple)) or not hasattr(X, "shape") or len(X.shape) != 2:
        return False
    if hasattr(X, "toarray") or (X.shape[1] == 1 and not hasattr(X, "columns")):
        return False
    if hasattr(X, "columns"):
        return any(np.asarray(_column(X, name)).dtype.kind not in "biufc" for name in X.columns)
    if X.dtype.kind != "O":
        return X.dtype.kind in "UST"
    kinds = (str, bytes, dict, tuple, np.ndarray, os.PathLike)
    return any(isinstance(value, kinds) for value in X[:_MAX_LOOKED_AT].flat)


def _column(X, name):
    return X[name] if hasattr(X, "columns") else X[:, name]


def _find_recording(estimator, names):
    """Return the column of recordings: of one column it is the only one, whatever its name."""
    given = estimator.recording_column
    if given is None and len(names) == 1:
        return names[0]
    return choose_column(names, "recording", given, parameter="recording_column", table="X")


def _find_transcript(estimator, names, recording):
    """Return the column of transcripts, or None; without a model of text none is needed."""
    if estimator.text_model is None:
        return None
    return choose_column(
        [name for name in names if name != recording],
        "transcript",
        estimator.transcript_column,
        parameter="transcript_column",
        table="X",
        optional=True,
    )


def _as_texts(column):
    """Return texts, None where one is missing or blank."""
    texts = [None if _is_missing(text) else text for text in list(column)]
    problems = find_text_problems(["" if text is None else text for text in texts])
    if problems:
        position, problem = next(iter(problems.items()))
        raise ValueError(
            f"{len(problems)} transcripts can't be used, the first at position {position}: "
            f"{problem}. A transcript is a str, or None where there is none."
        )
    return [None if text is None or not text.strip() else str(text) for text in texts]


def _is_missing(text):
    return text is None or type(text).__name__ in {"NAType", "NaTType"} or text != text
