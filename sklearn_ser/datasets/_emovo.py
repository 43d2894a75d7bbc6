"""EMOVO, an Italian corpus of acted emotions, recorded with two microphones."""

import os
from collections import Counter
from itertools import product
from numbers import Integral

from sklearn_ser._sklearn import Interval, StrOptions
from sklearn_ser.audio import SegmentOfFile

from ._bunch import Emotion, make_bunch, read_descr, validated_loader
from ._scan import CorpusLayout, scan_corpus, warn_missing

# The codes abbreviate disgusto, gioia, neutro, paura, rabbia, sorpresa and tristezza.
_EMOTIONS: dict[str, Emotion] = {
    "dis": "disgust",
    "gio": "happiness",
    "neu": "neutral",
    "pau": "fear",
    "rab": "anger",
    "sor": "surprise",
    "tri": "sadness",
}
_SPEAKERS = ("f1", "f2", "f3", "m1", "m2", "m3")
_SEXES = {"f": "female", "m": "male"}

_TEXTS = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "l1": "L'autunno prossimo Tony partirà per la Spagna nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
}
# The codes abbreviate brevi, lunghe, nonsense and domande.
_KINDS = {"b": "short", "l": "long", "n": "nonsense", "d": "question"}

_LAYOUT = CorpusLayout(
    title="EMOVO",
    pattern=(
        rf"(?P<emotion>{'|'.join(_EMOTIONS)})-(?P<speaker>{'|'.join(_SPEAKERS)})"
        rf"-(?P<sentence>{'|'.join(_TEXTS)})"
    ),
    example="dis-f1-b1.wav",
    contents="a folder with the 588 recordings, at any depth (originally in f1/ to m3/)",
    origin="Get it from its authors and unpack it.",
)


@validated_loader(
    folder=[str, os.PathLike],
    channel=[StrOptions({"louder"}), Interval(Integral, 0, 1, closed="both"), None],
)
def load_emovo(folder, *, channel="louder", emotions=None, return_X_y=False, as_frame=False):
    """Load EMOVO, an Italian corpus of acted emotions, from a folder.

    588 recordings of six Italian actors, three of each sex, speaking fourteen sentences in seven
    emotions. Nothing is downloaded and no audio is read: the labels are in the file names.

    ==================  =======
    Classes             7
    Recordings          588
    Recordings a class  84
    Speakers            6
    Language            Italian
    ==================  =======

    Parameters
    ----------
    folder : str or path-like
        Path of the corpus. Recordings are found at any depth and in any audio format by file names
        such as ``dis-f1-b1.wav``: emotion, speaker and sentence.

    channel : {"louder", 0, 1} or None, default="louder"
        Which of the two microphones to use. They are not aligned in time, so averaging them
        distorts the voice.

        - "louder": the channel with more energy, chosen for each recording. Recordings with one
          channel are used as they are.
        - 0 or 1: the first or second channel.
        - None: all channels. Transformers average them unless their parameter ``channel`` selects
          one.

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
            The channels, as ``sklearn_ser.audio.SegmentOfFile`` with ``path`` and ``channel``,
            which all transformers accept. With ``channel=None``, the paths. Sorted by speaker,
            emotion and sentence.
        target : ndarray or Series of shape (n_recordings,)
            Names of the emotions.
        target_names : list of str
            Names of the emotions that occur, sorted.
        groups : ndarray or Series of shape (n_recordings,)
            The speakers, "f1" to "m3".
        frame : DataFrame of shape (n_recordings, 9)
            The columns recording (as in `recordings`), path, emotion, speaker, sex, sentence,
            text (the Italian transcript), kind (of the sentence: "short", "long", "nonsense" or
            "question") and language.
        DESCR : str
            Origin, licence and protocol of the corpus, and published splits.

    (recordings, target) : tuple if ``return_X_y`` is True
        The recordings and the emotions.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    NotADirectoryError
        If it is a file.
    ValueError
        If the folder has no recording of EMOVO, or `emotions` contains an unknown emotion.

    Warns
    -----
    UserWarning
        If recordings are missing, if audio files have other names (they are skipped), or if
        recordings occur more than once (each is used once).

    See Also
    --------
    load_emodb : German speech by ten actors.
    load_recordings : Recordings of your own.

    Notes
    -----
    EmoBox [2]_ leaves one speaker out: pass ``groups`` with
    :class:`~sklearn.model_selection.LeaveOneGroupOut`.

    References
    ----------
    .. [1] Costantini, G., Iaderola, I., Paoloni, A., and Todisco, M. (2014). "EMOVO corpus: an
       Italian emotional speech database." LREC 2014, 3501-3504.
    .. [2] Ma, Z., et al. (2024). "EmoBox: Multilingual Multi-corpus Speech Emotion Recognition
       Toolkit and Benchmark." Interspeech 2024.

    Examples
    --------
    An empty file is enough to read a name. The warning about missing recordings is silenced.

    >>> import tempfile, warnings
    >>> from pathlib import Path
    >>> from sklearn_ser.datasets import load_emovo
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    ...     Path(folder, "dis-f1-b1.wav").touch()
    ...     emovo = load_emovo(folder)
    >>> print(emovo.target[0], emovo.groups[0], emovo.recordings[0].channel)
    disgust f1 louder
    """
    found = scan_corpus(folder, _LAYOUT, order=("speaker", "emotion", "sentence"))
    present = set(found["emotion"] + "-" + found["speaker"] + "-" + found["sentence"])
    names = ["-".join(parts) for parts in product(_EMOTIONS, _SPEAKERS, _TEXTS)]
    warn_missing(
        _LAYOUT,
        found["speaker"],
        Counter(name.split("-")[1] for name in names),
        [name for name in names if name not in present],
    )
    paths, speakers, sentences = found["recording"], found["speaker"], found["sentence"]
    columns = {
        "recording": paths
        if channel is None
        else [SegmentOfFile(p, channel=channel) for p in paths],
        "path": paths,
        "emotion": found["emotion"].map(_EMOTIONS),
        "speaker": speakers,
        "sex": speakers.str[0].map(_SEXES),
        "sentence": sentences,
        "text": sentences.map(_TEXTS),
        "kind": sentences.str[0].map(_KINDS),
        "language": "it",
    }
    return make_bunch(
        columns,
        emotions=emotions,
        known_emotions=_EMOTIONS.values(),
        descr=read_descr("emovo"),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )
