"""A corpus of synthetic emotional speech."""

from itertools import product
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from sklearn_ser._sklearn import Interval, validate_params

from ._bunch import Emotion, make_bunch
from ._formant_synthesis import CONSONANTS, VOWELS, Manner, Speaker, synthesize

# Tendencies that Murray and Arnott (1993), Banse and Scherer (1996) and Juslin and Laukka (2003)
# report. Surveys agree on directions rather than on figures: the sizes are ours, set so that the
# emotions overlap as acted ones do. Calm and contempt, seldom surveyed, are placed between
# sadness and neutral, and between disgust and neutral.
EMOTIONS: dict[Emotion, Manner] = {
    #                  f0     f0     f0  tempo  level   tilt  breath jitter reach  form. pauses
    #                  st      %     st      %     dB dB/oct      dB      %      %     %      %
    "anger":     Manner(4.0,  35, -2.0,    12,   4.5,   2.4,   -4.0,   1.2,    25,  1.0,    5),
    "boredom":   Manner(-1.5, -50, -1.0,  -16,  -1.5,  -1.2,   -3.0,   0.6,   -35, -2.0,   25),
    "calm":      Manner(-0.7, -20, -1.5,   -8,  -2.0,  -0.6,    4.0,   0.5,     0,  0.0,   15),
    "contempt":  Manner(-0.8,  10, -2.5,   -8,   0.0,   0.8,   -1.0,   1.0,    10, -3.0,   15),
    "disgust":   Manner(-0.5,  15, -3.0,  -18,   0.0,   0.8,    2.0,   1.8,    10, -6.0,   35),
    "fear":      Manner(5.0,  -10,  0.5,   18,   0.5,   0.5,    9.0,   2.2,   -15,  2.0,   20),
    "happiness": Manner(4.0,  60,  0.5,    6,   2.5,   1.0,   -2.0,   0.8,    10,  8.0,    5),
    "neutral":   Manner(0.0,    0, -1.5,    0,   0.0,   0.0,   -2.0,   0.5,     0,  0.0,    5),
    "sadness":   Manner(-1.0, -40, -1.0,  -14,  -3.5,  -2.2,   10.0,   1.0,   -20, -1.0,   30),
    "surprise":  Manner(5.0,  90,  4.0,    3,   2.0,   0.5,    2.0,   0.8,     5,  3.0,    5),
}  # fmt: skip
# Standard deviations around an emotion: of one recording, and of a speaker's way with it.
_RECORDING_SPREAD = Manner(0.8, 12, 0.8, 4, 1.0, 0.2, 1.0, 0.2, 4, 0.5, 5)
_SPEAKER_SPREAD = Manner(0.5, 8, 0.4, 3, 0.6, 0.15, 0.6, 0.1, 3, 0.3, 5)

_COLUMNS = ("emotion", "speaker", "sex", "sentence", "text", "duration", "f0")
# Emo-DB's.
_DEFAULT_EMOTIONS = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")


class _Sex(NamedTuple):
    f0: float  # Hz
    tract: float  # formant frequencies over the men's
    breathiness: float  # dB, aspiration noise re voicing


# F0 and formants: averages of Peterson and Barney (1952). Klatt and Klatt (1990) hear more
# breath in women's voices.
_SEXES = {"female": _Sex(223.0, 1.16, -30.0), "male": _Sex(132.0, 1.0, -34.0)}


