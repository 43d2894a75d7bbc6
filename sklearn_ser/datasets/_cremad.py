"""The Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D)."""

import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

from sklearn_ser._sklearn import StrOptions
from sklearn_ser._warnings import warn

from ._bunch import Emotion, make_bunch, read_descr, validated_loader
from ._scan import CorpusLayout, find_label_file, scan_corpus, some, warn_missing
from ._table import as_number, read_label_file

_EMOTIONS: dict[str, Emotion] = {
    "ang": "anger",
    "dis": "disgust",
    "fea": "fear",
    "hap": "happiness",
    "neu": "neutral",
    "sad": "sadness",
}
# Votes are written as A, D, F, H, N and S.
_EMOTION_OF_LETTER = {code[0].upper(): emotion for code, emotion in _EMOTIONS.items()}
# 82 recordings by each of 91 actors, except 20 that were not made: three of each acted emotion
# and five neutral ones.
_COUNTS: dict[str, int] = {
    emotion: 1087 if emotion == "neutral" else 1271 for emotion in _EMOTIONS.values()
}

_TEXTS = {
    "dfa": "Don't forget a jacket.",
    "ieo": "It's eleven o'clock.",
    "iom": "I'm on my way to the meeting.",
    "ith": "I think I have a doctor's appointment.",
    "its": "I think I've seen this before.",
    "iwl": "I would like a new alarm clock.",
    "iww": "I wonder what this is about.",
    "mti": "Maybe tomorrow it will be cold.",
    "tai": "The airplane is almost full.",
    "tie": "That is exactly what happened.",
    "tsi": "The surface is slick.",
    "wsi": "We'll stop in a couple of minutes.",
}
_LEVELS = {"lo": "low", "md": "medium", "hi": "high", "": "unspecified"}

_ACTORS = [str(actor) for actor in range(1001, 1092)]
_FEMALE_NUMBERS = (
    *(2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 18, 20, 21, 24, 25, 28, 29, 30, 37, 43, 46, 47, 49),
    *(52, 53, 54, 55, 56, 58, 60, 61, 63, 72, 73, 74, 75, 76, 78, 79, 82, 84, 89, 91),
)
_SEX_OF = dict.fromkeys(_ACTORS, "male") | {str(1000 + n): "female" for n in _FEMALE_NUMBERS}
# Folds are assigned in turn: first to the men, then to the women, each in the order of their
# numbers.
_FOLD_OF = {
    actor: position % 5
    for position, actor in enumerate(sorted(_ACTORS, key=lambda actor: _SEX_OF[actor] == "female"))
}

_DEMOGRAPHICS = "VideoDemographics.csv"
_SUMMARY = "processedResults/summaryTable.csv"
_VOTES = "processedResults/tabulatedVotes.csv"
# Rows of the table of votes are numbered from 100001 for the voice alone, from 200001 for the face
# alone, and from 300001 for both.
_VOICE_ROWS = "1"
_IDENTITY = ["speaker", "sentence", "emotion", "level"]

_LAYOUT = CorpusLayout(
    title="CREMA-D",
    # 1040_ITH_SAD_X is misnamed in the original corpus: its last letter is missing.
    # The look-ahead allows levels for the acted emotions of the sentence IEO, and only for them.
    pattern=(
        rf"(?P<speaker>{'|'.join(_ACTORS)})"
        r"_(?!IEO_(?!NEU)..._X|IEO_NEU_[LMH]|(?!IEO)..._..._[LMH])"
        rf"(?P<sentence>{'|'.join(_TEXTS)})"
        rf"_(?P<emotion>{'|'.join(_EMOTIONS)})_(?:(?P<level>LO|MD|HI)|XX?)"
    ),
    example="1001_DFA_ANG_XX.wav",
    contents="a folder with the 7442 recordings, at any depth (in the original in AudioWAV/)",
    origin=(
        "Get it from github.com/CheyneyComputerScience/CREMA-D with git lfs. Without git lfs the "
        "audio files are only pointers."
    ),
    audio_folder="AudioWAV",
)


