"""Checks for estimators that take recordings, in addition to scikit-learn's checks for tables.

scikit-learn's checks use 2-D arrays only. These checks run an estimator on lists of recordings of
unequal length, in all containers and types of recordings, including invalid ones.
"""

import io
import pickle
import random
import sys
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import soxr
from joblib import parallel_config
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_ser.audio import RecordingError

__all__ = ["check_recording_estimator", "parametrize_with_recording_checks"]

_SAMPLING_RATE = 16000
# In seconds: unequal, with one below the minimum length of any network, and two equal ones.
_DURATIONS = (0.3, 0.05, 0.4, 0.25, 0.3, 0.01, 0.35, 0.2)
_METHODS = ("transform", "predict_proba", "predict")


def check_recording_estimator(estimator):
    """Check that an estimator handles recordings according to the conventions of this package.

    Parameters
    ----------
    estimator : estimator object
        A transformer, classifier or regressor that takes recordings, or a Pipeline that starts
        with one. Arrays without a sampling rate must be interpreted as 16 kHz.

    Raises
    ------
    AssertionError
        If a check fails.

    See Also
    --------
    parametrize_with_recording_checks : One pytest test for each check.
    sklearn.utils.estimator_checks.check_estimator : The checks for tables.

    Examples
    --------
    >>> from sklearn_ser import LogMelSpectrogram
    >>> from sklearn_ser.estimator_checks import check_recording_estimator
    >>> check_recording_estimator(LogMelSpectrogram(n_mels=8, n_fft=256, pooling="mean"))
    """
    for check in _checks_for(estimator):
        check(estimator)


def parametrize_with_recording_checks(estimators):
    """Parametrize a pytest test with the checks of `check_recording_estimator`.

    Parameters
    ----------
    estimators : list of estimator objects
        Estimators to check; see `check_recording_estimator`.

    Returns
    -------
    decorator : `pytest.mark.parametrize`
        Decorator for a test with the arguments ``estimator`` and ``check``.

    See Also
    --------
    sklearn.utils.estimator_checks.parametrize_with_checks : The equivalent for tables.

    Examples
    --------
    >>> from sklearn_ser import LogMelSpectrogram
    >>> from sklearn_ser.estimator_checks import parametrize_with_recording_checks
    >>> @parametrize_with_recording_checks([LogMelSpectrogram(pooling="mean")])
    ... def test_recordings(estimator, check):
    ...     check(estimator)
    """
    import pytest

    return pytest.mark.parametrize(
        ("estimator", "check"),
        [
            pytest.param(estimator, check, id=f"{estimator}-{check.__name__}")
            for estimator in estimators
            for check in _checks_for(estimator)
        ],
    )


def _checks_for(estimator):
    yield from (
        check_containers,
        check_recording_types,
        check_files_in_memory,
        check_list_of_equal_lengths,
        check_tables_of_integers,
        check_n_features_in_of_tables,
        check_single_recording_raises,
        check_invalid_recordings_raise,
        check_order_and_subset_invariance,
        check_output_depends_on_recordings,
        check_parallel_backends,
        check_clone_and_pickle,
        check_no_side_effects,
        check_group_cross_validation,
    )
    if _parameter(estimator, "on_error"):
        yield check_on_error_nan
    if hasattr(estimator, "transform"):
        yield check_data_frame_output


# Helper functions


def _make_recordings():
    """Generate a voice-like sound for each of the durations, with different pitches."""
    rng = np.random.default_rng(0)
    recordings = []
    for number, duration in enumerate(_DURATIONS):
        time = np.arange(int(duration * _SAMPLING_RATE)) / _SAMPLING_RATE
        buzz = sum(np.sin(2 * np.pi * k * (100 + 20 * number) * time) / k for k in range(1, 20))
        recordings.append((0.2 * buzz + 0.01 * rng.standard_normal(len(time))).astype(np.float32))
    return recordings


def _make_target(estimator, n_recordings):
    if is_regressor(estimator):
        return np.linspace(-1, 1, n_recordings)
    return np.resize(["anger", "sadness"], n_recordings)


