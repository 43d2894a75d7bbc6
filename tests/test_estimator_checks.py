"""Each check for recordings fails on a transformer that violates it."""

import random

import numpy as np
import pytest
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator

from sklearn_ser import LogMelSpectrogram, RecordingError, estimator_checks


class BatchNormalised(LogMelSpectrogram):
    """Divides by the maximum of the batch."""

    def transform(self, X):
        rows = super().transform(X)
        return rows / np.abs(rows).max()


class TableMinded(LogMelSpectrogram):
    """Interprets a list of arrays of equal length as a table."""

    def _check_recordings(self, X, *, reset):
        if isinstance(X, list) and len({np.shape(recording) for recording in X}) == 1:
            X = np.array(X)
        return super()._check_recordings(X, reset=reset)


class Forgetful(LogMelSpectrogram):
    """Does not check the number of columns of a table."""

    def _check_recordings(self, X, *, reset):
        return super()._check_recordings(X, reset=True)


class Accommodating(LogMelSpectrogram):
    """Accepts a single recording."""

    def _check_recordings(self, X, *, reset):
        if isinstance(X, (str, dict)):
            X = [np.zeros(10)]
        return super()._check_recordings(X, reset=reset)


class Silent(LogMelSpectrogram):
    """Does not report the position of an invalid recording."""

    def transform(self, X):
        try:
            return super().transform(X)
        except RecordingError as error:
            raise ValueError("some recording is bad") from error


class Lossy(LogMelSpectrogram):
    """Returns NaN for all recordings if one is invalid."""

    def transform(self, X):
        rows = super().transform(X)
        return rows if np.isfinite(rows).all() else np.full_like(rows, np.nan)


class Unpicklable(LogMelSpectrogram):
    """Does not pickle a parameter."""

    def __getstate__(self):
        return {**super().__getstate__(), "n_fft": 512}


class Noisy(LogMelSpectrogram):
    """Draws from NumPy's global random state."""

    def transform(self, X):
        np.random.uniform()  # noqa: NPY002, the violation
        return super().transform(X)


class Rough(LogMelSpectrogram):
    """Ignores the sampling rate of pairs."""

    def _check_recordings(self, X, *, reset):
        recordings = super()._check_recordings(X, reset=reset)
        if isinstance(recordings, list):
            recordings = [r[0] if isinstance(r, tuple) else r for r in recordings]
        return recordings


class ListsOnly(LogMelSpectrogram):
    """Does not support data frames."""

    def _check_recordings(self, X, *, reset):
        if hasattr(X, "columns"):
            X = list(X)
        return super()._check_recordings(X, reset=reset)


class Nameless(LogMelSpectrogram):
    """Returns two columns with the same name."""

    def get_feature_names_out(self, input_features=None):
        names = super().get_feature_names_out(input_features)
        return np.array([names[0], *names[:-1]], dtype=object)


class Stale(LogMelSpectrogram):
    """Keeps the column names of an earlier data frame."""

    def _check_recordings(self, X, *, reset):
        names = getattr(self, "feature_names_in_", None)
        recordings = super()._check_recordings(X, reset=reset)
        if names is not None:
            self.feature_names_in_ = names
        return recordings


class Unscaled(LogMelSpectrogram):
    """Scales uint8 PCM wrongly."""

    def _check_recordings(self, X, *, reset):
        recordings = super()._check_recordings(X, reset=reset)
        if isinstance(recordings, list):
            uint8 = [getattr(r, "dtype", None) == np.uint8 for r in recordings]
            recordings = [r / 255 if u else r for r, u in zip(recordings, uint8, strict=True)]
        return recordings


class UnscaledTables(LogMelSpectrogram):
    """Takes integers of a table as they are."""

    def _check_recordings(self, X, *, reset):
        is_integer = isinstance(X, np.ndarray) and X.dtype.kind in "iu"
        return super()._check_recordings(X.astype(float) if is_integer else X, reset=reset)


