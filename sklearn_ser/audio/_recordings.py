"""Validate and iterate over `X`: a sequence of recordings, or a table whose rows are waveforms."""

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from joblib import effective_n_jobs

from sklearn_ser._warnings import warn

from ._file import explain_status, explain_unreadable, resolve_path
from ._problems import MAX_NAMED, UnusableRecording, collect_notes, explain_errors, join_first
from ._segment import (
    SegmentOfFile,
    as_segments,
    is_segment_dict,
    is_segment_table,
    segment_from_dict,
)
from ._waveform import (
    BYTES_TYPES,
    NOT_FINITE,
    PATH_TYPES,
    is_decoder,
    is_file_object,
    is_pair,
)

_REMEDY = "Correct or remove these recordings, or pass on_error='nan' to get NaN in their place."
# After a first recording that can't be used, look for others for so many seconds.
_SECONDS_LOOKING = 10.0
_SINGLE_TYPES = (*BYTES_TYPES, Mapping, *PATH_TYPES)


class RecordingError(ValueError):
    """Error raised when one or more recordings can't be used.

    Parameters
    ----------
    problems : dict of int to str
        Description of the problem by the position of the recording in `X`. Each begins with the
        path of the recording, or with the kind of array or object that it is.

    Attributes
    ----------
    problems : dict of int to str
        Description of the problem by the position of the recording in `X`.
    """

    def __init__(self, problems):
        super().__init__(problems)
        self.problems = problems

    def __str__(self):
        """List the first problems by position, and the remedy."""
        return f"{_list_problems(self.problems, MAX_NAMED)} {_REMEDY}"


def _list_problems(problems, max_named):
    named = [f"recording {position}: {problem}" for position, problem in problems.items()]
    if len(named) == 1:
        return f"R{named[0][1:]}."
    return f"{len(named)} recordings can't be used: {join_first(named, max_named)}."


def is_table(X):
    """Return whether `X` is a 2-D array or data frame of numbers, with a waveform in each row.

    A list is never a table: its entries are recordings, even if they have equal lengths.

    Parameters
    ----------
    X : object
        Input passed by the user.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        If `X` is a table that contains text.
    """
    if is_segment_table(X):
        return False
    if hasattr(X, "toarray"):
        return True  # sparse: rejected by scikit-learn's validation
    if isinstance(X, (list, tuple, Mapping, *PATH_TYPES)) or is_decoder(X):
        return False
    if not hasattr(X, "__array__"):
        return False
    if len(_shape(X)) != 2 or _is_column_of_recordings(X):
        return False
    _check_no_text(X)
    return True


def check_table(X):
    """Check that a table holds real numbers, as each recording of a list has to.

    Parameters
    ----------
    X : array-like of shape (n_recordings, n_samples)
        Table passed by the user, for which `is_table` is True.

    Returns
    -------
    dtype : dtype
        Type of its samples. int16, int32 and uint8 are PCM, which `scale_pcm` scales.

    Raises
    ------
    ValueError
        If samples are masked, truth values or times.
    """
    dtype = X.dtype if hasattr(X, "toarray") else np.asarray(X).dtype
    if dtype.kind in "bmM":
        raise ValueError(f"X is a table of {dtype}, which are not real numbers.")
    if np.ma.is_masked(X):
        raise ValueError("X is a table with masked samples; fill them, or crop the recordings.")
    return dtype


def are_recordings(X):
    """Return whether `X` certainly holds recordings, not numbers in rows of equal length.

    Parameters
    ----------
    X : object
        Input passed by the user.

    Returns
    -------
    bool
        False if ambiguous, such as for a list of waveforms of equal length.
    """
    if is_segment_table(X):
        return True
    if hasattr(X, "toarray") or is_decoder(X) or isinstance(X, (Mapping, *PATH_TYPES)):
        return False
    if hasattr(X, "__array__") and (len(_shape(X)) != 1 or np.asarray(X).dtype.kind in "biufc"):
        return len(_shape(X)) == 2 and _is_column_of_recordings(X)
    if _is_lazy_sequence(X):
        entries = [X[position] for position in range(min(2, len(X)))]  # indexing may be slow
    else:
        entries = list(X) if hasattr(X, "__iter__") else []
    if any(isinstance(entry, _SINGLE_TYPES) for entry in entries):
        return True
    if any(is_decoder(entry) or is_pair(entry) or is_file_object(entry) for entry in entries):
        return True
    lengths = {_shape(entry) for entry in entries if hasattr(entry, "shape")}
    return len(lengths) > 1 and all(len(shape) == 1 for shape in lengths)


