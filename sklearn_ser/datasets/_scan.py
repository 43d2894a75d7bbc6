"""Find the recordings of a corpus in a folder, and warn about missing, unknown or repeated ones.

Each corpus is described by a `CorpusLayout`.
"""

import filecmp
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

# File name extensions of the formats that libsndfile reads.
_UNCOMPRESSED = (".aif", ".aifc", ".aiff", ".au", ".caf", ".rf64", ".snd", ".sph", ".w64", ".wav")
_COMPRESSED = (".flac", ".mp3", ".oga", ".ogg", ".opus")
# Other containers of audio. They are listed, so that reading them can fail with a clear error.
_AUDIO_CONTAINERS = (".aac", ".amr", ".m4a", ".wma")
_VIDEO_CONTAINERS = (".3gp", ".avi", ".mkv", ".mov", ".mp4", ".webm")
AUDIO_ENDINGS = frozenset(_UNCOMPRESSED + _COMPRESSED)
CONTAINER_ENDINGS = frozenset(_AUDIO_CONTAINERS + _VIDEO_CONTAINERS)
_N_EXAMPLES = 3
_N_SPEAKERS = 6


@dataclass(frozen=True)
class CorpusLayout:
    """File names of a corpus, and descriptions for errors.

    Parameters
    ----------
    title : str
        Name of the corpus.

    pattern : str
        Regular expression for the end of a recording's path, without its extension. The path
        starts with the name of the corpus folder, and its parts are separated by "/". Letter case
        is ignored. The named groups are the fields of the recording, in lower case. Two files
        that agree in all fields are copies of one recording.

    example : str
        Example of a file name, for errors.

    contents : str
        Expected contents of the folder, for errors.

    origin : str
        Where to get the corpus, for errors.

    audio_folder : str, default=""
        Name of the folder of the recordings in the original corpus. Its files are used if others
        have the same fields.

    skipped_folders : tuple of str, default=()
        Names of folders of other signals with the names of recordings, in lower case.
    """

    title: str
    pattern: str
    example: str
    contents: str
    origin: str
    audio_folder: str = ""
    skipped_folders: tuple[str, ...] = ()

    def fields(self, path: str) -> dict[str, str] | None:
        """Parse the path of a recording, or return None if it does not match the pattern."""
        stem = os.path.splitext(path)[0]
        match = re.search(rf"(?:^|/)(?:{self.pattern})$", stem, re.IGNORECASE)
        return {k: v.lower() for k, v in match.groupdict("").items()} if match else None


def some(items: Iterable[object], limit: int = _N_EXAMPLES) -> str:
    """Format the first few items, and the number of the remaining ones."""
    items = list(items)
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def find_audio(folder: Path) -> list[str]:
    """Return the files with audio below a folder in the order of `find_files`.

    Files of containers that libsndfile does not read, such as .m4a and .mp4, are included.
    """
    return find_files(folder, _is_audio)


