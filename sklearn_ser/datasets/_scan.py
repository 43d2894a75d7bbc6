"""Find a corpus's recordings in a folder and say what is missing, unknown or there twice.

A corpus is described by a `CorpusLayout`; everything else here is the same for all of them.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sklearn_ser._warnings import warn

if TYPE_CHECKING:
    import pandas as pd

# What libsndfile reads, by the endings in use.
_UNCOMPRESSED = (".aif", ".aifc", ".aiff", ".au", ".caf", ".rf64", ".snd", ".sph", ".w64", ".wav")
_COMPRESSED = (".flac", ".mp3", ".oga", ".ogg", ".opus")
AUDIO_ENDINGS = frozenset(_UNCOMPRESSED + _COMPRESSED)
_N_EXAMPLES = 3
_N_SPEAKERS = 6


@dataclass(frozen=True)
class CorpusLayout:
    """How a corpus's files are called and where a user gets them.

    Parameters
    ----------
    title : str
        The corpus's name.

    pattern : str
        A regular expression for the end of a recording's path without its ending, below and
        including the corpus folder's own name, with "/" between the parts. Letter case does not
        matter. Its named groups are the recording's fields, in lower case, and together its
        identity: two files that agree in all of them are copies of one recording.

    example : str
        A recording's usual name, shown in errors.

    contents : str
        What the folder holds, shown in errors.

    origin : str
        Where the corpus is obtained, shown in errors.
    """

    title: str
    pattern: str
    example: str
    contents: str
    origin: str

    def fields(self, path: str) -> dict[str, str] | None:
        """Return what the name tells of the recording, or None if it is no recording's."""
        stem = os.path.splitext(path)[0]
        match = re.search(rf"(?:^|/)(?:{self.pattern})$", stem, re.IGNORECASE)
        return {k: v.lower() for k, v in match.groupdict("").items()} if match else None


def some(items: Iterable[object], limit: int = _N_EXAMPLES) -> str:
    """List the first few items and how many more there are."""
    items = list(items)
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def find_audio(folder: Path) -> list[str]:
    """Return the audio files below a folder, as `find_files` does."""
    return find_files(folder, _is_audio)


