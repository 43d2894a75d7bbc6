"""The Interactive Emotional Dyadic Motion Capture database (IEMOCAP)."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

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
_FOUR: dict[str, str] = {
    "anger": "anger",
    "excitement": "happiness",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
}
# The turns with labels in each session of the complete release.
_N_TURNS = {"1": 1819, "2": 1811, "3": 2136, "4": 2103, "5": 2170}

_LAYOUT = CorpusLayout(
    title="IEMOCAP",
    # Recordings of whole dialogs have no turn; they are known, and not wanted.
    pattern=(
        r"(?P<dialog>Ses(?P<session>0[1-5])[FM]_(?P<style>impro|script)\w*?)"
        r"(?:_(?P<turn>(?P<sex>[FM])[^\W_]+))?"
    ),
    example="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
    contents=(
        "the folder IEMOCAP_full_release with Session1/ to Session5/, each with sentences/wav/, "
        "dialog/EmoEvaluation/ and dialog/transcriptions/"
    ),
    origin="It is given on request by its authors' laboratory, sail.usc.edu/iemocap.",
)

# [6.2901 - 8.2357] Ses01F_impro01_F000 neu [2.5000, 2.5000, 2.5000]
_TURN = re.compile(
    r"\[\s*(?P<start>[\d.]+)\s*-\s*(?P<end>[\d.]+)\s*\]\s*(?P<name>\w+)\s+"
    r"(?P<emotion>\w+)\s*\[(?P<scores>[^],]*,[^],]*,[^],]*)\]",
    re.IGNORECASE,
)
# C-E2: Neutral; (comment), of categories, or A-E3: val 3; act 2; dom  2; (comment)
_OPINION = re.compile(r"(?P<kind>[AC])-(?P<annotator>\w+)\s*:(?P<said>[^(]*)", re.IGNORECASE)
_RATING = re.compile(r"(act|val|dom)\w*\s*([\d.]+)", re.IGNORECASE)
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
_TRANSCRIPT = re.compile(r"(?P<name>Ses\w+)\s*\[[^]]*\]\s*:\s*(?P<text>.*)", re.IGNORECASE)


@validated_loader(
    folder=[str, os.PathLike],
    target=[StrOptions({"emotion", "dimensions"})],
    emotions=["array-like", Mapping, StrOptions({"four"}), None],
)
def load_iemocap(folder, *, target="emotion", emotions=None, return_X_y=False, as_frame=False):
    """Load IEMOCAP from a folder with the release.

    Ten actors, a woman and a man in each of five sessions, play scripted and improvised dialogs in
    English. Their turns are labelled with an emotion, by the majority of the annotators, and with
    arousal, valence and dominance. Nothing is downloaded and no audio is read; the labels come
    from the release's own files.

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
        Where the corpus is: the folder IEMOCAP_full_release, or one that contains it. Needed are
        its ``SessionN/sentences/wav`` and ``SessionN/dialog/EmoEvaluation``, and for the words
        ``SessionN/dialog/transcriptions``.

    target : {"emotion", "dimensions"}, default="emotion"
        What to predict: the emotion, or arousal, valence and dominance together.

    emotions : sequence of str, dict of str to str, "four" or None, default=None
        The emotions to keep, of "anger", "disgust", "excitement", "fear", "frustration",
        "happiness", "neutral", "other", "sadness" and "surprise", and "no agreement" for turns
        on which no majority of the annotators agrees. A dict keeps its keys and renames each to
        its value. "four" stands for the usual task of four classes, ``{"anger": "anger",
        "excitement": "happiness", "happiness": "happiness", "neutral": "neutral",
        "sadness": "sadness"}``. None keeps the ten emotions with ``target="emotion"`` and every
        turn with ``target="dimensions"``.

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
            The paths, sorted by dialog and start.
        target : ndarray, Series or DataFrame of shape (n_recordings,) or (n_recordings, 3)
            The emotions' names, or arousal, valence and dominance.
        target_names : list of str
            The names that occur, sorted, or ``["arousal", "valence", "dominance"]``.
        groups : ndarray or Series of shape (n_recordings,)
            The speakers: "Ses01F", "Ses01M" to "Ses05M". The letter is the sex of who speaks the
            turn, not the one in the dialog's name.
        sessions : ndarray of int of shape (n_recordings,)
            The sessions, 1 to 5, for leaving one session out.
        arousal, valence, dominance : ndarray of float of shape (n_recordings,)
            Means over annotators, from 1 to 5: calm to excited (called activation in the
            corpus), negative to positive, weak to strong. NaN where a file has no number.
        text : ndarray of object of shape (n_recordings,)
            The transcripts; None for a turn without one.
        frame : DataFrame of shape (n_recordings, 17)
            The columns recording, emotion, speaker, session, sex, dialog, style ("improvised" or
            "scripted"), start and end (s, in the dialog), text, arousal, valence, dominance,
            votes, n_votes, ratings and language. Votes are the annotators' categories in the
            corpus's words, such as "E2=Neutral;F1=Neutral,Frustration" and n_votes the number of
            annotators who gave any; ratings are theirs of arousal, valence and dominance, such
            as "E3=2,3,2".
        DESCR : str
            The corpus's origin, licence, protocol and published splits.

    (recordings, target) : tuple if ``return_X_y`` is True
        The paths and the target alone.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    NotADirectoryError
        If it is a file.
    ValueError
        If the folder has no turns of IEMOCAP, no labels for them, or `emotions` names one the
        corpus does not have.

    Warns
    -----
    UserWarning
        If turns are missing, have no recording, no label or no transcript, if recordings or
        labels are there more than once (each is taken once), if lines of the label files cannot
        be read, if numbers are missing, or if audio files have other
        names (they are left out).

    See Also
    --------
    load_msp_podcast : Emotions and dimensions in podcasts.
    load_emodb : German speech by ten actors.

    Notes
    -----
    For scores on unheard voices leave one session out: pass ``sessions`` as ``groups`` with
    :class:`~sklearn.model_selection.LeaveOneGroupOut`, five folds of two speakers. With the
    bunch's ``groups`` it leaves one of the ten speakers out, and the partner of the same dialogs
    stays in the training set. Scripted dialogs have the same lines in every session, which
    transcripts give away.

    References
    ----------
    .. [1] Busso, C., Bulut, M., Lee, C.-C., Kazemzadeh, A., Mower, E., Kim, S., Chang, J. N.,
       Lee, S., and Narayanan, S. S. (2008). "IEMOCAP: Interactive emotional dyadic motion capture
       database." Language Resources and Evaluation 42(4), 335-359.

    Examples
    --------
    A turn in the release's layout; the warning that the others are missing is silenced.

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
    >>> print(*y[0])  # arousal, valence, dominance; the file's order is another
    2.0 2.5 3.0
    """
    found = scan_corpus(
        folder, _LAYOUT, wanted=lambda fields: fields["turn"] != "", asked_for="turns"
    )
    audio = dict(zip(found["dialog"] + "_" + found["turn"], found["recording"], strict=True))
    warn_missing(_LAYOUT, found["session"].str[1], _N_TURNS, counted="session")
    root = Path(folder).expanduser()
    files = [root / name for name in find_files(root, is_text)]
    labels = _read_labels(root, [file for file in files if _is_in(file, "emoevaluation")])
    texts = _read_transcripts(file for file in files if _is_in(file, "transcriptions"))
    names = join_labels(_LAYOUT.title, labels, audio)
    names.sort(key=lambda name: (labels[name]["dialog"].lower(), labels[name]["start"], name))
    return make_dimensional_bunch(
        _LAYOUT.title,
        {"recording": [audio[name] for name in names]}
        | _columns([labels[name] for name in names], choose_texts(_LAYOUT.title, names, texts)),
        target=target,
        emotions=_FOUR if isinstance(emotions, str) else emotions,
        known_emotions=_EMOTIONS.values(),
        keys={"sessions": "session", "text": "text"},
        descr=read_descr("iemocap"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _is_in(file, folder):
    """Tell whether the file lies in a folder of this name itself, not deeper."""
    return file.parent.name.lower() == folder


def _read_labels(root, files):
    """Return the turns of all evaluation files by their names in lower case."""
    if not files:
        raise ValueError(
            f"folder={str(root)!r} has recordings of {_LAYOUT.title} but no label files, which are "
            f"dialog/EmoEvaluation/*.txt. Expected: {_LAYOUT.contents}."
        )
    turns: dict[str, dict] = {}
    broken, repeated = [], []
    for file in files:
        found, not_understood = _read_evaluation(file)
        broken += not_understood
        for turn in found:
            key = turn["name"].lower()
            repeated += [f"{turn['name']} in {file}"] if key in turns else []
            turns.setdefault(key, turn)
    unknown = Counter(turn["code"] for turn in turns.values() if turn["code"] not in _LABELS)
    if unknown:
        warn(unknown_classes(_LAYOUT.title, unknown, _LABELS))
    if broken:
        warn(f"{_LAYOUT.title}: {len(broken)} lines of labels cannot be read: {some(broken)}.")
    if repeated:
        warn(
            f"{_LAYOUT.title}: {len(repeated)} turns are labelled again: {some(repeated)}. The "
            "first label is taken."
        )
    return turns


def _read_evaluation(file):
    """Return the turns of a dialog and where lines are that cannot be read."""
    turns, broken, turn = [], [], None
    for number, line in enumerate(map(str.strip, read_text(file).splitlines()), 1):
        if match := _OPINION.match(line):
            if turn is not None:
                _add_opinion(turn, match)
        elif line and not line.startswith("%"):
            parsed = _parse_turn(line)
            if parsed is None:
                broken.append(f"{file} line {number}")
            else:
                turns.append(parsed)
            # What is no turn's line, such as a comment's second one, leaves the turn as it is.
            turn = parsed if line.startswith("[") else turn
    return turns, broken


def _parse_turn(line):
    """Return what a turn's line says, or None if it is no such line."""
    match = _TURN.match(line)
    fields = _LAYOUT.fields(match["name"]) if match else None
    if match is None or not fields or not fields["turn"]:
        return None
    # The one place where the order of the file, valence first, is named.
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


