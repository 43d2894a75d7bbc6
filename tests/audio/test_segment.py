"""SegmentOfFile: times, channels by index or energy, lazy reading, and error messages."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import soundfile
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from sklearn_ser import LogMelSpectrogram, WavLMEmbedder
from sklearn_ser.audio import (
    RecordingError,
    SegmentOfFile,
    as_recordings,
    cut_into_segments,
    find_problems,
    is_table,
    load_waveform,
    path_and_selection,
)
from sklearn_ser.audio._waveform import UnusableRecording
from small_networks import small_network


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (4800, 2)).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def write_file(samples, name="a.wav"):
        soundfile.write(tmp_path / name, samples, 16000, subtype="FLOAT")
        return str(tmp_path / name)

    return write_file


def load(*args):
    path, channel = args if len(args) == 2 else (*args, "louder")
    return load_waveform(SegmentOfFile(path, channel=channel), sampling_rate=16000)


def test_channels_by_number(write, noise):
    path = write(noise)
    np.testing.assert_array_equal(load(path, 0), noise[:, 0])
    np.testing.assert_array_equal(load(path, 1), noise[:, 1])
    np.testing.assert_array_equal(load(path, -1), noise[:, 1])
    with pytest.raises(UnusableRecording, match=r"2 channel\(s\), so there is no channel=2"):
        load(path, 2)


@pytest.mark.parametrize(("gains", "louder"), [((1, 0.9), 0), ((0.9, 1), 1), ((0, -1), 1)])
def test_the_louder_channel_has_more_energy(write, noise, gains, louder):
    # The same waveform in both, so that the gain alone decides.
    stereo = noise[:, :1] * np.float32(gains)
    np.testing.assert_array_equal(load(write(stereo)), stereo[:, louder])


def test_louder_is_by_energy_and_not_by_peak(write):
    peak, steady = np.zeros(100), np.full(100, 0.5)
    peak[3] = 1.0
    np.testing.assert_array_equal(load(write(np.stack([peak, steady], axis=1))), steady)


def test_louder_is_the_first_of_equal_channels(write, noise):
    stereo = np.stack([noise[:, 0], -noise[:, 0]], axis=1)
    np.testing.assert_array_equal(load(write(stereo)), noise[:, 0])


def test_louder_of_a_mono_file_is_its_only_channel(write, noise):
    path = write(noise[:, 0])
    np.testing.assert_array_equal(load(path), noise[:, 0])
    np.testing.assert_array_equal(load(path, 0), noise[:, 0])
    with pytest.raises(UnusableRecording, match=r"1 channel\(s\)"):
        load(path, 1)


def test_interface_of_an_audio_decoder(write, noise):
    samples = SegmentOfFile(write(noise), channel=1).get_all_samples()
    assert samples.data.shape == (1, 4800)
    assert samples.data.dtype == np.float32
    assert samples.sample_rate == 16000


def test_equality_hash_pickle_and_repr(write):
    one, same, other = (SegmentOfFile("a.wav", channel=channel) for channel in (0, 0, 1))
    assert one == same != other
    assert len({one, same, other}) == 2
    assert pickle.loads(pickle.dumps(one)) == one
    assert str(one) == repr(one) == "SegmentOfFile(path='a.wav', start=0.0, end=None, channel=0)"
    with pytest.raises(AttributeError):
        one.channel = 1


@pytest.mark.parametrize("container", [list, tuple, pd.Series, lambda X: pd.DataFrame({"X": X})])
def test_every_container_accepts_channels(container):
    channels = [SegmentOfFile("a.wav"), SegmentOfFile("b.wav", channel=1)]
    assert not is_table(container(channels))
    assert list(as_recordings(container(channels))) == channels


def test_a_missing_file_is_found_before_reading(write, noise):
    recordings = [SegmentOfFile(write(noise)), SegmentOfFile("gone.wav", channel=1)]
    assert find_problems(recordings) == {1: "'gone.wav': there is no such file"}
    with pytest.raises(RecordingError, match=r"Recording 1: 'gone\.wav': there is no such file\."):
        LogMelSpectrogram().fit_transform(recordings)


def test_an_invalid_channel_raises():
    with pytest.raises(ValueError, match="channel='left' must be 'louder', an int or None"):
        SegmentOfFile("a.wav", channel="left")


# Times

RATE = 16000
TIMES = [(0.5, 1.25), (0.0, 0.75), (2.0, None), (1.0, 1.5)]  # overlapping, not in order


@pytest.fixture
def call(write):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE).astype(np.float32)
    return write(samples, "call.wav"), samples


def tables(path):
    starts, ends = zip(*TIMES, strict=True)
    n = len(TIMES)
    seconds = {"file": [path] * n, "start": starts, "end": ends}
    deltas = pd.to_timedelta(list(starts), unit="s"), pd.to_timedelta(list(ends), unit="s")
    texts = [["" if time is None else str(time) for time in column] for column in (starts, ends)]
    index = pd.MultiIndex.from_arrays([[path] * n, *deltas], names=["file", "start", "end"])
    return {
        "segments": [SegmentOfFile(path, *times) for times in TIMES],
        "dicts": [{"path": path, "start": start, "end": end} for start, end in TIMES],
        "seconds": pd.DataFrame(seconds),
        "polars": pl.DataFrame(seconds),
        "timedeltas": pd.DataFrame(
            {"audio_path": [path] * n, "Start": deltas[0], "End": deltas[1]}
        ),
        "text": pd.DataFrame(
            {"path": [path] * n, "start_time": texts[0], "end_time": texts[1], "sex": "f"}
        ),
        "index": index,
    }


@pytest.mark.parametrize("form", list(tables("")))
def test_every_form_of_segments_is_that_stretch(call, form, tmp_path):
    path, samples = call
    expected = [samples[int(s * RATE) : None if e is None else int(e * RATE)] for s, e in TIMES]
    embedder = LogMelSpectrogram(pooling="mean", n_mels=8)
    X = tables(path)[form]
    rows = embedder.fit_transform(X)
    np.testing.assert_array_equal(rows, embedder.fit_transform(expected))


def test_segments_are_cross_validated_and_cached(call, tmp_path):
    path, _ = call
    for form in ("seconds", "index", "segments"):
        X = tables(path)[form]
        pipeline = make_pipeline(LogMelSpectrogram(pooling="mean", n_mels=8), DummyClassifier())
        assert len(cross_val_predict(pipeline, X, ["a", "b"] * 2, cv=2)) == 4
    embedder = WavLMEmbedder(small_network("wavlm"), memory=tmp_path / "store", device="cpu")
    rows = embedder.fit_transform(tables(path)["seconds"])
    np.testing.assert_array_equal(embedder.fit_transform(tables(path)["segments"]), rows)
    assert len(np.unique(rows[:, 0])) == 4


def test_only_the_segment_is_decoded(call, monkeypatch):
    path, _ = call
    n_frames = []
    read = soundfile.SoundFile.read

    def count(self, *args, **kwargs):
        samples = read(self, *args, **kwargs)
        n_frames.append(len(samples))
        return samples

    monkeypatch.setattr(soundfile.SoundFile, "read", count)
    LogMelSpectrogram().fit_transform([SegmentOfFile(path, 1, 1.5)])
    assert sum(n_frames) == RATE // 2


def test_a_segment_may_end_one_frame_after_the_file(call):
    path, samples = call
    waveform = load_waveform(SegmentOfFile(path, 2.5, 3 + 1 / RATE), sampling_rate=RATE)
    np.testing.assert_array_equal(waveform, samples[int(2.5 * RATE) :])
    with pytest.raises(RecordingError, match=r"call.wav' from 2 s to 3.1 s: .*not within the file"):
        LogMelSpectrogram().fit_transform([SegmentOfFile(path, 2, 3.1)])
    with pytest.raises(RecordingError, match=r"call.wav' from 3 s to the end"):
        LogMelSpectrogram().fit_transform([SegmentOfFile(path, 3)])


@pytest.mark.parametrize("times", [(-1, None), (2, 1), (1, 1), (np.nan, None), (np.inf, None)])
def test_times_that_are_no_segment_raise(times):
    with pytest.raises(
        ValueError, match="are no segment: they must be seconds with 0 <= start < end"
    ):
        SegmentOfFile("a.wav", *times)
    start, end = times
    if start == start:
        with pytest.raises(ValueError, match="Row 0 of X is no segment of a file"):
            as_recordings(pd.DataFrame({"path": ["a.wav"], "start": [start], "end": [end]}))


def test_segments_of_a_channel(write):
    stereo = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2)).astype(np.float32)
    path = write(stereo)
    waveform = load_waveform(SegmentOfFile(path, 0.25, 0.5, channel=1), sampling_rate=RATE)
    np.testing.assert_array_equal(waveform, stereo[RATE // 4 : RATE // 2, 1])
    mean = load_waveform(SegmentOfFile(path, 0.25, 0.5), sampling_rate=RATE)
    np.testing.assert_array_equal(mean, stereo[RATE // 4 : RATE // 2].mean(1))
    other = load_waveform(SegmentOfFile(path, 0.25, 0.5), sampling_rate=RATE, channel=0)
    np.testing.assert_array_equal(other, stereo[RATE // 4 : RATE // 2, 0])


def test_a_table_of_numbers_is_no_table_of_segments():
    table = pd.DataFrame({"start": [0.0, 1.0], "end": [1.0, 2.0], "x": [1, 2]})
    assert is_table(table)
    assert is_table(table.assign(begin=0.0))
    with pytest.raises(ValueError, match="may each be the start"):
        as_recordings(table.assign(begin=0.0, path="a.wav"))


# Cutting


def test_files_are_cut_into_segments(call):
    path, _ = call
    segments = cut_into_segments([path], duration=1.25, hop=0.5)
    assert segments.to_numpy().tolist() == [
        [path, 0.0, 1.25],
        [path, 0.5, 1.75],
        [path, 1.0, 2.25],
        [path, 1.5, 2.75],
        [path, 2.0, 3.0],
    ]
    assert len(cut_into_segments([path], duration=1.25, hop=0.5, min_duration=1.1)) == 4
    assert cut_into_segments([path], duration=1)["end"].tolist() == [1, 2, 3]
    assert cut_into_segments([path], duration=9)["end"].tolist() == [3]
    rows = LogMelSpectrogram(pooling="mean").fit_transform(segments)
    assert rows.shape == (5, 128)


def test_segments_are_cut_and_keep_their_channel(call):
    path, _ = call
    whole = SegmentOfFile(path, 0.5, 2, channel=0)
    segments = cut_into_segments([whole], duration=1)
    assert segments[["start", "end"]].to_numpy().tolist() == [[0.5, 1.5], [1.5, 2]]
    assert as_recordings(segments) == [
        SegmentOfFile(path, 0.5, 1.5, channel=0),
        SegmentOfFile(path, 1.5, 2.0, channel=0),
    ]


def test_what_cannot_be_cut_is_named(call, tmp_path):
    with pytest.raises(TypeError, match="Recording 1 is of type ndarray"):
        cut_into_segments([call[0], np.zeros(9)], duration=1)
    with pytest.raises(ValueError, match=r"Recording 0, .*no.wav': there is no such file"):
        cut_into_segments([str(tmp_path / "no.wav")], duration=1)
    with pytest.raises(ValueError, match="hop=0 must be"):
        cut_into_segments([call[0]], duration=1, hop=0)
    late = SegmentOfFile(call[0], 7.0)
    with pytest.raises(ValueError, match=r"Recording 0, .*starts at 7 s, and the file ends at 3 s"):
        cut_into_segments([late], duration=1)


def test_no_segment_is_empty(call):
    whole = SegmentOfFile(call[0], 0.0, 1.05)
    segments = cut_into_segments([whole], duration=0.075, hop=0.15)
    assert (segments["end"] > segments["start"]).all()
    assert len(as_recordings(segments)) == len(segments) == 7


def test_a_missing_end_is_the_end_of_the_file(call):
    table = pd.DataFrame(
        {"path": call[0], "start": [0.5, 1.0], "end": pd.array([2, None], dtype="Float64")}
    )
    assert [segment.end for segment in as_recordings(table)] == [2.0, None]


def test_a_dict_is_cached_as_the_segment_that_it_is(call):
    path, _ = call
    recordings = [{"path": path}, {"path": path, "start": 1, "end": 2.0}, {"path": path, "end": -1}]
    assert path_and_selection(recordings, 0) == (path, None)
    assert path_and_selection(recordings, 1) == (path, (1.0, 2.0, None))
    assert path_and_selection(recordings, 2) == (None, None)
    with pytest.raises(RecordingError, match=r"Recording 2: .*0 <= start < end"):
        LogMelSpectrogram(pooling="mean").fit_transform(recordings)
