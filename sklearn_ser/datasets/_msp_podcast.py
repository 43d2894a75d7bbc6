"""The MSP-Podcast corpus."""

import os
from collections import Counter

import numpy as np

from sklearn_ser._sklearn import StrOptions
from sklearn_ser._warnings import warn

from ._bunch import Emotion, read_descr, validated_loader
from ._dimensions import (
    DIMENSIONS,
    NO_AGREEMENT,
    choose_texts,
    join_labels,
    make_dimensional_bunch,
    read_text,
    unknown_classes,
)
from ._scan import CorpusLayout, corpus_folder, find_files, is_text, scan_corpus, some
from ._table import as_number, read_csv

_EMOTIONS: dict[str, Emotion] = {
    "A": "anger",
    "C": "contempt",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "O": "other",
    "S": "sadness",
    "U": "surprise",
}
_LABELS: dict[str, str] = {**_EMOTIONS, "X": NO_AGREEMENT}
# Older releases misspell the name.
_LABEL_FILES = ("labels_consensus.csv", "labels_concensus.csv")
_COLUMNS = {
    "FileName": "name",
    "EmoClass": "emotion",
    "SpkrID": "speaker",
    "Gender": "sex",
    "Split_Set": "split",
    "EmoAct": "arousal",
    "EmoVal": "valence",
    "EmoDom": "dominance",
}
_OWN_COLUMNS = {"recording", "text", "language", *_COLUMNS.values()}
_UNKNOWN = "Unknown"

_LAYOUT = CorpusLayout(
    title="MSP-Podcast",
    pattern=r"(?P<name>[^/]+)",
    example="Audios/MSP-PODCAST_0001_0008.wav",
    contents=(
        "the release's folder with Audios/, Labels/labels_consensus.csv and, for the words, "
        "Transcripts/"
    ),
    origin=(
        "It is given on request by its authors, the Multimodal Signal Processing Laboratory; see "
        "its page on MSP-Podcast."
    ),
)


