"""What `X` may hold: a sequence of recordings, or a table whose rows are waveforms."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from joblib import Parallel, delayed

from sklearn_ser._warnings import warn

from ._channel import ChannelOfFile
from ._waveform import NO_SUCH_FILE, NOT_FINITE, PATH_TYPES, UnusableRecording, is_decoder, is_pair

_REMEDY = "Correct or leave out what is named, or pass on_error='nan' to get NaN in its place."
_MAX_NAMED = 10


class RecordingError(ValueError):
    """One or more recordings that can't be used.

    Parameters
    ----------
    problems : dict of int to str
        What is wrong with each of them, by its position in `X`. Each text begins with the
        recording's path, or says what kind of array or object it is.

    Attributes
    ----------
    problems : dict of int to str
        As above.
    """

    def __init__(self, problems):
        super().__init__(problems)
        self.problems = problems

    def __str__(self):
        """List the first recordings concerned, what is wrong with each, and the remedy."""
        return f"{_list_problems(self.problems, _MAX_NAMED)} {_REMEDY}"


def _list_problems(problems, max_named):
    named = [f"recording {position}: {problem}" for position, problem in problems.items()]
    if len(named) == 1:
        return f"R{named[0][1:]}."
    more = f"; and {len(named) - max_named} more" if len(named) > max_named else ""
    return f"{len(named)} recordings can't be used: {'; '.join(named[:max_named])}{more}."


def is_table(X):
    """Tell whether `X` is a 2-D array or data frame of numbers, each row a waveform.

    A list is never a table: its entries are recordings, of equal length or not.

    Parameters
    ----------
    X : object
        What the user gave.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        If `X` is a table, but one with text in it.
    """
    if hasattr(X, "toarray"):
        return True  # sparse: scikit-learn refuses it in its own words
    if isinstance(X, (list, tuple, Mapping, *PATH_TYPES)) or is_decoder(X):
        return False
    if not hasattr(X, "__array__"):
        return False
    if len(_shape(X)) != 2 or _is_column_of_recordings(X):
        return False
    _refuse_text(X)
    return True


def as_recordings(X):
    """Return `X`, which is no table, as a sequence of recordings.

    Nothing is decoded. What is not held in memory as a list, such as an audio column of
    Hugging Face's `datasets`, stays as it is, and its entries are fetched one by one.

    Parameters
    ----------
    X : sequence of recordings
        List, tuple, object array, array of str, Series, or data frame of one column.

    Returns
    -------
    recordings : sequence

    Raises
    ------
    ValueError
        If `X` is one recording by itself, empty, or of no kind known here.
    """
    _refuse_single_recording(X)
    shape = _shape(X) if hasattr(X, "__array__") else ()
    if len(shape) > 2:
        raise ValueError(
            f"X has shape {shape}. Recordings are expected: a list of paths or arrays, or a "
            "2-D array whose rows are waveforms."
        )
    if len(shape) == 2:
        X = X.iloc[:, 0] if hasattr(X, "iloc") else np.asarray(X, dtype=object)[:, 0]
    recordings = X if _is_lazy_sequence(X) else _to_list(X)
    if len(recordings) == 0:
        raise ValueError(
            "Found array with 0 sample(s): X holds no recordings, at least 1 is needed."
        )
    return recordings


def _refuse_single_recording(X):
    single = isinstance(X, (bytes, Mapping, *PATH_TYPES)) or is_decoder(X) or is_pair(X)
    if not single and not isinstance(X, tuple) and hasattr(X, "__array__"):
        values = np.asarray(X)
        single = values.ndim < 2 and values.dtype.kind in "biufc"
    if not single and isinstance(X, (list, tuple)) and len(X):
        single = all(isinstance(value, (int, float, np.number)) for value in X)
    if single:
        raise ValueError(
            f"X is one recording by itself ({describe(X)}). "
            "Reshape your data by wrapping it in a list, [X], to pass one recording."
        )


def _is_lazy_sequence(X):
    return (
        hasattr(X, "__getitem__")
        and hasattr(X, "__len__")
        and not hasattr(X, "__array__")
        and not isinstance(X, (list, tuple, set, Mapping))
    )


def _to_list(X):
    if not isinstance(X, Sequence) and not hasattr(X, "__array__"):
        raise ValueError(
            f"X is of type {type(X).__name__}. A sequence of recordings is expected, such as "
            "a list of paths or arrays, or a 2-D array whose rows are waveforms."
        )
    return list(X)


def _shape(X):
    shape = getattr(X, "shape", None)
    return np.asarray(X).shape if shape is None else tuple(shape)


def _is_column_of_recordings(X):
    """Tell a data frame or array of one column that holds recordings, not numbers."""
    if _shape(X)[1] != 1 or _shape(X)[0] == 0:
        return False
    values = np.asarray(X)
    if values.dtype.kind != "O":
        return values.dtype.kind in "UST"
    return not all(isinstance(value, (int, float, complex, np.number)) for value in values.flat)


def _refuse_text(X):
    values = np.asarray(X)
    if values.dtype.kind in "US" or (
        values.dtype.kind == "O" and any(isinstance(value, PATH_TYPES) for value in values.flat)
    ):
        columns = ", ".join(map(str, getattr(X, "columns", range(values.shape[1]))))
        raise ValueError(
            f"X is a table with text in its {values.shape[1]} columns ({columns}). Pass the column "
            "that holds the recordings, such as X['path'], or choose it by a ColumnTransformer."
        )


def describe(recording):
    """Name a recording for a message: its path, or what kind of thing it is."""
    path = _path_of(recording)
    if path is not None:
        return repr(os.fspath(path))
    if isinstance(recording, Mapping):
        return repr(recording["path"]) if recording.get("path") else "dict"
    if hasattr(recording, "shape"):
        return f"{type(recording).__name__} of shape {tuple(recording.shape)}"
    if isinstance(recording, (type(None), int, float)):
        return repr(recording)
    return type(recording).__name__


def _path_of(recording):
    """Return the path of a recording that is a file or a channel of one, else None."""
    if isinstance(recording, ChannelOfFile):
        return recording.path
    return recording if isinstance(recording, PATH_TYPES) else None


def find_problems(recordings):
    """Find what is wrong at a glance, before any work is done.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        As `as_recordings` returns them, or a table.

    Returns
    -------
    problems : dict of int to str
        By position, files that are not there, and rows of a table that are not finite.
    """
    if isinstance(recordings, np.ndarray):
        finite = np.isfinite(recordings).all(axis=1)
        return {int(row): f"row of the table: {NOT_FINITE}" for row in np.flatnonzero(~finite)}
    if _is_lazy_sequence(recordings):
        return {}
    return {
        position: f"{describe(recording)}: {NO_SUCH_FILE}"
        for position, recording in enumerate(recordings)
        if (path := _path_of(recording)) is not None and not os.path.exists(path)
    }


def compute_rows(function, recordings, row_shape, *, on_error, n_jobs=None):
    """Apply a function to each recording, in threads; one recording at a time is decoded in each.

    Parameters
    ----------
    function : callable
        From a recording to a row; raises `UnusableRecording` where it can't be used.
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        As `as_recordings` returns them, or a table.
    row_shape : tuple of int
        Shape of a row.
    on_error : {"raise", "nan"}
        Whether to raise `RecordingError` at the first recording that can't be used, or to
        leave NaN in its row and warn once.
    n_jobs : int, default=None
        Number of threads, as in `joblib.Parallel`.

    Returns
    -------
    rows : ndarray of shape (n_recordings, *row_shape), float32
    """
    rows = np.full((len(recordings), *row_shape), np.nan, dtype=np.float32)
    problems = {}

    def fill(position):
        recording = None
        try:
            recording = _fetch(recordings, position)
            rows[position] = function(recording)
        except UnusableRecording as error:
            problem = f"{describe(recording)}: {error}"
            if on_error == "raise":
                raise RecordingError({position: problem}) from error
            problems[position] = problem

    # Threads, whatever backend is the context's: another process would fill rows of its own.
    Parallel(n_jobs=n_jobs, require="sharedmem")(map(delayed(fill), range(len(recordings))))
    if problems:
        listed = _list_problems(dict(sorted(problems.items())), max_named=len(problems))
        warn(f"{listed} NaN is in their place.")
    return rows


def _fetch(recordings, position):
    if not _is_lazy_sequence(recordings):
        return recordings[position]
    try:
        return recordings[position]
    except Exception as error:  # the column decodes on access, and says what it likes
        raise UnusableRecording(f"fetching it failed ({type(error).__name__}: {error})") from error
