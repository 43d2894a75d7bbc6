"""Soft labels: the shares of the classes in the votes on each recording."""

import numpy as np
from sklearn.utils import check_array


def is_soft(y):
    """Return whether a target has a column for each class.

    A column vector has not: scikit-learn takes it as one-dimensional, with a warning.
    """
    try:
        shape = np.asarray(y).shape
    except ValueError:  # lists of unequal length
        return False
    return len(shape) == 2 and shape[1] != 1


def read_shares(y, *, name="y"):
    """Validate soft labels, and sort their columns by name.

    Parameters
    ----------
    y : array-like of shape (n_recordings, n_classes)
        Shares of the classes, or counts of votes.
    name : str, default="y"
        Name of the argument, for errors.

    Returns
    -------
    shares : ndarray of shape (n_recordings, n_classes)
        Each row sums to one.
    names : ndarray of shape (n_classes,) or None
        Sorted names of the columns. None if `y` is no data frame; its columns are not sorted then.

    Raises
    ------
    ValueError
        If a row has a negative or missing value or a sum of zero, or if the names are not unique.
    """
    names = None if getattr(y, "columns", None) is None else _read_names(list(y.columns), name)
    try:
        votes = check_array(y, dtype=np.float64, ensure_all_finite=False, input_name=name)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} of shape {np.shape(y)} does not hold the shares of classes, one in each "
            f"column: {error}"
        ) from error
    with np.errstate(over="ignore", invalid="ignore"):
        totals = votes.sum(axis=1)
        is_valid = np.isfinite(totals) & (totals > 0) & (votes >= 0).all(axis=1)
    invalid = np.flatnonzero(~is_valid)
    if len(invalid):
        raise ValueError(
            f"{name} has {len(invalid)} of {len(votes)} rows that are neither shares nor counts of "
            f"votes. The first is row {invalid[0]}: {votes[invalid[0]].tolist()}. Rows must be "
            "finite and non-negative, with a positive sum: leave out recordings without votes."
        )
    shares = votes / totals[:, np.newaxis]
    if names is None:
        return shares, None
    order = np.argsort(names)
    return shares[:, order], names[order]


def _read_names(columns, name):
    """Return the names of the columns of a data frame as an array of strings or numbers."""
    names = np.asarray(columns)
    n_strings = sum(isinstance(column, str) for column in columns)
    if names.ndim != 1 or names.dtype.kind not in "biufU" or n_strings not in (0, len(columns)):
        raise ValueError(
            f"The columns of {name} are named {columns}. They must be the names of the classes, "
            "all of them strings or all of them numbers."
        )
    if len(np.unique(names)) < len(names):
        raise ValueError(f"The columns of {name} are named {columns}, which has repeated names.")
    return names
