"""Read recordings, emotions and speakers from a CSV file or a DataFrame."""

import csv
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn_ser._warnings import warn
from sklearn_ser.audio import (
    SegmentOfFile,
    choose_column,
    describe,
    list_columns,
    make_segments,
    resolve_path,
)

from ._scan import some

if TYPE_CHECKING:
    import pandas as pd

_IGNORED_CHARACTERS = str.maketrans("", "", "_- ")
# Columns of labels and identifiers, which stay text: "emotion_label", "Speaker ID", "session".
_IDENTIFIER = re.compile(
    r"(speaker|actor|talker|spkr?|subject|session|dialog|group|file|recording|label|target|class"
    r"|emo(tion)?)?(id|label|class|name|number|nr|no)?"
)
# Without leading zeros, which codes have.
_NUMBER = r"[+-]?(?:(?:0|[1-9]\d{0,17})(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_MISSING = {"", "na", "nan"}


@dataclass
class Table:
    """A DataFrame indexed by names of rows for errors, and the folder of its relative paths."""

    name: str
    frame: "pd.DataFrame"
    folder: Path


def is_table(source: Any) -> bool:
    """Return whether an object is a DataFrame of pandas, polars or a similar library."""
    return hasattr(source, "columns") and hasattr(source, "to_numpy")


def read_table(
    source: Any, path: str | None, label: str | None, speaker: str | None
) -> "pd.DataFrame":
    """Read a table of recordings and give its columns their standard names.

    Parameters
    ----------
    source : str, path-like or DataFrame
        The table.

    path, label, speaker : str or None
        Names of the columns of paths, labels and speakers. None finds them by their usual names.

    Returns
    -------
    frame : DataFrame of shape (n_recordings, n_columns)
        The columns "recording", "emotion", "speaker" if there is one, and all others. Recordings
        are paths, or with a start or an end `SegmentOfFile`. Each occurs once.
    """
    import pandas as pd

    table = _read_frame(source) if is_table(source) else _read_source(source)
    header, name = list(table.frame), table.name
    names = {
        "recording": choose_column(header, "recording", path, parameter="path", table=name),
        "emotion": choose_column(header, "label", label, parameter="label", table=name),
        "speaker": choose_column(
            header, "speaker", speaker, parameter="speaker", table=name, optional=True
        ),
    }
    frame = pd.DataFrame({role: _text_column(table, name) for role, name in names.items() if name})
    frame["recording"] = [resolve_path(table.folder / name) for name in frame["recording"]]
    _check_files_exist(table, frame["recording"].tolist())
    others = table.frame[[name for name in table.frame if name not in names.values()]]
    if not is_table(source):
        others = others.apply(_as_numeric)
    frame = frame.join(others.rename(columns={name: f"source_{name}" for name in names}))
    frame["recording"] = _cut(table, frame["recording"])
    return _drop_repeated_files(table, frame).reset_index(drop=True)


def _as_numeric(column: "pd.Series") -> "pd.Series":
    """Return a column of a CSV file as numbers if all its cells are numbers or empty.

    Labels, identifiers and codes with leading zeros stay text.
    """
    import pandas as pd

    cells = column.str.strip()
    filled = cells[~cells.str.lower().isin(_MISSING)]
    name = str(column.name).lower().translate(_IGNORED_CHARACTERS)
    if filled.empty or _IDENTIFIER.fullmatch(name) or not filled.str.fullmatch(_NUMBER).all():
        return column
    return pd.to_numeric(filled).reindex(column.index)


def _cut(table: Table, paths: "pd.Series") -> list:
    """Return segments of files if the table has times, else the paths."""
    times = {
        kind: choose_column(list(table.frame), kind, table=table.name, optional=True)
        for kind in ("start", "end")
    }
    missing = [None] * len(paths)
    starts, ends = (list(table.frame[name]) if name else missing for name in times.values())
    segments = make_segments(paths.tolist(), starts, ends, table=table.name)
    return [s.path if (s.start, s.end) == (0, None) else s for s in segments]


def _read_frame(source: Any) -> Table:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        frame = source.set_axis(source.columns.map(str), axis=1)
    else:
        frame = pd.DataFrame({name: source[name].to_numpy() for name in source.columns})
    return _make_table("source", frame, [f"row {n}" for n in range(len(frame))], Path())


def _read_source(source: Any) -> Table:
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"source={str(path)!r} does not exist. It must be a folder with a sub-folder per "
            "emotion, a CSV file or a DataFrame."
        )
    advice = "Read other formats with pandas or polars and pass the DataFrame."
    return read_csv(path, f"source={str(path)!r}", advice)


