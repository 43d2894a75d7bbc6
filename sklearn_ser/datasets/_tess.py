"""The Toronto Emotional Speech Set (TESS)."""

import os

from ._bunch import Emotion, make_bunch, read_descr, validated_loader
from ._scan import CorpusLayout, scan_corpus, warn_missing

_EMOTIONS: dict[str, Emotion] = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "surprise",  # pleasant surprise
    "sad": "sadness",
}
_AGES = {"OAF": 64, "YAF": 26}  # years
_N_WORDS = 200

_LAYOUT = CorpusLayout(
    title="TESS",
    # The look-ahead allows for OA_bite_neutral, a misnamed file of OAF in the original corpus.
    pattern=(
        r"(?P<speaker>OA(?=F_|_bite_neutral$)|YA(?=F_))F?_(?P<word>[a-z]+)"
        rf"_(?P<emotion>{'|'.join(_EMOTIONS)})"
    ),
    example="OAF_back_angry.wav",
    contents="a folder with the 2800 recordings, at any depth (in the original in OAF_angry/ etc.)",
    origin="Get it from Borealis, doi.org/10.5683/SP2/E8H2MF, and unpack it.",
)


@validated_loader(folder=[str, os.PathLike])
def load_tess(folder, *, emotions=None, return_X_y=False, as_frame=False):
    """Load the Toronto Emotional Speech Set (TESS) from a folder.

    2800 recordings of two actresses, one aged 64 and one aged 26, speaking 200 words in seven
    emotions. Nothing is downloaded and no audio is read: the labels are in the file names.

    ==================  =======
    Classes             7
    Recordings          2800
    Recordings a class  400
    Speakers            2
    Language            English
    ==================  =======

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus. Recordings are found at any depth and in any audio format by file names
        such as ``OAF_back_angry.wav``: talker, word and emotion. ``OA_bite_neutral.wav``, a
        misnamed file in the original corpus, is assigned to talker OAF.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, of "anger", "disgust", "fear", "happiness", "neutral", "sadness" and
        "surprise" (a pleasant one). A dict keeps its keys and renames each to its value, so that
        emotions can be merged. None keeps all.

    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` instead of a Bunch.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        recordings : ndarray or Series of shape (n_recordings,)
            The paths, sorted by talker, word and emotion.
        target : ndarray or Series of shape (n_recordings,)
            Names of the emotions.
        target_names : list of str
            Names of the emotions that occur, sorted.
        groups : ndarray or Series of shape (n_recordings,)
            The talkers, "OAF" (older) and "YAF" (younger).
        frame : DataFrame of shape (n_recordings, 8)
            The columns recording, emotion, speaker, sex, age (years), word, text (the word in
            its carrier phrase) and language.
        DESCR : str
            Origin, licence and protocol of the corpus, and notes on splits.

    (recordings, target) : tuple if ``return_X_y`` is True
        The paths and the emotions.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    NotADirectoryError
        If it is a file.
    ValueError
        If the folder has no recording of TESS, or `emotions` contains an unknown emotion.

    Warns
    -----
    UserWarning
        If recordings are missing, if audio files have other names (they are skipped), or if
        recordings occur more than once, as in Kaggle's copy, which contains the corpus twice
        (each is used once).

    See Also
    --------
    load_savee : English speech by four men.
    load_recordings : Recordings of your own.

    Notes
    -----
    With two talkers, leaving one out means training on one voice and testing on the other. In
    random folds, the same word by the same talker in another emotion is in both the training and
    the test set.

    References
    ----------
    .. [1] Pichora-Fuller, M. K., and Dupuis, K. (2020). "Toronto emotional speech set (TESS)."
       Borealis. https://doi.org/10.5683/SP2/E8H2MF

    Examples
    --------
    An empty file is enough to read a name. The warning about missing recordings is silenced.

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_tess
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    ...     Path(folder, "OAF_back_ps.wav").touch()
    ...     tess = load_tess(folder)
    >>> print(tess.target[0], tess.groups[0])
    surprise OAF
    """
    found = scan_corpus(folder, _LAYOUT)
    speakers = found["speaker"].str.upper() + "F"
    warn_missing(_LAYOUT, speakers, dict.fromkeys(_AGES, _N_WORDS * len(_EMOTIONS)))
    columns = {
        "recording": found["recording"],
        "emotion": found["emotion"].map(_EMOTIONS),
        "speaker": speakers,
        "sex": "female",
        "age": speakers.map(_AGES),
        "word": found["word"],
        "text": "Say the word " + found["word"] + ".",
        "language": "en",
    }
    return make_bunch(
        columns,
        emotions=emotions,
        known_emotions=_EMOTIONS.values(),
        descr=read_descr("tess"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )
