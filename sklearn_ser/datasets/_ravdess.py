"""The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)."""

import os
from collections import Counter
from itertools import product

from sklearn_ser._sklearn import StrOptions

from ._bunch import Emotion, make_bunch, read_descr, validated_loader
from ._scan import CorpusLayout, scan_corpus, warn_missing

_EMOTIONS: dict[str, Emotion] = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_CHANNELS = {"01": "speech", "02": "song"}
_INTENSITIES = {"01": "normal", "02": "strong"}
_TEXTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
_REPETITIONS = {"01": 1, "02": 2}
_ACTORS = [f"{actor:02d}" for actor in range(1, 25)]
_EMOBOX_FOLDS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)
_FOLD_OF = {actor: fold for fold, actors in enumerate(_EMOBOX_FOLDS) for actor in actors}

_LAYOUT = CorpusLayout(
    title="RAVDESS",
    # The look-ahead rejects combinations that were not recorded: strong neutral, sung disgust
    # and surprise, and songs of actor 18.
    pattern=(
        r"03-(?!0[12]-01-02|02-0[78]|02-.*-18$)(?P<channel>0[12])-(?P<emotion>0[1-8])"
        r"-(?P<intensity>0[12])-(?P<sentence>0[12])-(?P<repetition>0[12])"
        rf"-(?P<speaker>{'|'.join(_ACTORS)})"
    ),
    example="03-01-06-01-02-01-12.wav",
    contents=(
        "a folder with the audio-only recordings (1440 of speech, 1012 of song), at any depth "
        "(in the original archives in Actor_01/ to Actor_24/)"
    ),
    origin=(
        "Get Audio_Speech_Actors_01-24.zip or Audio_Song_Actors_01-24.zip from Zenodo, record "
        "1188976, and unpack it."
    ),
)
# The fields of a file name, in order.
_PARTS = ("channel", "emotion", "intensity", "sentence", "repetition", "speaker")