def as_recordings(X):
    """Convert `X`, which is not a table, to a sequence of recordings.

    Nothing is decoded. Lazy sequences, such as an audio column of Hugging Face's `datasets`, are
    returned unchanged.

    Parameters
    ----------
    X : sequence of recordings
        List, tuple, object array, array of str, Series, or data frame of one column. Or a data
        frame with columns of files, starts and ends, or a MultiIndex of them.

    Returns
    -------
    recordings : sequence

    Raises
    ------
    ValueError
        If `X` is a single recording, empty, or of an unsupported type.
    """
    if is_segment_table(X):
        X = as_segments(X)
    _check_not_single_recording(X)
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


def _check_not_single_recording(X):
    single = isinstance(X, _SINGLE_TYPES) or is_decoder(X) or is_pair(X) or is_file_object(X)
    if not single and not isinstance(X, tuple) and hasattr(X, "__array__"):
        values = np.asarray(X)
        single = values.ndim < 2 and values.dtype.kind in "biufc"
    if not single and isinstance(X, (list, tuple)) and len(X):
        single = all(isinstance(value, (int, float, np.number)) for value in X)
    if single:
        raise ValueError(
            f"X is a single recording ({describe(X)}). "
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
    """Return whether a data frame or array has one column, of recordings and not of numbers."""
    if _shape(X)[1] != 1 or _shape(X)[0] == 0:
        return False
    values = np.asarray(X)
    if values.dtype.kind != "O":
        return values.dtype.kind in "UST"
    return not all(isinstance(value, (int, float, complex, np.number)) for value in values.flat)


def _check_no_text(X):
    values = np.asarray(X)
    if values.dtype.kind in "US" or (
        values.dtype.kind == "O" and any(isinstance(value, PATH_TYPES) for value in values.flat)
    ):
        columns = ", ".join(map(str, getattr(X, "columns", range(values.shape[1]))))
        raise ValueError(
            f"X is a table with text in its {values.shape[1]} columns ({columns}). Pass the column "
            "that holds the recordings, such as X['path'], or select it with a ColumnTransformer."
        )


def describe(recording):
    """Return the path of a recording, or its type, for a message."""
    try:
        return _describe(recording)
    except Exception:  # methods of recordings may raise anything
        return type(recording).__name__


def _describe(recording):
    path = _path_of(recording)
    if path is not None:
        # str, since NumPy's is written with its type
        return f"{str(path)!r}{_times_of(recording)}"
    if isinstance(recording, Mapping):
        path = recording.get("path")
        return repr(str(path)) if isinstance(path, PATH_TYPES) else "dict"
    if hasattr(recording, "shape"):
        return f"{type(recording).__name__} of shape {tuple(recording.shape)}"
    if isinstance(recording, (type(None), int, float)):
        return repr(recording)
    return type(recording).__name__


def _path_of(recording):
    """Return the path of a recording that is a file or a segment of a file, else None."""
    try:
        if isinstance(recording, SegmentOfFile):
            recording = recording.path
        elif isinstance(recording, Mapping) and "array" not in recording:
            recording = recording.get("path") if recording.get("bytes") is None else None
        path = os.fspath(recording) if isinstance(recording, PATH_TYPES) else None
    except Exception:  # methods of recordings may raise anything; reported when it is read
        return None
    return path if isinstance(path, str) else None


def _times_of(recording):
    """Return start and end of a segment for a message; empty for whole files."""
    if not isinstance(recording, SegmentOfFile) or (recording.start, recording.end) == (0, None):
        return ""
    end = "the end" if recording.end is None else f"{recording.end:g} s"
    return f" from {recording.start:g} s to {end}"


def path_and_selection(recordings, position):
    """Return the path and the selected part of a recording without reading it.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings as returned by `as_recordings`, or a table.
    position : int
        Position of the recording.

    Returns
    -------
    path : str or None
        None if the recording is not a file, or if it would have to be fetched first.
    selection : tuple or None
        Start, end and channel of a `SegmentOfFile`, else None.
    """
    if isinstance(recordings, np.ndarray) or _is_lazy_sequence(recordings):
        return None, None
    recording = recordings[position]
    path = _path_of(recording)
    try:
        recording = _without_dict(recording)
    except UnusableRecording:  # reported when the recording is read
        return None, None
    selection = None
    if isinstance(recording, SegmentOfFile):
        selection = recording.start, recording.end, recording.channel
    return (None if path is None else resolve_path(path)), selection


def _without_dict(recording):
    """Return the `SegmentOfFile` of a dict that describes one, and other recordings unchanged."""
    with explain_errors():
        return segment_from_dict(recording) if is_segment_dict(recording) else recording


def find_problems(recordings):
    """Find files that are missing or no regular files, and rows that are not finite.

    No recording is read, and no file is opened.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings as returned by `as_recordings`, or a table.

    Returns
    -------
    problems : dict of int to str
        Description of the problem by the position of the recording.
    """
    if isinstance(recordings, np.ndarray):
        finite = np.isfinite(recordings).all(axis=1)
        return {int(row): f"row of the table: {NOT_FINITE}" for row in np.flatnonzero(~finite)}
    if _is_lazy_sequence(recordings):
        return {}
    return {
        position: f"{describe(recording)}: {reason}"
        for position, recording in enumerate(recordings)
        if (path := _path_of(recording)) is not None and (reason := explain_status(path))
    }


def _find_unreadable(recordings, positions):
    """Find files that can't be opened as audio, for a limited time."""
    if isinstance(recordings, np.ndarray) or _is_lazy_sequence(recordings):
        return {}
    found, limit = {}, time.monotonic() + _SECONDS_LOOKING
    for position in positions:
        path = _path_of(recordings[position])
        if path is not None and (reason := explain_unreadable(path)):
            found[position] = f"{describe(recordings[position])}: {reason}"
        if time.monotonic() > limit:
            break
    return found


def compute_rows(function, recordings, row_shape, *, on_error, n_jobs=None, report=None):
    """Apply a function to each recording, in threads, and stack the results.

    Parameters
    ----------
    function : callable
        Maps a recording to a row; raises `UnusableRecording` if it can't be used.
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings as returned by `as_recordings`, or a table.
    row_shape : tuple of int
        Shape of a row.
    on_error : {"raise", "nan"}
        Whether to raise `RecordingError` at the first recording that can't be used, or to fill
        its row with NaN and to warn once.
    n_jobs : int, default=None
        Number of threads, as in `joblib.Parallel`.
    report : callable, default=None
        Called after each row with the number of recordings that are done, and of all.

    Returns
    -------
    rows : ndarray of shape (n_recordings, *row_shape), float32
    """
    rows = np.full((len(recordings), *row_shape), np.nan, dtype=np.float32)
    problems = ErrorCollector(on_error)
    for position, row in read_each(function, recordings, problems, n_jobs=n_jobs):
        rows[position] = row
        if report is not None:
            report(position + 1, len(rows))
    problems.warn()
    return rows


class ErrorCollector:
    """Raise an error for a recording that can't be used, or collect errors for one warning.

    Parameters
    ----------
    on_error : {"raise", "nan"}
        Whether `add` raises `RecordingError` at once, or stores the error for `warn`.
    """

    def __init__(self, on_error):
        self.on_error = on_error
        self.by_position: dict[int, str] = {}
        self.notes: dict[int, str] = {}

    def add(self, position, recording, error, others=dict):
        """Raise or store the `UnusableRecording` of a recording.

        To raise it, `others` is called and returns further problems by their position.
        """
        problem = f"{describe(recording)}: {error}"
        if self.on_error == "raise":
            raise RecordingError({position: problem} | others()) from error
        self.by_position[position] = problem

    def add_notes(self, position, recording, notes):
        """Store what is odd about a recording that can be used."""
        if notes:
            self.notes[position] = f"{describe(recording)}: {'; '.join(notes)}"

    def add_missing(self, recordings, *, offset=0, suffix=""):
        """Raise or store errors for files that do not exist and rows that are not finite.

        Errors name positions in `recordings` and end with `suffix`. They are stored by position
        plus `offset`, without it.
        """
        found = find_problems(recordings)
        if found and self.on_error == "raise":
            raise RecordingError({p: f"{problem}{suffix}" for p, problem in found.items()})
        self.by_position |= {p + offset: problem for p, problem in found.items()}

    def warn(self):
        """Issue one warning that lists all stored errors, and one with all notes."""
        if self.by_position:
            problems = dict(sorted(self.by_position.items()))
            listed = _list_problems(problems, max_named=len(problems))
            warn(f"{listed} NaN is in their place.")
        self.warn_notes()

    def warn_notes(self, rename=lambda position, problem: (position, problem)):
        """Issue one warning that lists the first notes, and forget them.

        Parameters
        ----------
        rename : callable
            Maps a position and its note to those that the user knows.
        """
        notes = [rename(*item) for item in sorted(self.notes.items())]
        self.notes = {}
        if notes:
            listed = join_first([f"recording {position}: {text}" for position, text in notes])
            warn(f"Some recordings were read, but should be checked: {listed}.")


def read_each(
    function, recordings, problems, *, n_jobs=None, positions=None, arguments=None, n_ahead=None
):
    """Apply a function to the recordings in order, prefetching a few results.

    Parameters
    ----------
    function : callable
        Maps a recording to a result; raises `UnusableRecording` if it can't be used.
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings as returned by `as_recordings`, or a table.
    problems : ErrorCollector
        Receives the errors of recordings that can't be used.
    n_jobs : int, default=None
        Number of threads, as in `joblib.Parallel`.
    positions : iterable of int, default=None
        Positions of the recordings to read; None reads all.
    arguments : mapping of int to object, or ndarray, default=None
        Second argument of `function` for each position. If None, there is none.
    n_ahead : int, default=None
        Number of results to prefetch in threads, while the caller uses the previous ones. None
        prefetches one per thread, and none with a single thread.

    Yields
    ------
    position : int
        Position of the recording, in the order of `positions`.
    result : object
        Return value of the function.
    """

    def apply(position):
        recording = None
        with collect_notes() as notes:
            try:
                recording = _without_dict(_fetch(recordings, position))
                argument = () if arguments is None else (arguments[position],)
                return recording, function(recording, *argument), None, notes
            except UnusableRecording as error:
                return recording, None, error, notes

    positions = range(len(recordings)) if positions is None else list(positions)
    results = _prefetch(apply, positions, effective_n_jobs(n_jobs), n_ahead)
    for index, (position, (recording, result, error, notes)) in enumerate(results, 1):
        if error is None:
            problems.add_notes(position, recording, notes)
            yield position, result
        else:
            others = partial(_find_unreadable, recordings, positions[index:])
            problems.add(position, recording, error, others)


def _prefetch(function, values, n_threads, n_ahead=None):
    """Yield each value with its result, computed ahead by threads."""
    if n_threads == 1 and n_ahead is None:
        yield from ((value, function(value)) for value in values)
        return
    n_pending = n_threads + (n_threads if n_ahead is None else n_ahead)
    threads = ThreadPoolExecutor(n_threads)
    try:
        pending: deque = deque()
        for value in values:
            pending.append((value, threads.submit(function, value)))
            if len(pending) == n_pending:
                value, future = pending.popleft()
                yield value, future.result()
        while pending:
            value, future = pending.popleft()
            yield value, future.result()
    finally:
        threads.shutdown(cancel_futures=True)


def _fetch(recordings, position):
    if not _is_lazy_sequence(recordings):
        return recordings[position]
    try:
        return recordings[position]
    except Exception as error:  # the column decodes on access and may raise anything
        raise UnusableRecording(f"fetching it failed ({type(error).__name__}: {error})") from error
