"""Arousal, valence and dominance of emotions' names."""

import numpy as np

from ._dimensions import DIMENSIONS

# Arousal, valence (pleasure) and dominance of the English words, from -1 to 1.
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


def circumplex(emotions):
    """Look up arousal, valence and dominance of emotions.

    Where a corpus has emotions alone, these stand for ratings that nobody gave: everything of one
    emotion has the same numbers, whatever it sounds like. Good for trying a method out, not for
    saying how aroused somebody is.

    Parameters
    ----------
    emotions : array-like of str of shape (n_recordings,)
        Names as the loaders give them.

    Returns
    -------
    dimensions : ndarray of shape (n_recordings, 3)
        Arousal, valence, dominance, from -1 to 1. NaN for emotions that have no numbers here,
        such as "calm".

    Raises
    ------
    ValueError
        If it is a single name.

    Notes
    -----
    The numbers are mean ratings of emotions' names, pleasure being called valence; neutral is the
    origin by definition.

    References
    ----------
    J. A. Russell, A. Mehrabian, "Evidence for a Three-Factor Theory of Emotions", Journal of
    Research in Personality 11, 1977.

    Examples
    --------
    >>> from sklearn_ser.datasets import circumplex
    >>> circumplex(["anger", "sadness"])
    array([[ 0.59, -0.51,  0.25],
           [-0.27, -0.63, -0.33]])
    """
    if isinstance(emotions, str):
        raise ValueError(f"emotions={emotions!r} must be a sequence of names: [{emotions!r}].")
    unknown = [np.nan] * len(DIMENSIONS)
    ratings = [_RATINGS.get(str(emotion), unknown) for emotion in emotions]
    return np.array(ratings, dtype=float).reshape(-1, len(DIMENSIONS))