def find_files(folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    """Return the files below a folder, shallowest first, as "/"-separated relative paths.

    At the same depth uncompressed audio comes before compressed audio, then the alphabet decides.
    Hidden files and folders are left out. Linked folders are entered, each folder once.

    Parameters
    ----------
    folder : Path
        Where to look.

    wanted : callable
        Told a file's name, whether it is looked for.

    Returns
    -------
    files : list of str
    """
    found, entered = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = (
            sorted(name for name in folders if name[0] != ".") if real not in entered else []
        )
        if real not in entered:
            below = Path(parent).relative_to(folder)
            prefix = "" if below == Path() else f"{below.as_posix()}/"
            found += [prefix + name for name in names if name[0] != "." and wanted(name)]
        entered.add(real)
    return sorted(found, key=lambda path: (path.count("/"), _is_compressed(path), path))


def find_label_file(folder: Path, name: str) -> Path | None:
    """Return a corpus's label file from below the folder or from beside it, if it is there.

    Parameters
    ----------
    folder : Path
        The folder that the user gave, which may hold the audio files only.

    name : str
        The file's usual path in the corpus, with "/" between the parts. Below the folder its last
        part alone counts, in any letter case.

    Returns
    -------
    path : Path or None
    """
    last = PurePosixPath(name).name
    below = find_files(folder, lambda file: file.lower() == last.lower())
    beside = folder.resolve().parent
    candidates = [*(folder / path for path in below[:1]), beside / name, beside / last]
    return next((path for path in candidates if path.is_file()), None)


def _is_compressed(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in _COMPRESSED


def is_text(name: str) -> bool:
    """Tell a text file by its name."""
    return name.lower().endswith(".txt")


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_ENDINGS


def scan_corpus(
    folder: str | os.PathLike[str],
    layout: CorpusLayout,
    wanted: Callable[[dict[str, str]], bool] = lambda fields: True,
    order: Sequence[str] | None = None,
    asked_for: str = "all",
) -> "pd.DataFrame":
    """Return the fields of each recording of a corpus, with its path as "recording".

    Parameters
    ----------
    folder : str or path-like
        Where the user says the corpus is.

    layout : CorpusLayout
        What is looked for.

    wanted : callable, default: all
        Told a recording's fields, whether it is asked for. The others are left out silently.

    order : sequence of str, default=None
        The fields to sort by, the first before the others. None means all, in the pattern's order.

    asked_for : str, default="all"
        How the user said what is `wanted`, shown where there is nothing of it.

    Returns
    -------
    recordings : DataFrame of shape (n_recordings, n_fields + 1)
        Each recording once.
    """
    import pandas as pd

    root = corpus_folder(folder, layout)
    audio = find_audio(root)
    # Resolving asks the file system, so once.
    name = root.resolve().name
    copies: dict[tuple[str, ...], list[str]] = {}
    fields_of: dict[tuple[str, ...], dict[str, str]] = {}
    unknown, unwanted = [], []
    for path in audio:
        fields = layout.fields(f"{name}/{path}")
        if fields is None:
            unknown.append(path)
        elif wanted(fields):
            key = tuple(fields.values())
            fields_of[key] = fields
            copies.setdefault(key, []).append(path)
        else:
            unwanted.append(path)
    if not copies and unwanted:
        raise ValueError(
            f"folder={str(root)!r} has {len(unwanted)} recordings of {layout.title}, such as "
            f"{unwanted[0]}, and none of those asked for: {asked_for}."
        )
    if not copies:
        raise ValueError(_nothing_found(root, layout, audio))
    _warn_unknown(layout, unknown)
    _warn_copies(layout, copies)
    found = pd.DataFrame(fields_of.values())
    by = list(order or found.columns)
    found["recording"] = [str(root / paths[0]) for paths in copies.values()]
    return found.sort_values(by, ignore_index=True)


def warn_missing(
    layout: CorpusLayout,
    speakers: Iterable[str],
    expected: Mapping[str, int],
    missing_names: Collection[str] = (),
    counted: str = "speaker",
) -> None:
    """Warn if a corpus is incomplete, or has more recordings than it should.

    Parameters
    ----------
    layout : CorpusLayout
        The corpus.

    speakers : iterable of str
        The speaker of each recording found, or whatever else they are `counted` by.

    expected : dict of str to int
        How many recordings of each speaker there should be.

    missing_names : collection of str, default=()
        The names that are missing, where the corpus has a complete list.

    counted : str, default="speaker"
        What the recordings are counted by, as the warning calls it.
    """
    found = Counter(speakers)
    other = [f"{s} has {found[s]} of {n}" for s, n in expected.items() if found[s] != n]
    if not other:
        return
    names = f" Missing: {some(missing_names)}." if missing_names else ""
    warn(
        f"{layout.title}: {found.total()} of {sum(expected.values())} recordings; "
        f"{counted} {some(other, _N_SPEAKERS)}.{names} Scores on other recordings than the "
        "corpus's do not compare with published ones."
    )


def corpus_folder(folder: str | os.PathLike[str], layout: CorpusLayout) -> Path:
    """Return the folder as a path, after a check that it is one."""
    path = Path(folder).expanduser()
    if path.is_dir():
        return path
    advice = f"{layout.title} is expected as {layout.contents}. {layout.origin}"
    if path.exists():
        raise NotADirectoryError(f"folder={str(folder)!r} is a file, not a folder. {advice}")
    raise FileNotFoundError(f"folder={str(folder)!r} does not exist. {advice}")


def _nothing_found(root: Path, layout: CorpusLayout, audio: list[str]) -> str:
    such_as = f", such as {audio[0]}," if audio else ""
    return (
        f"folder={str(root)!r} has {len(audio)} audio files{such_as} and none is a recording of "
        f"{layout.title}, whose names look like {layout.example}. Expected: {layout.contents}. "
        f"{layout.origin}"
    )


def _warn_unknown(layout: CorpusLayout, unknown: list[str]) -> None:
    if unknown:
        warn(
            f"{layout.title}: {len(unknown)} audio files left out, because their names are not "
            f"the corpus's: {some(unknown)}. Names look like {layout.example}."
        )


def _warn_copies(layout: CorpusLayout, copies: Mapping[tuple[str, ...], list[str]]) -> None:
    repeated = [paths for paths in copies.values() if len(paths) > 1]
    if repeated:
        taken, *others = repeated[0]
        warn(
            f"{layout.title}: {len(repeated)} recordings are there more than once, such as {taken} "
            f"and {others[0]}. Each is taken once, from the shallowest folder and then the first "
            "in alphabetical order; to take another copy, pass its own folder."
        )
