"""Validation of transcripts."""

from collections.abc import Mapping
from pathlib import PurePath

import numpy as np

from sklearn_ser._targets import find_missing, is_missing_value
from sklearn_ser._warnings import warn
from sklearn_ser.audio import MAX_NAMED, join_first

_REMEDY = "Correct or remove these transcripts, or pass on_error='nan' to get rows of NaN."


def as_transcripts(X):
    """Return `X` as a list, without a check of its entries.

    Parameters
    ----------
    X : sequence of str
        List, tuple, array or Series, a data frame or array with one column, or any sequence.

    Returns
    -------
    transcripts : list

    Raises
    ------
    ValueError
        If `X` is a single transcript, empty, a table, or not a sequence.
    """
    if isinstance(X, (str, bytes, PurePath)):
        raise ValueError(
            f"X is a single transcript ({_shorten(X)}). "
            "Reshape your data by wrapping it in a list, [X], to pass one transcript."
        )
    is_sequence = hasattr(X, "__len__") and hasattr(X, "__getitem__")
    if not is_sequence or isinstance(X, Mapping) or hasattr(X, "toarray"):
        raise ValueError(
            f"X is of type {type(X).__name__}. A sequence of transcripts is expected, such as a "
            "list of str or a column of a data frame."
        )
    shape = tuple(X.shape) if hasattr(X, "shape") else (len(X),)
    if len(shape) != 1:
        X = _only_column(X, shape)
    dtype = getattr(X, "dtype", None)
    is_number = isinstance(dtype, np.dtype) and dtype.kind in "biufcmM"
    if is_number and len(find_missing(X)) < len(X):
        raise ValueError(f"X contains numbers ({dtype}). Transcripts are expected, as str.")
    if len(X) == 0:
        raise ValueError(
            "Found array with 0 sample(s): X has no transcripts, at least 1 is required."
        )
    return list(X)


def _only_column(X, shape):
    if len(shape) == 2 and shape[1] == 1:
        return X.iloc[:, 0] if hasattr(X, "iloc") else np.asarray(X)[:, 0]
    columns = f" ({', '.join(map(str, X.columns))})" if hasattr(X, "columns") else ""
    raise ValueError(
        f"X has shape {shape}{columns}. Transcripts are expected: a list of str, or one column, "
        "such as X['transcript'], which a ColumnTransformer can select."
    )


def find_problems(transcripts):
    """Find the transcripts that are not valid text.

    Parameters
    ----------
    transcripts : list
        Transcripts returned by `as_transcripts`.

    Returns
    -------
    problems : dict of int to str
        Reasons by position.
    """
    problems = {}
    for position, transcript in enumerate(transcripts):
        if not isinstance(transcript, str):
            problems[position] = f"it is {_name_missing(transcript)}"
        elif not _is_unicode(transcript):
            problems[position] = f"it is not valid Unicode: {_shorten(transcript)}"
    return problems


def report_problems(problems, on_error):
    """Raise an error or emit a warning that lists the unusable transcripts, if there are any.

    Parameters
    ----------
    problems : dict of int to str
        Reasons by position.
    on_error : {"raise", "nan"}
        Whether to raise or to warn.

    Raises
    ------
    ValueError
        If there are problems and ``on_error="raise"``; lists the first of them.
    """
    if problems and on_error == "raise":
        raise ValueError(f"{_list_problems(problems, MAX_NAMED)} {_REMEDY}")
    if problems:
        warn(f"{_list_problems(problems, len(problems))} Their rows are NaN.")


def _list_problems(problems, max_named):
    named = [f"transcript {position}: {problems[position]}" for position in sorted(problems)]
    if len(named) == 1:
        return f"T{named[0][1:]}."
    return f"{len(named)} transcripts can't be used: {join_first(named, max_named)}."


def warn_truncated(n_tokens, limit, suffix=""):
    """Warn about truncated transcripts, if there are any.

    Parameters
    ----------
    n_tokens : dict of int to int
        Number of tokens before truncation, by position.
    limit : int
        Number of tokens after truncation.
    suffix : str, default=""
        What to write after the positions.
    """
    if not n_tokens:
        return
    first = sorted(n_tokens)[:MAX_NAMED]
    places = f"{', '.join(map(str, first))}{', …' if len(n_tokens) > len(first) else ''}"
    warn(
        f"{len(n_tokens)} transcript(s) are truncated to {limit} tokens, the longest from "
        f"{max(n_tokens.values())}: at position {places}{suffix}. The remaining tokens are ignored."
    )


def _name_missing(value):
    if is_missing_value(value):
        return f"missing ({value})"
    return f"of type {type(value).__name__}, not str ({_shorten(value)})"


def _shorten(value):
    try:
        written = ascii(value)
    except Exception:  # methods of what is no text may raise anything
        return "..."
    return written if len(written) <= 40 else f"{written[:37]}..."


def _is_unicode(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
