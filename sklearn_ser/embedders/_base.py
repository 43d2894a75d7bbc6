"""What every transformer over recordings shares: what `X` may hold, checks and tags."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from sklearn_ser._sklearn import (
    Interval,
    StrOptions,
    check_feature_names_in,
    fit_context,
    is_data_frame_requested,
)
from sklearn_ser.audio import (
    SAMPLING_RATES,
    RecordingError,
    as_recordings,
    find_problems,
    is_table,
)


class Rows(NamedTuple):
    """What a transformer with its parameters makes of its input.

    Parameters
    ----------
    compute : callable
        From what the transformer takes to an array whose first axis counts it.
    name_columns : callable or None
        Returns the names of the columns; None where the array has three axes.
    two_axes_remedy : str
        What to do where three axes are too many, for errors.
    """

    compute: Callable[[Any], np.ndarray]
    name_columns: Callable[[], list[str]] | None
    two_axes_remedy: str


class RecordingTransformer(TransformerMixin, BaseEstimator):
    """Stateless transformer over recordings.

    A subclass stores its parameters, among them those constrained here, and defines
    `_resolve()`: it refuses parameters that contradict each other, finds what they name, such as
    a network, and returns the `Rows`. It is called once by each public method.
    """

    _parameter_constraints: dict = {
        "sampling_rate": [Interval(Integral, *SAMPLING_RATES, closed="both")],
        "channel": [Integral, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "n_jobs": [Integral, None],
    }

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters and that the recordings are there; nothing is learned.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Paths, arrays, pairs ``(array, sampling_rate)``, dicts with ``array`` and
            ``sampling_rate`` or ``AudioDecoder``; or a table whose rows are waveforms.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer itself.

        Raises
        ------
        RecordingError
            If a file is not there or a row of a table is not finite, unless
            ``on_error="nan"``.
        """
        self._resolve()
        self._check_recordings(X, reset=True)
        return self

    def transform(self, X):
        """Compute one row for each recording.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            As for `fit`.

        Returns
        -------
        X_out : ndarray of float32
            The first axis counts the recordings.

        Raises
        ------
        RecordingError
            If a recording can't be used, unless ``on_error="nan"``: then its row is NaN
            and one warning lists all of them.
        """
        self._validate_params()
        rows = self._resolve()
        refuse_data_frame(self, rows)
        return rows.compute(self._check_recordings(X, reset=False))

    def get_feature_names_out(self, input_features=None):
        """Name the columns of the output.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Not used, but checked where `X` was a table in `fit`.

        Returns
        -------
        feature_names_out : ndarray of str objects
            One name for each column.

        Raises
        ------
        ValueError
            If the output has three axes, and so no columns.
        """
        check_feature_names_in(self, input_features, generate_names=False)
        return name_columns(self, self._resolve())

    def _check_recordings(self, X, *, reset):
        """Return the recordings: a sequence, or the float32 table whose rows they are."""
        recordings = check_recordings(self, X, reset=reset)
        problems = find_problems(recordings) if self.on_error == "raise" else {}
        if problems:
            raise RecordingError(problems)
        return recordings

    def _resolve(self) -> Rows:
        """Check the parameters against each other, and return what they stand for."""
        raise NotImplementedError

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def refuse_data_frame(transformer, rows):
    """Raise an error where data frames are asked for and the output has three axes.

    Parameters
    ----------
    transformer : transformer
        Whose output it is.
    rows : Rows
        The output.
    """
    if rows.name_columns is None and is_data_frame_requested(transformer):
        raise ValueError(
            f"The output of {type(transformer).__name__} has three axes, and a data frame has two. "
            f"{rows.two_axes_remedy}, or set_output(transform='default')."
        )


def name_columns(transformer, rows):
    """Return the names of the columns of a transformer's output.

    Parameters
    ----------
    transformer : transformer
        Whose output it is.
    rows : Rows
        The output.

    Returns
    -------
    names : ndarray of str objects
    """
    if rows.name_columns is None:
        raise ValueError(
            f"The output of {type(transformer).__name__} has three axes, and so no columns to "
            f"name. {rows.two_axes_remedy}."
        )
    return np.asarray(rows.name_columns(), dtype=object)


def check_recordings(estimator, X, *, reset):
    """Return recordings: a sequence, or the float32 table whose rows they are.

    Parameters
    ----------
    estimator : estimator
        Is to know the number of columns, and their names, of a table.
    X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
        What it was given.
    reset : bool
        Whether this is what it is fitted on.

    Returns
    -------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
    """
    if is_table(X):
        with np.errstate(over="ignore"):  # what overflows is told as infinite
            return validate_data(
                estimator, X, reset=reset, dtype=np.float32, ensure_all_finite=False
            )
    if reset:
        estimator.__dict__.pop("n_features_in_", None)
        estimator.__dict__.pop("feature_names_in_", None)
    return as_recordings(X)