def _fit(estimator, X):
    return clone(estimator).fit(X, _make_target(estimator, len(X)))


def _outputs(fitted, X):
    """Return the output of each method for `X`, by the name of the method."""
    names = [name for name in _METHODS if hasattr(fitted, name)]
    assert names, f"the estimator has none of {', '.join(_METHODS)}"
    return {name: np.asarray(getattr(fitted, name)(X)) for name in names}


def _assert_equal(outputs, expected, case):
    for name, value in expected.items():
        message = f"{name} differs for {case}"
        if value.dtype.kind == "f":
            # The tolerance applies to the norm of the difference, not to single elements.
            distance = np.linalg.norm(outputs[name] - value)
            assert outputs[name].shape == value.shape, message
            assert distance <= 1e-5 * np.linalg.norm(value), f"{message} by {distance}"
        else:
            np.testing.assert_array_equal(outputs[name], value, err_msg=message)


def _assert_raises(function, X, *, match, error=ValueError):
    try:
        function(X)
    except error as caught:
        raised = caught
    else:
        raise AssertionError(f"{X!r:.80} did not raise {error.__name__}")
    assert match in str(raised), f"the message for {X!r:.80} lacks {match!r}: {raised}"
    return raised


def _parameter(estimator, name):
    """Return the full name of a parameter of the estimator or of one of its steps, or None."""
    names = estimator.get_params()
    return next((full for full in names if full == name or full.endswith(f"__{name}")), None)


def _global_random_state():
    """Return the global random states of NumPy, of Python, and of torch if it is imported."""
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    states = [*state["state"]["key"], state["state"]["pos"], *random.getstate()[1]]
    torch = sys.modules.get("torch")
    return np.array([*states, *(torch.get_rng_state().tolist() if torch else ())])


def _object_array(recordings):
    array = np.empty(len(recordings), dtype=object)
    array[:] = recordings
    return array


def _data_frame_containers(values):
    """Yield values as Series and one-column DataFrames of pandas, and of polars if installed."""
    import pandas as pd

    yield "pandas Series", pd.Series(values, index=np.arange(len(values)) + 5)
    yield "pandas DataFrame", pd.DataFrame({"recording": values})
    try:
        import polars as pl
    except ImportError:
        pass
    else:
        yield "polars Series", pl.Series("recording", values)
        yield "polars DataFrame", pl.DataFrame({"recording": values})


# The checks


def check_containers(estimator):
    """Lists, tuples, object arrays, Series and one-column DataFrames give the same result."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    expected = _outputs(fitted, recordings)
    containers = {"tuple": tuple(recordings), "object array": _object_array(recordings)}
    containers["lists of numbers"] = [recording.tolist() for recording in recordings]
    containers |= dict(_data_frame_containers(recordings))
    for name, container in containers.items():
        _assert_equal(_outputs(fitted, container), expected, name)
        _assert_equal(_outputs(_fit(estimator, container), recordings), expected, f"fit on {name}")
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(recordings, folder)
        containers = {"array of str": np.array(paths), "Path": [Path(path) for path in paths]}
        containers |= dict(_data_frame_containers(paths))
        for name, container in containers.items():
            _assert_equal(_outputs(fitted, container), expected, f"paths in {name}")


def _write(recordings, folder):
    paths = [str(Path(folder) / f"{number}.wav") for number in range(len(recordings))]
    for path, recording in zip(paths, recordings, strict=True):
        soundfile.write(path, recording, _SAMPLING_RATE, subtype="FLOAT")
    return paths


def check_recording_types(estimator):
    """A path, array, pair, dict and decoder of the same samples give the same result."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    expected = _outputs(fitted, recordings)

    def decoder(recording):
        samples = SimpleNamespace(data=recording[np.newaxis], sample_rate=_SAMPLING_RATE)
        return SimpleNamespace(get_all_samples=lambda: samples)

    conversions = {
        "float64": lambda recording: recording.astype(np.float64),
        "pair": lambda recording: (recording, _SAMPLING_RATE),
        "dict": lambda recording: {"array": recording, "sampling_rate": _SAMPLING_RATE},
        "decoder": decoder,
        "two channels": lambda recording: (np.stack([recording, recording], 1), _SAMPLING_RATE),
    }
    for name, convert in conversions.items():
        _assert_equal(_outputs(fitted, [convert(r) for r in recordings]), expected, name)
    mixed = [
        convert(r) for convert, r in zip([*conversions.values()] * 2, recordings, strict=False)
    ]
    _assert_equal(_outputs(fitted, mixed), expected, "types mixed in one list")
    slow = [soxr.resample(r, 8000, _SAMPLING_RATE, quality="HQ") for r in recordings]
    pairs = [(r, 8000) for r in recordings]
    _assert_equal(_outputs(fitted, pairs), _outputs(fitted, slow), "pairs at 8 kHz")
    for dtype, bits in (("int16", 16), ("int32", 32), ("uint8", 8)):
        full_scale = 2 ** (bits - 1)
        whole = [np.round(r.astype(np.float64) * (full_scale - 1)) for r in recordings]
        offset = full_scale if dtype == "uint8" else 0
        pcm = [(samples + offset).astype(dtype) for samples in whole]
        floats = [samples / full_scale for samples in whole]
        _assert_equal(_outputs(fitted, pcm), _outputs(fitted, floats), f"{dtype} PCM")


