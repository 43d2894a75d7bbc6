"""A corpus of synthetic emotional speech."""

from itertools import product
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from sklearn_ser._sklearn import Interval

from ._bunch import Emotion, make_bunch, validated_loader
from ._formant_synthesis import CONSONANTS, VOWELS, Voice, synthesize

# Tendencies that Murray and Arnott (1993) and Juslin and Laukka (2003) report. Surveys agree on
# directions rather than on figures: the sizes are ours, set so that the emotions overlap as acted
# ones do. Calm and contempt, seldom surveyed, are placed between sadness and neutral, and between
# disgust and neutral.
EMOTIONS: dict[Emotion, Voice] = {
    #                 pitch melody tempo level  tilt breath formants reach pauses
    #                    st      %     %    dB dB/oct    dB        %     %      %
    "anger":     Voice( 4.0,    35,   12,  4.5,   2.4, -4.0,     1.0,   25,     5),
    "boredom":   Voice(-1.5,   -50,  -16, -1.5,  -1.2, -3.0,    -2.0,  -35,    25),
    "calm":      Voice(-0.7,   -20,   -8, -2.0,  -0.6,  4.0,     0.0,    0,    15),
    "contempt":  Voice(-0.8,    10,   -8,  0.0,   0.8, -1.0,    -3.0,   10,    15),
    "disgust":   Voice(-0.5,    15,  -18,  0.0,   0.8,  2.0,    -6.0,   10,    35),
    "fear":      Voice( 5.0,   -10,   18,  0.5,   0.5,  9.0,     2.0,  -15,    20),
    "happiness": Voice( 4.0,    60,    6,  2.5,   1.0, -2.0,     8.0,   10,     5),
    "neutral":   Voice( 0.0,     0,    0,  0.0,   0.0, -2.0,     0.0,    0,     5),
    "sadness":   Voice(-1.0,   -40,  -14, -3.5,  -2.2, 10.0,    -1.0,  -20,    30),
    "surprise":  Voice( 5.0,    90,    3,  2.0,   0.5,  2.0,     3.0,    5,     5),
}  # fmt: skip
# A speaker without emotion. F0 and formants: averages of Peterson and Barney (1952).
_SPEAKERS = {
    "female": Voice(13.9, 0, 0, -28, -2, -30, 16, 0, 0),
    "male":   Voice( 4.8, 0, 0, -28, -2, -34,  0, 0, 0),
}  # fmt: skip
# Standard deviations: between speakers of one sex, narrower than among people so that a few are
# enough to learn from; between speakers' ways with an emotion; and between recordings of one.
_SPEAKER_SPREAD = Voice(2.0, 0, 6, 2.0, 0.25, 1.0, 2.0, 0, 0)
_WAY_SPREAD = Voice(0.5, 8, 3, 0.6, 0.15, 0.6, 0.3, 3, 5)
_RECORDING_SPREAD = Voice(0.8, 12, 4, 1.0, 0.17, 0.9, 0.4, 4, 5)

# Keys of the random streams: each thing drawn has its own, whatever else is drawn.
_SENTENCE, _SPEAKER, _WAY, _RECORDING = range(4)
_CODES = {emotion: code for code, emotion in enumerate(EMOTIONS)}
# Emo-DB's.
_DEFAULT_EMOTIONS = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")


@validated_loader(
    n_speakers=[Interval(Integral, 1, None, closed="left")],
    emotions=[list, tuple, np.ndarray, None],
    n_sentences=[Interval(Integral, 1, None, closed="left")],
    sampling_rate=[Interval(Integral, 8000, None, closed="left")],
    random_state=["random_state"],
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
    sentences are nonsense syllables. The voices are formant synthesis [1]_ after averages of men
    and women [2]_; the emotions change pitch, tempo, level, voice quality and articulation as
    surveys of vocal expression report [3]_ [4]_. Speakers differ in voice and in how much emotion
    they show, and no two recordings of an emotion are alike, so that neither pitch nor loudness
    alone identifies the emotions.

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
        frame : DataFrame with n_recordings rows
            Columns `emotion`, `speaker`, `sex`, `sentence`, `text`, `duration` (s) and `f0`
            (mean fundamental frequency, Hz).
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

    See Also
    --------
    load_emodb : Real recordings in the same emotions.

    References
    ----------
    .. [1] D. H. Klatt and L. C. Klatt (1990). Analysis, synthesis, and perception of voice
       quality variations among female and male talkers. Journal of the Acoustical Society of
       America 87(2), 820-857.
    .. [2] G. E. Peterson and H. L. Barney (1952). Control methods used in a study of the
       vowels. Journal of the Acoustical Society of America 24(2), 175-184.
    .. [3] I. R. Murray and J. L. Arnott (1993). Toward the simulation of emotion in synthetic
       speech. Journal of the Acoustical Society of America 93(2), 1097-1108.
    .. [4] P. N. Juslin and P. Laukka (2003). Communication of emotions in vocal expression and
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
    sentences = [_make_sentence(seed, number) for number in range(n_sentences)]
    recordings, rows = [], []
    for speaker, emotion, sentence in product(range(n_speakers), emotions, range(n_sentences)):
        words, sex = sentences[sentence], ("female", "male")[speaker % 2]
        rng = np.random.default_rng((seed, _RECORDING, speaker, _CODES[emotion], sentence))
        voice = _make_voice(seed, speaker, sex, emotion, rng)
        waveform, f0 = synthesize(words, voice, sampling_rate, rng)
        recordings.append(waveform)
        rows.append(
            {
                "emotion": emotion,
                "speaker": f"speaker{speaker:02d}",
                "sex": sex,
                "sentence": f"sentence{sentence:02d}",
                "text": " ".join(words),
                "duration": len(waveform) / sampling_rate,
                "f0": f0,
            }
        )
    corpus = make_bunch(
        rows,
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
    chosen = list(map(str, _DEFAULT_EMOTIONS if emotions is None else emotions))
    if not chosen or set(chosen) - set(EMOTIONS) or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"emotions={emotions!r} must be one or more of {list(EMOTIONS)}, each named once."
        )
    return chosen


def _make_sentence(seed, number):
    """Return three words of two or three syllables."""
    rng = np.random.default_rng((seed, _SENTENCE, number))
    syllables = zip(rng.choice([*CONSONANTS], 7), rng.choice([*VOWELS], 7), strict=True)
    letters = "".join(map("".join, syllables))
    return letters[:4], letters[4:10], letters[10:]


def _make_voice(seed, speaker, sex, emotion, rng):
    """Draw the voice of one recording around the speaker's way with an emotion."""
    own = np.random.default_rng((seed, _SPEAKER, speaker))
    way = np.random.default_rng((seed, _WAY, speaker, _CODES[emotion]))
    strength = np.exp(own.normal(0, 0.12))  # how much of an emotion the speaker shows
    return Voice(
        *(
            own.normal(_SPEAKERS[sex], _SPEAKER_SPREAD)
            + strength * np.array(EMOTIONS[emotion])
            + way.normal(0, _WAY_SPREAD)
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
