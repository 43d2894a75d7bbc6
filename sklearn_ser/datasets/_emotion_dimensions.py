"""Arousal, valence and dominance of emotion categories."""

import numpy as np

from sklearn_ser._warnings import warn

from ._dimensions import DIMENSIONS
from ._scan import some
from ._vocabulary import standard_emotion

# Arousal, valence (called pleasure in the paper) and dominance of the English words, from -1 to 1.
_RATINGS = {
    "anger": (0.59, -0.51, 0.25),
    "boredom": (-0.62, -0.65, -0.33),
    "disgust": (0.35, -0.60, 0.11),
    "fear": (0.60, -0.64, -0.43),
    "happiness": (0.51, 0.81, 0.46),
    "neutral": (0.0, 0.0, 0.0),
    "sadness": (-0.27, -0.63, -0.33),
    "surprise": (0.67, 0.40, -0.13),
}


def emotion_dimensions(emotions):
    """Return arousal, valence and dominance of emotion categories.

    For corpora that are labelled with emotions only. The values are ratings of the emotions'
    names, not of the recordings: all recordings of an emotion get the same values. They are meant
    for trying out a method.

    ``circumplex`` is an alias of this function.

    Parameters
    ----------
    emotions : array-like of str of shape (n_recordings,)
        Names of emotions, as the loaders return them, or synonyms such as "angry".

    Returns
    -------
    dimensions : ndarray of shape (n_recordings, 3)
        Arousal, valence and dominance, from -1 to 1. NaN for emotions without ratings, such as
        "calm".

    Raises
    ------
    ValueError
        If `emotions` is a single string.

    Warns
    -----
    UserWarning
        If some emotions have no ratings.

    Notes
    -----
    The values are mean ratings of English emotion words. Valence is called pleasure in the
    reference. Neutral is defined as the origin.

    References
    ----------
    J. A. Russell, A. Mehrabian, "Evidence for a Three-Factor Theory of Emotions", Journal of
    Research in Personality 11, 1977.

    Examples
    --------
    >>> from sklearn_ser.datasets import emotion_dimensions
    >>> emotion_dimensions(["anger", "sadness"])
    array([[ 0.59, -0.51,  0.25],
           [-0.27, -0.63, -0.33]])
    """
    if isinstance(emotions, str):
        raise ValueError(f"emotions={emotions!r} must be a sequence of names: [{emotions!r}].")
    names = [standard_emotion(str(emotion)) for emotion in emotions]
    unknown = sorted(set(names) - set(_RATINGS))
    if unknown:
        n_unknown = sum(name not in _RATINGS for name in names)
        warn(
            f"{n_unknown} of {len(names)} recordings have an emotion without ratings, and NaN as "
            f"dimensions: {some(map(repr, unknown))}. Emotions with ratings are "
            f"{', '.join(_RATINGS)}."
        )
    missing = [np.nan] * len(DIMENSIONS)
    ratings = [_RATINGS.get(name, missing) for name in names]
    return np.array(ratings, dtype=float).reshape(-1, len(DIMENSIONS))


# The former name.
circumplex = emotion_dimensions
