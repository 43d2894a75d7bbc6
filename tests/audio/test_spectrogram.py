"""Mel spectrograms against librosa, to 1e-6 of the maximum and .01 dB."""

import warnings

import numpy as np
import pytest
import soundfile

from plain_librosa import librosa
from sklearn_ser.audio import (
    crop_and_pad,
    log_scale,
    mel_filterbank,
    mel_spectrogram,
    n_frames,
    sample_window,
)
from sklearn_ser.audio._spectrogram import hz_to_mel, mel_to_hz

DEFAULTS = {
    "sr": 16000,
    "n_fft": 1024,
    "win_length": 1024,
    "hop_length": 256,
    "window": "hann",
    "center": True,
    "power": 2.0,
    "n_mels": 128,
    "fmin": 0.0,
    "fmax": 8000.0,
    "htk": False,
    "norm": "slaney",
}
SETTINGS = [
    {},
    {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80, "power": 1.0},
    {"n_fft": 2048, "win_length": 2048, "hop_length": 512, "n_mels": 40, "htk": True, "norm": None},
    {"fmin": 50.0, "fmax": 7600.0, "window": "hamming", "center": False},
    {"sr": 22050, "fmax": 11025.0, "n_fft": 1000, "win_length": 999, "hop_length": 333},
    {"window": ("kaiser", 8.0), "n_mels": 23, "power": 3.0},
    {"window": ("general_cosine", [0.5, 0.5]), "n_fft": 1001, "win_length": 801, "n_mels": 64},
]


def ours(waveform, settings):
    p = DEFAULTS | settings
    filters = mel_filterbank(
        p["sr"], p["n_fft"], p["n_mels"], p["fmin"], p["fmax"], p["htk"], p["norm"]
    )
    window = sample_window(p["window"], p["win_length"], p["n_fft"])
    names = ("hop_length", "center", "power")
    return mel_spectrogram(waveform, filters, window, **{name: p[name] for name in names})


def librosas(waveform, settings):
    # In float64, so that the difference is our rounding alone.
    return librosa.feature.melspectrogram(y=waveform.astype(np.float64), **DEFAULTS | settings)


def buzz(n_samples, seed=0):
    """Harmonics that fade, and a little noise: a spectrum with some 60 dB from peak to floor."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_samples) / 16000
    tones = sum(np.sin(2 * np.pi * 140 * k * time + k) / k**1.5 for k in range(1, 50))
    return (0.2 * tones + 1e-4 * rng.standard_normal(n_samples)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("n_samples", [40000, 16127, 3001])
def test_equal_to_librosa(settings, n_samples):
    waveform = buzz(n_samples)
    expected = librosas(waveform, settings)
    spectrogram = ours(waveform, settings)
    assert spectrogram.shape == expected.shape
    np.testing.assert_allclose(spectrogram, expected, rtol=0, atol=1e-6 * expected.max())
    power = (DEFAULTS | settings)["power"]
    decibel = log_scale(spectrogram, scale="db", power=power, amin=1e-10, top_db=80.0)
    np.testing.assert_allclose(
        decibel, librosa.power_to_db(expected ** (2 / power)), rtol=0, atol=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS[:3], ids=str)
def test_equal_to_librosa_on_real_recordings(corpus_folder, settings):
    for path in sorted(corpus_folder("emodb").glob("*.flac"))[::60]:
        waveform, _ = soundfile.read(path, dtype="float32")
        expected = librosas(waveform, settings)
        spectrogram = ours(waveform, settings)
        np.testing.assert_allclose(spectrogram, expected, rtol=0, atol=1e-6 * expected.max())
        power = (DEFAULTS | settings)["power"]
        decibel = log_scale(spectrogram, scale="db", power=power, amin=1e-10, top_db=80.0)
        np.testing.assert_allclose(
            decibel, librosa.power_to_db(expected ** (2 / power)), rtol=0, atol=0.01
        )


@pytest.mark.parametrize("htk", [False, True])
def test_mel_scale_is_librosas(htk):
    frequencies = np.linspace(0, 20000, 401)
    mels = hz_to_mel(frequencies, htk=htk)
    np.testing.assert_allclose(mels, librosa.hz_to_mel(frequencies, htk=htk), rtol=1e-12)
    np.testing.assert_allclose(mel_to_hz(mels, htk=htk), frequencies, rtol=1e-12, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("n_fft", [1024, 1001])
@pytest.mark.parametrize("n_samples", [1, 2, 100, 255, 256, 1023, 1024, 1025, 33024])
def test_number_of_frames(n_samples, n_fft, center):
    settings = {"center": center, "n_fft": n_fft, "win_length": n_fft, "n_mels": 40}
    count = ours(buzz(n_samples), settings).shape[1]
    assert count == n_frames(n_samples, n_fft=n_fft, hop_length=256, center=center)
    if n_samples > 1 and (center or n_samples >= n_fft):  # librosa raises for shorter ones
        with warnings.catch_warnings(action="ignore"):  # librosa warns about short ones
            assert count == librosas(buzz(n_samples), settings).shape[1]


def test_results_do_not_depend_on_blocks():
    # The waveform spans several blocks. A frame depends on its own samples only.
    waveform = buzz(400 * 256)
    whole = ours(waveform, {})
    part = ours(waveform[100 * 256 : 300 * 256], {})
    np.testing.assert_allclose(whole[:, 103:297], part[:, 3:197], rtol=1e-5)


def test_empty_bands_warn_each_time():
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"of 200 mel bands.*Lower n_mels, or raise n_fft"):
            mel_filterbank(16000, 256, 200, 0.0, 8000.0, False, "slaney")


def test_natural_logarithm_and_none():
    spectrogram = np.array([[1e-12, 1.0, np.e]], dtype=np.float32)
    kwargs = {"power": 2.0, "amin": 1e-10, "top_db": 80.0}
    np.testing.assert_array_equal(log_scale(spectrogram, scale=None, **kwargs), spectrogram)
    expected = [[np.log(1e-10), 0, 1]]
    np.testing.assert_allclose(log_scale(spectrogram, scale="log", **kwargs), expected, rtol=1e-6)


def test_decibel_without_limit_reaches_the_floor():
    spectrogram = np.array([[1e-12, 1.0]], dtype=np.float32)
    decibel = log_scale(spectrogram, scale="db", power=2.0, amin=1e-10, top_db=None)
    np.testing.assert_allclose(decibel, [[-100, 0]], rtol=1e-6)


@pytest.mark.parametrize(("crop", "start"), [("start", 0), ("center", 3), ("end", 6)])
def test_crop(crop, start):
    waveform = np.arange(10)
    cropped = crop_and_pad(waveform, 4, crop=crop, pad="zeros")
    np.testing.assert_array_equal(cropped, waveform[start : start + 4])


@pytest.mark.parametrize(
    ("pad", "expected"),
    [("zeros", [1, 2, 3, 0, 0, 0, 0]), ("repeat", [1, 2, 3, 1, 2, 3, 1]), (None, [1, 2, 3])],
)
def test_pad(pad, expected):
    waveform = np.array([1, 2, 3])
    np.testing.assert_array_equal(crop_and_pad(waveform, 7, crop="center", pad=pad), expected)
