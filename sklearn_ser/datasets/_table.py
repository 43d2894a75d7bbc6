"""Recordings, emotions and speakers from a CSV file or a DataFrame of any kind."""

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_ser._warnings import warn

from ._scan import some

# The usual names, without letter case, "_", "-" and blanks.
_IGNORED = str.maketrans("", "", "_- ")
_KINDS = ("", "path", "file")
_USUAL_NAMES = {
    "path": {"path", "file", "filename", "filepath"}
    | {name + kind for name in ("recording", "audio", "wav") for kind in _KINDS},
    "label": {"label", "target", "class"}
    | {"emo" + tion + kind for tion in ("", "tion") for kind in ("", "label", "class")},
    "speaker": {
        name + suffix
        for name in ("speaker", "actor", "talker", "spk", "spkr", "subject")
        for suffix in ("", "id")
    },
}


@dataclass
class Table:
    """Columns of any kind, what to call their rows and where relative paths start."""

    name: str
    columns: dict[str, np.ndarray]
    rows: Sequence[str]
    folder: Path


def is_table(source: Any) -> bool:
    """Tell whether something is a DataFrame of pandas, polars or their like."""
    return hasattr(source, "columns") and hasattr(source, "to_numpy")


def columns_of_table(
    source: Any, path: str | None, label: str | None, speaker: str | None
) -> dict[str, Any]:
    """Return the columns recording, emotion, speaker if there is one, and all others.

    Parameters
    ----------
    source : str, path-like or DataFrame
        The table.

    path, label, speaker : str or None
        Its columns of these kinds, or None to find them by their usual names.

    Returns
    -------
    columns : dict of str to list of str or ndarray
        Each file once.
    """
    table = _read_frame(source) if is_table(source) else _read_source(source)
    names = {
        "recording": _column(table, "path", path),
        "emotion": _column(table, "label", label),
        "speaker": _column(table, "speaker", speaker),
    }
    texts = {role: _texts(table, name) for role, name in names.items() if name is not None}
    texts["recording"] = [str(table.folder / name) for name in texts["recording"]]
    _check_exist(table, texts["recording"])
    once = _each_file_once(table, texts)
    others = {
        f"source_{name}" if name in names else name: values[once]
        for name, values in table.columns.items()
        if name not in names.values()
    }
    return {role: [values[row] for row in once] for role, values in texts.items()} | others


def _read_frame(source: Any) -> Table:
    header = [str(name) for name in source.columns]
    columns = [_values(source[name]) for name in source.columns]
    return _table("source", header, columns, [f"row {n}" for n in range(len(source))], Path())


def _values(column: Any) -> np.ndarray:
    """Return a column as an array, with None where a text is missing."""
    values = np.array(column.to_numpy())
    # pandas has NaN and NA for missing cells, polars only None.
    if values.dtype == object and hasattr(column, "isna"):
        values[np.asarray(column.isna())] = None
    return values


def _read_source(source: Any) -> Table:
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"source={str(path)!r} does not exist. It must be a folder with a sub-folder per "
            "emotion, a CSV file or a DataFrame."
        )
    advice = "Read other tables with pandas or polars and pass the DataFrame."
    return read_csv(path, f"source={str(path)!r}", advice)


