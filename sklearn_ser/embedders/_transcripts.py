"""What `X` may hold where text is expected, and what is wrong with a transcript."""

from collections.abc import Mapping
from pathlib import PurePath

import numpy as np

from sklearn_ser._warnings import warn

_REMEDY = "Correct or leave out what is named, or pass on_error='nan' to get NaN in its place."
_MAX_NAMED = 10


def as_transcripts(X):
    """Return `X` as a list, whatever its entries are.

    Parameters
    ----------
    X : sequence of str
        List, tuple, array, Series, data frame or array of one column, or any sequence.

    Returns
    -------
    transcripts : list

    Raises
    ------
    ValueError
        If `X` is one transcript by itself, empty, a table, or no sequence.
    """
    if isinstance(X, (str, bytes, PurePath)):
        raise ValueError(
            f"X is one transcript by itself ({_shorten(X)}). "
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
    if isinstance(dtype, np.dtype) and dtype.kind in "biufcmM":
        raise ValueError(f"X holds numbers ({dtype}). Transcripts are expected, as str.")
    if len(X) == 0:
        raise ValueError(
            "Found array with 0 sample(s): X holds no transcripts, at least 1 is needed."
        )
    return list(X)


def _only_column(X, shape):
    if len(shape) == 2 and shape[1] == 1:
        return X.iloc[:, 0] if hasattr(X, "iloc") else np.asarray(X)[:, 0]
    columns = f" ({', '.join(map(str, X.columns))})" if hasattr(X, "columns") else ""
    raise ValueError(
        f"X has shape {shape}{columns}. Transcripts are expected: a list of str, or the one column "
        "that holds them, such as X['transcript'], which a ColumnTransformer may choose."
    )


def find_problems(transcripts):
    """Find what is no text.

    Parameters
    ----------
    transcripts : list
        As `as_transcripts` returns them.

    Returns
    -------
    problems : dict of int to str
        What is wrong, by position.
    """
    problems = {}
    for position, transcript in enumerate(transcripts):
        if not isinstance(transcript, str):
            problems[position] = f"it is {_name_missing(transcript)}"
        elif not _is_unicode(transcript):
            problems[position] = f"it is no valid Unicode: {_shorten(transcript)}"
    return problems


def tell_problems(problems, on_error):
    """Raise, or warn of, all transcripts that can't be used.

    Parameters
    ----------
    problems : dict of int to str
        What is wrong with each of them, by position; nothing happens if it is empty.
    on_error : {"raise", "nan"}
        Whether to raise.

    Raises
    ------
    ValueError
        That lists the first of them.
    """
    if problems and on_error == "raise":
        raise ValueError(f"{_list_problems(problems, _MAX_NAMED)} {_REMEDY}")
    if problems:
        warn(f"{_list_problems(problems, len(problems))} NaN is in their place.")


def _list_problems(problems, max_named):
    named = [f"transcript {position}: {problems[position]}" for position in sorted(problems)]
    if len(named) == 1:
        return f"T{named[0][1:]}."
    more = f"; and {len(named) - max_named} more" if len(named) > max_named else ""
    return f"{len(named)} transcripts can't be used: {'; '.join(named[:max_named])}{more}."


def tell_cut(n_tokens, limit):
    """Warn of transcripts that are cut.

    Parameters
    ----------
    n_tokens : dict of int to int
        How many tokens each of them has, by position; nothing happens if it is empty.
    limit : int
        How many are kept.
    """
    if not n_tokens:
        return
    first = sorted(n_tokens)[:_MAX_NAMED]
    places = f"{', '.join(map(str, first))}{', …' if len(n_tokens) > len(first) else ''}"
    warn(
        f"{len(n_tokens)} transcript(s) are cut to {limit} tokens, the longest of "
        f"{max(n_tokens.values())}: at position {places}. What follows is not embedded."
    )


def _name_missing(value):
    is_missing = value is None or type(value).__name__ in {"NAType", "NaTType"}
    if is_missing or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return f"missing ({value})"
    return f"of type {type(value).__name__}, no str ({_shorten(value)})"


def _shorten(value):
    written = ascii(value)
    return written if len(written) <= 40 else f"{written[:37]}..."


def _is_unicode(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
