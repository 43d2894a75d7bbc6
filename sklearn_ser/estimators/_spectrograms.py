"""Spectrograms as the input of an estimator: what is refused, and what the others become."""

import numpy as np
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from sklearn_ser.audio import are_recordings

_MAX_NAMED = 10


def check_spectrograms(estimator, X, y="no_validation", *, reset):
    """Return `X` with three axes in float32.

    Parameters
    ----------
    estimator : estimator object
        In `fit` its `n_features_in_` is set if `X` is a table; later it is compared with, as is
        `n_bands_`.
    X : array-like of shape (n_recordings, n_bands, n_frames) or (n_recordings, n_frames)
        What the user gave. A table is one band for each recording.
    y : array-like, default="no_validation"
        What `fit` got; only checked to be there.
    reset : bool
        Whether this is `fit`.

    Returns
    -------
    spectrograms : ndarray of shape (n_recordings, n_bands, n_frames), float32

    Raises
    ------
    ValueError
        If `X` holds recordings, has other axes, bands or columns than it should, or holds what
        isn't finite.
    """
    name = type(estimator).__name__
    if are_recordings(X):
        raise ValueError(
            f"{name} takes spectrograms, and X holds recordings: put LogMelSpectrogram before it, "
            f"as in make_pipeline(LogMelSpectrogram(), {name}())."
        )
    X = _stack(X, name)
    with np.errstate(over="ignore"):  # what overflows is told as infinite
        spectrograms = check_array(
            X,
            dtype=np.float32,
            allow_nd=True,
            ensure_all_finite=False,  # below, after the names
            estimator=estimator,
            input_name="X",
        )
    is_table = spectrograms.ndim == 2
    if reset:
        estimator.__dict__.pop("n_features_in_", None)
    validate_data(estimator, X, y, reset=reset, skip_check_array=True, ensure_2d=is_table)
    if spectrograms.ndim > 3 or not spectrograms.shape[-1]:
        raise ValueError(
            f"X has shape {spectrograms.shape}, and should have (n_recordings, n_bands, n_frames), "
            "or (n_recordings, n_frames) for a single band."
        )
    _refuse_what_is_not_finite(spectrograms, name)
    if not reset:
        _compare_with_fit(estimator, spectrograms, is_table)
    return spectrograms[:, np.newaxis] if is_table else spectrograms


def _stack(X, name):
    """Stack an object array of spectrograms; of unequal ones, say more than NumPy does."""
    is_object_array = isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    if not is_object_array and not isinstance(X, (list, tuple)):
        return X
    shapes = {np.shape(entry) for entry in X if isinstance(entry, np.ndarray)}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} takes spectrograms of one size, and X holds some of shape {min(shapes)} and "
            f"some of {max(shapes)}. LogMelSpectrogram(duration=…) gives all recordings the same "
            "number of frames."
        )
    return np.stack(X) if is_object_array and shapes else X


def _refuse_what_is_not_finite(spectrograms, name):
    """Raise scikit-learn's error, and for spectrograms one that names the recordings."""
    if spectrograms.ndim == 2:
        assert_all_finite(spectrograms, estimator_name=name, input_name="X")
        return
    bad = [row for row, values in enumerate(spectrograms) if not np.isfinite(values).all()]
    if bad:
        listed = ", ".join(map(str, bad[:_MAX_NAMED])) + (", …" if len(bad) > _MAX_NAMED else "")
        raise ValueError(
            f"X holds NaN or infinity in {len(bad)} of {len(spectrograms)} spectrograms, at "
            f"position {listed}. LogMelSpectrogram(on_error='nan') gives NaN for recordings that "
            "it can't use: leave them out."
        )


def _compare_with_fit(estimator, spectrograms, is_table):
    was_table = hasattr(estimator, "n_features_in_")
    n_bands = 1 if is_table else spectrograms.shape[1]
    if is_table != was_table or n_bands != estimator.n_bands_:
        axes = "a table" if was_table else f"(n_recordings, {estimator.n_bands_}, any n_frames)"
        raise ValueError(
            f"X has shape {spectrograms.shape}, and in fit it was {axes}: what is predicted needs "
            "the bands and axes of what was learned."
        )


def moments(spectrograms, weights):
    """Compute the weighted mean and deviation over recordings, bands and frames.

    Parameters
    ----------
    spectrograms : ndarray of shape (n_recordings, n_bands, n_frames)
        Read one by one, never copied as a whole.
    weights : ndarray of shape (n_recordings,)
        Weights of the recordings.

    Returns
    -------
    mean, scale : float
        The scale of what doesn't vary is 1.
    """
    rows = np.flatnonzero(weights)
    of_rows = [_moments_of_one(spectrograms[row].astype(np.float64)) for row in rows]
    means, variances = np.array(of_rows).T
    mean = np.average(means, weights=weights[rows])
    scale = np.sqrt(np.average(variances + (means - mean) ** 2, weights=weights[rows]))
    # What doesn't vary but for rounding.
    varies = scale > 10 * np.finfo(np.float32).eps * abs(mean)
    return float(mean), float(scale) if varies else 1.0


def _moments_of_one(values):
    return values.mean(), values.var()
