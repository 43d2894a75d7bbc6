"""Supported types of `X`, and the errors for recordings that can't be used."""

import pickle
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import parallel_config
from scipy import sparse

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.audio import (
    RecordingError,
    are_recordings,
    as_recordings,
    compute_rows,
    find_problems,
    is_table,
)
from sklearn_ser.audio._waveform import UnusableRecording


class LazyColumn:
    """An audio column as in Hugging Face's `datasets`, decoded on access."""

    def __init__(self, recordings, broken=None):
        self.recordings, self.broken, self.fetched = recordings, broken, []

    def __len__(self):
        return len(self.recordings)

    def __getitem__(self, position):
        self.fetched.append(position)
        if position == self.broken:
            raise OSError("truncated download")
        return {"array": self.recordings[position], "sampling_rate": 16000}


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (["a.wav", "b.wav"], True),
        (np.array(["a.wav", "b.wav"]), True),
        (np.array([["a.wav"], ["b.wav"]]), True),
        (pd.Series(["a.wav"]), True),
        (pl.DataFrame({"path": ["a.wav"]}), True),
        ([np.zeros(3), np.zeros(4)], True),
        ([(np.zeros(3), 16000)], True),
        ([{"array": np.zeros(3), "sampling_rate": 16000}], True),
        (LazyColumn([np.zeros(3)] * 3), True),
        ([np.zeros(3), np.zeros(3)], False),
        ([[0.0, 1.0], [0.0, 1.0]], False),
        ([[[0.0], [1.0]], [[0.0], [1.0]]], False),
        (np.zeros((3, 5)), False),
        (np.zeros((3, 1)), False),
        (np.zeros((3, 2, 5)), False),
        (np.zeros(3), False),
        (pd.DataFrame(np.zeros((3, 5))), False),
        (sparse.csr_array(np.eye(3)), False),
        ("a.wav", False),
        (None, False),
    ],
)
def test_are_recordings(X, expected):
    assert are_recordings(X) is expected


@pytest.mark.parametrize(
    ("X", "table"),
    [
        (np.zeros((3, 5)), True),
        (np.zeros((3, 5), dtype=object), True),
        (np.zeros((3, 1)), True),
        (pd.DataFrame(np.zeros((3, 5))), True),
        (pl.DataFrame(np.zeros((3, 5))), True),
        (sparse.csr_array(np.eye(3)), True),
        ([[0.0, 1.0], [0.0, 1.0]], False),
        ([np.zeros(5), np.zeros(5)], False),
        (["a.wav", "b.wav"], False),
        (np.array(["a.wav", "b.wav"]), False),
        (np.array([["a.wav"], ["b.wav"]]), False),
        (pd.Series(["a.wav", "b.wav"]), False),
        (pd.DataFrame({"path": ["a.wav", "b.wav"]}), False),
        (pl.DataFrame({"path": ["a.wav", "b.wav"]}), False),
    ],
)
def test_is_table(X, table):
    assert is_table(X) is table


@pytest.mark.parametrize(
    "X",
    [
        ["a.wav", "b.wav"],
        ("a.wav", "b.wav"),
        np.array(["a.wav", "b.wav"]),
        np.array(["a.wav", "b.wav"], dtype=object),
        np.array([["a.wav"], ["b.wav"]]),
        pd.Series(["a.wav", "b.wav"], index=[7, 9]),
        pd.Series(["a.wav", "b.wav"], dtype="category"),
        pd.DataFrame({"path": ["a.wav", "b.wav"]}, index=[7, 9]),
        pl.Series(["a.wav", "b.wav"]),
        pl.DataFrame({"path": ["a.wav", "b.wav"]}),
    ],
    ids=lambda X: type(X).__name__,
)
def test_every_container_gives_the_recordings(X):
    assert list(as_recordings(X)) == ["a.wav", "b.wav"]


def test_text_is_found_in_any_row_of_a_table():
    table = pd.DataFrame({"a": [None, "a.wav"], "b": [1, 2]})
    with pytest.raises(ValueError, match=r"text in its 2 columns \(a, b\)"):
        is_table(table)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_rows_are_filled_with_every_joblib_backend(backend):
    with parallel_config(backend=backend, n_jobs=2):
        rows = compute_rows(float, [1, 2, 3], (), on_error="raise")
    np.testing.assert_array_equal(rows, [1, 2, 3])


