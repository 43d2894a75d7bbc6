"""Base class of transformers that take recordings: input validation, output checks and tags."""

from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import validate_data

from sklearn_ser._pickles import Estimator
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
    check_table,
    find_problems,
    is_table,
    scale_pcm,
)

from ._next_step import check_next_step
from ._progress import announce_fit


class ResolvedTransform(NamedTuple):
    """The computation that the parameters of a transformer describe.

    Parameters
    ----------
    compute : callable
        Maps the validated input to an array with one entry per sample along the first axis. An
        optional second argument is told of the progress, see `announce_fit`.
    name_columns : callable or None
        Returns the column names; None if the output is 3-dimensional.
    two_axes_remedy : str
        How to get a 2-dimensional output, for error messages.
    """

    compute: Callable[..., np.ndarray]
    name_columns: Callable[[], list[str]] | None
    two_axes_remedy: str


class RecordingTransformer(CallbackSupportMixin, TransformerMixin, Estimator):
    """Stateless transformer over recordings.

    A subclass has the parameters constrained here and defines `_resolve()`, which checks that the
    parameters are consistent, finds the network or other resources, and returns a
    `ResolvedTransform`. Each public method calls it once. If a subclass has a `fit` or `transform`
    of its own, `fit_transform` calls both, and callbacks are only told of `fit`.
    """

    _parameter_constraints: dict = {
        "sampling_rate": [Interval(Integral, *SAMPLING_RATES, closed="both")],
        "channel": [Integral, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "n_jobs": [Integral, None],
    }

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Validate the parameters and check that all files exist.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Paths, arrays, pairs ``(array, sampling_rate)``, dicts with ``array`` and
            ``sampling_rate`` or with ``bytes`` or ``path``, the bytes of audio files, open binary
            files, or ``AudioDecoder``; or a table of waveforms, one per row. Integers are PCM
            and are scaled, in tables and in arrays.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer.

        Raises
        ------
        RecordingError
            If a file does not exist, is empty or is no regular file, or if a row of a table is
            not finite, unless ``on_error="nan"``. It lists all of them.
        ValueError
            If the output is 3-dimensional and the next step of a pipeline takes tables.
        """
        with announce_fit(self, X, y):
            self._prepare(X)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
        """Fit the transformer, and transform the same recordings to an array.

        Callbacks of scikit-learn, from `set_callbacks` or of a pipeline or search, follow the
        progress: a task for the call, with a subtask for each recording, or for each hundredth of
        them. They are not told of `transform`, which fits nothing.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that `fit` accepts.
        y : None
            Ignored.

        Returns
        -------
        X_out : ndarray of shape (n_recordings, ...)
            One entry per recording along the first axis, of dtype float32.

        Raises
        ------
        RecordingError
            As in `fit` and `transform`.
        ValueError
            If the output is 3-dimensional and the next step of a pipeline takes tables.

        Warns
        -----
        UserWarning
            As in `transform`.
        """
        if is_overridden(self, RecordingTransformer):
            return super().fit_transform(X, y)
        resolved, recordings = self._prepare(X)
        check_output_container(self, resolved)
        n_samples = len(recordings)
        with announce_fit(self, X, y, task_name="fit-transform", n_samples=n_samples) as report:
            return resolved.compute(recordings, report)

    def transform(self, X):
        """Transform recordings to an array.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that `fit` accepts.

        Returns
        -------
        X_out : ndarray of shape (n_recordings, ...)
            One entry per recording along the first axis, of dtype float32.

        Raises
        ------
        RecordingError
            If a recording can't be used; it lists all files that can't be opened as audio. With
            ``on_error="nan"``, their rows are NaN instead, and one warning lists them.

        Warns
        -----
        UserWarning
            Once for all recordings that are used but should be checked: truncated files, which
            are read as far as they decode, floats far beyond full scale, and channels that cancel
            each other when they are averaged.
        """
        self._validate_params()
        resolved = self._resolve()
        check_output_container(self, resolved)
        return resolved.compute(self._check_recordings(X, reset=False))

    def get_feature_names_out(self, input_features=None):
        """Return the column names of the output.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only validated, if `X` was a table in `fit`.

        Returns
        -------
        feature_names_out : ndarray of str objects
            Names of the columns.

        Raises
        ------
        ValueError
            If the output is 3-dimensional and therefore has no columns.
        """
        check_feature_names_in(self, input_features, generate_names=False)
        return name_columns(self, self._resolve())

    def _prepare(self, X):
        """Check the parameters and recordings of a fit; return the computation and the latter."""
        resolved = self._resolve()
        if resolved.name_columns is None:
            check_next_step(self, resolved.two_axes_remedy)
        return resolved, self._check_recordings(X, reset=True)

    def _check_recordings(self, X, *, reset):
        """Return the recordings as a sequence, or as a float32 table with one per row."""
        return check_recordings(self, X, reset=reset, on_error=self.on_error)

    def _resolve(self) -> ResolvedTransform:
        """Check that the parameters are consistent, and return the computation."""
        raise NotImplementedError

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def is_overridden(transformer, base):
    """Return whether a subclass has a `fit` or `transform` of its own, to be called as it is.

    Parameters
    ----------
    transformer : transformer
        The transformer.
    base : type
        The class whose methods are not overridden.
    """
    own = type(transformer)
    return own.fit is not base.fit or own.transform is not base.transform


def check_output_container(transformer, resolved):
    """Raise an error if a 3-dimensional output is configured to be a data frame.

    Parameters
    ----------
    transformer : transformer
        The transformer.
    resolved : ResolvedTransform
        Its computation.
    """
    if resolved.name_columns is None and is_data_frame_requested(transformer):
        raise ValueError(
            f"The output of {type(transformer).__name__} has three axes, and a data frame has two. "
            f"{resolved.two_axes_remedy}, or set_output(transform='default')."
        )


def name_columns(transformer, resolved):
    """Return the column names of a transformer's output.

    Parameters
    ----------
    transformer : transformer
        The transformer.
    resolved : ResolvedTransform
        Its computation.

    Returns
    -------
    names : ndarray of str objects
    """
    if resolved.name_columns is None:
        raise ValueError(
            f"The output of {type(transformer).__name__} has three axes and no columns to name. "
            f"{resolved.two_axes_remedy}."
        )
    return np.asarray(resolved.name_columns(), dtype=object)


def check_recordings(estimator, X, *, reset, on_error="nan"):
    """Return recordings as a sequence, or as a float32 table with one per row.

    Parameters
    ----------
    estimator : estimator
        Estimator on which to set or check ``n_features_in_`` and ``feature_names_in_``.
    X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
        Input of the estimator.
    reset : bool
        Whether to set these attributes. If False, a table is checked against them.
    on_error : {"raise", "nan"}, default="nan"
        Whether to raise an error for files that do not exist and rows that are not finite.

    Returns
    -------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)

    Raises
    ------
    RecordingError
        With ``on_error="raise"``. It lists all of these recordings.
    """
    recordings = _read_recordings(estimator, X, reset=reset)
    problems = find_problems(recordings) if on_error == "raise" else {}
    if problems:
        raise RecordingError(problems)
    return recordings


def _read_recordings(estimator, X, *, reset):
    if is_table(X):
        dtype = check_table(X)
        with np.errstate(over="ignore"):  # overflow is reported as non-finite samples
            table = validate_data(
                estimator, X, reset=reset, dtype=np.float32, ensure_all_finite=False
            )
        return scale_pcm(table, dtype)
    if reset:
        estimator.__dict__.pop("n_features_in_", None)
        estimator.__dict__.pop("feature_names_in_", None)
    return as_recordings(X)
