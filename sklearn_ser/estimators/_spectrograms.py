"""Validation of spectrograms as the input of an estimator."""

import numpy as np
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from sklearn_ser.audio import are_recordings

_MAX_LISTED = 10


def check_spectrograms(estimator, X, y="no_validation", *, reset):
    """Validate spectrograms and convert them to a three-dimensional float32 array.

    Parameters
    ----------
    estimator : estimator object
        If `reset` is True and `X` is a table, its `n_features_in_` is set. Otherwise `X` is
        checked against its `n_features_in_` and `n_bands_`.
    X : array-like of shape (n_recordings, n_bands, n_frames) or (n_recordings, n_frames)
        Spectrograms. A table is a single band for each recording.
    y : array-like, default="no_validation"
        The target passed to `fit`. It is only checked for presence.
    reset : bool
        True in `fit`, False in prediction.

    Returns
    -------
    spectrograms : ndarray of shape (n_recordings, n_bands, n_frames), float32
        The validated spectrograms.

    Raises
    ------
    ValueError
        If `X` contains recordings, has an invalid shape, or contains NaN or infinity.
    """
    name = type(estimator).__name__
    if are_recordings(X):
        raise ValueError(
            f"{name} expects spectrograms, but X contains recordings: put LogMelSpectrogram before "
            f"it, as in make_pipeline(LogMelSpectrogram(), {name}())."
        )
    X = _stack(X, name)
    with np.errstate(over="ignore"):  # values that overflow are reported as infinite below
        spectrograms = check_array(
            X,
            dtype=np.float32,
            allow_nd=True,
            ensure_all_finite=False,  # checked below, after the column names
            estimator=estimator,
            input_name="X",
        )
    is_table = spectrograms.ndim == 2
    if reset:
        estimator.__dict__.pop("n_features_in_", None)
    validate_data(estimator, X, y, reset=reset, skip_check_array=True, ensure_2d=is_table)
    if spectrograms.ndim > 3 or 0 in spectrograms.shape[1:]:
        raise ValueError(
            f"X has shape {spectrograms.shape}, but should have (n_recordings, n_bands, n_frames), "
            "or (n_recordings, n_frames) for a single band."
        )
    _check_finite(spectrograms, name)
    if not reset:
        _check_shape(estimator, spectrograms, is_table)
    return spectrograms[:, np.newaxis] if is_table else spectrograms


def _stack(X, name):
    """Stack an object array of spectrograms, after a check that their shapes are equal."""
    is_object_array = isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    if not is_object_array and not isinstance(X, (list, tuple)):
        return X
    shapes = {np.shape(entry) for entry in X if isinstance(entry, np.ndarray)}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} expects spectrograms of equal shape, but X contains some of shape "
            f"{min(shapes)} and some of {max(shapes)}. LogMelSpectrogram(duration=…) gives all "
            "recordings the same number of frames."
        )
    return np.stack(X) if is_object_array and shapes else X


def _check_finite(spectrograms, name):
    """Raise scikit-learn's error for tables, and one that lists the recordings for spectrograms."""
    if spectrograms.ndim == 2:
        assert_all_finite(spectrograms, estimator_name=name, input_name="X")
        return
    bad = [row for row, values in enumerate(spectrograms) if not np.isfinite(values).all()]
    if bad:
        listed = ", ".join(map(str, bad[:_MAX_LISTED])) + (", …" if len(bad) > _MAX_LISTED else "")
        raise ValueError(
            f"X contains NaN or infinity in {len(bad)} of {len(spectrograms)} spectrograms, at "
            f"position {listed}. LogMelSpectrogram(on_error='nan') returns NaN for unusable "
            "recordings: remove them."
        )


def _check_shape(estimator, spectrograms, is_table):
    was_table = hasattr(estimator, "n_features_in_")
    n_bands = 1 if is_table else spectrograms.shape[1]
    if is_table != was_table or n_bands != estimator.n_bands_:
        axes = "a table" if was_table else f"(n_recordings, {estimator.n_bands_}, any n_frames)"
        raise ValueError(
            f"X has shape {spectrograms.shape}, but in fit it was {axes}: the number of axes and "
            "bands must be the same in prediction."
        )


def moments(spectrograms, weights):
    """Compute the weighted mean and standard deviation over recordings, bands and frames.

    Parameters
    ----------
    spectrograms : ndarray of shape (n_recordings, n_bands, n_frames)
        Spectrograms. They are processed one by one to save memory.
    weights : ndarray of shape (n_recordings,)
        Weights of the recordings.

    Returns
    -------
    mean, scale : float
        Mean and standard deviation. The latter is 1 for constant spectrograms.
    """
    rows = np.flatnonzero(weights)
    statistics = [_mean_and_variance(spectrograms[row].astype(np.float64)) for row in rows]
    means, variances = np.array(statistics).T
    mean = np.average(means, weights=weights[rows])
    scale = np.sqrt(np.average(variances + (means - mean) ** 2, weights=weights[rows]))
    # Constant spectrograms may have a standard deviation above 0 due to rounding.
    varies = scale > 10 * np.finfo(np.float32).eps * abs(mean)
    return float(mean), float(scale) if varies else 1.0


def _mean_and_variance(values):
    return values.mean(), values.var()
