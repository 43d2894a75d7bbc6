"""Missing values, mixed labels, and numbers of any magnitude."""

import numpy as np

# Scalars of pandas for a missing value. Comparing them gives no truth value.
_MISSING_TYPES = {"NAType", "NaTType"}


def find_missing(values):
    """Return the positions of missing values: None, NaN, NA and NaT.

    Parameters
    ----------
    values : array-like of shape (n_recordings,) or (n_recordings, n_columns)
        Labels or numbers.

    Returns
    -------
    positions : ndarray of int
        Recordings with a missing value.
    """
    values = _to_array(values)
    if values.ndim == 0 or values.size == 0:
        return np.empty(0, dtype=int)
    if values.dtype.kind in "fcmM":
        is_missing = np.isnan(values)
    elif values.dtype.kind == "O":
        flat = [is_missing_value(value) for value in values.reshape(-1)]
        is_missing = np.array(flat, dtype=bool).reshape(values.shape)
    else:
        return np.empty(0, dtype=int)
    return np.flatnonzero(is_missing.reshape(len(values), -1).any(axis=1))


def _to_array(values):
    # From a list of strings and others, NumPy would make an array of strings: NaN becomes "nan".
    return np.asarray(values, dtype=object if isinstance(values, (list, tuple)) else None)


def is_missing_value(value):
    """Return whether a value is None, NaN, NA or NaT."""
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return isinstance(value, (float, np.floating)) and value != value


def check_not_missing(values, name, remedy="leave them out"):
    """Raise an error if values are missing.

    Parameters
    ----------
    values : array-like of shape (n_recordings,) or (n_recordings, n_columns)
        Labels or numbers.
    name : str
        Name of the argument.
    remedy : str, default="leave them out"
        What to do.
    """
    _check_none(find_missing(values), values, f"{name} is missing", "None or NaN", remedy)


def check_labels(labels, name):
    """Raise an error if labels are missing, or are strings and numbers together.

    Parameters
    ----------
    labels : array-like of shape (n_recordings,)
        Names or numbers of classes.
    name : str
        Name of the argument.
    """
    check_not_missing(labels, name)
    labels = _to_array(labels)
    if labels.dtype.kind == "O":
        types = sorted({type(label).__name__ for label in labels.reshape(-1)})
        n_strings = sum(isinstance(label, str) for label in labels.reshape(-1))
        if n_strings not in (0, labels.size):
            raise ValueError(
                f"{name} has labels of the types {', '.join(types)}: they must be all strings, or "
                "all numbers."
            )


def check_numbers(values, name):
    """Raise an error if values are missing, no numbers, or infinite.

    Parameters
    ----------
    values : array-like of shape (n_recordings,) or (n_recordings, n_columns)
        Targets of a regression. Errors of other shapes are left to scikit-learn.
    name : str
        Name of the argument.
    """
    check_not_missing(values, name)
    array = _to_array(values)
    if array.ndim and array.size and array.dtype.kind in "fOSU":
        is_infinite = np.isinf(_to_floats(array, name)).reshape(len(array), -1).any(axis=1)
        _check_none(np.flatnonzero(is_infinite), values, f"{name} is infinite", "inf")


def _to_floats(array, name):
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        types = sorted({type(value).__name__ for value in array.reshape(-1)})
        raise ValueError(
            f"{name} has values of the types {', '.join(types)}: they must be numbers that float64 "
            f"can hold ({error})."
        ) from error


def _check_none(positions, values, problem, what, remedy="leave them out"):
    if len(positions):
        raise ValueError(
            f"{problem} for {len(positions)} of {len(values)} recordings ({what}), the first at "
            f"position {positions[0]}: {remedy}."
        )


def scale_columns(*arrays):
    """Divide each column of all arrays by one power of two, so that squares do not overflow.

    Parameters
    ----------
    *arrays : ndarray of shape (n_recordings, n_columns)
        Finite numbers.

    Returns
    -------
    scaled : list of ndarray
        Values between -1 and 1. Those of results that have no unit are the same.
    """
    exponent = binary_exponent(*arrays)
    return [np.ldexp(values, -exponent) for values in arrays]


def binary_exponent(*arrays):
    """Return the smallest powers of two that the values of each column do not exceed.

    Scaling by a power of two is exact. Squares of the scaled values neither overflow nor vanish.

    Parameters
    ----------
    *arrays : ndarray of shape (n_recordings, n_columns)
        Finite numbers.

    Returns
    -------
    exponents : ndarray of int of shape (n_columns,)
    """
    return np.frexp(np.max([np.abs(values).max(axis=0) for values in arrays], axis=0))[1]
