"""What every transformer over recordings shares: what `X` may hold, checks and tags."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from sklearn_ser._sklearn import (
    Interval,
    StrOptions,
    check_feature_names_in,
    fit_context,
    is_data_frame_asked_for,
)
from sklearn_ser.audio import (
    SAMPLING_RATES,
    RecordingError,
    as_recordings,
    find_problems,
    is_table,
)


class RecordingTransformer(TransformerMixin, BaseEstimator):
    """Stateless transformer over recordings.

    A subclass stores its parameters, among them those constrained here, and defines
    `_compute(recordings)`, which returns one row for each recording, and `_names_out()`;
    it may refuse parameters that contradict each other in `_check_parameters()`.
    """

    # What to tell where three axes are too many; set by the subclass.
    _two_axes_remedy: str

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
        self._check_parameters()
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
        self._check_parameters()
        if is_data_frame_asked_for(self) and self._names_out() is None:
            raise ValueError(
                f"The output of {type(self).__name__} has three axes, and a data frame has two. "
                f"{self._two_axes_remedy}, or set_output(transform='default')."
            )
        return self._compute(self._check_recordings(X, reset=False))

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
        names = self._names_out()
        if names is None:
            raise ValueError(
                f"The output of {type(self).__name__} has three axes, and so no columns to name. "
                f"{self._two_axes_remedy}."
            )
        return np.asarray(names, dtype=object)

    def _check_recordings(self, X, *, reset):
        """Return the recordings: a sequence, or the float32 table whose rows they are."""
        recordings = check_recordings(self, X, reset=reset)
        problems = find_problems(recordings) if self.on_error == "raise" else {}
        if problems:
            raise RecordingError(problems)
        return recordings

    def _check_parameters(self):
        """Refuse parameters that contradict each other."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


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