@validated_loader(folder=[str, os.PathLike], vocal_channel=[StrOptions({"speech", "song", "both"})])
def load_ravdess(
    folder, *, vocal_channel="speech", emotions=None, return_X_y=False, as_frame=False
):
    """Load the Ryerson Database of Emotional Speech and Song (RAVDESS) from a folder.

    24 North American actors, twelve of each sex, speak two sentences in eight emotions and sing
    them in six, at two intensities. Nothing is downloaded and no audio is read: the labels are in
    the file names.

    ==================  ==============================  ==============================
    vocal_channel       speech                          song
    ==================  ==============================  ==============================
    Classes             8                               6
    Recordings          1440                            1012
    Recordings a class  96 (neutral), 192 (all others)  92 (neutral), 184 (all others)
    Speakers            24                              23 (none of actor 18)
    Language            English                         English
    ==================  ==============================  ==============================

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus. Audio-only recordings are found at any depth and in any audio format
        by file names such as ``03-01-06-01-02-01-12.wav``: modality, vocal channel, emotion,
        intensity, sentence, repetition and actor.

    vocal_channel : {"speech", "song", "both"}, default="speech"
        Which recordings to load.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, of "anger", "calm", "disgust", "fear", "happiness", "neutral",
        "sadness" and "surprise". There are no songs with "disgust" or "surprise". A dict keeps its
        keys and renames each to its value: ``{"calm": "neutral", "neutral": "neutral", ...}``
        merges the two. None keeps all.

    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` instead of a Bunch.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        recordings : ndarray or Series of shape (n_recordings,)
            The paths, sorted by actor and then by name.
        target : ndarray or Series of shape (n_recordings,)
            Names of the emotions.
        target_names : list of str
            Names of the emotions that occur, sorted.
        groups : ndarray or Series of shape (n_recordings,)
            The actors, "01" to "24".
        emobox_folds : ndarray of int of shape (n_recordings,)
            EmoBox's test fold of each recording, 0 to 5, for
            :class:`~sklearn.model_selection.PredefinedSplit`.
        frame : DataFrame of shape (n_recordings, 11)
            The columns recording, emotion, speaker, sex, intensity ("normal" or "strong"),
            sentence, text, repetition (1 or 2), vocal_channel, language and emobox_fold.
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
        If the folder has no recording of the chosen channel, or `emotions` contains an unknown
        emotion.

    Warns
    -----
    UserWarning
        If recordings are missing, if audio files have other names (they are skipped), or if
        recordings occur more than once, as in a popular copy that contains the corpus twice
        (each is used once).

    See Also
    --------
    load_emodb : German speech by ten actors.
    load_recordings : Recordings of your own.

    Notes
    -----
    EmoBox [2]_ tests on six groups of four actors, on speech only. Pass
    ``PredefinedSplit(ravdess.emobox_folds)`` as ``cv`` for scores comparable with its tables.

    References
    ----------
    .. [1] Livingstone, S. R., and Russo, F. A. (2018). "The Ryerson Audio-Visual Database of
       Emotional Speech and Song (RAVDESS): A dynamic, multimodal set of facial and vocal
       expressions in North American English." PLoS ONE 13(5), e0196391.
       https://doi.org/10.1371/journal.pone.0196391
    .. [2] Ma, Z., et al. (2024). "EmoBox: Multilingual Multi-corpus Speech Emotion Recognition
       Toolkit and Benchmark." Interspeech 2024.

    Examples
    --------
    Empty files are enough to read names. The warning about missing recordings is silenced.

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> from sklearn.model_selection import PredefinedSplit
    >>> from sklearn_ser.datasets import load_ravdess
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    ...     Path(folder, "03-01-06-01-02-01-11.wav").touch()
    ...     Path(folder, "03-01-04-02-01-01-12.wav").touch()
    ...     ravdess = load_ravdess(folder)
    >>> print(*ravdess.target, *ravdess.groups)
    fear sadness 11 12
    >>> PredefinedSplit(ravdess.emobox_folds).get_n_splits()
    2
    """
    chosen = set(_CHANNELS.values()) if vocal_channel == "both" else {vocal_channel}
    found = scan_corpus(
        folder,
        _LAYOUT,
        predicate=lambda fields: _CHANNELS[fields["channel"]] in chosen,
        order=("speaker", *_PARTS[:-1]),
        selection=f"vocal_channel={vocal_channel!r}",
    )
    corpus = _complete_corpus(chosen)
    _warn_missing(found, corpus)
    columns = {
        "recording": found["recording"],
        "emotion": found["emotion"].map(_EMOTIONS),
        "speaker": found["speaker"],
        "sex": found["speaker"].map(lambda speaker: "male" if int(speaker) % 2 else "female"),
        "intensity": found["intensity"].map(_INTENSITIES),
        "sentence": found["sentence"],
        "text": found["sentence"].map(_TEXTS),
        "repetition": found["repetition"].map(_REPETITIONS),
        "vocal_channel": found["channel"].map(_CHANNELS),
        "language": "en",
        "emobox_fold": found["speaker"].map(_FOLD_OF),
    }
    return make_bunch(
        columns,
        emotions=emotions,
        known_emotions={_EMOTIONS[fields["emotion"]] for fields in corpus},
        keys={"emobox_folds": "emobox_fold"},
        descr=read_descr("ravdess"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _complete_corpus(channels):
    """Return the fields of all recordings of the complete corpus in these vocal channels."""
    chosen = [code for code, channel in _CHANNELS.items() if channel in channels]
    parts = (chosen, _EMOTIONS, _INTENSITIES, _TEXTS, _REPETITIONS, _ACTORS)
    combinations = (_LAYOUT.fields("-".join(("03", *codes))) for codes in product(*parts))
    return [fields for fields in combinations if fields is not None]


def _name(fields):
    """Return the file name of a recording without its extension."""
    return "-".join(("03", *(fields[part] for part in _PARTS)))


def _warn_missing(found, corpus):
    """Warn about missing recordings, by actor."""
    present = {_name(fields) for fields in found.to_dict("records")}
    missing = [name for name in map(_name, corpus) if name not in present]
    warn_missing(
        _LAYOUT,
        found["speaker"],
        Counter(sorted(fields["speaker"] for fields in corpus)),
        missing,
    )
