"""The Interactive Emotional Dyadic Motion Capture database (IEMOCAP)."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

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
from ._scan import CorpusLayout, find_files, is_text, scan_corpus, some, warn_missing
from ._table import as_number

_EMOTIONS: dict[str, Emotion] = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "excitement",
    "fea": "fear",
    "fru": "frustration",
    "hap": "happiness",
    "neu": "neutral",
    "oth": "other",
    "sad": "sadness",
    "sur": "surprise",
}
_LABELS: dict[str, str] = {**_EMOTIONS, "xxx": NO_AGREEMENT}
_FOUR_CLASSES: dict[str, str] = {
    "anger": "anger",
    "excitement": "happiness",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
}
# Number of labelled turns in each session of the complete release.
_N_TURNS = {"1": 1819, "2": 1811, "3": 2136, "4": 2103, "5": 2170}

_LAYOUT = CorpusLayout(
    title="IEMOCAP",
    # Recordings of whole dialogs match too, without a turn; the loader skips them.
    pattern=(
        r"(?P<dialog>Ses(?P<session>0[1-5])[FM]_(?P<style>impro|script)\w*?)"
        r"(?:_(?P<turn>(?P<sex>[FM])[^\W_]+))?"
    ),
    example="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
    contents=(
        "the folder IEMOCAP_full_release with Session1/ to Session5/, each with sentences/wav/, "
        "dialog/EmoEvaluation/ and dialog/transcriptions/"
    ),
    origin="It is available on request from its authors' laboratory, sail.usc.edu/iemocap.",
)

# [6.2901 - 8.2357] Ses01F_impro01_F000 neu [2.5000, 2.5000, 2.5000]
_TURN = re.compile(
    r"\[\s*(?P<start>[\d.]+)\s*-\s*(?P<end>[\d.]+)\s*\]\s*(?P<name>\w+)\s+"
    r"(?P<emotion>\w+)\s*\[(?P<scores>[^],]*,[^],]*,[^],]*)\]",
    re.IGNORECASE,
)
# Categories, C-E2: Neutral; (comment), or ratings, A-E3: val 3; act 2; dom  2; (comment)
_ANNOTATION = re.compile(r"(?P<kind>[AC])-(?P<annotator>\w+)\s*:(?P<values>[^(]*)", re.IGNORECASE)
_RATING = re.compile(r"(act|val|dom)\w*\s*([\d.]+)", re.IGNORECASE)
# First letters of the names of annotators who are the actors themselves.
_SELF_EVALUATIONS = "FM"
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
_TRANSCRIPT = re.compile(r"(?P<name>Ses\w+)\s*\[[^]]*\]\s*:\s*(?P<text>.*)", re.IGNORECASE)


@validated_loader(
    folder=[str, os.PathLike],
    target=[StrOptions({"emotion", "dimensions", "votes"})],
    emotions=["array-like", Mapping, StrOptions({"four"}), None],
)
def load_iemocap(folder, *, target="emotion", emotions=None, return_X_y=False, as_frame=False):
    """Load IEMOCAP from a folder with the release.

    Ten actors, a woman and a man in each of five sessions, perform scripted and improvised dialogs
    in English. Their turns are labelled with an emotion, by the majority of the annotators, and
    with arousal, valence and dominance. Nothing is downloaded and no audio is read; the labels are
    read from the release.

    ==================  ======================================================================
    Emotions            10
    Recordings          10039, of which 7532 have an agreed emotion and 5531 are of the usual four
    Recordings a class  2 (disgust) to 1849 (frustration)
    Speakers            10, in 5 sessions
    Language            English
    ==================  ======================================================================

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus: the folder IEMOCAP_full_release, or one that contains it. Required are
        ``SessionN/sentences/wav`` and ``SessionN/dialog/EmoEvaluation``, and for transcripts
        ``SessionN/dialog/transcriptions``.

    target : {"emotion", "dimensions", "votes"}, default="emotion"
        The target: the emotion; arousal, valence and dominance; or soft labels: the shares of the
        emotions in the votes of the external evaluators. Each has one vote, divided evenly if he
        chose several emotions. The actors' evaluations of themselves ("F1", "M1") are not counted.

    emotions : sequence of str, dict of str to str, "four" or None, default=None
        The emotions to keep, of "anger", "disgust", "excitement", "fear", "frustration",
        "happiness", "neutral", "other", "sadness" and "surprise", and "no agreement" for turns
        without a majority among the annotators. A dict keeps its keys and renames each to its
        value. "four" selects the common four-class task, ``{"anger": "anger",
        "excitement": "happiness", "happiness": "happiness", "neutral": "neutral",
        "sadness": "sadness"}``. None keeps the ten emotions with ``target="emotion"``, all turns
        with ``target="dimensions"``, and all turns with votes with ``target="votes"``, where
        `emotions` are the columns of the target and votes for other emotions are ignored.

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
            The paths, sorted by dialog and start time.
        target : ndarray, Series or DataFrame of shape (n_recordings,) or (n_recordings, n_columns)
            Names of the emotions; arousal, valence and dominance; or shares of the emotions.
        target_names : list of str
            Names of the emotions that occur, sorted, or of the columns of the target.
        groups : ndarray or Series of shape (n_recordings,)
            The speakers: "Ses01F", "Ses01M" to "Ses05M". The letter is the sex of the speaker of
            the turn, not the letter in the name of the dialog.
        sessions : ndarray of int of shape (n_recordings,)
            The sessions, 1 to 5, for leave-one-session-out cross-validation.
        arousal, valence, dominance : ndarray of float of shape (n_recordings,)
            Means over annotators, from 1 to 5: calm to excited (called activation in the
            corpus), negative to positive, weak to strong. NaN if a rating is missing.
        text : ndarray of object of shape (n_recordings,)
            The transcripts. None for turns without one.
        frame : DataFrame of shape (n_recordings, 17)
            The columns recording, emotion, speaker, session, sex, dialog, style ("improvised" or
            "scripted"), start and end (s, in the dialog), text, arousal, valence, dominance,
            votes, n_votes, ratings and language. votes are the categories chosen by each
            annotator, such as "E2=Neutral;F1=Neutral,Frustration"; n_votes is the number of
            these annotators; ratings are each annotator's arousal, valence and dominance, such as
            "E3=2,3,2".
        DESCR : str
            Origin, licence and protocol of the corpus, and published splits.

    (recordings, target) : tuple if ``return_X_y`` is True
        The paths and the target.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    NotADirectoryError
        If it is a file.
    ValueError
        If the folder has no turns of IEMOCAP or no labels for them, or `emotions` contains an
        unknown emotion.

    Warns
    -----
    UserWarning
        If turns are missing or have no recording, label, rating or transcript, if recordings or
        labels occur more than once (each is used once), if lines of the label files cannot be
        parsed, if audio files have other names (they are skipped), or if turns without votes are
        skipped by ``target="votes"``.

    See Also
    --------
    load_msp_podcast : Emotions and dimensions in podcasts.
    load_emodb : German speech by ten actors.

    Notes
    -----
    For scores on unseen speakers, leave one session out: pass ``sessions`` as ``groups`` with
    :class:`~sklearn.model_selection.LeaveOneGroupOut`, five folds of two speakers. With
    ``groups`` it leaves out one of the ten speakers, while the partner in the same dialogs stays
    in the training set. Scripted dialogs have the same lines in every session, so transcripts of
    the test set occur in the training set.

    References
    ----------
    .. [1] Busso, C., Bulut, M., Lee, C.-C., Kazemzadeh, A., Mower, E., Kim, S., Chang, J. N.,
       Lee, S., and Narayanan, S. S. (2008). "IEMOCAP: Interactive emotional dyadic motion capture
       database." Language Resources and Evaluation 42(4), 335-359.

    Examples
    --------
    A turn in the layout of the release. The warning about missing recordings is silenced.

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_iemocap
    >>> labels = "[6.2901 - 8.2357]\\tSes01F_impro01_F000\\tneu\\t[2.5000, 2.0000, 3.0000]"
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    ...     turn = Path(folder, "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")
    ...     evaluation = Path(folder, "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt")
    ...     for file in (turn, evaluation):
    ...         file.parent.mkdir(parents=True)
    ...     turn.touch()
    ...     n_characters = evaluation.write_text(labels)
    ...     iemocap = load_iemocap(folder)
    ...     X, y = load_iemocap(folder, target="dimensions", return_X_y=True)
    >>> print(iemocap.target[0], iemocap.groups[0], iemocap.sessions[0])
    neutral Ses01F 1
    >>> print(*y[0])  # arousal, valence, dominance; the file has valence first
    2.0 2.5 3.0
    """
    found = scan_corpus(
        folder, _LAYOUT, predicate=lambda fields: fields["turn"] != "", selection="turns"
    )
    audio = dict(zip(found["dialog"] + "_" + found["turn"], found["recording"], strict=True))
    warn_missing(_LAYOUT, found["session"].str[1], _N_TURNS, counted="session")
    root = Path(folder).expanduser()
    files = [root / name for name in find_files(root, is_text)]
    labels = _read_labels(root, [file for file in files if _is_in(file, "emoevaluation")])
    texts = _read_transcripts(file for file in files if _is_in(file, "transcriptions"))
    names = join_labels(_LAYOUT.title, labels, audio)
    names.sort(key=lambda name: (labels[name]["dialog"].lower(), labels[name]["start"], name))
    turns = [labels[name] for name in names]
    return make_dimensional_bunch(
        _LAYOUT.title,
        {"recording": [audio[name] for name in names]}
        | _columns(turns, match_transcripts(_LAYOUT.title, names, texts)),
        target=target,
        votes=_count_votes(turns) if target == "votes" else None,
        emotions=_FOUR_CLASSES if isinstance(emotions, str) else emotions,
        known_emotions=_EMOTIONS.values(),
        keys={"sessions": "session", "text": "text"},
        descr=read_descr("iemocap"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _is_in(file, folder):
    """Return whether a file is directly in a folder of this name."""
    return file.parent.name.lower() == folder


def _read_labels(root, files):
    """Return the turns of all evaluation files, by name in lower case."""
    if not files:
        raise ValueError(
            f"folder={str(root)!r} has recordings of {_LAYOUT.title} but no label files, which are "
            f"dialog/EmoEvaluation/*.txt. Expected: {_LAYOUT.contents}."
        )
    turns: dict[str, dict] = {}
    broken, repeated = [], []
    for file in files:
        found, invalid_lines = _read_evaluation(file)
        broken += invalid_lines
        for turn in found:
            key = turn["name"].lower()
            repeated += [f"{turn['name']} in {file}"] if key in turns else []
            turns.setdefault(key, turn)
    unknown = Counter(turn["code"] for turn in turns.values() if turn["code"] not in _LABELS)
    warn_unknown_classes(_LAYOUT.title, unknown, _LABELS)
    if broken:
        warn(f"{_LAYOUT.title}: {len(broken)} lines of labels cannot be parsed: {some(broken)}.")
    if repeated:
        warn(
            f"{_LAYOUT.title}: {len(repeated)} turns are labelled again: {some(repeated)}. The "
            "first label is used."
        )
    return turns


def _read_evaluation(file):
    """Return the turns of a dialog, and the positions of lines that cannot be parsed."""
    turns, broken, turn = [], [], None
    for number, line in enumerate(map(str.strip, read_text(file).splitlines()), 1):
        if match := _ANNOTATION.match(line):
            if turn is not None:
                _add_annotation(turn, match)
        elif line and not line.startswith("%"):
            parsed = _parse_turn(line)
            if parsed is None:
                broken.append(f"{file} line {number}")
            else:
                turns.append(parsed)
            # Other lines, such as the second line of a comment, do not end the turn.
            turn = parsed if line.startswith("[") else turn
    return turns, broken


def _parse_turn(line):
    """Parse the line of a turn, or return None if it is not such a line."""
    match = _TURN.match(line)
    fields = _LAYOUT.fields(match["name"]) if match else None
    if match is None or not fields or not fields["turn"]:
        return None
    # The file has valence first.
    valence, arousal, dominance = map(as_number, match["scores"].split(","))
    return {
        "name": match["name"],
        "dialog": match["name"].rpartition("_")[0],
        "code": match["emotion"].lower(),
        "emotion": _LABELS.get(match["emotion"].lower(), NO_AGREEMENT),
        "speaker": f"Ses{fields['session']}{fields['sex'].upper()}",
        "session": int(fields["session"]),
        "sex": {"f": "female", "m": "male"}[fields["sex"]],
        "style": {"impro": "improvised", "script": "scripted"}[fields["style"]],
        "start": as_number(match["start"]),
        "end": as_number(match["end"]),
        "arousal": arousal,
        "valence": valence,
        "dominance": dominance,
        "votes": [],
        "ratings": [],
    }


def _add_annotation(turn, match):
    """Add the categories or ratings of one annotator to a turn."""
    if match["kind"] in "Cc":
        values = ",".join(word.strip() for word in match["values"].split(";") if word.strip())
        name = "votes"
    else:
        numbers = {dimension.lower(): n for dimension, n in _RATING.findall(match["values"])}
        values = ",".join(numbers.get(dimension, "nan") for dimension in ("act", "val", "dom"))
        name = "ratings"
    if values:
        turn[name].append(f"{match['annotator']}={values}")


def _count_votes(turns):
    """Return the number of evaluators who chose each emotion."""
    import pandas as pd

    columns = list(_EMOTIONS.values())
    counts = np.zeros((len(turns), len(columns)))
    for row, turn in zip(counts, turns, strict=True):
        for vote in turn["votes"]:
            annotator, _, chosen = vote.partition("=")
            if annotator[0].upper() not in _SELF_EVALUATIONS:
                emotions = [_decode_category(word) for word in chosen.split(",")]
                for emotion in emotions:
                    row[columns.index(emotion)] += 1 / len(emotions)
    return pd.DataFrame(counts, columns=columns)


def _decode_category(word):
    """Return the emotion of a category such as "Excited", whose first letters are its code."""
    return _EMOTIONS.get(word[:3].lower(), "other")


def _read_transcripts(files):
    """Return the transcript of each turn, by name in lower case."""
    lines = (line.strip() for file in files for line in read_text(file).splitlines())
    matches = (match for line in lines if (match := _TRANSCRIPT.match(line)))
    return {match["name"].lower(): match["text"] for match in matches}


def _columns(turns, texts):
    """Return the columns of the frame."""
    fields = ("emotion", "speaker", "session", "sex", "dialog", "style", "start", "end")
    return {
        **{name: [turn[name] for turn in turns] for name in fields},
        "text": texts,
        **{name: [turn[name] for turn in turns] for name in DIMENSIONS},
        "votes": [";".join(turn["votes"]) for turn in turns],
        "n_votes": [len(turn["votes"]) for turn in turns],
        "ratings": [";".join(turn["ratings"]) for turn in turns],
        "language": "en",
    }