def read_csv(path: Path, name: str, advice: str) -> Table:
    """Read a CSV file with a header.

    Parameters
    ----------
    path : Path
        The file, in UTF-8, separated by commas, semicolons or tabs. The separator may be
        declared by a first line such as "sep=;".

    name : str
        Name of the table in errors.

    advice : str
        Remedy in errors.

    Returns
    -------
    table : Table
        All cells are strings.
    """
    import pandas as pd

    try:
        rows = _csv_rows(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{name} is not a CSV file in UTF-8: {error}. {advice}") from error
    header = rows[0][1] if rows else []
    wrong = [f"line {line}" for line, cells in rows if len(cells) != len(header)]
    if wrong:
        raise ValueError(
            f"{name} has {len(header)} columns, but {len(wrong)} lines have more or fewer cells: "
            f"{some(wrong)}. Quote cells that contain the separator. {advice}"
        )
    frame = pd.DataFrame([cells for _, cells in rows[1:]], columns=header)
    return _make_table(name, frame, [f"line {n}" for n, _ in rows[1:]], path.parent, advice)


def read_label_file(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file of a corpus.

    Parameters
    ----------
    path : Path
        The file.

    columns : sequence of str
        Columns that the file must have.

    Returns
    -------
    rows : list of dict of str to str
        The rows, by column name.
    """
    advice = "Download the file again, or remove it to load the corpus without it."
    table = read_csv(path, str(path), advice)
    if not set(columns) <= set(table.frame):
        raise ValueError(
            f"{path} has the columns {list_columns(table.frame)}, but {list_columns(columns)} are "
            f"required. {advice}"
        )
    return table.frame.to_dict("records")


def as_number(text: str) -> float:
    """Convert text to a float, or to NaN if it is not a finite number."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, and the number of the line on which each ends."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        # Spreadsheet programs may declare the separator in the first line.
        declared = re.fullmatch(r"\"?sep=([,;\t])\"?\s*", first, re.IGNORECASE)
        if not declared:
            file.seek(0)
        separator = declared[1] if declared else max(",;\t", key=first.count)
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
        n_before = 1 if declared else 0
        return [(n_before + reader.line_num, row) for row in reader if row not in ([], [""])]


def _make_table(
    name: str, frame: "pd.DataFrame", rows: list[str], folder: Path, advice: str = ""
) -> Table:
    """Return a `Table`, after a check that it has rows and that its column names are unique."""
    repeated = sorted(set(frame.columns[frame.columns.duplicated()]))
    if repeated:
        raise ValueError(
            f"{name} has more than one column with the name {some(map(repr, repeated))}. Column "
            "names must be unique."
        )
    if frame.empty:
        raise ValueError(
            f"{name} has no rows; its columns are {list_columns(frame)}. {advice}".rstrip()
        )
    return Table(name, frame.set_axis(rows), folder)


def _text_column(table: Table, name: str) -> "pd.Series":
    """Return a column as stripped strings, after a check that none is empty."""
    column = table.frame[name]
    texts = column.astype(str).str.strip()
    empty = column.index[column.isna() | (texts == "")]
    if len(empty):
        raise ValueError(
            f"The column {name!r} of {table.name} is empty in {len(empty)} of {len(column)} rows: "
            f"{some(empty)}. Fill in the cells or remove the rows."
        )
    return texts


def _check_files_exist(table: Table, recordings: list[str]) -> None:
    missing = [recording for recording in recordings if not os.path.isfile(recording)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(recordings)} recordings listed in {table.name} do not exist: "
            f"{some(missing)}. Relative paths start at {str(table.folder.resolve())!r}."
        )


def _drop_repeated_files(table: Table, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the first row of each recording, after a check that its other rows agree."""
    files = frame["recording"].map(_identify)
    first = frame.index.to_series().groupby(files).transform("first")
    labels = frame.filter(["emotion", "speaker"])
    contradicts = (labels != labels.loc[first].set_axis(labels.index)).any(axis=1)
    repeated = files.duplicated()
    places = frame["recording"].map(describe) + " in " + first + " and " + frame.index
    if contradicts.any():
        raise ValueError(
            f"{contradicts.sum()} rows of {table.name} list a recording again with another emotion "
            f"or speaker: {some(places[contradicts])}. Correct the table."
        )
    if repeated.any():
        warn(
            f"{repeated.sum()} rows of {table.name} list a recording again: "
            f"{some(places[repeated])}. Only the first row of each is used."
        )
    return frame[~repeated]


def _identify(recording: Any) -> tuple:
    if isinstance(recording, SegmentOfFile):
        return os.path.realpath(recording.path), recording.start, recording.end
    return os.path.realpath(recording), 0.0, None