@validated_loader(
    folder=[str, os.PathLike],
    labels=[StrOptions({"intended", "voice"})],
    target=[StrOptions({"emotion", "votes"})],
)
def load_cremad(
    folder,
    *,
    labels="intended",
    target="emotion",
    emotions=None,
    return_X_y=False,
    as_frame=False,
):
    """Load the Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D) from a folder.

    7442 recordings of 91 actors, 48 men and 43 women, speaking twelve sentences in six emotions,
    with the ratings of listeners. Nothing is downloaded and no audio is read.

    ==================  ================================
    Classes             6
    Recordings          7442
    Recordings a class  1087 (neutral), 1271 (all others)
    Speakers            91
    Language            English
    ==================  ================================

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus. Recordings are found at any depth and in any audio format by file names
        such as ``1001_DFA_ANG_XX.wav``: actor, sentence, emotion and level. Those in
        ``AudioWAV/`` are used if others, such as ``AudioMP3/``, have the same names. The files
        ``VideoDemographics.csv``, ``summaryTable.csv`` and ``tabulatedVotes.csv`` of the corpus
        are read if they are below the folder, next to it, or in ``processedResults/`` next to it.

    labels : {"intended", "voice"}, default="intended"
        The emotion of a recording.

        - "intended": the emotion that the actor was asked to express.
        - "voice": the emotion that most listeners chose for the voice alone. Recordings with a
          tie or without votes are skipped. One of the two files with votes is required.

    target : {"emotion", "votes"}, default="emotion"
        The target: the emotion chosen by `labels`, or soft labels: the shares of the listeners who
        chose each emotion for the voice alone. "votes" requires ``tabulatedVotes.csv``; recordings
        without votes for `emotions` are skipped.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, of "anger", "disgust", "fear", "happiness", "neutral" and "sadness".
        A dict keeps its keys and renames each to its value, so that emotions can be merged. None
        keeps all. With ``target="votes"`` they are the columns of the target, and votes for other
        emotions are ignored.

    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` instead of a Bunch.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series. With ``target="votes"`` the target
        is a DataFrame.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        recordings : ndarray or Series of shape (n_recordings,)
            The paths, sorted by actor, sentence, emotion and level.
        target : ndarray, Series or DataFrame of shape (n_recordings,) or (n_recordings, n_emotions)
            Names of the emotions, or their shares.
        target_names : list of str
            Names of the emotions that occur, or of the columns of the target, sorted.
        groups : ndarray or Series of shape (n_recordings,)
            The actors, "1001" to "1091".
        speaker_folds : ndarray of int of shape (n_recordings,)
            Fold of each recording, 0 to 4, for :class:`~sklearn.model_selection.PredefinedSplit`.
            The folds are defined by this package: whole actors, balanced by sex, the same on
            every call.
        frame : DataFrame of shape (n_recordings, n_columns)
            The columns recording, emotion (chosen by `labels`), intended, speaker, sex, sentence,
            text, level ("low", "medium", "high" or "unspecified"), language and speaker_fold; with
            ``VideoDemographics.csv`` also age (years), race and ethnicity; with a file of votes
            voice_vote (an emotion, several separated by ":" for a tie, or "" for none); with
            ``tabulatedVotes.csv`` votes_anger to votes_sadness, the number of listeners who chose
            each emotion for the voice alone.
        DESCR : str
            Origin, licence and protocol of the corpus, and published splits.

    (recordings, target) : tuple if ``return_X_y`` is True
        The paths and the emotions.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist, or there is no file with votes for ``labels="voice"`` or
        ``target="votes"``.
    NotADirectoryError
        If it is a file.
    ValueError
        If the folder has no recording of CREMA-D, one of the CSV files lacks columns, or
        `emotions` contains an unknown emotion.

    Warns
    -----
    UserWarning
        If recordings are missing, if audio files have other names (they are skipped), if
        recordings occur more than once (each is used once), or if recordings are skipped by
        ``labels="voice"`` or ``target="votes"``.

    See Also
    --------
    load_ravdess : English speech and song by 24 actors.
    load_recordings : Recordings of your own.

    Notes
    -----
    For scores on unseen speakers, pass ``PredefinedSplit(cremad.speaker_folds)`` as ``cv``, or
    ``groups`` with :class:`~sklearn.model_selection.GroupKFold`. EmoBox's folds for this corpus
    are not speaker-independent.

    References
    ----------
    .. [1] Cao, H., Cooper, D. G., Keutmann, M. K., Gur, R. C., Nenkova, A., and Verma, R. (2014).
       "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset." IEEE Transactions on
       Affective Computing 5(4), 377-390. https://doi.org/10.1109/TAFFC.2014.2336244

    Examples
    --------
    An empty file is enough to read a name. The warning about missing recordings is silenced.

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_cremad
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    ...     Path(folder, "1001_IEO_HAP_LO.wav").touch()
    ...     cremad = load_cremad(folder)
    >>> print(cremad.target[0], cremad.groups[0], cremad.speaker_folds[0])
    happiness 1001 0
    """
    found = scan_corpus(folder, _LAYOUT)
    warn_missing(_LAYOUT, found["emotion"].map(_EMOTIONS), _COUNTS, counted="emotion")
    root = Path(folder).expanduser()
    votes, counts = _read_votes(root)
    if labels == "voice":
        found = _select_majority_votes(found, votes, root)
    columns = _columns(found) | _demographics(found, root) | _vote_columns(found, votes, counts)
    columns["emotion"] = columns["voice_vote" if labels == "voice" else "intended"]
    return make_bunch(
        columns,
        votes=_counted_votes(columns, root) if target == "votes" else None,
        title=_LAYOUT.title,
        emotions=emotions,
        known_emotions=_EMOTIONS.values(),
        keys={"speaker_folds": "speaker_fold"},
        descr=read_descr("cremad"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _columns(found):
    """Return the columns of the frame from the fields of the file names."""
    return {
        "recording": found["recording"],
        "emotion": found["emotion"].map(_EMOTIONS),
        "intended": found["emotion"].map(_EMOTIONS),
        "speaker": found["speaker"],
        "sex": found["speaker"].map(_SEX_OF),
        "sentence": found["sentence"].str.upper(),
        "text": found["sentence"].map(_TEXTS),
        "level": found["level"].map(_LEVELS),
        "language": "en",
        "speaker_fold": found["speaker"].map(_FOLD_OF),
    }


def _demographics(found, root):
    """Return the columns of age, race and ethnicity, or none if the file is missing."""
    path = find_label_file(root, _DEMOGRAPHICS)
    if path is None:
        return {}
    rows = read_label_file(path, ("ActorID", "Age", "Race", "Ethnicity"))
    of_actor = {row["ActorID"]: row for row in rows}
    actors = [of_actor.get(speaker, {}) for speaker in found["speaker"]]
    return {
        "age": [as_number(actor.get("Age", "")) for actor in actors],
        "race": [actor.get("Race", "") for actor in actors],
        "ethnicity": [actor.get("Ethnicity", "") for actor in actors],
    }


def _read_votes(root):
    """Return the majority votes and the counts by recording, or None if their file is missing."""
    summary = find_label_file(root, _SUMMARY)
    tabulated = find_label_file(root, _VOTES)
    votes = counts = None
    if tabulated is not None:
        rows = read_label_file(tabulated, ("", *_EMOTION_OF_LETTER, "fileName", "emoVote"))
        rows = [row for row in rows if row[""].startswith(_VOICE_ROWS)]
        votes = {_key(row["fileName"]): row["emoVote"] for row in rows}
        counts = {
            _key(row["fileName"]): [_count(row[letter]) for letter in _EMOTION_OF_LETTER]
            for row in rows
        }
    if summary is not None:
        rows = read_label_file(summary, ("FileName", "VoiceVote"))
        votes = {_key(row["FileName"]): row["VoiceVote"] for row in rows}
    if votes is not None:
        votes = {key: _decode_vote(vote) for key, vote in votes.items()}
    return votes, counts


def _key(name):
    """Return the identity of a recording from its file name, or None if the name is invalid."""
    fields = _LAYOUT.fields(name)
    return None if fields is None else tuple(fields[part] for part in _IDENTITY)


def _keys(found):
    """Return the identity of each recording found."""
    return list(found[_IDENTITY].itertuples(index=False, name=None))


def _count(cell):
    """Convert a cell to a number of votes; empty cells count as 0."""
    number = as_number(cell)
    return 0 if math.isnan(number) else int(number)


def _decode_vote(vote):
    """Convert "A:D" into "anger:disgust", and anything else, such as "NA", into ""."""
    letters = vote.strip().upper().split(":")
    if not set(letters) <= set(_EMOTION_OF_LETTER):
        return ""
    return ":".join(_EMOTION_OF_LETTER[letter] for letter in letters)


def _vote_columns(found, votes, counts):
    """Return the columns of votes, or none if their files are missing."""
    keys = _keys(found)
    columns: dict[str, Any] = {}
    if votes is not None:
        columns["voice_vote"] = [votes.get(key, "") for key in keys]
    if counts is not None:
        no_votes = [0] * len(_EMOTIONS)
        table = [counts.get(key, no_votes) for key in keys]
        for emotion, numbers in zip(_EMOTIONS.values(), zip(*table, strict=True), strict=True):
            columns[f"votes_{emotion}"] = numbers
    return columns


def _counted_votes(columns, root):
    """Return the number of votes for each emotion."""
    import pandas as pd

    if f"votes_{_EMOTIONS['ang']}" not in columns:
        raise FileNotFoundError(
            f"target='votes' needs {_VOTES} of CREMA-D, which is neither below "
            f"folder={str(root)!r} nor next to it. Get it from the corpus's repository, or pass "
            "target='emotion'."
        )
    return pd.DataFrame({emotion: columns[f"votes_{emotion}"] for emotion in _EMOTIONS.values()})


def _select_majority_votes(found, votes, root):
    """Return the recordings with a unique majority vote, and warn about the others."""
    if votes is None:
        raise FileNotFoundError(
            f"labels='voice' needs {_SUMMARY} or {_VOTES} of CREMA-D, and neither is below "
            f"folder={str(root)!r} or next to it. Get them from the corpus's repository, or pass "
            "labels='intended'."
        )
    voice_votes = [votes.get(key, "") for key in _keys(found)]
    n_unvoted = voice_votes.count("")
    tied = Counter(vote for vote in voice_votes if ":" in vote)
    kept = found[[vote != "" and ":" not in vote for vote in voice_votes]]
    if kept.empty:
        raise ValueError(
            f"labels='voice' selects none of the {len(found)} recordings: {tied.total()} have a "
            f"tie and {n_unvoted} no votes."
        )
    if len(kept) < len(found):
        ties = some(f"{vote} {n}" for vote, n in tied.most_common())
        warn(
            f"CREMA-D: {len(found) - len(kept)} of {len(found)} recordings skipped by "
            f"labels='voice': {tied.total()} have a tie{f' ({ties})' if ties else ''} and "
            f"{n_unvoted} no votes."
        )
    return kept.reset_index(drop=True)