@validate_params(
    {
        "n_speakers": [Interval(Integral, 1, None, closed="left")],
        "emotions": [list, tuple, np.ndarray, None],
        "n_sentences": [Interval(Integral, 1, None, closed="left")],
        "sampling_rate": [Interval(Integral, 8000, None, closed="left")],
        "return_X_y": ["boolean"],
        "as_frame": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_emotional_speech(
    n_speakers=8,
    emotions=None,
    n_sentences=5,
    *,
    sampling_rate=16000,
    return_X_y=False,
    as_frame=False,
    random_state=None,
):
    """Make a corpus of synthetic emotional speech.

    Every speaker says every sentence once in every emotion, as in corpora of acted speech. The
    sentences are nonsense syllables. The voices are formant synthesis [1]_ [2]_ after averages
    of men and women [3]_; the emotions move pitch, tempo, level, voice quality and articulation
    the way surveys of vocal expression report [4]_ [5]_ [6]_. Speakers differ in voice and in
    how much emotion they show, and no two recordings of an emotion are alike, so that neither
    pitch nor loudness alone tells the emotions apart.

    The corpus is for trying out and testing code. Scores on it say nothing about real speech.

    Parameters
    ----------
    n_speakers : int, default=8
        Number of speakers, female and male in turn.
    emotions : array-like of str, default=None
        Emotions to express, each one of "anger", "boredom", "calm", "contempt", "disgust",
        "fear", "happiness", "neutral", "sadness" and "surprise". None means the seven of
        Emo-DB: all but "calm", "contempt" and "surprise".
    n_sentences : int, default=5
        Number of different sentences.
    sampling_rate : int, default=16000
        Sampling rate of the recordings, in Hz; at least 8000.
    return_X_y : bool, default=False
        Whether to return ``(recordings, target)`` in place of a Bunch.
    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series.
    random_state : int, RandomState instance or None, default=None
        Determines voices, sentences and recordings. Pass an int for reproducible output.
        The recording of a speaker, an emotion and a sentence is then the same in corpora of
        any size.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the following attributes.

        recordings : list or Series of ndarray of shape (n_samples,), float32
            Waveforms in [-1, 1], of about 1 to 2.5 s.
        target : ndarray of shape (n_recordings,) or Series, str
            Emotion of each recording.
        target_names : list of str
            The emotions, sorted.
        groups : ndarray of shape (n_recordings,) or Series, str
            Speaker of each recording, `"speaker00"` and so on.
        frame : DataFrame with n_recordings rows or None
            Columns `emotion`, `speaker`, `sex`, `sentence`, `text`, `duration` (s) and `f0`
            (mean fundamental frequency, Hz). None where pandas is not installed.
        sampling_rate : int
            In Hz.
        DESCR : str
            Description of the corpus.

    (recordings, target) : tuple if `return_X_y` is True
        The first two attributes above.

    Raises
    ------
    ValueError
        If `emotions` is empty, repeats an emotion or holds an unknown one.
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    load_emodb : Real recordings in the same emotions.

    References
    ----------
    .. [1] D. H. Klatt (1980). Software for a cascade/parallel formant synthesizer. Journal of
       the Acoustical Society of America 67(3), 971-995.
    .. [2] D. H. Klatt and L. C. Klatt (1990). Analysis, synthesis, and perception of voice
       quality variations among female and male talkers. Journal of the Acoustical Society of
       America 87(2), 820-857.
    .. [3] G. E. Peterson and H. L. Barney (1952). Control methods used in a study of the
       vowels. Journal of the Acoustical Society of America 24(2), 175-184.
    .. [4] I. R. Murray and J. L. Arnott (1993). Toward the simulation of emotion in synthetic
       speech. Journal of the Acoustical Society of America 93(2), 1097-1108.
    .. [5] R. Banse and K. R. Scherer (1996). Acoustic profiles in vocal emotion expression.
       Journal of Personality and Social Psychology 70(3), 614-636.
    .. [6] P. N. Juslin and P. Laukka (2003). Communication of emotions in vocal expression and
       music performance. Psychological Bulletin 129(5), 770-814.

    Examples
    --------
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> corpus = make_emotional_speech(
    ...     n_speakers=2, emotions=["anger", "sadness"], n_sentences=1, random_state=0
    ... )
    >>> len(corpus.recordings)
    4
    >>> print(*corpus.target)
    anger sadness anger sadness
    >>> print(*corpus.groups)
    speaker00 speaker00 speaker01 speaker01
    """
    emotions = _check_emotions(emotions)
    seed = check_random_state(random_state).randint(2**31 - 1)
    sentences = [_make_sentence(seed, sentence) for sentence in range(n_sentences)]
    recordings, rows = [], []
    for number in range(n_speakers):
        speaker = _make_speaker(seed, number)
        for emotion, (index, sentence) in product(emotions, enumerate(sentences)):
            rng = _generator(seed, "recording", number, _CODES[emotion], index)
            manner = _make_manner(seed, number, emotion, speaker.strength, rng)
            waveform, f0 = synthesize(sentence, speaker, manner, sampling_rate, rng)
            duration = len(waveform) / sampling_rate
            names = f"speaker{number:02d}", speaker.sex, f"sentence{index:02d}"
            recordings.append(waveform)
            rows.append((emotion, *names, " ".join(sentence), duration, f0))
    corpus = make_bunch(
        dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)),
        waveforms=recordings,
        descr=_DESCR.format(
            n_recordings=len(recordings),
            n_speakers=n_speakers,
            n_sentences=n_sentences,
            emotions=", ".join(emotions),
        ),
        return_X_y=return_X_y,
        as_frame=as_frame,
    )
    if not return_X_y:
        corpus.sampling_rate = sampling_rate
    return corpus