def test_the_warning_points_to_the_line_of_the_user():
    front_end = LogMelSpectrogram(pooling="mean", on_error="nan")
    with pytest.warns(UserWarning, match="Recording 0: 'gone.wav'") as caught:
        front_end.transform(["gone.wav"])
    assert caught[0].filename == __file__


def test_a_lazy_column_is_fetched_one_by_one():
    column = LazyColumn([np.full(4, 0.1), np.full(2, 0.2)])
    recordings = as_recordings(column)
    assert find_problems(recordings) == {}
    assert column.fetched == []
    rows = compute_rows(lambda r: r["array"].mean(), recordings, (), on_error="raise")
    np.testing.assert_allclose(rows, [0.1, 0.2], rtol=1e-6)
    assert column.fetched == [0, 1]


def test_a_lazy_column_that_fails_names_the_position():
    column = LazyColumn([np.zeros(4), np.zeros(2)], broken=1)
    with pytest.raises(RecordingError, match=r"Recording 1: .*OSError: truncated download"):
        compute_rows(lambda r: 0.0, as_recordings(column), (), on_error="raise")


def test_missing_files_are_found_before_reading(tmp_path):
    present = tmp_path / "present.wav"
    present.write_text("not opened")
    problems = find_problems([str(present), "gone.wav", np.zeros(3), tmp_path / "lost.wav"])
    assert list(problems) == [1, 3]
    assert problems[1] == "'gone.wav': there is no such file"


def test_rows_that_are_not_finite_are_found():
    table = np.zeros((4, 3))
    table[1, 2], table[3, 0] = np.nan, np.inf
    assert list(find_problems(table)) == [1, 3]


def test_one_problem_is_one_sentence():
    message = str(RecordingError({3: "'a.wav': there is no such file"}))
    assert message.startswith("Recording 3: 'a.wav': there is no such file. ")
    assert "on_error='nan'" in message


def test_many_problems_are_counted():
    error = RecordingError({position: f"'{position}.wav': gone" for position in range(25)})
    assert "25 recordings can't be used: recording 0: '0.wav': gone;" in str(error)
    assert "and 15 more" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ValueError)
    assert copy.problems == error.problems
    assert str(copy) == str(error)


@pytest.mark.parametrize("n_jobs", [None, 3])
def test_on_error_nan_warns_once_and_lists_all(n_jobs):
    def double(value):
        if value % 2:
            raise UnusableRecording("it is odd")
        return [2 * value, 0]

    with pytest.warns(UserWarning, match="3 recordings can't be used") as caught:
        rows = compute_rows(double, [0, 1, 2, 3, 5], (2,), on_error="nan", n_jobs=n_jobs)
    assert len(caught) == 1
    for position in (1, 3, 4):
        assert f"recording {position}: " in str(caught[0].message)
    np.testing.assert_array_equal(np.isnan(rows[:, 0]), [False, True, False, True, True])
    np.testing.assert_array_equal(rows[[0, 2], 0], [0, 4])


def test_other_errors_are_not_caught():
    def broken(recording):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug") as caught:
        compute_rows(broken, [0], (), on_error="nan")
    assert not isinstance(caught.value, RecordingError)


def test_n_jobs_threads_run_at_the_same_time():
    barrier = threading.Barrier(3, timeout=20)
    running, peak, lock = set(), [], threading.Lock()

    def wait(recording):
        with lock:
            running.add(recording)
            peak.append(len(running))
        barrier.wait()  # passes only if three run at the same time
        with lock:
            running.discard(recording)
        return recording

    rows = compute_rows(wait, list(range(9)), (), on_error="raise", n_jobs=3)
    np.testing.assert_array_equal(rows, np.arange(9))
    assert max(peak) == 3


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8"])
@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_tables_of_integers_are_scaled_as_lists_are(dtype, container):
    limits = np.iinfo(dtype)
    table = np.random.default_rng(0).integers(limits.min, limits.max, (3, 2000)).astype(dtype)
    expected = LogMelSpectrogram(pooling="mean").fit_transform(list(table))
    rows = LogMelSpectrogram(pooling="mean").fit_transform(container(table))
    np.testing.assert_array_equal(rows, expected)
