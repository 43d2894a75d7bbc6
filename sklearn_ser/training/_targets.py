"""Targets of regression: their names, their checks, their moments."""

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length


def read_targets(y, n_recordings):
    """Check targets, and find their names.

    Parameters
    ----------
    y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        A series or a data frame has names.
    n_recordings : int

    Returns
    -------
    values : ndarray of shape (n_recordings, n_targets)
    names : list of str
        "target0" and so on where they have none.
    has_axis : bool
        Whether `y` had two axes.

    Raises
    ------
    ValueError
        If targets are missing.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None.")
    names = getattr(y, "columns", None)
    if names is None and getattr(y, "name", None) is not None:
        names = [y.name]
    values = check_array(
        y, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name="y"
    )
    check_consistent_length(values, range(n_recordings))
    has_axis = values.ndim == 2
    values = values.reshape(len(values), -1)
    missing = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(missing):
        raise ValueError(
            f"Input y contains NaN or infinity for {len(missing)} recordings, the first at "
            f"position {missing[0]}: leave them out of X and y, or pass them as unlabeled= "
            "where there is a teacher."
        )
    if names is None:
        names = [f"target{number}" for number in range(values.shape[1])]
    return values, [str(name) for name in names], has_axis


def moments(y, weights):
    """Return mean and deviation of each target; those of a constant one are exact.

    Parameters
    ----------
    y : ndarray of shape (n_recordings, n_targets)
    weights : ndarray of shape (n_recordings,)

    Returns
    -------
    mean, scale : ndarray of shape (n_targets,)
        The scale of a constant target is 0.
    """
    is_constant = (y == y[0]).all(axis=0)
    mean = np.where(is_constant, y[0], np.average(y, axis=0, weights=weights))
    variance = np.average((y - mean) ** 2, axis=0, weights=weights)
    return mean, np.where(is_constant, 0.0, np.sqrt(variance))
