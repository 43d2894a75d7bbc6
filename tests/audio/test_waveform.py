"""Load recordings as waveforms: exact reading, resampling, channels, and errors."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import soxr

from sklearn_ser.audio import _file, _waveform, load_waveform
from sklearn_ser.audio._waveform import UnusableRecording

FORMATS = [
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_U8"),
    ("wav", "FLOAT"),
    ("wav", "DOUBLE"),
    ("flac", "PCM_16"),
    ("ogg", "VORBIS"),
    ("ogg", "OPUS"),
    ("mp3", "MPEG_LAYER_III"),
    ("aiff", "PCM_16"),
]


def load(recording, **kwargs):
    return load_waveform(recording, sampling_rate=16000, **kwargs)


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (4800, 2))


@pytest.mark.parametrize(("ending", "subtype"), FORMATS)
def test_files_read_exactly_as_soundfile_reads_them(tmp_path, noise, ending, subtype):
    path = tmp_path / f"noise.{ending}"
    soundfile.write(path, noise[:, 0], 16000, subtype=subtype)
    expected, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000
    assert len(expected) >= 4800
    for name in (path, str(path), np.str_(path)):
        np.testing.assert_array_equal(load(name), expected)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_resampling_is_soxr_hq(tmp_path, noise, rate):
    path = tmp_path / "noise.flac"
    soundfile.write(path, noise[:, 0], rate, subtype="PCM_16")
    samples, _ = soundfile.read(path, dtype="float32")
    expected = soxr.resample(samples, rate, 16000, quality="HQ")
    np.testing.assert_array_equal(load(path), expected)
    np.testing.assert_array_equal(load((samples, rate)), expected)
    np.testing.assert_array_equal(load((samples.astype(float), np.int64(rate))), expected)
    np.testing.assert_array_equal(load({"array": samples, "sampling_rate": rate}), expected)


def test_target_rate_differs_from_the_rate_of_arrays(noise):
    samples = noise[:, 0].astype(np.float32)
    expected = soxr.resample(samples, 16000, 24000, quality="HQ")
    np.testing.assert_array_equal(load(samples, target_rate=24000), expected)


def test_channels_are_averaged_or_picked(tmp_path, noise):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, noise, 16000, subtype="FLOAT")
    left, right = noise.astype(np.float32).T
    for stereo in (path, (noise, 16000), (noise.T, 16000)):
        np.testing.assert_allclose(load(stereo), (left + right) / 2, atol=1e-7)
        np.testing.assert_array_equal(load(stereo, channel=0), left)
        np.testing.assert_array_equal(load(stereo, channel=1), right)
        np.testing.assert_array_equal(load(stereo, channel=-1), right)
    with pytest.raises(UnusableRecording, match=r"2 channel\(s\), so there is no channel=2"):
        load(path, channel=2)
    with pytest.raises(UnusableRecording, match=r"1 channel\(s\)"):
        load(left, channel=1)


def test_decoder_has_channels_first(noise):
    samples = SimpleNamespace(data=noise[:2].T, sample_rate=16000)
    # Two samples of two channels: the shape is ambiguous, but the order of decoders is known.
    decoder = SimpleNamespace(get_all_samples=lambda: samples)
    np.testing.assert_allclose(load(decoder), noise[:2].mean(axis=1), rtol=1e-6)


def test_a_real_torchcodec_decoder(tmp_path, noise):
    decoders = pytest.importorskip("torchcodec.decoders", exc_type=(ImportError, RuntimeError))
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise[:, 0], 16000, subtype="PCM_16")
    np.testing.assert_allclose(load(decoders.AudioDecoder(path)), load(path), atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "extremes"),
    [("int16", [-(2**15), 0, 2**14]), ("int32", [-(2**31), 0, 2**30]), ("uint8", [0, 128, 192])],
)
def test_integer_pcm_is_scaled_as_soundfile_scales_it(dtype, extremes):
    np.testing.assert_array_equal(load(np.array(extremes, dtype=dtype)), [-1, 0, 0.5])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_pass_unchanged_also_outside_full_scale(dtype):
    samples = np.array([-3.0, 0.25, 8.0], dtype=dtype)
    waveform = load(samples)
    np.testing.assert_array_equal(waveform, [-3.0, 0.25, 8.0])
    assert waveform.dtype == np.float32


@pytest.mark.parametrize("rate", [16000, 48000, 8000])
def test_one_sample_is_a_recording(rate):
    waveform = load((np.array([0.5]), rate))
    assert waveform.size >= 1
    assert np.isfinite(waveform).all()


def test_real_recordings_read_exactly(corpus_folder):
    for path in sorted(corpus_folder("emodb").glob("*.flac"))[:5]:
        expected, rate = soundfile.read(path, dtype="float32")
        assert rate == 16000
        np.testing.assert_array_equal(load(path), expected)


@pytest.mark.parametrize("channel", [None, 0, -1])
@pytest.mark.parametrize(
    ("ending", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_16"), ("mp3", None)]
)
@pytest.mark.parametrize("rate", [16000, 44100, 8000])
def test_long_files_are_read_in_blocks_to_the_same_samples(
    tmp_path, noise, monkeypatch, ending, subtype, channel, rate
):
    path = tmp_path / f"noise.{ending}"
    soundfile.write(path, np.tile(noise, (3, 1)), rate, subtype=subtype)
    expected = load(path, channel=channel)
    monkeypatch.setattr(_waveform, "_MAX_SAMPLES_AT_ONCE", 20_000)
    monkeypatch.setattr(_file, "_BLOCK", 1000)
    monkeypatch.setattr(soxr, "resample", None)  # must not be called
    in_blocks = load(path, channel=channel)
    assert in_blocks.dtype == np.float32
    assert abs(len(in_blocks) - len(expected)) <= 1
    np.testing.assert_allclose(in_blocks[: len(expected)], expected[: len(in_blocks)], atol=1e-6)


def test_long_unusable_files_raise(tmp_path, noise, monkeypatch):
    monkeypatch.setattr(_waveform, "_MAX_SAMPLES_AT_ONCE", 5000)
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise, 44100)
    with pytest.raises(UnusableRecording, match=r"2 channel\(s\), so there is no channel=2"):
        load(path, channel=2)
    noise[100] = np.nan
    soundfile.write(path, noise, 44100, subtype="FLOAT")
    with pytest.raises(UnusableRecording, match="NaN"):
        load(path)


def test_memory_of_long_files_is_bounded(tmp_path):
    path = tmp_path / "long.wav"
    n_samples = 3_000_000
    soundfile.write(path, np.zeros((n_samples, 8), dtype=np.int16), 48000)
    tracemalloc.start()
    waveform = load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(waveform) == n_samples // 3
    assert peak < 0.5 * n_samples * 8 * 4
