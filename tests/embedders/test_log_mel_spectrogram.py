"""LogMelSpectrogram: parameters, statistics and searches."""

import tracemalloc

import numpy as np
import pytest
import soundfile
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from plain_librosa import librosa
from sklearn_ser import LogMelSpectrogram, RecordingError
from sklearn_ser.datasets import load_emodb, make_emotional_speech


@pytest.mark.slow
def test_the_default_is_three_seconds_in_librosas_decibel(tone):
    waveform = np.concatenate([tone, 0.1 * tone, tone, tone])
    (spectrogram,) = LogMelSpectrogram(normalize=None).transform([waveform])
    middle = waveform[8000:56000]
    expected = librosa.power_to_db(
        librosa.feature.melspectrogram(y=middle, sr=16000, n_fft=1024, hop_length=256)
    )
    np.testing.assert_allclose(spectrogram, expected, atol=0.01)


@pytest.mark.slow
def test_all_of_a_recording_is_pooled(tone):
    waveform = np.concatenate([tone, 0.01 * tone, np.zeros(48000, dtype=np.float32)])
    front_end = LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None)
    decibel = librosa.power_to_db(
        librosa.feature.melspectrogram(y=waveform, sr=16000, n_fft=1024, hop_length=256)
    )
    expected = [
        decibel.mean(axis=1),
        decibel.std(axis=1),
        np.abs(np.diff(decibel, axis=1)).mean(axis=1),
    ]
    (row,) = front_end.transform([waveform])
    np.testing.assert_allclose(row, np.concatenate(expected), atol=0.01)
    (row,) = front_end.set_params(pooling="max").transform([waveform])
    np.testing.assert_allclose(row, decibel.max(axis=1), atol=0.01)


def test_padding_is_excluded_from_statistics(tone):
    short = tone[:8000]
    for pooling in ("mean", "max", "mean_std", "mean_std_delta"):
        front_end = LogMelSpectrogram(pooling=pooling)
        long = front_end.set_params(duration=10.0).transform([short])
        np.testing.assert_array_equal(long, front_end.set_params(duration=None).transform([short]))


@pytest.mark.parametrize("normalize", ["recording", "band"])
def test_constant_values_become_zero(normalize):
    silence = np.zeros(48000, dtype=np.float32)
    (spectrogram,) = LogMelSpectrogram(normalize=normalize, scale="log").transform([silence])
    assert (spectrogram == 0).all()


def test_normalisation_is_over_the_recordings_own_frames(tone):
    short = tone[:16000] * np.linspace(0.01, 1, 16000, dtype=np.float32)
    n_own = 1 + 16000 // 256
    (whole,) = LogMelSpectrogram(normalize="recording").transform([short])
    np.testing.assert_allclose(whole[:, :n_own].mean(), 0, atol=1e-4)
    np.testing.assert_allclose(whole[:, :n_own].std(), 1, atol=1e-4)
    assert abs(whole.mean()) > 0.1, "the padding was counted"
    (bands,) = LogMelSpectrogram(normalize="band").transform([short])
    np.testing.assert_allclose(bands[:, :n_own].mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(bands[:, :n_own].std(axis=1), 1, atol=1e-3)
    (repeated,) = LogMelSpectrogram(normalize="recording", pad="repeat").transform([short])
    np.testing.assert_allclose([repeated.mean(), repeated.std()], [0, 1], atol=1e-4)


def test_level_is_normalised_away_or_kept(tone):
    louder = [0.01 * tone, 0.1 * tone]
    quiet, loud = LogMelSpectrogram(pooling="mean", top_db=40.0).transform(louder)
    np.testing.assert_allclose(quiet, loud, atol=1e-4)
    quiet, loud = LogMelSpectrogram(pooling="mean", top_db=40.0, normalize=None).transform(louder)
    np.testing.assert_allclose(loud - quiet, 20, atol=0.01)


@pytest.mark.parametrize("normalize", ["recording", "band", None])
@pytest.mark.parametrize("scale", ["db", "log", None])
def test_silence_gives_finite_numbers(normalize, scale):
    front_end = LogMelSpectrogram(normalize=normalize, scale=scale, pooling="mean_std_delta")
    assert np.isfinite(front_end.transform([np.zeros(100), np.zeros(1)])).all()


@pytest.mark.parametrize("parameters", [{"power": 10.0}, {"amin": 1e-50}, {"power": 0.1}])
def test_extreme_floors_give_finite_numbers(parameters):
    front_end = LogMelSpectrogram(pooling="mean_std", **parameters)
    assert np.isfinite(front_end.transform([np.zeros(9)])).all()


def test_files_are_resampled_to_the_rate_of_the_analysis(tmp_path, tone):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone, 16000, subtype="FLOAT")
    (spectrogram,) = LogMelSpectrogram(sampling_rate=8000, normalize=None).transform([path])
    loudest = spectrogram[:, :20].mean(axis=1).argmax()
    centres = librosa.mel_frequencies(130, fmin=0, fmax=4000)[1:-1]
    assert abs(centres[loudest] - 440) < 20


