"""One channel of a file: chosen by number or by energy, read late, told by its path."""

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


def test_energy_decides_and_not_the_peak(write):
    peak, steady = np.zeros(100), np.full(100, 0.5)
    peak[3] = 1.0
    np.testing.assert_array_equal(load(write(np.stack([peak, steady], axis=1))), steady)


def test_of_equals_the_first(write, noise):
    stereo = np.stack([noise[:, 0], -noise[:, 0]], axis=1)
    np.testing.assert_array_equal(load(write(stereo)), noise[:, 0])


def test_one_channel_is_the_louder_and_the_first(write, noise):
    path = write(noise[:, 0])
    np.testing.assert_array_equal(load(path), noise[:, 0])
    np.testing.assert_array_equal(load(path, 0), noise[:, 0])
    with pytest.raises(UnusableRecording, match=r"1 channel\(s\)"):
        load(path, 1)


def test_it_speaks_the_decoder_s_protocol(write, noise):
    samples = ChannelOfFile(write(noise), 1).get_all_samples()
    assert samples.data.shape == (1, 4800)
    assert samples.data.dtype == np.float32
    assert samples.sample_rate == 16000


def test_it_is_a_value(write):
    one, same, other = (ChannelOfFile("a.wav", channel) for channel in (0, 0, 1))
    assert one == same != other
    assert len({one, same, other}) == 2
    assert pickle.loads(pickle.dumps(one)) == one
    assert str(one) == repr(one) == "ChannelOfFile(path='a.wav', channel=0)"
    with pytest.raises(AttributeError):
        one.channel = 1


@pytest.mark.parametrize("container", [list, tuple, pd.Series, lambda X: pd.DataFrame({"X": X})])
def test_every_container_holds_it(container):
    channels = [ChannelOfFile("a.wav"), ChannelOfFile("b.wav", 1)]
    assert not is_table(container(channels))
    assert list(as_recordings(container(channels))) == channels


def test_by_itself_it_is_refused():
    with pytest.raises(ValueError, match=r"one recording by itself \('a\.wav'\)"):
        as_recordings(ChannelOfFile("a.wav"))


def test_a_missing_file_is_found_before_any_work(write, noise):
    recordings = [ChannelOfFile(write(noise)), ChannelOfFile("gone.wav", 1)]
    assert find_problems(recordings) == {1: "'gone.wav': there is no such file"}
    with pytest.raises(RecordingError, match=r"Recording 1: 'gone\.wav': there is no such file\."):
        LogMelSpectrogram().fit_transform(recordings)


def test_what_is_wrong_with_the_file_is_told_as_for_a_path(tmp_path, write, noise):
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio at all")
    recordings = [ChannelOfFile(write(noise)), ChannelOfFile(str(broken))]
    with pytest.raises(RecordingError, match=r"broken\.wav': libsndfile can't read the file"):
        LogMelSpectrogram().fit_transform(recordings)
    with pytest.warns(UserWarning, match=r"Recording 1: .*broken\.wav': libsndfile can't read"):
        rows = LogMelSpectrogram(on_error="nan").fit_transform(recordings)
    assert np.isnan(rows[1]).all()
    np.testing.assert_array_equal(rows[0], LogMelSpectrogram().fit_transform(recordings[:1])[0])


def test_what_is_no_channel_is_refused():
    with pytest.raises(ValueError, match="channel='left' must be 'louder' or an int"):
        ChannelOfFile("a.wav", "left")
