"""Compute mel spectrograms with the conventions and the numerical results of librosa."""

import numpy as np
from scipy import fft, sparse

from sklearn_ser._warnings import warn

# Number of frames transformed at once. A block fits into the processor's cache and bounds the
# memory of long recordings.
_BLOCK = 128

# Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above.
_SLANEY_HZ_PER_MEL = 200.0 / 3
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_BREAK_MEL = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(frequencies, *, htk=False):
    """Convert frequencies in Hz to mel, on the Slaney or the HTK scale."""
    frequencies = np.asarray(frequencies, dtype=np.float64)
    if htk:
        return 2595.0 * np.log10(1.0 + frequencies / 700.0)
    above = np.maximum(frequencies, _SLANEY_BREAK_HZ)
    return np.where(
        frequencies < _SLANEY_BREAK_HZ,
        frequencies / _SLANEY_HZ_PER_MEL,
        _SLANEY_BREAK_MEL + np.log(above / _SLANEY_BREAK_HZ) / _SLANEY_LOG_STEP,
    )


def mel_to_hz(mels, *, htk=False):
    """Convert mel to frequencies in Hz, on the Slaney or the HTK scale."""
    mels = np.asarray(mels, dtype=np.float64)
    if htk:
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    return np.where(
        mels < _SLANEY_BREAK_MEL,
        mels * _SLANEY_HZ_PER_MEL,
        _SLANEY_BREAK_HZ * np.exp(_SLANEY_LOG_STEP * (mels - _SLANEY_BREAK_MEL)),
    )


def mel_filterbank(sampling_rate, n_fft, n_mels, fmin, fmax, htk, norm):
    """Compute triangular filters of equal width on the mel scale.

    Parameters
    ----------
    sampling_rate : int
        Sampling rate, in Hz.
    n_fft : int
        Length of the Fourier transform, in samples.
    n_mels : int
        Number of mel bands.
    fmin, fmax : float
        Lower edge of the lowest band and upper edge of the highest, in Hz.
    htk : bool
        Whether to use the HTK mel scale instead of Slaney's.
    norm : {"slaney", None}
        Whether to scale each filter to unit area; None leaves unit height.

    Returns
    -------
    filters : csr_array of shape (n_mels, n_fft // 2 + 1), float32
        Filters as a sparse array: each Fourier bin belongs to at most two bands.
    """
    edges = mel_to_hz(
        np.linspace(hz_to_mel(fmin, htk=htk), hz_to_mel(fmax, htk=htk), n_mels + 2), htk=htk
    )
    lower, centre, upper = (edges[i : i + n_mels, np.newaxis] for i in range(3))
    bins = np.fft.rfftfreq(n_fft, 1.0 / sampling_rate)
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    n_empty = int((filters.max(axis=1) == 0).sum())
    if n_empty:
        warn(
            f"{n_empty} of {n_mels} mel bands are narrower than a Fourier bin and stay empty. "
            "Lower n_mels, or raise n_fft."
        )
    if norm == "slaney":
        filters *= 2.0 / (upper - lower)
    return sparse.csr_array(filters.astype(np.float32))


def sample_window(window, win_length, n_fft):
    """Sample a periodic window, padded with zeros on both sides.

    Parameters
    ----------
    window : str or tuple
        Window, as in `scipy.signal.get_window`.
    win_length : int
        Length of the window, in samples.
    n_fft : int
        Length after padding, in samples.

    Returns
    -------
    samples : ndarray of shape (n_fft,), float32

    Raises
    ------
    ValueError
        If SciPy does not have the window.
    """
    from scipy.signal import get_window

    left = (n_fft - win_length) // 2
    samples = np.zeros(n_fft, dtype=np.float32)
    try:
        samples[left : left + win_length] = get_window(window, win_length, fftbins=True)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"window={window!r} is not a window of scipy.signal.get_window ({error})."
        ) from error
    return samples


def n_frames(n_samples, *, n_fft, hop_length, center):
    """Return the number of frames of a waveform of `n_samples` samples."""
    padding = 2 * (n_fft // 2) if center else 0
    return 1 + max(n_samples + padding - n_fft, 0) // hop_length


def mel_spectrogram(waveform, filters, window, *, hop_length, center, power):
    """Compute a mel spectrogram.

    Parameters
    ----------
    waveform : ndarray of shape (n_samples,), float32
        At least one sample. Frames that extend beyond it are padded with zeros.
    filters : csr_array of shape (n_mels, n_fft // 2 + 1)
        Mel filters, from `mel_filterbank`.
    window : ndarray of shape (n_fft,)
        Window, from `sample_window`.
    hop_length : int
        Number of samples between the starts of frames.
    center : bool
        If True, frame `t` is centred at sample ``t * hop_length``; if False, it begins there.
    power : float
        Exponent of the magnitude: 1 for amplitude, 2 for power.

    Returns
    -------
    spectrogram : ndarray of shape (n_mels, n_frames), float32
    """
    n_fft = len(window)
    count = n_frames(len(waveform), n_fft=n_fft, hop_length=hop_length, center=center)
    left = n_fft // 2 if center else 0
    right = max((count - 1) * hop_length + n_fft - left - len(waveform), 0)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, (left, right)), n_fft)
    frames = frames[::hop_length]
    mels = np.empty((filters.shape[0], count), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        spectrum = fft.rfft(frames[block] * window, axis=1)
        magnitude = spectrum.real**2 + spectrum.imag**2
        if power != 2:
            magnitude **= power / 2
        mels[:, block] = filters @ magnitude.T
    return mels


def log_scale(spectrogram, *, scale, power, amin, top_db):
    """Convert a spectrogram to decibel or to natural logarithms.

    Parameters
    ----------
    spectrogram : ndarray of shape (n_mels, n_frames)
        Magnitudes raised to `power`.
    scale : {"db", "log", None}
        Decibel relative to 1, natural logarithm, or no scaling.
    power : float
        Exponent of the magnitudes in `spectrogram`.
    amin : float
        Minimum power; lower values are clipped to it.
    top_db : float or None
        Range below the maximum, in decibel; lower values are clipped. None clips nothing.

    Returns
    -------
    scaled : ndarray of the same shape
    """
    if scale is None:
        return spectrogram
    floor = max(amin ** (power / 2), np.finfo(np.float32).tiny)
    floored = np.maximum(spectrogram, np.float32(floor))
    if scale == "log":
        return np.log(floored)
    decibel = np.float32(20.0 / power) * np.log10(floored)
    return decibel if top_db is None else np.maximum(decibel, decibel.max() - np.float32(top_db))


def crop_and_pad(waveform, n_samples, *, crop, pad):
    """Crop or pad a waveform to a fixed length.

    Parameters
    ----------
    waveform : ndarray of shape (length,)
        At least one sample.
    n_samples : int
        Target length.
    crop : {"start", "center", "end"}
        Part of a longer waveform to keep.
    pad : {"zeros", "repeat"}, or None
        Whether to pad a shorter waveform with zeros, to repeat it, or to leave it unchanged.

    Returns
    -------
    waveform : ndarray of shape (n_samples,)
        Cropped or padded waveform; it may be shorter if `pad` is None.
    """
    excess = len(waveform) - n_samples
    if excess >= 0:
        start = {"start": 0, "center": excess // 2, "end": excess}[crop]
        return waveform[start : start + n_samples]
    if pad is None:
        return waveform
    if pad == "repeat":
        return np.resize(waveform, n_samples)
    return np.pad(waveform, (0, -excess))
