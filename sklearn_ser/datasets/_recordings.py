"""Load the user's own recordings from a folder per emotion or from a table."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn_ser._sklearn import HasMethods
from sklearn_ser._warnings import warn

from ._bunch import make_bunch, validated_loader
from ._folders import read_folder
from ._table import is_table, read_table
from ._vocabulary import standard_emotion, standard_selection


# DataFrames of pandas and polars have both methods; Series and arrays do not.
@validated_loader(
    source=[str, os.PathLike, HasMethods(["join", "to_numpy"])],
    path=[str, None],
    label=[str, None],
    label_level=[Integral, None],
    speaker=[str, None],
    standardize_emotions=["boolean"],
)
def load_recordings(
    source,
    *,
    path=None,
    label=None,
    label_level=None,
    speaker=None,
    standardize_emotions=True,
    emotions=None,
    return_X_y=False,
    as_frame=False,
):
    r"""Load recordings of your own from a folder per emotion or from a table.

    No audio is decoded. Files with identical contents are reported, because a recording in both
    the training and the test set inflates the score.

    Parameters
    ----------
    source : str, path-like or DataFrame
        One of

        - a folder with a sub-folder per emotion, whose name is the label, and the recordings at
          any depth below it. Folders named for splits, such as train/ and test/, may be above or
          below. Hidden files are ignored;
        - a CSV file in UTF-8 with a header, separated by commas, semicolons or tabs. Relative
          paths are relative to the file's folder;
        - a pandas or polars DataFrame. Relative paths are relative to the current directory.

    path : str or None, default=None
        Name of the table's column of paths. If None, the column is found by its name: path, file,
        filename, filepath, recordings or speech, or recording, audio or wav, optionally followed
        by path or file. Letter case and "_" are ignored.

    label : str or None, default=None
        For a table, name of the column of emotions. If None, the column is found by its name:
        label, target, class, or emotion or emo, optionally followed by label or class.

        For a folder, a regular expression that is searched in each path as for `speaker`:
        ``r"_(\w+)\.wav"`` finds "sad" in "03_sad.wav".

    label_level : int or None, default=None
        For a folder, the level of the sub-folders whose names are the labels: 0 is the level
        directly below `source`, -1 the folder of each recording. If None, the first level is
        used that does not name splits; an error is raised if another level looks more like the
        labels, as in ``speaker/emotion/``.

    speaker : str or None, default=None
        For a table, name of the column of speakers. If None, the column is found by its name:
        speaker, actor, talker, spk, spkr or subject, optionally followed by id. Without such a
        column there are no groups.

        For a folder, a regular expression that is searched in each path relative to `source`,
        with "/" as the separator. Its first group, or the whole match if there is no group, is
        the speaker: ``r"spk(\d+)"`` finds "03" in "anger/spk03/take1.wav". If None, there are no
        groups.

    standardize_emotions : bool, default=True
        Whether to replace synonyms by the names that all loaders use, ignoring letter case: angry
        becomes anger, happy and joy happiness, sad sadness, fearful fear, and so on. Other names
        are unchanged.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep; synonyms are recognised in the same way. A dict keeps its keys and
        renames each to its value, so that emotions can be merged. None keeps all.

    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` instead of a Bunch.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        recordings : ndarray or Series of shape (n_recordings,)
            The paths, sorted for a folder and in the order of the rows for a table. For rows of a
            table with a start or an end, ``sklearn_ser.audio.SegmentOfFile``.
        target : ndarray or Series of shape (n_recordings,)
            Names of the emotions.
        target_names : list of str
            Names of the emotions that occur, sorted.
        groups : ndarray or Series of shape (n_recordings,), or None
            The speakers, as strings ("03" stays "03"). None if they are not known.
        frame : DataFrame of shape (n_recordings, n_columns)
            The columns recording, emotion and, if known, speaker, then the other columns of the
            table, or for a folder split if there are folders of splits, and original_emotion if
            synonyms were replaced. Other columns with these names get the prefix "source\_".
            Columns of a CSV file that hold numbers only are numeric, with NaN for empty cells,
            except labels, identifiers such as session, and codes such as "03".
        DESCR : str
            Origin of the recordings, and their number for each emotion.

    (recordings, target) : tuple if ``return_X_y`` is True
        The paths and the emotions.

    Raises
    ------
    FileNotFoundError
        If `source` or a recording listed in the table does not exist.
    ValueError
        If the folder has fewer than two sub-folders with recordings, the columns of the table
        cannot be identified, a path, label or speaker is empty, a recording is listed with two
        different labels or speakers, `label` or `speaker` does not match a path, it is not clear
        which level of the folders names the labels, or `emotions` contains an unknown emotion.

    Warns
    -----
    UserWarning
        If a recording is listed twice (it is used once), if different files have identical contents
        (all are kept), or if audio files lie outside the sub-folders or are containers, such as
        .mp4, next to an audio file of the same name (they are skipped).

    See Also
    --------
    load_emodb : German speech by ten actors.
    load_ravdess : English speech and song by 24 actors.

    Notes
    -----
    Only files of equal size are compared, by a hash of their contents.

    Times are in columns with usual names: start, start time, begin or onset, and end, end time or
    stop, in seconds or as timedeltas. A missing start is 0, a missing end is the end of the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_recordings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("anger/03_a.wav", "anger/08_a.wav", "calm/03_b.wav"):
    ...         Path(folder, name).parent.mkdir(exist_ok=True)
    ...         n_bytes = Path(folder, name).write_text(name)
    ...     mine = load_recordings(folder, speaker=r"(\d+)_[ab]\.wav")
    >>> print(*mine.target)
    anger anger calm
    >>> print(*mine.groups)
    03 08 03
    """
    if not is_table(source) and Path(source).expanduser().is_dir():
        folder = Path(source).expanduser()
        columns = _columns_of_folder(folder, path, label, label_level, speaker)
    elif label_level is not None:
        raise ValueError(f"label_level={label_level!r} is for folders, but `source` is a table.")
    else:
        columns = read_table(source, path, label, speaker)
    if standardize_emotions:
        columns, emotions = _standardize(columns), standard_selection(emotions)
    files = dict.fromkeys(getattr(r, "path", r) for r in columns["recording"])
    _warn_identical(files)
    origin = "a table" if is_table(source) else os.fspath(source)
    return make_bunch(
        columns,
        emotions=emotions,
        descr=_describe(origin, columns["emotion"]),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _describe(origin: str, labels: Iterable[str]) -> str:
    counts = sorted(Counter(labels).items())
    lines = [f"- {label}: {count}" for label, count in counts]
    return "\n".join([f"Recordings from {origin}, by emotion before selection:", "", *lines])


def _columns_of_folder(
    folder: Path,
    path: str | None,
    label: str | None,
    label_level: int | None,
    speaker: str | None,
) -> dict[str, list[str]]:
    if path is not None:
        raise ValueError(
            f"path={path!r} names a column of a table, but source={str(folder)!r} is a folder. "
            "Leave path out."
        )
    return read_folder(folder, label, label_level, speaker)


def _standardize(columns: Any) -> Any:
    """Replace synonyms of emotions, and keep the original names if one is replaced."""
    import pandas as pd

    frame = pd.DataFrame(columns)
    standard = frame["emotion"].map(standard_emotion)
    if (standard == frame["emotion"]).all():
        return frame
    frame = frame.rename(columns={"original_emotion": "source_original_emotion"})
    return frame.assign(emotion=standard, original_emotion=frame["emotion"])


def _warn_identical(recordings: Iterable[str]) -> None:
    """Warn if different files have identical contents."""
    copies = [
        identical
        for equal_size in _find_equal(recordings, os.path.getsize)
        for identical in _find_equal(equal_size, _digest)
    ]
    if copies:
        n_files = sum(map(len, copies))
        warn(
            f"{n_files} recordings have the same contents as another one, such as "
            f"{copies[0][0]} and {copies[0][1]}. They are kept, but copies of test recordings in "
            "the training set inflate the score: remove the copies."
        )


def _find_equal(paths, key):
    """Return the groups of two or more paths with the same key."""
    groups: dict[object, list[str]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