def _add_opinion(turn, match):
    """Add what one annotator said of a turn."""
    if match["kind"] in "Cc":
        said = ",".join(word.strip() for word in match["said"].split(";") if word.strip())
        name = "votes"
    else:
        numbers = {dimension.lower(): n for dimension, n in _RATING.findall(match["said"])}
        said = ",".join(numbers.get(dimension, "nan") for dimension in ("act", "val", "dom"))
        name = "ratings"
    if said:
        turn[name].append(f"{match['annotator']}={said}")


def _read_transcripts(files):
    """Return the words of each turn by its name in lower case."""
    lines = (line.strip() for file in files for line in read_text(file).splitlines())
    matches = (match for line in lines if (match := _TRANSCRIPT.match(line)))
    return {match["name"].lower(): match["text"] for match in matches}


def _columns(turns, texts):
    """Return the frame's columns."""
    said = ("emotion", "speaker", "session", "sex", "dialog", "style", "start", "end")
    return {
        **{name: [turn[name] for turn in turns] for name in said},
        "text": texts,
        **{name: [turn[name] for turn in turns] for name in DIMENSIONS},
        "votes": [";".join(turn["votes"]) for turn in turns],
        "n_votes": [len(turn["votes"]) for turn in turns],
        "ratings": [";".join(turn["ratings"]) for turn in turns],
        "language": "en",
    }