@validated_loader(
    folder=[str, os.PathLike],
    split=[str, "array-like", None],
    target=[StrOptions({"emotion", "dimensions"})],
    transcripts=["boolean"],
)
def load_msp_podcast(
    folder,
    *,
    split=None,
    target="emotion",
    emotions=None,
    transcripts=False,
    return_X_y=False,
    as_frame=False,
):
    """Load MSP-Podcast from a folder with a release.

    Turns from podcasts in English, labelled by crowd workers with an emotion and with arousal,
    valence and dominance, in the split of its authors. Releases differ in size. Nothing is
    downloaded and no audio is read; the labels come from the release's own table.

    Parameters
    ----------
    folder : str or path-like
        Where the corpus is: the release's folder with Audios/ and Labels/, or one that contains
        this folder. The labels are in labels_consensus.csv, or in older releases
        labels_concensus.csv.

    split : str, sequence of str or None, default=None
        The parts of the split to load, such as "Train" or ``["Test1", "Test2"]``. None loads all.

    target : {"emotion", "dimensions"}, default="emotion"
        What to predict: the emotion, or arousal, valence and dominance together.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, of "anger", "contempt", "disgust", "fear", "happiness", "neutral",
        "other", "sadness" and "surprise", and "no agreement" for turns on which the annotators do
        not agree. A dict keeps its keys and renames each to its value. None keeps the nine
        emotions with ``target="emotion"`` and every turn with ``target="dimensions"``.

    transcripts : bool, default=False
        Whether to read the transcripts. They are one small file for each turn, and opening a
        hundred thousand of them takes far longer than all the rest, up to minutes on a network
        drive; hence not by default.

    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` in place of a Bunch.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas objects: Series, or a DataFrame for a
        target of three dimensions.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        recordings : ndarray or Series of shape (n_recordings,)
            The paths, in the order of the table of labels.
        target : ndarray, Series or DataFrame of shape (n_recordings,) or (n_recordings, 3)
            The emotions' names, or arousal, valence and dominance.
        target_names : list of str
            The names that occur, sorted, or ``["arousal", "valence", "dominance"]``.
        groups : ndarray or Series of shape (n_recordings,)
            The speakers' numbers as text, or "Unknown", which is not one speaker but many.
        split : ndarray of shape (n_recordings,)
            The part of the authors' split: "Train", "Development", "Test1" and so on.
        arousal, valence, dominance : ndarray of float of shape (n_recordings,)
            Means over annotators, from 1 to 7: calm to active, negative to positive, weak to
            strong. NaN where the table has no number.
        text : ndarray of object of shape (n_recordings,)
            The transcripts; None for a turn without one. Only with ``transcripts=True``.
        frame : DataFrame with n_recordings rows
            The columns recording, emotion, speaker, sex ("female", "male" or as the table has
            it), split, arousal, valence, dominance, language, with ``transcripts=True`` text, and
            the table's other columns as text; one of these that has such a name itself gets the
            prefix "source\\_".
        DESCR : str
            The corpus's origin, licence, protocol and split.

    (recordings, target) : tuple if ``return_X_y`` is True
        The paths and the target alone.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    NotADirectoryError
        If it is a file.
    ValueError
        If the folder has no table of labels, more than one release, or no audio that the table
        names, if columns of the table are missing, or if `split` or `emotions` names what the
        table does not have.

    Warns
    -----
    UserWarning
        If turns have no audio file, no label (as the third test set, whose labels are withheld),
        an unknown class, no number for a dimension, no known speaker or no transcript, or if
        they are listed or there more than once (each is taken once).

    See Also
    --------
    load_iemocap : Emotions and dimensions in acted dialogs.

    Notes
    -----
    Speakers are known to be apart between "Train", "Development" and the test sets only where they
    are known. Turns of unknown speakers are in no fold of their own: leave them out,
    ``groups != "Unknown"``, before a cross-validation by speaker.

    References
    ----------
    .. [1] Lotfian, R., and Busso, C. (2019). "Building naturalistic emotionally balanced speech
       corpus by retrieving emotional speech from existing podcast recordings." IEEE Transactions
       on Affective Computing 10(4), 471-483.

    Examples
    --------
    A release of two turns.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_msp_podcast
    >>> table = '''FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
    ... MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1
    ... MSP-PODCAST_0002_0033.wav,A,5.8,2.0,5.4,45,Female,Train
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("Audios", "Labels"):
    ...         Path(folder, name).mkdir()
    ...     n_characters = Path(folder, "Labels", "labels_consensus.csv").write_text(table)
    ...     for name in ("0001_0008", "0002_0033"):
    ...         Path(folder, "Audios", f"MSP-PODCAST_{name}.wav").touch()
    ...     podcast = load_msp_podcast(folder)
    ...     X, y = load_msp_podcast(folder, split="Train", target="dimensions", return_X_y=True)
    >>> print(*podcast.target, *podcast.split)
    neutral anger Test1 Train
    >>> print(*y[0])  # arousal, valence, dominance
    5.8 2.0 5.4
    """
    root, labels = _find_release(corpus_folder(folder, _LAYOUT))
    turns = _first_rows(_read_labels(labels))
    turns = _join(turns, _scan(root), split)
    _warn_unknown_speakers(turns["speaker"])
    if transcripts:
        turns = turns.assign(text=_read_transcripts(root, turns.index))
    return make_dimensional_bunch(
        _LAYOUT.title,
        turns,
        target=target,
        emotions=emotions,
        known_emotions=_EMOTIONS.values(),
        keys={name: name for name in ("split", "text") if name in turns},
        descr=read_descr("msp_podcast"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _find_release(folder):
    """Return the release's folder and its table of labels."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    for candidates in ([folder], below):
        found = [(root, labels) for root in candidates if (labels := _find_labels(root))]
        if len(found) > 1:
            raise ValueError(
                f"folder={str(folder)!r} has {len(found)} releases of {_LAYOUT.title}: "
                f"{some(root.name for root, _ in found)}. Pass the folder of one of them."
            )
        if found:
            return found[0]
    raise ValueError(
        f"folder={str(folder)!r} has no Labels/{_LABEL_FILES[0]}. {_LAYOUT.title} is expected as "
        f"{_LAYOUT.contents}. {_LAYOUT.origin}"
    )


def _find_labels(root):
    """Return the path of the table of labels, the right spelling first, or None."""
    folder = _subfolder(root, "labels")
    files = {path.name.lower(): path for path in folder.iterdir()} if folder else {}
    return next((files[name] for name in _LABEL_FILES if name in files), None)


def _subfolder(root, *names):
    """Return the sub-folder that has one of the names in any letter case, or None."""
    with os.scandir(root) as entries:
        found = sorted(e.name for e in entries if e.name.lower() in names and e.is_dir())
    return root / found[0] if found else None


def _scan(root):
    """Return the paths of the audio files by their names in lower case."""
    folder = _subfolder(root, "audios", "audio")
    if folder is None:
        raise ValueError(
            f"{str(root)!r} has labels of {_LAYOUT.title} but no folder Audios. Expected: "
            f"{_LAYOUT.contents}."
        )
    found = scan_corpus(folder, _LAYOUT)
    return dict(zip(found["name"], found["recording"], strict=True))


def _read_labels(path):
    """Return the table with this package's names of its columns, as text and numbers."""
    table = read_csv(path, f"The table {str(path)!r}", _LAYOUT.origin).frame
    headers = {header.strip().lower(): header for header in table}
    missing = [header for header in _COLUMNS if header.lower() not in headers]
    if missing:
        raise ValueError(
            f"The table {str(path)!r} has no column {', '.join(missing)}; its columns are "
            f"{', '.join(table)}."
        )
    theirs = {headers[header.lower()]: ours for header, ours in _COLUMNS.items()}
    others = table.drop(columns=list(theirs)).rename(
        columns=lambda header: f"source_{header}" if header in _OWN_COLUMNS else header
    )
    turns = table[list(theirs)].rename(columns=theirs).apply(lambda column: column.str.strip())
    unknown = turns["speaker"].str.lower().isin(["", "unknown", "nan", "none"])
    turns["emotion"] = _name_classes(turns["emotion"].str.upper())
    turns["sex"] = turns["sex"].str.lower()
    turns["speaker"] = turns["speaker"].mask(unknown, _UNKNOWN)
    for name in DIMENSIONS:
        turns[name] = turns[name].map(as_number)
    return turns.assign(language="en").join(others)


def _name_classes(classes):
    """Return the classes' names, and tell which are unknown."""
    unknown = Counter(classes[~classes.isin(list(_LABELS))])
    if unknown:
        warn(unknown_classes(_LAYOUT.title, unknown, _LABELS))
    return classes.map(_LABELS).fillna(NO_AGREEMENT)


def _first_rows(turns):
    """Return the first row of each turn, by the turns' names in lower case."""
    files = turns.pop("name")
    turns.index = [os.path.splitext(os.path.basename(file))[0].lower() for file in files]
    again = turns.index.duplicated()
    if again.any():
        warn(
            f"{_LAYOUT.title}: {again.sum()} rows list a turn again: {some(files[again])}. Each "
            "turn is taken once, with its first row."
        )
    return turns[~again]


def _join(turns, audio, split):
    """Return the turns of the split that have a recording, with its path."""
    chosen = _choose_split(turns["split"], split)
    left_out = set(turns.index[~chosen])
    audio = {name: path for name, path in audio.items() if name not in left_out}
    names = join_labels(_LAYOUT.title, turns.index[chosen], audio)
    turns = turns.loc[names]
    turns.insert(0, "recording", [audio[name] for name in names])
    return turns


def _choose_split(parts, split):
    """Return which rows are in the parts asked for."""
    if split is None:
        return np.ones(len(parts), dtype=bool)
    asked = [split] if isinstance(split, str) else list(map(str, split))
    have = sorted(set(parts))
    unknown = [part for part in asked if part not in have]
    if unknown or not asked:
        raise ValueError(
            f"split={split!r} must be one or several of the parts in this release: "
            f"{', '.join(map(repr, have))}."
        )
    return parts.isin(asked)


def _warn_unknown_speakers(speakers):
    n_unknown = int((speakers == _UNKNOWN).sum())
    if n_unknown:
        warn(
            f"{_LAYOUT.title}: the speaker of {n_unknown} of {len(speakers)} turns is not known. "
            f"Their group is {_UNKNOWN!r}, which is not one speaker: leave them out before a "
            "cross-validation by speaker."
        )


def _read_transcripts(root, names):
    """Return the words of each turn, None where there is no file."""
    folder = _subfolder(root, "transcripts")
    files = find_files(folder, is_text) if folder else []
    path_of = {os.path.splitext(os.path.basename(f))[0].lower(): folder / f for f in files}
    texts = {name: read_text(path_of[name]).strip() for name in names if name in path_of}
    return choose_texts(_LAYOUT.title, names, texts)