def find_files(folder: Path, predicate: Callable[[str], bool]) -> list[str]:
    """Return the files below a folder as relative paths with "/" as the separator.

    Files are sorted by depth, then uncompressed before compressed audio, then alphabetically.
    Hidden files and folders, named pipes and devices are skipped. Symbolic links to folders are
    followed, and each folder is visited once.

    Parameters
    ----------
    folder : Path
        The folder to search.

    predicate : callable
        Returns whether to include a file, given its name.

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
            found += [
                prefix + name
                for name in names
                if name[0] != "." and predicate(name) and not _is_special(Path(parent, name))
            ]
        entered.add(real)
    return sorted(found, key=lambda path: (path.count("/"), _is_compressed(path), path))


def _is_special(path: Path) -> bool:
    """Return whether this is a named pipe or device, whose opening may block."""
    return path.exists() and not path.is_file()


def find_label_file(folder: Path, name: str) -> Path | None:
    """Find a label file of a corpus below the folder or next to it.

    Parameters
    ----------
    folder : Path
        The folder passed by the user, which may contain only the audio files.

    name : str
        Path of the file in the corpus, with "/" as the separator. Below the folder only the last
        part is compared, ignoring letter case.

    Returns
    -------
    path : Path or None
        None if there is no such file.
    """
    last = PurePosixPath(name).name
    below = find_files(folder, lambda file: file.lower() == last.lower())
    parent = folder.resolve().parent
    candidates = [*(folder / path for path in below[:1]), parent / name, parent / last]
    return next((path for path in candidates if path.is_file()), None)


def _is_compressed(name: str) -> bool:
    return _ending(name) in _COMPRESSED or _ending(name) in CONTAINER_ENDINGS


def is_text(name: str) -> bool:
    """Return whether a file name is that of a text file."""
    return name.lower().endswith(".txt")


def _is_audio(name: str) -> bool:
    return _ending(name) in AUDIO_ENDINGS or _ending(name) in CONTAINER_ENDINGS


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def scan_corpus(
    folder: str | os.PathLike[str],
    layout: CorpusLayout,
    predicate: Callable[[dict[str, str]], bool] = lambda fields: True,
    order: Sequence[str] | None = None,
    selection: str = "all",
) -> "pd.DataFrame":
    """Find the recordings of a corpus and parse their names.

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus.

    layout : CorpusLayout
        File names of the corpus.

    predicate : callable, default: all
        Returns whether to include a recording, given its fields. Other recordings are skipped
        without a warning.

    order : sequence of str, default=None
        The fields to sort by. None sorts by all fields, in the order of the pattern.

    selection : str, default="all"
        Description of `predicate`, for the error if no recording is selected.

    Returns
    -------
    recordings : DataFrame of shape (n_recordings, n_fields + 1)
        The fields of each recording, and its path as "recording". Each recording occurs once.

    Raises
    ------
    ValueError
        If no recording is found, or files of different folders have the fields of one recording
        but different contents and none is in the folder `layout.audio_folder`.
    """
    import pandas as pd

    root = corpus_folder(folder, layout)
    audio = [path for path in find_audio(root) if not _is_below(path, layout.skipped_folders)]
    # Resolving accesses the file system, so it is done once.
    name = root.resolve().name
    copies: dict[tuple[str, ...], list[str]] = {}
    fields_of: dict[tuple[str, ...], dict[str, str]] = {}
    unknown, unwanted = [], []
    for path in audio:
        fields = layout.fields(f"{name}/{path}")
        if fields is None:
            # Corpora come with videos of other names.
            unknown += [path] if _ending(path) not in _VIDEO_CONTAINERS else []
        elif predicate(fields):
            key = tuple(fields.values())
            fields_of[key] = fields
            copies.setdefault(key, []).append(path)
        else:
            unwanted.append(path)
    if not copies and unwanted:
        raise ValueError(
            f"folder={str(root)!r} has {len(unwanted)} recordings of {layout.title}, such as "
            f"{unwanted[0]}, but none of the requested ones: {selection}."
        )
    if not copies:
        raise ValueError(_nothing_found(root, layout, audio))
    _warn_unknown(layout, unknown)
    copies = {key: _sort_copies(paths, layout) for key, paths in copies.items()}
    _check_copies(root, layout, copies)
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
    """Warn if a corpus has fewer or more recordings than expected.

    Parameters
    ----------
    layout : CorpusLayout
        The corpus.

    speakers : iterable of str
        The speaker of each recording found, or another field named in `counted`.

    expected : dict of str to int
        Expected number of recordings of each speaker.

    missing_names : collection of str, default=()
        Names of the missing recordings, if they are known.

    counted : str, default="speaker"
        Name of the field in the warning.
    """
    found = Counter(speakers)
    other = [f"{s} has {found[s]} of {n}" for s, n in expected.items() if found[s] != n]
    if not other:
        return
    names = f" Missing: {some(missing_names)}." if missing_names else ""
    warn(
        f"{layout.title}: {found.total()} of {sum(expected.values())} recordings; "
        f"{counted} {some(other, _N_SPEAKERS)}.{names} Scores are comparable with published ones "
        "only on the complete corpus."
    )


def corpus_folder(folder: str | os.PathLike[str], layout: CorpusLayout) -> Path:
    """Return the folder as a `Path`, after a check that it exists."""
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
        f"{layout.title}. File names look like {layout.example}. Expected: {layout.contents}. "
        f"{layout.origin}"
    )


def _warn_unknown(layout: CorpusLayout, unknown: list[str]) -> None:
    if unknown:
        warn(
            f"{layout.title}: {len(unknown)} audio files skipped, because their names do not "
            f"match the corpus: {some(unknown)}. File names look like {layout.example}."
        )


def _is_below(path: str, folders: Collection[str]) -> bool:
    """Return whether one of the folders of a relative path has one of the names."""
    return any(part.lower() in folders for part in path.split("/")[:-1])


def _sort_copies(paths: list[str], layout: CorpusLayout) -> list[str]:
    """Return the paths with those in the corpus's own folder of recordings first.

    Videos are used only if there is no audio, because corpora come with films of the recordings.
    """
    paths = [path for path in paths if _ending(path) not in _VIDEO_CONTAINERS] or paths
    return sorted(paths, key=lambda path: not _is_below(path, {layout.audio_folder.lower()}))


def _check_copies(
    root: Path, layout: CorpusLayout, copies: Mapping[tuple[str, ...], list[str]]
) -> None:
    """Raise if folders hold different files of one recording and none is the corpus's own."""
    different = [pair for paths in copies.values() for pair in _different(root, layout, paths)]
    if different:
        first, other = different[0]
        folders = [repr(str((root / path).parent)) for path in different[0]]
        raise ValueError(
            f"{layout.title}: {len(different)} recordings occur in several folders with different "
            f"contents, such as {first} and {other}. One may be another signal or a changed copy. "
            f"Pass one of the folders, such as {' or '.join(folders)}, or remove the other files."
        )


def _different(root: Path, layout: CorpusLayout, paths: list[str]) -> list[tuple[str, str]]:
    """Return the first copy with the first one in another folder and with other contents."""
    first, *others = paths
    # Files of one folder with the same name are the same recording in several formats.
    others = [path for path in others if os.path.dirname(path) != os.path.dirname(first)]
    own = {layout.audio_folder.lower()}
    if _is_below(first, own):
        others = [path for path in others if _is_below(path, own)]
    unequal = (p for p in others if not filecmp.cmp(root / first, root / p, shallow=False))
    return [(first, other) for other in unequal][:1]


def _warn_copies(layout: CorpusLayout, copies: Mapping[tuple[str, ...], list[str]]) -> None:
    repeated = [paths for paths in copies.values() if len(paths) > 1]
    if repeated:
        used, *others = repeated[0]
        own = f"that in {layout.audio_folder}/, then " if layout.audio_folder else ""
        warn(
            f"{layout.title}: {len(repeated)} recordings occur more than once, such as {used} "
            f"and {others[0]}. Only one copy of each is used: {own}that in the shallowest folder, "
            "then the first in alphabetical order. To use another copy, pass its folder."
        )