def _check_emotions(emotions):
    """Return the emotions as a list of str."""
    emotions = [str(emotion) for emotion in (_DEFAULT_EMOTIONS if emotions is None else emotions)]
    unknown = sorted(set(emotions) - set(EMOTIONS))
    if unknown:
        raise ValueError(f"Unknown emotions {unknown}: choose among {list(EMOTIONS)}.")
    if not emotions:
        raise ValueError(f"`emotions` is empty: choose among {list(EMOTIONS)}.")
    repeated = sorted({emotion for emotion in emotions if emotions.count(emotion) > 1})
    if repeated:
        raise ValueError(f"`emotions` repeats {repeated}: name each emotion once.")
    return emotions


# Keys of the random streams: each thing drawn has its own, whatever else is drawn.
_STREAMS = {"sentence": 0, "speaker": 1, "way": 2, "recording": 3}
_CODES = {emotion: code for code, emotion in enumerate(EMOTIONS)}


def _generator(seed, stream, *key):
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAMS[stream], *key)))


def _make_sentence(seed, number):
    """Return three words of two or three syllables."""
    rng = _generator(seed, "sentence", number)
    n_syllables = rng.permutation([2, 2, 3])
    return tuple(
        "".join(rng.choice(list(CONSONANTS)) + rng.choice(list(VOWELS)) for _ in range(n))
        for n in n_syllables
    )


def _make_speaker(seed, number):
    """Draw a speaker of the sex whose turn it is."""
    # The spreads between speakers of one sex are narrower than among people, so that a few
    # speakers are enough to learn from.
    rng = _generator(seed, "speaker", number)
    name = ("female", "male")[number % 2]
    sex = _SEXES[name]
    return Speaker(
        sex=name,
        f0=sex.f0 * 2 ** (rng.normal(0, 2) / 12),
        tract=sex.tract * np.exp(rng.normal(0, 0.02)),
        tempo=np.exp(rng.normal(0, 0.06)),
        level=rng.normal(-28, 1.7),
        tilt=rng.normal(-2, 0.25),
        breathiness=sex.breathiness + rng.normal(0, 1.0),
        strength=np.exp(rng.normal(0, 0.12)),
    )


def _make_manner(seed, number, emotion, strength, rng):
    """Draw the manner of one recording around the speaker's way with an emotion."""
    way = _generator(seed, "way", number, _CODES[emotion])
    return Manner(
        *(
            strength * np.array(EMOTIONS[emotion])
            + way.normal(0, _SPEAKER_SPREAD)
            + rng.normal(0, _RECORDING_SPREAD)
        )
    )


_DESCR = """\
Synthetic emotional speech
--------------------------

{n_recordings} recordings of {n_speakers} speakers, {n_sentences} nonsense sentences and the
emotions {emotions}: one recording for each speaker, emotion and sentence.

Formant synthesis by `sklearn_ser.datasets.make_emotional_speech`. The corpus is for trying out
and testing code: scores on it say nothing about real speech.
"""