def check_files_in_memory(estimator):
    """The bytes of a file, an open file, and a dict with either give the same result."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    expected = _outputs(fitted, recordings)
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(recordings, folder)
        contents = [Path(path).read_bytes() for path in paths]
        forms = {
            "bytes": contents,
            "bytearray": [bytearray(content) for content in contents],
            "memoryview": [memoryview(content) for content in contents],
            "open files": [io.BytesIO(content) for content in contents],
            "dicts with bytes": [{"bytes": content, "path": "a.wav"} for content in contents],
            "dicts with a path": [{"bytes": None, "path": path} for path in paths],
        }
        for name, X in forms.items():
            _assert_equal(_outputs(fitted, X), expected, name)


def check_tables_of_integers(estimator):
    """A table of integer PCM gives the same result as a list of its rows."""
    waveforms = np.stack([recording[:160] for recording in _make_recordings()])
    fitted = _fit(estimator, waveforms)
    for dtype, bits in (("int16", 16), ("int32", 32), ("uint8", 8)):
        offset = 2 ** (bits - 1) if dtype == "uint8" else 0
        table = (waveforms.astype(np.float64) * (2 ** (bits - 1) - 1) + offset).astype(dtype)
        expected = _outputs(_fit(estimator, list(table)), list(table))
        _assert_equal(_outputs(fitted, table), _outputs(fitted, list(table)), f"{dtype} table")
        _assert_equal(_outputs(_fit(estimator, table), table), expected, f"fit on {dtype} table")


def check_list_of_equal_lengths(estimator):
    """A list of arrays of equal length is not a table: other lengths may follow."""
    recordings = _make_recordings()
    equal_lengths = [recording[:160] for recording in recordings]
    fitted = _fit(estimator, equal_lengths)
    assert not hasattr(fitted, "n_features_in_"), "a list has no n_features_in_"
    table = np.stack(equal_lengths)
    _assert_equal(_outputs(fitted, table), _outputs(fitted, equal_lengths), "rows of a table")
    _outputs(fitted, recordings)


def check_n_features_in_of_tables(estimator):
    """A table of waveforms sets `n_features_in_` until the next `fit`."""
    import pandas as pd

    table = np.stack([recording[:160] for recording in _make_recordings()])
    fitted = _fit(estimator, table)
    assert fitted.n_features_in_ == 160
    for name in _outputs(fitted, table):
        _assert_raises(getattr(fitted, name), table[:, :100], match="160")
    frame = pd.DataFrame(table).add_prefix("sample")
    fitted.fit(frame, _make_target(estimator, len(table)))
    assert list(fitted.feature_names_in_) == list(frame.columns)
    fitted.fit([*table], _make_target(estimator, len(table)))
    for name in ("n_features_in_", "feature_names_in_"):
        assert not hasattr(fitted, name), f"{name} is still set after a fit on a list"


def check_single_recording_raises(estimator):
    """A single path, waveform, pair or dict raises an error that names the remedy."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    waveform = recordings[0]
    single_recordings = [
        "recording.wav",
        Path("recording.wav"),
        waveform,
        waveform.tolist(),
        (waveform, _SAMPLING_RATE),
        {"array": waveform, "sampling_rate": _SAMPLING_RATE},
    ]
    for X in single_recordings:
        for name in _METHODS:
            if hasattr(fitted, name):
                _assert_raises(getattr(fitted, name), X, match="[X]")


