"""The Berlin Database of Emotional Speech (Emo-DB)."""

import os
from collections import Counter

from sklearn_ser._warnings import warn

from ._bunch import Emotion, make_bunch, read_descr, validated_loader
from ._scan import CorpusLayout, scan_corpus, warn_missing

# First letters of Wut, Langeweile, Ekel, Angst, Freude, neutral and Trauer.
_EMOTIONS: dict[str, Emotion] = {
    "w": "anger",
    "l": "boredom",
    "e": "disgust",
    "a": "fear",
    "f": "happiness",
    "n": "neutral",
    "t": "sadness",
}

# speaker: (sex, age in years, number of recordings)
_SPEAKERS = {
    "03": ("male", 31, 49),
    "08": ("female", 34, 58),
    "09": ("female", 21, 43),
    "10": ("male", 32, 38),
    "11": ("male", 26, 55),
    "12": ("male", 30, 35),
    "13": ("female", 32, 61),
    "14": ("female", 35, 69),
    "15": ("male", 25, 56),
    "16": ("female", 31, 71),
}

_TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}

_LAYOUT = CorpusLayout(
    title="Emo-DB",
    pattern=(
        rf"(?P<speaker>{'|'.join(_SPEAKERS)})(?P<sentence>{'|'.join(_TEXTS)})"
        rf"(?P<emotion>[{''.join(_EMOTIONS)}])(?P<version>[a-z])"
    ),
    example="03a01Fa.wav",
    contents="a folder with the 535 recordings, at any depth (in the original archive in wav/)",
    origin="Get it from its authors' site, emodb.bilderbar.info, and unpack it.",
    audio_folder="wav",
    skipped_folders=("laryngo",),
)
_N_RECORDINGS = sum(n for _, _, n in _SPEAKERS.values())


@validated_loader(folder=[str, os.PathLike])
def load_emodb(folder, *, emotions=None, return_X_y=False, as_frame=False):
    """Load the Berlin Database of Emotional Speech (Emo-DB) from a folder.

    535 recordings of ten German actors, five of each sex, speaking ten sentences in seven
    emotions. Nothing is downloaded and no audio is read: the labels are in the file names.

    ==================  ==================================
    Classes             7
    Recordings          535
    Recordings a class  46 (disgust) to 127 (anger)
    Speakers            10
    Language            German
    ==================  ==================================

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus. Recordings are found at any depth and in any audio format by file names
        such as ``03a01Fa.wav``. If files of several folders have one name, those in ``wav/`` are
        used. The folder ``laryngo/`` of version 2.0, with the signals of an electroglottograph,
        is skipped.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, of "anger", "boredom", "disgust", "fear", "happiness", "neutral"
        and "sadness". A dict keeps its keys and renames each to its value, so that emotions can
        be merged. None keeps all.

    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` instead of a Bunch.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        recordings : ndarray or Series of shape (n_recordings,)
            The paths, sorted by speaker, sentence, emotion and version.
        target : ndarray or Series of shape (n_recordings,)
            Names of the emotions.
        target_names : list of str
            Names of the emotions that occur, sorted.
        groups : ndarray or Series of shape (n_recordings,)
            The speakers, "03" to "16".
        frame : DataFrame of shape (n_recordings, 9)
            The columns recording, emotion, speaker, sex, age (years), sentence, text (the German
            transcript), version (a letter that distinguishes takes) and language.
        DESCR : str
            Origin, licence and protocol of the corpus, and published splits.

    (recordings, target) : tuple if ``return_X_y`` is True
        The paths and the emotions.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    NotADirectoryError
        If it is a file.
    ValueError
        If the folder has no recording of Emo-DB, `emotions` contains an unknown emotion, or files
        of several folders have the same name but different contents and none is in ``wav/``.

    Warns
    -----
    UserWarning
        If recordings are missing, if there are more than 535 (those of version 2.0), if audio
        files have other names (they are skipped), or if recordings occur more than once (each is
        used once).

    See Also
    --------
    load_ravdess : English speech and song by 24 actors.
    load_recordings : Recordings of your own.

    Notes
    -----
    For scores on unseen speakers, leave one speaker out: pass ``groups`` with
    :class:`~sklearn.model_selection.LeaveOneGroupOut`. Speaker 08 has no recording of disgust.
    Compute the recalls over the pooled predictions, because that fold lacks a class.

    References
    ----------
    .. [1] Burkhardt, F., Paeschke, A., Rolfes, M., Sendlmeier, W. F., and Weiss, B. (2005).
       "A database of German emotional speech." Interspeech 2005, 1517-1520.

    Examples
    --------
    An empty file is enough to read a name. The warning about missing recordings is silenced.

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_emodb
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    ...     Path(folder, "03a01Fa.wav").touch()
    ...     emodb = load_emodb(folder)
    >>> print(emodb.target[0], emodb.groups[0])
    happiness 03
    """
    found = scan_corpus(folder, _LAYOUT)
    speakers = found["speaker"]
    _warn_count(speakers)
    columns = {
        "recording": found["recording"],
        "emotion": found["emotion"].map(_EMOTIONS),
        "speaker": speakers,
        "sex": speakers.map({name: sex for name, (sex, _, _) in _SPEAKERS.items()}),
        "age": speakers.map({name: age for name, (_, age, _) in _SPEAKERS.items()}),
        "sentence": found["sentence"],
        "text": found["sentence"].map(_TEXTS),
        "version": found["version"],
        "language": "de",
    }
    return make_bunch(
        columns,
        emotions=emotions,
        known_emotions=_EMOTIONS.values(),
        descr=read_descr("emodb"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _warn_count(speakers):
    """Warn about missing recordings, or about those that version 2.0 adds."""
    counts = Counter(speakers)
    expected = {name: n for name, (_, _, n) in _SPEAKERS.items()}
    if len(speakers) > _N_RECORDINGS and all(counts[name] >= n for name, n in expected.items()):
        warn(
            f"{_LAYOUT.title}: {len(speakers)} recordings, {len(speakers) - _N_RECORDINGS} more "
            f"than the {_N_RECORDINGS} of the original corpus. Version 2.0 adds recordings whose "
            "emotion fewer than 80 % of the listeners recognised. Published scores are on the "
            f"original {_N_RECORDINGS}: see the key DESCR."
        )
    else:
        warn_missing(_LAYOUT, speakers, expected)
