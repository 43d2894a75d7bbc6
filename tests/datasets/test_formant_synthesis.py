"""Filters and tracks of the formant synthesis, compared with references."""

import numpy as np
import pytest
from scipy.signal import lfilter

from sklearn_ser.datasets._formant_synthesis import (
    PHONES,
    _filter,
    _frequencies,
    _resonator,
    _track,
)


def test_filter_is_exact_convolution():
    # With one resonator for all frames, overlap-add must equal the recursive filter.
    sampling_rate, frequency, bandwidth = 16000, 700.0, 90.0
    signal = np.random.default_rng(0).standard_normal(4000)
    response = _resonator(np.full(30, frequency), np.full(30, bandwidth), sampling_rate)
    radius = np.exp(-np.pi * bandwidth / sampling_rate)
    b = 2 * radius * np.cos(2 * np.pi * frequency / sampling_rate)
    c = -(radius**2)
    expected = lfilter([1 - b - c], [1, -b, -c], signal)
    actual = _filter(signal, response, sampling_rate)
    assert np.abs(actual - expected).max() < 1e-3 * np.abs(expected).max()


def test_resonator_peaks_at_its_frequency():
    response = np.abs(_resonator(np.array([1500.0]), np.array([80.0]), 16000)[0])
    assert _frequencies(16000)[response.argmax()] == pytest.approx(1500, abs=17)
    assert response[0] == pytest.approx(1)


def test_track_holds_targets_and_moves_between_them():
    ends, durations = np.array([0.1, 0.2]), np.array([0.1, 0.1])
    values = _track(np.array([0.05, 0.1, 0.15]), ends, durations, [1.0, 3.0])
    np.testing.assert_allclose(values, [1.0, 2.0, 3.0])


def test_phones_keep_their_formants_in_order():
    for phones in PHONES.values():
        for phone in phones:
            assert list(phone.formants) == sorted(phone.formants)