def _invalid_recordings(folder):
    """Return invalid recordings, each with a string that the error message must contain."""
    broken = Path(folder) / "broken.wav"
    broken.write_bytes(b"RIFF, but nothing else")
    return [
        (str(Path(folder) / "missing.wav"), "missing.wav"),
        (str(broken), "broken.wav"),
        (folder, "folder"),
        (np.array([]), "empty"),
        (np.array([0.1, np.nan]), "NaN"),
        (np.array([0.1, np.inf]), "infinity"),
        (np.zeros((2, 3, 4)), "(2, 3, 4)"),
        (np.array([1j, 2j]), "complex"),
        (None, "NoneType"),
        (float("nan"), "float"),
        ({"path": "spoken.wav"}, "spoken.wav"),
        (b"no audio", "bytes"),
        ((_SAMPLING_RATE, np.zeros(9)), "turn it round"),
        ((np.zeros(9), -1), "-1"),
        (([[0.1], [0.2, 0.3]], _SAMPLING_RATE), "inhomogeneous"),
    ]


def check_invalid_recordings_raise(estimator):
    """The error for an invalid recording names its position, its path and the reason."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    with tempfile.TemporaryDirectory() as folder:
        for invalid, match in _invalid_recordings(folder):
            X = [*recordings[:2], invalid, *recordings[2:4]]
            for name in _METHODS:
                if hasattr(fitted, name):
                    method = getattr(fitted, name)
                    error = _assert_raises(method, X, match=match, error=RecordingError)
                    assert list(error.problems) == [2], "the position is wrong"
                    assert "ecording 2" in str(error)
                    assert match in str(pickle.loads(pickle.dumps(error)))


def check_on_error_nan(estimator):
    """With ``on_error="nan"`` invalid recordings give NaN, and the others are unchanged."""
    recordings = _make_recordings()
    estimator = clone(estimator).set_params(**{_parameter(estimator, "on_error"): "nan"})
    if not hasattr(estimator, "transform"):
        return  # in a Pipeline, the handling of NaN depends on the other steps
    fitted = _fit(estimator, recordings)
    expected = fitted.transform(recordings[:4])
    with tempfile.TemporaryDirectory() as folder:
        invalid = [recording for recording, _ in _invalid_recordings(folder)]
        n_invalid = len(invalid)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = _fit(estimator, [*invalid, *recordings]).transform([*invalid, *recordings[:4]])
    assert np.isnan(rows[:n_invalid]).all(), "the row of an invalid recording is not NaN"
    _assert_equal({"transform": rows[n_invalid:]}, {"transform": expected}, "valid recordings")
    messages = [str(warning.message) for warning in caught if "recordings" in str(warning.message)]
    assert len(messages) == 1, f"one warning was expected, not {messages}"
    assert all(f"recording {position}:" in messages[0] for position in range(n_invalid))


def check_order_and_subset_invariance(estimator):
    """The result for a recording is independent of the other recordings and of their order."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    expected = _outputs(fitted, recordings)
    order = np.random.default_rng(1).permutation(len(recordings))
    shuffled = _outputs(fitted, [recordings[i] for i in order])
    _assert_equal(shuffled, {name: rows[order] for name, rows in expected.items()}, "another order")
    alone = [_outputs(fitted, [recording]) for recording in recordings]
    joined = {name: np.concatenate([one[name] for one in alone]) for name in expected}
    for position in range(len(recordings)):
        row = slice(position, position + 1)
        _assert_equal(
            {name: rows[row] for name, rows in joined.items()},
            {name: rows[row] for name, rows in expected.items()},
            f"recording {position} alone",
        )