def read_csv(path: Path, name: str, advice: str) -> Table:
    """Return the table in a CSV file with a header.

    Parameters
    ----------
    path : Path
        The file, in UTF-8, with commas, semicolons or tabs.

    name : str
        What errors call it.

    advice : str
        What errors tell to do.

    Returns
    -------
    table : Table
        All cells as text.
    """
    try:
        rows = _csv_rows(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{name} is not a CSV file in UTF-8: {error}. {advice}") from error
    header = rows[0][1] if rows else []
    wrong = [f"line {line}" for line, cells in rows if len(cells) != len(header)]
    if wrong:
        raise ValueError(
            f"{name} has {len(header)} columns, but {len(wrong)} lines have more or fewer cells: "
            f"{some(wrong)}. Put cells that contain the separator in quotes. {advice}"
        )
    if len(rows) < 2:
        raise ValueError(f"{name} has no rows; its columns are {_listed(header)}. {advice}")
    columns = [
        np.array(cells, dtype=object) for cells in zip(*(r[1] for r in rows[1:]), strict=True)
    ]
    return _table(name, header, columns, [f"line {n}" for n, _ in rows[1:]], path.parent)


def read_label_file(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a corpus's CSV file by the names of its columns.

    Parameters
    ----------
    path : Path
        The file.

    columns : sequence of str
        Columns that it must have.

    Returns
    -------
    rows : list of dict of str to str
    """
    advice = "Get the file anew from the corpus's own site, or remove it to do without."
    table = read_csv(path, str(path), advice)
    if not set(columns) <= set(table.columns):
        raise ValueError(
            f"{path} has the columns {_listed(table.columns)}, and {_listed(columns)} are needed. "
            f"{advice}"
        )
    rows = zip(*(values.tolist() for values in table.columns.values()), strict=True)
    return [dict(zip(table.columns, cells, strict=True)) for cells in rows]


def as_number(text: str) -> float:
    """Return a finite number, or NaN where the text is none."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank with the line on which each ends."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        separator = max(",;\t", key=first.count)
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
        return [(reader.line_num, cells) for cells in reader if cells not in ([], [""])]


def _table(
    name: str, header: list[str], columns: list[np.ndarray], rows: list[str], folder: Path
) -> Table:
    """Return the table if it has rows and each of its columns has its own name."""
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise ValueError(
            f"{name} has more than one column with the name {some(map(repr, twice))}. Give each "
            "column its own name."
        )
    if not rows:
        raise ValueError(f"{name} has no rows; its columns are {_listed(header)}.")
    return Table(name, dict(zip(header, columns, strict=True)), rows, folder)


def _listed(names) -> str:
    return ", ".join(map(repr, names)) or "(none)"


def _column(table: Table, parameter: str, name: str | None) -> str | None:
    """Return the column that is named, or the only one with a usual name."""
    if name is not None:
        if name in table.columns:
            return name
        raise ValueError(
            f"{parameter}={name!r} is no column of {table.name}, whose columns are "
            f"{_listed(table.columns)}."
        )
    usual = _USUAL_NAMES[parameter]
    fitting = [c for c in table.columns if c.translate(_IGNORED).lower() in usual]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting and parameter == "speaker":
        return None
    problem = f"{_listed(fitting)} may each be" if fitting else "none has a usual name for"
    raise ValueError(
        f"Among the columns {_listed(table.columns)} of {table.name}, {problem} the {parameter}. "
        f"Name the one that is meant with the parameter `{parameter}`."
    )


def _texts(table: Table, name: str) -> list[str]:
    """Return a column as strings without blanks around them, none of them empty."""
    values = table.columns[name].tolist()
    empty = [
        row
        for row, value in zip(table.rows, values, strict=True)
        if value is None or value != value or not str(value).strip()
    ]
    if empty:
        raise ValueError(
            f"The column {name!r} of {table.name} is empty in {len(empty)} of {len(values)} rows: "
            f"{some(empty)}. Fill in the cells or leave out the rows."
        )
    return [str(value).strip() for value in values]


def _check_exist(table: Table, recordings: list[str]) -> None:
    missing = [recording for recording in recordings if not os.path.isfile(recording)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(recordings)} recordings that {table.name} lists do not exist: "
            f"{some(missing)}. Relative paths start at {str(table.folder.resolve())!r}."
        )


def _each_file_once(table: Table, texts: dict[str, list[str]]) -> list[int]:
    """Return the first row of each file, after a check that its other rows agree."""
    first: dict[str, int] = {}
    repeated, contradicting = [], []
    said = [texts[role] for role in ("emotion", "speaker") if role in texts]
    for row, recording in enumerate(texts["recording"]):
        before = first.setdefault(os.path.realpath(recording), row)
        if before == row:
            continue
        repeated.append(f"{recording} in {table.rows[before]} and {table.rows[row]}")
        contradicting += repeated[-1:] if any(v[before] != v[row] for v in said) else []
    if contradicting:
        raise ValueError(
            f"{len(contradicting)} rows of {table.name} list a file again with another emotion or "
            f"speaker: {some(contradicting)}. Correct the table."
        )
    if repeated:
        warn(
            f"{len(repeated)} rows of {table.name} list a file again: {some(repeated)}. Each file "
            "is taken once, with its first row."
        )
    return list(first.values())