def test_channel_is_picked(tone):
    stereo = (np.stack([tone, np.zeros_like(tone)], axis=1), 16000)
    front_end = LogMelSpectrogram(normalize=None, pooling="max")
    left = front_end.set_params(channel=0).transform([stereo])
    np.testing.assert_array_equal(left, front_end.set_params(channel=None).transform([tone]))
    assert front_end.set_params(channel=1).transform([stereo]).max() == pytest.approx(-100)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"fmax": 9000.0}, r"fmax=9000.0.*<= 8000.0 Hz, half the sampling_rate=16000"),
        ({"fmin": 500.0, "fmax": 400.0}, "fmin=500.0 and fmax=400.0"),
        ({"win_length": 2048}, "win_length=2048 is longer than n_fft=1024"),
        ({"duration": None}, "duration=None.*choose a pooling"),
        ({"duration": 1e-5}, "less than one sample"),
        ({"pooling": "median"}, "'pooling' parameter of LogMelSpectrogram must be"),
        ({"window": "hannn"}, "window='hannn'.*scipy.signal.get_window"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_invalid_parameters_raise(tone, parameters, message, method):
    with pytest.raises(ValueError, match=message):
        getattr(LogMelSpectrogram(**parameters), method)([tone])


def test_fit_raises_for_missing_files(tone):
    recordings = [tone, "gone.wav", "lost.wav"]
    with pytest.raises(RecordingError, match="2 recordings can't be used") as caught:
        LogMelSpectrogram().fit(recordings)
    assert list(caught.value.problems) == [1, 2]
    LogMelSpectrogram(on_error="nan").fit(recordings)


def test_threads_change_nothing(tone):
    recordings = [tone[:length] for length in range(4000, 8000, 500)]
    front_end = LogMelSpectrogram()
    expected = front_end.transform(recordings)
    np.testing.assert_array_equal(front_end.set_params(n_jobs=3).transform(recordings), expected)


def test_three_axes_raise_for_data_frames_and_name_the_remedy(tone):
    front_end = LogMelSpectrogram().set_output(transform="pandas")
    with pytest.raises(ValueError, match=r"three axes.*pooling='mean_std'"):
        front_end.transform([tone])
    with pytest.raises(ValueError, match="pooling='mean_std'"):
        front_end.get_feature_names_out()


def test_feature_union_and_column_transformer(tmp_path, tone):
    import pandas as pd

    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.wav"))
        soundfile.write(paths[-1], tone[: 4000 * (number + 1)], 16000)
    union = FeatureUnion(
        [
            ("slow", LogMelSpectrogram(pooling="mean", n_mels=4)),
            ("fast", LogMelSpectrogram(pooling="mean_std", n_mels=3, n_fft=256, hop_length=64)),
        ]
    ).set_output(transform="pandas")
    frame = union.fit_transform(paths)
    assert frame.shape == (3, 10)
    assert frame.columns[0] == "slow__logmel_mean_band0"
    assert frame.columns[-1] == "fast__logmel_std_band2"
    table = pd.DataFrame({"path": paths, "age": [31, 34, 21]}, index=[5, 6, 7])
    columns = ColumnTransformer(
        [("audio", union, ["path"]), ("table", "passthrough", ["age"])],
    ).set_output(transform="pandas")
    joined = columns.fit_transform(table)
    np.testing.assert_array_equal(joined.to_numpy()[:, :10], frame.to_numpy())
    assert list(joined.index) == [5, 6, 7]


def _search(recordings, target, groups):
    pipeline = make_pipeline(
        LogMelSpectrogram(pooling="mean_std", duration=None, normalize=None),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    return GridSearchCV(
        pipeline,
        {"logmelspectrogram__n_mels": [2, 40]},
        cv=LeaveOneGroupOut(),
        scoring="balanced_accuracy",
    ).fit(recordings, target, groups=groups)


@pytest.mark.slow
def test_grid_search_over_bands_with_held_out_speakers_on_synthetic_paths(tmp_path):
    corpus = make_emotional_speech(
        n_speakers=3, emotions=["anger", "sadness"], n_sentences=3, random_state=0
    )
    paths = [str(tmp_path / f"{number}.flac") for number in range(len(corpus.recordings))]
    for path, recording in zip(paths, corpus.recordings, strict=True):
        soundfile.write(path, recording, corpus.sampling_rate)
    search = _search(paths, corpus.target, corpus.groups)
    assert search.n_splits_ == 3
    assert search.cv_results_["mean_test_score"].max() > 0.7
    assert set(search.predict(paths[:2])) <= {"anger", "sadness"}


@pytest.mark.slow
def test_grid_search_over_bands_with_held_out_speakers_on_real_recordings(corpus_folder):
    corpus = load_emodb(corpus_folder("emodb"), emotions=["anger", "sadness"])
    few = np.flatnonzero(np.isin(corpus.groups, ["03", "08", "09"]))
    recordings = [corpus.recordings[position] for position in few]
    search = _search(recordings, corpus.target[few], corpus.groups[few])
    assert search.n_splits_ == 3
    # Anger and sadness are the easiest pair to separate in held-out speakers.
    assert search.cv_results_["mean_test_score"][1] > 0.9


class Column:
    """Create recordings on demand, like a lazily decoded column."""

    def __init__(self, n_recordings):
        self.n_recordings = n_recordings

    def __len__(self):
        return self.n_recordings

    def __getitem__(self, position):
        return {"array": np.full(160_000, 0.1, dtype=np.float32), "sampling_rate": 16000}


def _peak_bytes(n_recordings):
    front_end = LogMelSpectrogram(pooling="mean", duration=None)
    tracemalloc.start()
    front_end.transform(Column(n_recordings))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_recordings():
    _peak_bytes(2)  # load and cache everything once
    few, many = _peak_bytes(5), _peak_bytes(100)
    # 95 rows of 128 numbers, and well under one waveform of 640 kB; all would be 61 MB.
    assert many - few < 95 * 128 * 4 + 320_000


def test_memory_of_a_long_recording_is_its_samples_and_its_bands():
    waveform = np.zeros(16000 * 600, dtype=np.float32)
    front_end = LogMelSpectrogram(pooling="mean", duration=None, n_mels=40)
    front_end.transform([waveform[:16000]])
    tracemalloc.start()
    front_end.transform([waveform])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The padded copy of the samples and a few arrays of 40 bands; its Fourier bins are 154 MB.
    bands = 40 * len(waveform) // 256 * 4
    assert peak < 1.2 * waveform.nbytes + 5 * bands
