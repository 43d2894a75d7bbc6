"""Split a table into recordings or features, and speakers."""

from collections.abc import Hashable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_consistent_length

from sklearn_ser.audio import choose_column, is_segment_table, select_recordings


class SpeakerTable(NamedTuple):
    """Recordings or features, and who speaks in each.

    Attributes
    ----------
    values : sequence, table or ndarray
        Recordings or features.
    codes : ndarray of int of shape (n_recordings,)
        Index into `speakers`; -1 if the speaker is not known.
    speakers : list
        Speakers in the order of their first recording.
    position : int or None
        Position of the column of speakers, if there was one.
    """

    values: Any
    codes: np.ndarray
    speakers: list[Hashable]
    position: int | None


def split_speakers(X, groups, *, speaker, recording, takes_columns):
    """Split `X` into recordings or features, and speakers.

    Parameters
    ----------
    X : sequence of recordings, table or ndarray
        Input. A table may have a column of speakers.
    groups : array-like of shape (n_recordings,) or None
        Speakers. Only used if `X` has no column of speakers.
    speaker, recording : str, int or None
        Names of the columns, or for an array without names the position of the speakers. None
        finds them by their usual names.
    takes_columns : bool
        Whether to return all columns but the speakers. If False, a column of recordings is
        returned alone, or with the starts and ends of segments.

    Returns
    -------
    table : SpeakerTable

    Raises
    ------
    ValueError
        If there are no speakers, or if their number differs from that of the recordings.
    """
    position = _find_speakers(X, speaker)
    if position is not None:
        groups = X[X.columns[position]] if hasattr(X, "columns") else X[:, position]
        X = _without_speakers(X, position, recording, takes_columns)
    elif groups is None:
        raise ValueError(
            "SpeakerNormalizer needs the speaker of each recording, None for unknown ones. Pass X "
            "as a table with a column of speakers, such as corpus.frame[['recording', "
            "'speaker']], or pass groups."
        )
    elif recording is not None and hasattr(X, "columns") and not takes_columns:
        X = _select_recordings(X, list(X.columns), recording)
    codes, speakers = _factorize(groups)
    check_consistent_length(X, codes)
    return SpeakerTable(X, codes, speakers, position)


def _find_speakers(X, speaker):
    """Return the position of the column of speakers, or None if there is none."""
    is_frame = hasattr(X, "columns")
    is_position = isinstance(speaker, Integral)
    if not is_frame and (len(getattr(X, "shape", ())) != 2 or not is_position):
        return None
    names = list(X.columns) if is_frame else list(range(X.shape[1]))
    if is_position:
        if not -len(names) <= speaker < len(names):
            raise ValueError(f"speaker={speaker} is no position of one of {len(names)} columns.")
        position = range(len(names))[speaker]
    else:
        name = choose_column(
            names, "speaker", speaker, table="X", parameter="speaker", optional=True
        )
        position = None if name is None else names.index(name)
    return position


def _factorize(speakers):
    import pandas as pd

    speakers = np.asarray(speakers, dtype=object)
    if speakers.ndim != 1 and speakers.size != len(speakers):
        raise ValueError(f"Speakers have shape {speakers.shape}, but must be one-dimensional.")
    speakers = speakers.ravel()
    try:
        codes, names = pd.factorize(speakers)
    except TypeError as error:
        raise TypeError(f"A speaker argument must be a string or a number: {error}.") from error
    return codes, list(names)


def _without_speakers(X, position, recording, takes_columns):
    is_frame = hasattr(X, "columns")
    if is_frame and X.shape[1] == 1 and is_segment_table(getattr(X, "index", None)):
        return X.index
    if X.shape[1] == 1:
        raise ValueError("X has 1 feature(s), the speakers: recordings or features are missing.")
    if not is_frame:
        values = np.delete(X, position, axis=1)
        is_recordings = values.dtype.kind == "O" and values.shape[1] == 1
        return values[:, 0] if is_recordings else values
    rest = [name for i, name in enumerate(X.columns) if i != position]
    return X[rest] if takes_columns else _select_recordings(X, rest, recording)


def _select_recordings(X, rest, recording):
    """Return the column of recordings, or it and the times of segments, of the other columns."""
    is_numeric = all(np.asarray(X[name]).dtype.kind in "biufc" for name in rest)
    found = choose_column(
        rest,
        "recording",
        recording,
        table="X",
        parameter="recording",
        optional=is_numeric or len(rest) == 1,
    )
    if found is None:
        return X[rest[0]] if len(rest) == 1 else X[rest]
    return select_recordings(X[rest], found)