def check_output_depends_on_recordings(estimator):
    """Different recordings give different rows or probabilities."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    for name in ("transform", "predict_proba"):
        if hasattr(fitted, name):
            first, *others = np.asarray(getattr(fitted, name)(recordings))
            assert any(not np.array_equal(first, other) for other in others), f"{name} is constant"


def check_parallel_backends(estimator):
    """The result is the same with all joblib backends."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    expected = _outputs(fitted, recordings)
    for backend in ("loky", "threading"):
        with parallel_config(backend=backend, n_jobs=2):
            _assert_equal(_outputs(fitted, recordings), expected, f"{backend} as joblib's backend")


def check_clone_and_pickle(estimator):
    """A clone and a pickle give the same result."""
    recordings = _make_recordings()
    fitted = _fit(estimator, recordings)
    expected = _outputs(fitted, recordings)
    _assert_equal(_outputs(_fit(fitted, recordings), recordings), expected, "a clone")
    _assert_equal(_outputs(pickle.loads(pickle.dumps(fitted)), recordings), expected, "a pickle")


def check_no_side_effects(estimator):
    """Recordings, parameters and global random states are not changed."""
    recordings = _make_recordings()
    copies = [recording.copy() for recording in recordings]
    for recording in recordings:
        recording.flags.writeable = False
    parameters = repr(estimator)
    _outputs(_fit(estimator, recordings), recordings)  # imports libraries with a state of their own
    before = _global_random_state()
    _outputs(fitted := _fit(estimator, recordings), recordings)
    np.testing.assert_array_equal(_global_random_state(), before, "the global random state")
    assert repr(fitted) == parameters == repr(estimator), "parameters changed"
    for recording, copy in zip(recordings, copies, strict=True):
        np.testing.assert_array_equal(recording, copy, "a recording changed")


def check_group_cross_validation(estimator):
    """`cross_validate` and `GridSearchCV` work on lists of recordings with groups."""
    recordings = _make_recordings() * 2
    y = _make_target(estimator, len(recordings))
    speakers = np.arange(len(recordings)) // 4
    if not (is_classifier(estimator) or is_regressor(estimator)):
        estimator = make_pipeline(
            clone(estimator), FunctionTransformer(_flatten), LogisticRegression()
        )
    scores = cross_validate(
        estimator, recordings, y, cv=GroupKFold(2), groups=speakers, error_score="raise"
    )
    assert np.isfinite(scores["test_score"]).all()
    search = GridSearchCV(estimator, {}, cv=GroupKFold(2), error_score="raise")
    search.fit(recordings, y, groups=speakers)
    assert len(search.predict(recordings)) == len(recordings)


def _flatten(X):
    return np.reshape(X, (len(X), -1))


def check_data_frame_output(estimator):
    """2-D output is converted to a DataFrame, and 3-D output raises an error with the remedy."""
    recordings = _make_recordings()
    estimator = clone(estimator).set_output(transform="pandas")
    rows = _fit(clone(estimator).set_output(transform="default"), recordings)
    rows = rows.transform(recordings)
    if rows.ndim > 2:
        _assert_raises(_fit(estimator, recordings).transform, recordings, match="axes")
        return
    fitted = _fit(estimator, recordings)
    frame = fitted.transform(recordings)
    names = fitted.get_feature_names_out()
    assert len(set(names)) == rows.shape[1], "the column names are not unique"
    assert list(frame.columns) == list(names)
    np.testing.assert_array_equal(frame.to_numpy(), rows)