class BytesAreSamples(LogMelSpectrogram):
    """Takes bytes for 8-bit PCM."""

    def _check_recordings(self, X, *, reset):
        recordings = super()._check_recordings(X, reset=reset)
        return [np.frombuffer(r, np.uint8) if isinstance(r, bytearray) else r for r in recordings]


class Gambling(LogMelSpectrogram):
    """Draws from Python's global random state."""

    def fit(self, X, y=None):
        random.random()
        return super().fit(X, y)


class Constant(LogMelSpectrogram):
    """Returns the same row for all recordings."""

    def transform(self, X):
        return np.zeros_like(super().transform(X))


class Backward(LogMelSpectrogram):
    """Returns NaN with joblib's loky backend."""

    def transform(self, X):
        backend, _ = get_active_backend()
        rows = super().transform(X)
        return rows * np.nan if type(backend).__name__ == "LokyBackend" else rows


class Unscorable(LogMelSpectrogram):
    """Fits only on all recordings."""

    def fit(self, X, y=None):
        if len(X) not in (8, 5, 1):
            raise ValueError("all recordings or none")
        return super().fit(X, y)


class Mute(BaseEstimator):
    """Has no method that returns an output."""

    def fit(self, X, y=None):
        return self


# Estimator that violates a check, the check, and its message.
BROKEN = [
    (BatchNormalised, "check_order_and_subset_invariance", "recording 0 alone|another order"),
    (TableMinded, "check_list_of_equal_lengths", "n_features_in_|features"),
    (Forgetful, "check_n_features_in_of_tables", "did not raise"),
    (Stale, "check_n_features_in_of_tables", "feature_names_in_ is still set"),
    (Accommodating, "check_single_recording_raises", "did not raise"),
    (Silent, "check_invalid_recordings_raise", "some recording is bad"),
    (Lossy, "check_on_error_nan", "valid recordings"),
    (Unpicklable, "check_clone_and_pickle", "a pickle"),
    (Noisy, "check_no_side_effects", "global random state"),
    (Gambling, "check_no_side_effects", "global random state"),
    (Rough, "check_recording_types", r"pairs at 8 kHz|shape \(4800, 2\)"),
    (Unscaled, "check_recording_types", "uint8 PCM"),
    (BytesAreSamples, "check_files_in_memory", "bytearray"),
    (UnscaledTables, "check_tables_of_integers", "(int16|uint8) table"),
    (ListsOnly, "check_containers", "recordings can't be used|ecording 0"),
    (Nameless, "check_data_frame_output", "not unique"),
    (Constant, "check_output_depends_on_recordings", "transform is constant"),
    (Backward, "check_parallel_backends", "loky"),
    (Unscorable, "check_group_cross_validation", "all recordings or none"),
]


@pytest.mark.parametrize(("broken", "check", "message"), BROKEN)
def test_checks_fail_on_violations(broken, check, message):
    settings = {"pooling": "mean", "n_mels": 8, "n_fft": 256}
    check = getattr(estimator_checks, check)
    check(LogMelSpectrogram(**settings))
    with pytest.raises((AssertionError, ValueError), match=message):
        check(broken(**settings))


def test_every_check_is_run_and_has_a_violation():
    checks = {name for name in vars(estimator_checks) if name.startswith("check_")}
    checks.remove("check_recording_estimator")
    run = {check.__name__ for check in estimator_checks._checks_for(LogMelSpectrogram())}
    assert run == checks == {check for _, check, _ in BROKEN}


@pytest.mark.slow
def test_check_recording_estimator_raises():
    estimator_checks.check_recording_estimator(LogMelSpectrogram(n_mels=8, n_fft=256))
    with pytest.raises(AssertionError, match=r"recording 0 alone|another order"):
        estimator_checks.check_recording_estimator(BatchNormalised(n_mels=8, n_fft=256))
    with pytest.raises(AssertionError, match="none of transform"):
        estimator_checks.check_recording_estimator(Mute())
