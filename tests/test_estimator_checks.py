"""Each check for recordings fails on a transformer that breaks what it checks."""

import random

import numpy as np
import pytest
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator

from sklearn_ser import LogMelSpectrogram, RecordingError, estimator_checks


class BatchNormalised(LogMelSpectrogram):
    """Divides by the largest value of the batch, as careless batching does."""

    def transform(self, X):
        rows = super().transform(X)
        return rows / np.abs(rows).max()


class TableMinded(LogMelSpectrogram):
    """Takes a list of equally long arrays for a table."""

    def _check_recordings(self, X, *, reset):
        if isinstance(X, list) and len({np.shape(recording) for recording in X}) == 1:
            X = np.array(X)
        return super()._check_recordings(X, reset=reset)


class Forgetful(LogMelSpectrogram):
    """Forgets how many samples the rows of its table had."""

    def _check_recordings(self, X, *, reset):
        return super()._check_recordings(X, reset=True)


class Accommodating(LogMelSpectrogram):
    """Wraps one recording by itself without a word."""

    def _check_recordings(self, X, *, reset):
        if isinstance(X, (str, dict)):
            X = [np.zeros(10)]
        return super()._check_recordings(X, reset=reset)


class Silent(LogMelSpectrogram):
    """Says nothing of where a bad recording stands."""

    def transform(self, X):
        try:
            return super().transform(X)
        except RecordingError as error:
            raise ValueError("some recording is bad") from error


class Lossy(LogMelSpectrogram):
    """Gives NaN for every recording if one is bad."""

    def transform(self, X):
        rows = super().transform(X)
        return rows if np.isfinite(rows).all() else np.full_like(rows, np.nan)


class Unpicklable(LogMelSpectrogram):
    """Loses a parameter in its pickle."""

    def __getstate__(self):
        return {**super().__getstate__(), "n_fft": 512}


class Noisy(LogMelSpectrogram):
    """Draws from NumPy's global random state."""

    def transform(self, X):
        np.random.uniform()  # noqa: NPY002, the fault itself
        return super().transform(X)


class Rough(LogMelSpectrogram):
    """Takes every array at 16 kHz, whatever rate comes with it."""

    def _check_recordings(self, X, *, reset):
        recordings = super()._check_recordings(X, reset=reset)
        if isinstance(recordings, list):
            recordings = [r[0] if isinstance(r, tuple) else r for r in recordings]
        return recordings


class ListsOnly(LogMelSpectrogram):
    """Knows no data frame."""

    def _check_recordings(self, X, *, reset):
        if hasattr(X, "columns"):
            X = list(X)
        return super()._check_recordings(X, reset=reset)


class Nameless(LogMelSpectrogram):
    """Gives two columns the same name."""

    def get_feature_names_out(self, input_features=None):
        names = super().get_feature_names_out(input_features)
        return np.array([names[0], *names[:-1]], dtype=object)


class Stale(LogMelSpectrogram):
    """Keeps the names of an earlier data frame's columns."""

    def _check_recordings(self, X, *, reset):
        names = getattr(self, "feature_names_in_", None)
        recordings = super()._check_recordings(X, reset=reset)
        if names is not None:
            self.feature_names_in_ = names
        return recordings


class Unscaled(LogMelSpectrogram):
    """Takes uint8 PCM for floats."""

    def _check_recordings(self, X, *, reset):
        recordings = super()._check_recordings(X, reset=reset)
        if isinstance(recordings, list):
            uint8 = [getattr(r, "dtype", None) == np.uint8 for r in recordings]
            recordings = [r / 255 if u else r for r, u in zip(recordings, uint8, strict=True)]
        return recordings


class Gambling(LogMelSpectrogram):
    """Draws from Python's global random state."""

    def fit(self, X, y=None):
        random.random()
        return super().fit(X, y)


class Constant(LogMelSpectrogram):
    """Gives every recording the same row."""

    def transform(self, X):
        return np.zeros_like(super().transform(X))


class Backward(LogMelSpectrogram):
    """Forgets its work where joblib's context names processes."""

    def transform(self, X):
        backend, _ = get_active_backend()
        rows = super().transform(X)
        return rows * np.nan if type(backend).__name__ == "LokyBackend" else rows


class Unscorable(LogMelSpectrogram):
    """Fits only on all the recordings there are."""

    def fit(self, X, y=None):
        if len(X) not in (8, 5, 1):
            raise ValueError("all recordings or none")
        return super().fit(X, y)


class Mute(BaseEstimator):
    """Has no method that gives anything."""

    def fit(self, X, y=None):
        return self


# What each check must say of an estimator that breaks it.
BROKEN = [
    (BatchNormalised, "check_order_and_subset_invariance", "recording 0 alone|another order"),
    (TableMinded, "check_equal_lengths_are_no_table", "n_features_in_|features"),
    (Forgetful, "check_table_obeys_n_features_in", "was not refused"),
    (Stale, "check_table_obeys_n_features_in", "feature_names_in_ outlived"),
    (Accommodating, "check_one_recording_by_itself_is_refused", "was not refused"),
    (Silent, "check_bad_recordings_are_named", "some recording is bad"),
    (Lossy, "check_on_error_nan", "good recordings"),
    (Unpicklable, "check_clone_and_pickle", "a pickle"),
    (Noisy, "check_nothing_else_changes", "global random state"),
    (Gambling, "check_nothing_else_changes", "global random state"),
    (Rough, "check_kinds_of_recording_agree", r"pairs at 8 kHz|shape \(4800, 2\)"),
    (Unscaled, "check_kinds_of_recording_agree", "uint8 PCM"),
    (ListsOnly, "check_containers_agree", "recordings can't be used|ecording 0"),
    (Nameless, "check_data_frame_output", "not one for each column"),
    (Constant, "check_recordings_matter", "transform is constant"),
    (Backward, "check_parallel_backends", "loky"),
    (Unscorable, "check_group_cross_validation", "all recordings or none"),
]


@pytest.mark.parametrize(("broken", "check", "says"), BROKEN)
def test_a_check_fails_on_what_it_checks(broken, check, says):
    settings = {"pooling": "mean", "n_mels": 8, "n_fft": 256}
    check = getattr(estimator_checks, check)
    check(LogMelSpectrogram(**settings))
    with pytest.raises((AssertionError, ValueError), match=says):
        check(broken(**settings))


def test_every_check_is_run_and_has_something_that_breaks_it():
    checks = {name for name in vars(estimator_checks) if name.startswith("check_")}
    checks.remove("check_recording_estimator")
    run = {check.__name__ for check in estimator_checks._checks_for(LogMelSpectrogram())}
    assert run == checks == {check for _, check, _ in BROKEN}


@pytest.mark.slow
def test_check_recording_estimator_stops_at_what_is_broken():
    estimator_checks.check_recording_estimator(LogMelSpectrogram(n_mels=8, n_fft=256))
    with pytest.raises(AssertionError, match=r"recording 0 alone|another order"):
        estimator_checks.check_recording_estimator(BatchNormalised(n_mels=8, n_fft=256))
    with pytest.raises(AssertionError, match="none of transform"):
        estimator_checks.check_recording_estimator(Mute())
