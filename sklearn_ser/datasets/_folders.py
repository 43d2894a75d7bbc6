"""Read recordings, emotions, speakers and splits from the paths below a folder."""

import os
import re
from collections import defaultdict
from pathlib import Path

from sklearn_ser._warnings import warn

from ._scan import CONTAINER_ENDINGS, find_audio, some
from ._vocabulary import is_emotion

_LAYOUT = (
    "Expected is one sub-folder per emotion, such as anger/ and neutral/, with the recordings at "
    "any depth below it. To load a table, pass a CSV file or a DataFrame."
)
_SPLITS = frozenset(
    (
        *("train", "training", "dev", "devel", "development", "val", "valid", "validation"),
        *("test", "testing", "eval", "evaluation"),
    )
)
_LABEL_WORDS = frozenset({"negative", "positive"})


def read_folder(
    folder: Path, label: str | None, label_level: int | None, speaker: str | None
) -> dict[str, list[str]]:
    r"""Read a folder of recordings.

    Parameters
    ----------
    folder : Path
        The folder.

    label, speaker : str or None
        Regular expressions that find label and speaker in each path.

    label_level : int or None
        Level of the folders that name the labels. None infers it if `label` is None.

    Returns
    -------
    columns : dict of str to list of str of length n_recordings
        The columns "recording", "emotion", "speaker" if `speaker` is given, and "split" if the
        folders of one level are named for splits.
    """
    source = f"source={str(folder)!r}"
    if label is not None and label_level is not None:
        raise ValueError(f"Pass label={label!r} or label_level={label_level!r}, not both.")
    paths = _drop_extracted(sorted(find_audio(folder)), source)
    split = _find_split_level([_folders(path) for path in paths if "/" in path])
    if label is not None:
        labels = _extract(paths, label, "label")
    else:
        level = _choose_level(paths, split, source) if label_level is None else label_level
        paths = _select_deep(paths, level, source)
        labels = [_folders(path)[level] for path in paths]
    if len(set(labels)) < 2:
        raise ValueError(_too_few(source, paths, labels))
    columns = {"recording": [str(folder / path) for path in paths], "emotion": labels}
    if speaker is not None:
        columns["speaker"] = _extract(paths, speaker, "speaker")
    if split is not None and all(len(_folders(path)) > split for path in paths):
        splits = [_folders(path)[split] for path in paths]
        columns |= {"split": splits} if splits != labels else {}
    return columns


def _folders(path: str) -> list[str]:
    return path.split("/")[:-1]


def _drop_extracted(paths: list[str], source: str) -> list[str]:
    """Drop containers, such as .mp4, next to a file with the same name that needs no decoder."""
    of_stem = defaultdict(list)
    for path in paths:
        of_stem[os.path.splitext(path)[0]].append(path)
    dropped = {
        path
        for same in of_stem.values()
        if not all(_is_container(path) for path in same)
        for path in same
        if _is_container(path)
    }
    if dropped:
        warn(
            f"{len(dropped)} files in {source} have the name of an audio file next to them, which "
            f"is used instead: {some(sorted(dropped))}."
        )
    return [path for path in paths if path not in dropped]


