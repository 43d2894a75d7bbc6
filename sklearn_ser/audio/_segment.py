"""Segments of files: lazily read recordings with a start, an end and a channel."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from sklearn_ser._targets import is_missing_value

from ._columns import choose_column, list_columns
from ._file import open_audio, read_file
from ._problems import UnusableRecording
from ._waveform import PATH_TYPES, to_mono

# Seconds below which times are equal.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class SegmentOfFile:
    """A segment of an audio file, and optionally one of its channels, read lazily.

    Use it instead of a path for turns of a conversation, or for corpora whose channels must not be
    averaged. Only the segment is decoded.

    Parameters
    ----------
    path : str or path-like
        Path of the file, in any format that libsndfile reads.

    start : float, default=0.0
        Start of the segment in seconds.

    end : float or None, default=None
        End of the segment in seconds. If None, the end of the file.

    channel : int, "louder" or None, default=None
        Index of the channel; negative indices count from the last. "louder" selects the channel
        with the most energy in this segment, the first one in case of a tie. The ``channel``
        parameter of a transformer then has no effect. If None, that parameter is used.

    See Also
    --------
    cut_into_segments : Segments of equal duration of long recordings.

    Examples
    --------
    >>> from sklearn_ser.audio import SegmentOfFile
    >>> SegmentOfFile("call.wav", 12.5, 15)
    SegmentOfFile(path='call.wav', start=12.5, end=15, channel=None)
    """

    path: str | os.PathLike
    start: float = 0.0
    end: float | None = None
    channel: int | str | None = None

    def __post_init__(self):
        """Check the times and the channel."""
        if isinstance(self.channel, str) and self.channel != "louder":
            raise ValueError(f"channel={self.channel!r} must be 'louder', an int or None.")
        end = math.inf if self.end is None else self.end
        if not 0 <= self.start < math.inf or not self.start < end:
            raise ValueError(
                f"start={self.start!r} and end={self.end!r} of {self.path!r} are no segment: they "
                "must be seconds with 0 <= start < end."
            )

    def get_all_samples(self):
        """Read the segment, with the interface of torchcodec's ``AudioDecoder``.

        Returns
        -------
        samples : SimpleNamespace
            Its attributes are ``data``, a float32 array of shape (n_channels, n_samples), and
            ``sample_rate``, in Hz.

        Raises
        ------
        UnusableRecording
            If the file is missing, is not audio, is shorter than the segment, or does not have
            the channel.
        """
        samples, rate = read_file(self.path, start=self.start, end=self.end)
        channel = _loudest(samples) if self.channel == "louder" else self.channel
        if channel is None:
            data = samples[:, np.newaxis] if samples.ndim == 1 else samples
        else:
            data = to_mono(samples, channel)[:, np.newaxis]
        return SimpleNamespace(data=data.T, sample_rate=rate)


def _loudest(samples):
    """Return the index of the channel with the most energy, the first one in case of a tie."""
    if samples.ndim == 1:
        return 0
    return int(np.square(samples, dtype=np.float64).sum(axis=0).argmax())


def segment_from_dict(recording):
    """Return the `SegmentOfFile` of a dict with the keys path, start and end."""
    if recording.get("bytes") is not None or recording.get("array") is not None:
        raise UnusableRecording(
            "it is a dict with start or end, and with bytes or an array; times are those of the "
            "file at path, so leave bytes and array out, or cut them"
        )
    try:
        start = as_seconds(recording.get("start"), 0.0)
        return SegmentOfFile(recording["path"], start, as_seconds(recording.get("end"), None))
    except (ValueError, TypeError) as error:
        raise UnusableRecording(str(error)) from error


def is_segment_dict(recording):
    """Return whether this is a dict with a path and a start or an end."""
    if not isinstance(recording, Mapping) or recording.get("path") is None:
        return False
    return recording.get("start") is not None or recording.get("end") is not None


def as_seconds(value, missing):
    """Return a time in seconds from a number, text or timedelta; `missing` if there is none."""
    if is_missing_value(value) or (isinstance(value, str) and not value.strip()):
        return missing
    if isinstance(value, np.timedelta64):
        return value / np.timedelta64(1, "s")
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    return float(value)


def is_segment_table(X):
    """Return whether `X` is a data frame, or an index, of files with start times.

    Parameters
    ----------
    X : object
        Input of a transformer.

    Returns
    -------
    bool
    """
    if isinstance(X, Mapping) or not hasattr(X, "__len__"):
        return False
    if hasattr(X, "names") and hasattr(X, "get_level_values"):  # a pandas MultiIndex
        return len(X.names) > 1
    if not hasattr(X, "columns") or len(X.columns) < 2:
        return False
    try:
        if choose_column(list(X.columns), "start", table="X", optional=True) is None:
            return False
    except ValueError:  # several columns; an error of `as_segments`, unless all are numbers
        pass
    return not _is_numeric(X)


def _is_numeric(X):
    return all(np.asarray(X[name]).dtype.kind in "biufc" for name in X.columns)


def select_recordings(X, recording):
    """Return the column of recordings of a data frame, with those of start and end if it has them.

    Parameters
    ----------
    X : DataFrame
        Table.
    recording : str
        Name of the column of recordings.

    Returns
    -------
    recordings : Series or DataFrame
    """
    others = [name for name in X.columns if name != recording]
    times = [choose_column(others, kind, table="X", optional=True) for kind in ("start", "end")]
    times = [name for name in times if name is not None]
    return X[[recording, *times]] if times else X[recording]


def as_segments(X):
    """Return the segments of a table, or of an index, of files with start times.

    Parameters
    ----------
    X : DataFrame, or MultiIndex with the levels file, start and end
        The columns are found by their usual names. Times are numbers of seconds or timedeltas; a
        missing start is 0, a missing end the end of the file.

    Returns
    -------
    segments : list of SegmentOfFile
    """
    if hasattr(X, "get_level_values"):
        names = [str(name) for name in X.names]
        columns = {name: X.get_level_values(level) for level, name in enumerate(names)}
    else:
        names = list(X.columns)
        columns = {name: X[name] for name in names}
    path = choose_column(names, "recording", table="X")
    start = choose_column(names, "start", table="X", optional=True)
    end = choose_column(names, "end", table="X", optional=True)
    if start is None:
        raise ValueError(
            f"X has the levels {list_columns(names)}: levels file, start and end are expected."
        )
    ends = [None] * len(X) if end is None else list(columns[end])
    return make_segments(list(columns[path]), list(columns[start]), ends, table="X")


def make_segments(paths, starts, ends, *, table):
    """Return segments from columns of paths, starts and ends.

    Parameters
    ----------
    paths, starts, ends : list
        Columns of a table. Paths may be segments themselves, whose channels are kept.
    table : str
        Name of the table in error messages.

    Returns
    -------
    segments : list of SegmentOfFile
    """
    segments = []
    for row, (path, start, end) in enumerate(zip(paths, starts, ends, strict=True)):
        try:
            segments.append(_make_segment(path, as_seconds(start, 0.0), as_seconds(end, None)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"Row {row} of {table} is no segment of a file: {error}") from error
    return segments


def _make_segment(path, start, end):
    if isinstance(path, SegmentOfFile):
        return SegmentOfFile(path.path, start, end, path.channel)
    if not isinstance(path, PATH_TYPES):
        raise TypeError(
            f"it has a start, and is of type {type(path).__name__}, not a path; cut arrays by "
            "slices, array[int(start * rate) : int(end * rate)]"
        )
    return SegmentOfFile(path, start, end)


def cut_into_segments(recordings, *, duration, hop=None, min_duration=0.0):
    """Cut files into segments of equal duration, for predictions over time.

    Files are decoded once, in blocks, to measure them, as headers may be wrong.

    Parameters
    ----------
    recordings : sequence of path or SegmentOfFile
        Files, or segments of files, to cut.
    duration : float
        Duration of a segment in seconds.
    hop : float, default=None
        Time from the start of a segment to the start of the next one in seconds. If None,
        `duration`, so that segments do not overlap.
    min_duration : float, default=0.0
        Shorter segments, at the end of a recording, are dropped.

    Returns
    -------
    segments : DataFrame of shape (n_segments, 3)
        Columns recording (the path, or with a channel the `SegmentOfFile`), start and end in
        seconds. It is valid input of any transformer of recordings. The last segment of a recording
        ends at the end of the recording.

    Raises
    ------
    ValueError
        If a file is missing or is not audio, if a segment starts at the end of its file or later,
        or if a duration is not positive.
    TypeError
        If a recording is not a file.

    See Also
    --------
    SegmentOfFile : One segment.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import soundfile
    >>> from sklearn_ser.audio import cut_into_segments
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/call.wav", np.zeros(16000 * 5), 16000)
    ...     segments = cut_into_segments([f"{folder}/call.wav"], duration=2)
    >>> print(segments[["start", "end"]].to_string(index=False))
     start  end
       0.0  2.0
       2.0  4.0
       4.0  5.0
    """
    import pandas as pd

    hop = duration if hop is None else hop
    for name, value in {"duration": duration, "hop": hop}.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name}={value!r} must be a number of seconds above 0.")
    rows = []
    for position, recording in enumerate(recordings):
        if not isinstance(recording, (SegmentOfFile, *PATH_TYPES)):
            raise TypeError(
                f"Recording {position} is of type {type(recording).__name__}, not a path or "
                "SegmentOfFile. Cut arrays by slices."
            )
        segment = recording if isinstance(recording, SegmentOfFile) else SegmentOfFile(recording)
        stop = segment.end
        if stop is None:
            try:
                with open_audio(segment.path) as audio:
                    stop = sum(map(len, audio.blocks())) / audio.rate
            except UnusableRecording as error:
                raise ValueError(f"Recording {position}, {segment.path!r}: {error}") from error
        if stop <= segment.start:
            raise ValueError(
                f"Recording {position}, {segment.path!r}: its segment starts at {segment.start:g} "
                f"s, and the file ends at {stop:g} s."
            )
        starts = np.arange(segment.start, stop, hop)
        starts = starts[starts < stop - _ROUNDING]
        # The first segment that reaches the end is the last one.
        starts = starts[: 1 + np.searchsorted(starts + duration, stop - _ROUNDING)]
        ends = np.minimum(starts + duration, stop)
        source = segment.path if segment.channel is None else segment
        rows += [
            (source, float(start), float(end))
            for start, end in zip(starts, ends, strict=True)
            if end - start >= min_duration - _ROUNDING
        ]
    return pd.DataFrame(rows, columns=["recording", "start", "end"])
