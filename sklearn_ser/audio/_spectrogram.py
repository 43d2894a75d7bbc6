"""Waveforms to mel spectrograms, with librosa's conventions and equal to its numbers."""

import numpy as np
from scipy import fft, sparse

from sklearn_ser._warnings import warn

# Frames transformed at once: few enough that a block stays in the processor's cache,
# so that hours of audio need no more memory than their mel bands.
_BLOCK = 128

# Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above.
_SLANEY_HZ_PER_MEL = 200.0 / 3
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_BREAK_MEL = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(frequencies, *, htk=False):
    """Convert Hz to mel, on Slaney's scale or HTK's."""
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
    """Convert mel to Hz, on Slaney's scale or HTK's."""
    mels = np.asarray(mels, dtype=np.float64)
    if htk:
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    return np.where(
        mels < _SLANEY_BREAK_MEL,
        mels * _SLANEY_HZ_PER_MEL,
        _SLANEY_BREAK_HZ * np.exp(_SLANEY_LOG_STEP * (mels - _SLANEY_BREAK_MEL)),
    )


def mel_filterbank(sampling_rate, n_fft, n_mels, fmin, fmax, htk, norm):
    """Make triangular filters, equally wide on the mel scale.

    Parameters
    ----------
    sampling_rate : int
        In Hz.
    n_fft : int
        Length of the Fourier transform, in samples.
    n_mels : int
        Number of bands.
    fmin, fmax : float
        Lower edge of the lowest band and upper edge of the highest, in Hz.
    htk : bool
        HTK's mel scale in place of Slaney's.
    norm : {"slaney", None}
        Whether each filter has unit area, or unit height.

    Returns
    -------
    filters : csr_array of shape (n_mels, n_fft // 2 + 1), float32
        Sparse, since a Fourier bin belongs to two bands at most.
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
    """Sample a periodic window, with zeros around it.

    Parameters
    ----------
    window : str or tuple
        As in `scipy.signal.get_window`.
    win_length : int
        Length of the window, in samples.
    n_fft : int
        Length with the zeros around it, in samples.

    Returns
    -------
    samples : ndarray of shape (n_fft,), float32

    Raises
    ------
    ValueError
        If SciPy does not know the window.
    """
    from scipy.signal import get_window

    left = (n_fft - win_length) // 2
    samples = np.zeros(n_fft, dtype=np.float32)
    try:
        samples[left : left + win_length] = get_window(window, win_length, fftbins=True)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"window={window!r} is none that scipy.signal.get_window knows ({error})."
        ) from error
    return samples


def n_frames(n_samples, *, n_fft, hop_length, center):
    """Count the frames of a waveform of `n_samples` samples."""
    padding = 2 * (n_fft // 2) if center else 0
    return 1 + max(n_samples + padding - n_fft, 0) // hop_length


def mel_spectrogram(waveform, filters, window, *, hop_length, center, power):
    """Compute a mel spectrogram.

    Parameters
    ----------
    waveform : ndarray of shape (n_samples,), float32
        At least one sample. It is continued with zeros where a frame reaches beyond it.
    filters : csr_array of shape (n_mels, n_fft // 2 + 1)
        From `mel_filterbank`.
    window : ndarray of shape (n_fft,)
        From `sample_window`.
    hop_length : int
        In samples.
    center : bool
        Whether frame `t` is centred at sample ``t * hop_length``, or begins there.
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
    """Take the logarithm of a spectrogram: in decibel, natural, or none.

    Parameters
    ----------
    spectrogram : ndarray of shape (n_mels, n_frames)
        Magnitudes raised to `power`.
    scale : {"db", "log", None}
        Decibel relative to 1; natural logarithm; no logarithm.
    power : float
        The exponent of `spectrogram`.
    amin : float
        Floor of the *power*, below which values are raised to it.
    top_db : float or None
        How far below the loudest value the decibel scale ends.

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
    """Cut or continue a waveform to a fixed length.

    Parameters
    ----------
    waveform : ndarray of shape (length,)
        At least one sample.
    n_samples : int
        The length asked for.
    crop : {"start", "center", "end"}
        The part of a longer waveform that is kept.
    pad : {"zeros", "repeat"}, or None
        What follows a shorter waveform: silence, itself again, or nothing.

    Returns
    -------
    waveform : ndarray of shape (n_samples,)
        Shorter only if `pad` is None.
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
