"""The Surrey Audio-Visual Expressed Emotion database (SAVEE)."""

import os
from itertools import product

from ._bunch import Emotion, make_bunch, read_descr, validated_loader
from ._scan import CorpusLayout, scan_corpus, warn_missing

_EMOTIONS: dict[str, Emotion] = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
_SPEAKERS = ("DC", "JE", "JK", "KL")
_N_SENTENCES = {emotion: 30 if emotion == "n" else 15 for emotion in _EMOTIONS}
_UTTERANCES = [
    f"{emotion}{number:02d}" for emotion, n in _N_SENTENCES.items() for number in range(1, n + 1)
]

_LAYOUT = CorpusLayout(
    title="SAVEE",
    # The look-ahead rejects sentences above 15 for all emotions except neutral.
    pattern=(
        rf"(?P<speaker>{'|'.join(_SPEAKERS)})[/_](?=n|[a-z]+(?:0[1-9]|1[0-5])$)"
        rf"(?P<emotion>{'|'.join(_EMOTIONS)})(?P<sentence>0[1-9]|[12][0-9]|30)"
    ),
    example="DC/a01.wav or DC_a01.wav",
    contents="a folder with the 480 recordings, in DC/, JE/, JK/ and KL/ or with these prefixes",
    origin="Request it from its authors at the University of Surrey and unpack AudioData.zip.",
)


@validated_loader(folder=[str, os.PathLike])
def load_savee(folder, *, emotions=None, return_X_y=False, as_frame=False):
    """Load the Surrey Audio-Visual Expressed Emotion database (SAVEE) from a folder.

    480 recordings of four men with British English accents, speaking sentences in seven emotions.
    Nothing is downloaded and no audio is read: the labels are in the file names.

    ==================  ==============================
    Classes             7
    Recordings          480
    Recordings a class  120 (neutral), 60 (all others)
    Speakers            4
    Language            English
    ==================  ==============================

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus. Recordings are found at any depth and in any audio format by file names
        such as ``DC/a01.wav`` or ``DC_a01.wav``: speaker, emotion and number of the sentence.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, of "anger", "disgust", "fear", "happiness", "neutral", "sadness" and
        "surprise". A dict keeps its keys and renames each to its value, so that emotions can be
        merged. None keeps all.

    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` instead of a Bunch.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        recordings : ndarray or Series of shape (n_recordings,)
            The paths, sorted by speaker, emotion and number.
        target : ndarray or Series of shape (n_recordings,)
            Names of the emotions.
        target_names : list of str
            Names of the emotions that occur, sorted.
        groups : ndarray or Series of shape (n_recordings,)
            The speakers, "DC", "JE", "JK" and "KL".
        frame : DataFrame of shape (n_recordings, 6)
            The columns recording, emotion, speaker, sex, sentence (emotion and number, such as
            "a01") and language.
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
        If the folder has no recording of SAVEE, or `emotions` contains an unknown emotion.

    Warns
    -----
    UserWarning
        If recordings are missing, if audio files have other names (they are skipped), or if
        recordings occur more than once, such as ``DC/a01.wav`` and ``DC_a01.wav`` (each is used
        once).

    See Also
    --------
    load_emodb : German speech by ten actors.
    load_recordings : Recordings of your own.

    Notes
    -----
    For scores on unseen speakers, leave one speaker out: pass ``groups`` with
    :class:`~sklearn.model_selection.LeaveOneGroupOut`. The sentences differ between
    emotions, so a network that recognises words has an advantage unrelated to emotion.

    References
    ----------
    .. [1] Haq, S., and Jackson, P. J. B. (2009). "Speaker-dependent audio-visual emotion
       recognition." AVSP 2009, 53-58.
    .. [2] Haq, S., and Jackson, P. J. B. (2010). "Multimodal emotion recognition." In Machine
       Audition: Principles, Algorithms and Systems, IGI Global, 398-423.

    Examples
    --------
    An empty file is enough to read a name. The warning about missing recordings is silenced.

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_savee
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    ...     Path(folder, "JE_sa01.wav").touch()
    ...     savee = load_savee(folder)
    >>> print(savee.target[0], savee.groups[0])
    sadness JE
    """
    found = scan_corpus(folder, _LAYOUT)
    speakers = found["speaker"].str.upper()
    sentences = found["emotion"] + found["sentence"]
    present = set(zip(speakers, sentences, strict=True))
    names = product(_SPEAKERS, _UTTERANCES)
    warn_missing(
        _LAYOUT,
        speakers,
        dict.fromkeys(_SPEAKERS, len(_UTTERANCES)),
        ["_".join(name) for name in names if name not in present],
    )
    columns = {
        "recording": found["recording"],
        "emotion": found["emotion"].map(_EMOTIONS),
        "speaker": speakers,
        "sex": "male",
        "sentence": sentences,
        "language": "en",
    }
    return make_bunch(
        columns,
        emotions=emotions,
        known_emotions=_EMOTIONS.values(),
        descr=read_descr("savee"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )
