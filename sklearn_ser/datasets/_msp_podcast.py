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
    join_labels,
    make_dimensional_bunch,
    match_transcripts,
    read_text,
    warn_unknown_classes,
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
# Primary emotions as the workers chose them; others are "Other", or "Other-" and a word.
_PRIMARY: dict[str, str] = {
    **{letter.lower(): emotion for letter, emotion in _EMOTIONS.items()},
    **{emotion: emotion for emotion in _EMOTIONS.values()},
    "angry": "anger",
    "happy": "happiness",
    "sad": "sadness",
}
_VOTE_FILES = ("labels_detailed.csv", "labels.txt")
_RESERVED_COLUMNS = {"recording", "text", "language", *_COLUMNS.values()}
_UNKNOWN = "Unknown"

_LAYOUT = CorpusLayout(
    title="MSP-Podcast",
    pattern=r"(?P<name>[^/]+)",
    example="Audios/MSP-PODCAST_0001_0008.wav",
    contents=(
        "the release's folder with Audios/, Labels/labels_consensus.csv and, for transcripts, "
        "Transcripts/"
    ),
    origin=(
        "It is available on request from its authors, the Multimodal Signal Processing "
        "Laboratory; see its page on MSP-Podcast."
    ),
)


@validated_loader(
    folder=[str, os.PathLike],
    split=[str, "array-like", None],
    target=[StrOptions({"emotion", "dimensions", "votes"})],
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

    Turns of English podcasts, labelled by crowd workers with an emotion and with arousal, valence
    and dominance, with the split of the authors. Releases differ in size. Nothing is downloaded
    and no audio is read; the labels are read from the release.

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus: the release's folder with Audios/ and Labels/, or one that contains
        this folder. The labels are in labels_consensus.csv, or in older releases
        labels_concensus.csv.

    split : str, sequence of str or None, default=None
        The parts of the split to load, such as "Train" or ``["Test1", "Test2"]``. None loads all.

    target : {"emotion", "dimensions", "votes"}, default="emotion"
        The target: the emotion; arousal, valence and dominance; or soft labels: the shares of the
        primary emotions chosen by the crowd workers. "votes" requires labels_detailed.csv or
        labels.txt in Labels/. Emotions in the workers' own words are votes for "other".

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, of "anger", "contempt", "disgust", "fear", "happiness", "neutral",
        "other", "sadness" and "surprise", and "no agreement" for turns without agreement among
        the annotators. A dict keeps its keys and renames each to its value. None keeps the nine
        emotions with ``target="emotion"``, all turns with ``target="dimensions"``, and all turns
        with votes with ``target="votes"``, where `emotions` are the columns of the target and
        votes for other emotions are ignored.

    transcripts : bool, default=False
        Whether to read the transcripts. Each is a small file, and opening a hundred thousand
        files may take minutes on a network drive.

    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` instead of a Bunch.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series. With ``target="dimensions"`` or
        ``target="votes"`` the target is a DataFrame.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        recordings : ndarray or Series of shape (n_recordings,)
            The paths, in the order of the table of labels.
        target : ndarray, Series or DataFrame of shape (n_recordings,) or (n_recordings, n_columns)
            Names of the emotions; arousal, valence and dominance; or shares of the emotions.
        target_names : list of str
            Names of the emotions that occur, sorted, or of the columns of the target.
        groups : ndarray or Series of shape (n_recordings,)
            The numbers of the speakers as strings, or "Unknown" for all unidentified speakers.
        split : ndarray of shape (n_recordings,)
            The part of the authors' split: "Train", "Development", "Test1" and so on.
        arousal, valence, dominance : ndarray of float of shape (n_recordings,)
            Means over annotators, from 1 to 7: calm to active, negative to positive, weak to
            strong. NaN if a rating is missing.
        text : ndarray of object of shape (n_recordings,)
            The transcripts. None for turns without one. Only with ``transcripts=True``.
        frame : DataFrame with n_recordings rows
            The columns recording, emotion, speaker, sex ("female", "male" or the value in the
            table), split, arousal, valence, dominance, language, with ``transcripts=True`` text,
            and the other columns of the table as strings. Other columns with one of these names
            get the prefix "source\\_".
        DESCR : str
            Origin, licence, protocol and split of the corpus.

    (recordings, target) : tuple if ``return_X_y`` is True
        The paths and the target.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist, or there is no file with votes for ``target="votes"``.
    NotADirectoryError
        If it is a file.
    ValueError
        If the folder has no table of labels, more than one release, or no audio listed in the
        table, if columns of the table are missing, or if `split` or `emotions` contains a value
        that the table does not have.

    Warns
    -----
    UserWarning
        If turns have no audio file, no label (such as those of the third test set, whose labels
        are withheld), an unknown class, a missing rating, an unknown speaker or no transcript, if
        turns occur more than once (each is used once), or if turns without votes are skipped by
        ``target="votes"``.

    See Also
    --------
    load_iemocap : Emotions and dimensions in acted dialogs.

    Notes
    -----
    "Train", "Development" and the test sets have disjoint speakers, as far as the speakers are
    identified. Before a cross-validation by speaker, remove the turns of unknown speakers by
    ``groups != "Unknown"``.

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
    turns = _drop_repeated_turns(_read_labels(labels))
    turns = _join(turns, _scan(root), split)
    _warn_unknown_speakers(turns["speaker"])
    if transcripts:
        turns = turns.assign(text=_read_transcripts(root, turns.index))
    return make_dimensional_bunch(
        _LAYOUT.title,
        turns,
        target=target,
        votes=_count_votes(labels.parent, turns.index) if target == "votes" else None,
        emotions=emotions,
        known_emotions=_EMOTIONS.values(),
        keys={name: name for name in ("split", "text") if name in turns},
        descr=read_descr("msp_podcast"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _find_release(folder):
    """Return the folder of the release and the path of its table of labels."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    for candidates in ([folder], below):
        found = [(root, labels) for root in candidates if (labels := _find_labels(root))]
        if len(found) > 1:
            raise ValueError(
                f"folder={str(folder)!r} has {len(found)} releases of {_LAYOUT.title}: "
                f"{some(root.name for root, _ in found)}. Pass the folder of one release."
            )
        if found:
            return found[0]
    raise ValueError(
        f"folder={str(folder)!r} has no Labels/{_LABEL_FILES[0]}. {_LAYOUT.title} is expected as "
        f"{_LAYOUT.contents}. {_LAYOUT.origin}"
    )


def _find_labels(root):
    """Return the path of the table of labels, or None, preferring the correct spelling."""
    folder = _subfolder(root, "labels")
    return _find_first(folder, _LABEL_FILES) if folder else None


def _find_first(folder, names):
    """Return the path of the first file that exists, ignoring letter case, or None."""
    files = {path.name.lower(): path for path in folder.iterdir()}
    return next((files[name] for name in names if name in files), None)


def _subfolder(root, *names):
    """Return the sub-folder with one of the names, ignoring letter case, or None."""
    with os.scandir(root) as entries:
        found = sorted(e.name for e in entries if e.name.lower() in names and e.is_dir())
    return root / found[0] if found else None


def _scan(root):
    """Return the paths of the audio files, by name in lower case."""
    folder = _subfolder(root, "audios", "audio")
    if folder is None:
        raise ValueError(
            f"{str(root)!r} has labels of {_LAYOUT.title} but no folder Audios. Expected: "
            f"{_LAYOUT.contents}."
        )
    found = scan_corpus(folder, _LAYOUT)
    return dict(zip(found["name"], found["recording"], strict=True))


def _read_labels(path):
    """Read the table of labels, and give its columns the names used in this package."""
    table = read_csv(path, f"The table {str(path)!r}", _LAYOUT.origin).frame
    headers = {header.strip().lower(): header for header in table}
    missing = [header for header in _COLUMNS if header.lower() not in headers]
    if missing:
        raise ValueError(
            f"The table {str(path)!r} has no column {', '.join(missing)}; its columns are "
            f"{', '.join(table)}."
        )
    renamed = {headers[header.lower()]: name for header, name in _COLUMNS.items()}
    others = table.drop(columns=list(renamed)).rename(
        columns=lambda header: f"source_{header}" if header in _RESERVED_COLUMNS else header
    )
    turns = table[list(renamed)].rename(columns=renamed).apply(lambda column: column.str.strip())
    unknown = turns["speaker"].str.lower().isin(["", "unknown", "nan", "none"])
    turns["emotion"] = _decode_classes(turns["emotion"].str.upper())
    turns["sex"] = turns["sex"].str.lower()
    turns["speaker"] = turns["speaker"].mask(unknown, _UNKNOWN)
    for name in DIMENSIONS:
        turns[name] = turns[name].map(as_number)
    return turns.assign(language="en").join(others)


def _decode_classes(classes):
    """Return the names of the classes, and warn about unknown ones."""
    unknown = Counter(classes[~classes.isin(list(_LABELS))])
    warn_unknown_classes(_LAYOUT.title, unknown, _LABELS)
    return classes.map(_LABELS).fillna(NO_AGREEMENT)


def _drop_repeated_turns(turns):
    """Return the first row of each turn, indexed by name in lower case."""
    files = turns.pop("name")
    turns.index = list(map(_turn_name, files))
    repeated = turns.index.duplicated()
    if repeated.any():
        warn(
            f"{_LAYOUT.title}: {repeated.sum()} rows list a turn again: {some(files[repeated])}. "
            "Only the first row of each turn is used."
        )
    return turns[~repeated]


def _turn_name(file):
    """Return the name of a turn in lower case from the name of its file."""
    return os.path.splitext(os.path.basename(file.strip()))[0].lower()


def _join(turns, audio, split):
    """Return the turns of the split that have a recording, with the path of the recording."""
    chosen = _select_split(turns["split"], split)
    excluded = set(turns.index[~chosen])
    audio = {name: path for name, path in audio.items() if name not in excluded}
    names = join_labels(_LAYOUT.title, turns.index[chosen], audio)
    turns = turns.loc[names]
    turns.insert(0, "recording", [audio[name] for name in names])
    return turns


def _select_split(parts, split):
    """Return a mask of the rows in the requested parts of the split."""
    if split is None:
        return np.ones(len(parts), dtype=bool)
    requested = [split] if isinstance(split, str) else list(map(str, split))
    known = sorted(set(parts))
    if not requested or not set(requested) <= set(known):
        shown = str(split) if isinstance(split, str) else requested
        raise ValueError(
            f"split={shown!r} must be one or several of the parts in this release: "
            f"{', '.join(map(repr, known))}."
        )
    return parts.isin(requested)


def _count_votes(folder, names):
    """Return the number of workers who chose each primary emotion for each of the turns."""
    import pandas as pd

    path = _find_first(folder, _VOTE_FILES)
    if path is None:
        raise FileNotFoundError(
            f"target='votes' needs {' or '.join(_VOTE_FILES)} of {_LAYOUT.title}, and neither is "
            f"in {str(folder)!r}. Copy it there from the release, or pass target='emotion'."
        )
    is_table = path.name.lower() == _VOTE_FILES[0]
    files, choices = (_read_vote_table if is_table else _read_vote_text)(path)
    emotions = [
        _PRIMARY.get(choice.lower(), "other") if choice else None for choice in choices.str.strip()
    ]
    counts = pd.crosstab([_turn_name(file) for file in files], emotions)
    return counts.reindex(index=names, columns=list(_EMOTIONS.values()), fill_value=0)


def _read_vote_table(path):
    """Return the file and the primary emotion of each row of labels_detailed.csv."""
    table = read_csv(path, f"The table {str(path)!r}", _LAYOUT.origin).frame
    columns = {header.strip().lower(): table[header] for header in table}
    if "filename" in columns and "emoclass_major" in columns:
        return columns["filename"], columns["emoclass_major"]
    if "filename" in columns and "emodetail" in columns:
        # WORKER00000001; Other-confused; Concerned,Confused; A:3.0; V:3.0; D:4.0;
        return columns["filename"], columns["emodetail"].str.split(";").str.get(1).fillna("")
    raise ValueError(
        f"The table {str(path)!r} must have the columns FileName and EmoClass_Major or EmoDetail; "
        f"its columns are {', '.join(table)}."
    )


def _read_vote_text(path):
    """Return the file and the primary emotion of each worker's line in labels.txt.

    The lines of the workers follow that of their turn.
    """
    import pandas as pd

    files, choices, file = [], [], None
    for line in read_text(path).splitlines():
        first, *others = line.strip().split(";")
        if not first.upper().startswith("WORKER"):
            file = first or file
        elif file is not None and others:
            files.append(file)
            choices.append(others[0])
    return files, pd.Series(choices, dtype=object)


def _warn_unknown_speakers(speakers):
    n_unknown = int((speakers == _UNKNOWN).sum())
    if n_unknown:
        warn(
            f"{_LAYOUT.title}: the speaker of {n_unknown} of {len(speakers)} turns is not known. "
            f"Their group is {_UNKNOWN!r}, which comprises several speakers: remove them before "
            "a cross-validation by speaker."
        )


def _read_transcripts(root, names):
    """Return the transcript of each turn, or None if it has no file."""
    folder = _subfolder(root, "transcripts")
    files = find_files(folder, is_text) if folder else []
    path_of = {os.path.splitext(os.path.basename(f))[0].lower(): folder / f for f in files}
    texts = {name: read_text(path_of[name]).strip() for name in names if name in path_of}
    return match_transcripts(_LAYOUT.title, names, texts)
