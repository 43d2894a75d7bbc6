"""ChannelOfFile: selection by index or energy, lazy reading, and error messages."""

import pickle

import numpy as np
import pandas as pd
import pytest
import soundfile

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.audio import (
    ChannelOfFile,
    RecordingError,
    as_recordings,
    find_problems,
    is_table,
    load_waveform,
)
from sklearn_ser.audio._waveform import UnusableRecording


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
    return load_waveform(ChannelOfFile(*args), sampling_rate=16000)


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
    samples = ChannelOfFile(write(noise), 1).get_all_samples()
    assert samples.data.shape == (1, 4800)
    assert samples.data.dtype == np.float32
    assert samples.sample_rate == 16000


def test_equality_hash_pickle_and_repr(write):
    one, same, other = (ChannelOfFile("a.wav", channel) for channel in (0, 0, 1))
    assert one == same != other
    assert len({one, same, other}) == 2
    assert pickle.loads(pickle.dumps(one)) == one
    assert str(one) == repr(one) == "ChannelOfFile(path='a.wav', channel=0)"
    with pytest.raises(AttributeError):
        one.channel = 1


@pytest.mark.parametrize("container", [list, tuple, pd.Series, lambda X: pd.DataFrame({"X": X})])
def test_every_container_accepts_channels(container):
    channels = [ChannelOfFile("a.wav"), ChannelOfFile("b.wav", 1)]
    assert not is_table(container(channels))
    assert list(as_recordings(container(channels))) == channels


def test_a_single_recording_raises():
    with pytest.raises(ValueError, match=r"a single recording \('a\.wav'\)"):
        as_recordings(ChannelOfFile("a.wav"))


def test_a_missing_file_is_found_before_reading(write, noise):
    recordings = [ChannelOfFile(write(noise)), ChannelOfFile("gone.wav", 1)]
    assert find_problems(recordings) == {1: "'gone.wav': there is no such file"}
    with pytest.raises(RecordingError, match=r"Recording 1: 'gone\.wav': there is no such file\."):
        LogMelSpectrogram().fit_transform(recordings)


def test_errors_are_those_of_a_path(tmp_path, write, noise):
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio at all")
    recordings = [ChannelOfFile(write(noise)), ChannelOfFile(str(broken))]
    with pytest.raises(RecordingError, match=r"broken\.wav': libsndfile can't read the file"):
        LogMelSpectrogram().fit_transform(recordings)
    with pytest.warns(UserWarning, match=r"Recording 1: .*broken\.wav': libsndfile can't read"):
        rows = LogMelSpectrogram(on_error="nan").fit_transform(recordings)
    assert np.isnan(rows[1]).all()
    np.testing.assert_array_equal(rows[0], LogMelSpectrogram().fit_transform(recordings[:1])[0])


def test_an_invalid_channel_raises():
    with pytest.raises(ValueError, match="channel='left' must be 'louder' or an int"):
        ChannelOfFile("a.wav", "left")