def _is_container(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in CONTAINER_ENDINGS


def _find_split_level(folders: list[list[str]]) -> int | None:
    """Return the first level whose folders are all named for splits, or None."""
    depth = min(map(len, folders), default=0)
    levels = (n for n in range(depth) if all(names[n].lower() in _SPLITS for names in folders))
    return next(levels, None)


def _choose_level(paths: list[str], split: int | None, source: str) -> int:
    """Return the first level that does not name splits, after a check that it names the labels.

    It does not if the names of a lower level repeat in several of its folders, as in
    speaker/emotion/, unless they look less like emotions than its own.
    """
    folders = [_folders(path) for path in paths]
    depth = max(map(len, folders), default=0)
    levels = [level for level in range(depth) if level != split]
    if not levels:
        have = sorted({name for names in folders for name in names})
        problem = f"are named for splits, not for emotions: {some(have)}" if have else "are: none"
        raise ValueError(
            f"{source} has {len(paths)} audio files, and its sub-folders with recordings "
            f"{problem}. At least two emotions are needed. {_LAYOUT} To find the emotion in file "
            "names, pass a regular expression as `label`."
        )
    first, *lower = levels
    names = {level: _names_at(level, folders) for level in levels}
    repeated = [level for level in lower if _repeats(level, first, folders)]
    likely = max((first, *repeated), key=lambda level: _share_known(names[level]))
    if (repeated and _share_known(names[first]) == 0) or likely != first:
        listed = "; ".join(f"{level}: {some(sorted(names[level]))}" for level in (first, *repeated))
        advice = f"Level {likely} looks like the labels. " if likely != first else ""
        raise ValueError(
            f"{source} has the same sub-folders in several folders, so that it is not clear which "
            f"level names the emotions. Levels: {listed}. {advice}Choose one with `label_level`, "
            f"such as label_level={likely if likely != first else repeated[0]}, or pass a regular "
            "expression as `label`."
        )
    return first


def _names_at(level: int, folders: list[list[str]]) -> set[str]:
    return {names[level] for names in folders if len(names) > level}


def _repeats(level: int, first: int, folders: list[list[str]]) -> bool:
    """Return whether several names are at a level, and one in several folders of the first."""
    above = defaultdict(set)
    for names in folders:
        if len(names) > level:
            above[names[level]].add(names[first])
    return len(above) > 1 and any(len(uppers) > 1 for uppers in above.values())


def _share_known(names: set[str]) -> float:
    """Return the share of names that are those of emotions."""
    known = [is_emotion(name) or name.lower() in _LABEL_WORDS for name in names]
    return sum(known) / len(known)


def _select_deep(paths: list[str], level: int, source: str) -> list[str]:
    """Return the paths that have a folder at a level, and warn about the others."""
    n_folders = level + 1 if level >= 0 else -level
    deep = [path for path in paths if len(_folders(path)) >= n_folders]
    loose = [path for path in paths if len(_folders(path)) < n_folders]
    if loose and not deep:
        n_levels = max(len(_folders(path)) for path in loose)
        raise ValueError(
            f"label_level={level}: {source} has {len(loose)} audio files, and {n_levels} levels of "
            f"sub-folders above them. The first level is 0. {_LAYOUT}"
        )
    if loose:
        warn(
            f"{len(loose)} audio files in {source} are not in a sub-folder that names an emotion "
            f"and are skipped: {some(loose)}."
        )
    return deep


def _too_few(source: str, paths: list[str], labels: list[str]) -> str:
    folders = [_folders(path) for path in paths]
    depth = max(map(len, folders), default=0)
    known = [n for n in range(depth) if any(map(is_emotion, _names_at(n, folders)))]
    advice = f" Level {known[0]} looks like them: pass label_level={known[0]}." if known else ""
    return (
        f"{source} has {len(paths)} audio files, and its sub-folders with recordings are: "
        f"{some(sorted(set(labels))) or 'none'}. At least two emotions are needed.{advice} "
        f"{_LAYOUT}"
    )


def _extract(paths: list[str], pattern: str, parameter: str) -> list[str]:
    """Extract the speaker or label from each path."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"{parameter}={pattern!r} is not a regular expression: {error}. For a folder, it is "
            r"searched in each path. An example is r'spk(\d+)'."
        ) from error
    matches = [compiled.search(path) for path in paths]
    group = 1 if compiled.groups else 0
    found = [(match[group] or "") if match else "" for match in matches]
    without = [path for path, name in zip(paths, found, strict=True) if not name]
    if without:
        raise ValueError(
            f"{parameter}={pattern!r} finds no {parameter} in {len(without)} of {len(paths)} "
            f"paths: {some(without)}. It must match each path relative to the folder. Its first "
            f"group, or the whole match if there is no group, is the {parameter}."
        )
    return found
