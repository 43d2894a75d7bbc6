"""Each check for recordings fails on a transformer that breaks what it checks."""

import numpy as np
import pytest

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
        if isinstance(X, (str, dict)) or (np.ndim(X) == 1 and np.asarray(X).dtype.kind == "f"):
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

    def _names_out(self):
        names = super()._names_out()
        return [names[0], *names[:-1]]


BROKEN = [
    (BatchNormalised, "check_order_and_subset_invariance"),
    (TableMinded, "check_equal_lengths_are_no_table"),
    (Forgetful, "check_table_obeys_n_features_in"),
    (Accommodating, "check_one_recording_by_itself_is_refused"),
    (Silent, "check_bad_recordings_are_named"),
    (Lossy, "check_on_error_nan"),
    (Unpicklable, "check_clone_and_pickle"),
    (Noisy, "check_nothing_else_changes"),
    (Rough, "check_kinds_of_recording_agree"),
    (ListsOnly, "check_containers_agree"),
    (Nameless, "check_data_frame_output"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN)
def test_a_check_fails_on_what_it_checks(broken, check):
    settings = {"pooling": "mean", "n_mels": 8, "n_fft": 256}
    check = getattr(estimator_checks, check)
    check(LogMelSpectrogram(**settings))
    with pytest.raises((AssertionError, ValueError)):
        check(broken(**settings))


def test_check_recording_estimator_runs_every_check():
    estimator_checks.check_recording_estimator(LogMelSpectrogram(n_mels=8, n_fft=256))
    with pytest.raises(AssertionError, match=r"recording 0 alone|another order"):
        estimator_checks.check_recording_estimator(BatchNormalised(n_mels=8, n_fft=256))
