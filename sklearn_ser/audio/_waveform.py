"""Load one recording of any supported type as a mono waveform.

The functions raise `UnusableRecording` with the reason only; the caller adds the position of the
recording.
"""

import contextlib
import os
from collections.abc import Mapping
from numbers import Real

import numpy as np
import soundfile
import soxr

# Full scale of each PCM type, by which libsndfile divides to return floats.
_PCM_SCALE = {"int16": 2.0**15, "int32": 2.0**31, "uint8": 2.0**7}

# Files with more samples, over all channels, are read in blocks (six minutes of mono at 48 kHz).
_MAX_SAMPLES_AT_ONCE = 2**24
_BLOCK = 2**17
PATH_TYPES = (str, os.PathLike)
# Range in Hz. Other rates are mistakes, and resampling from them could take extremely long.
SAMPLING_RATES = (1_000, 1_000_000)
# Above this, sums of squares over a recording overflow, and statistics are finite but wrong.
_MAX_AMPLITUDE = 1e12
NO_SUCH_FILE = "there is no such file"
NOT_FINITE = "it has samples that are NaN or infinity"


class UnusableRecording(ValueError):
    """The reason why one recording can't be used."""


def load_waveform(recording, *, sampling_rate, target_rate=None, channel=None):
    """Read one recording as a mono waveform.

    Parameters
    ----------
    recording : path, array, pair, dict or AudioDecoder
        One element of `X`.
    sampling_rate : int
        Sampling rate of arrays that are passed without one, in Hz.
    target_rate : int, default=None
        Sampling rate of the returned waveform, in Hz. None means `sampling_rate`.
    channel : int, default=None
        Index of the channel to keep; negative indices count from the last. None averages all
        channels.

    Returns
    -------
    waveform : ndarray of shape (n_samples,), float32
        At least one sample, all finite.

    Raises
    ------
    UnusableRecording
        If the recording can't be used. The message is the reason.
    """
    if isinstance(recording, PATH_TYPES) and _is_long(recording):
        return _check_samples(_load_in_blocks(recording, target_rate or sampling_rate, channel))
    samples, rate = _decode(recording, sampling_rate)
    waveform = _check_samples(to_mono(samples, channel))
    return _resample(waveform, rate, target_rate or sampling_rate)


def _check_samples(waveform):
    if waveform.size == 0:
        raise UnusableRecording("it is empty (no samples)")
    if not np.isfinite(waveform).all():
        raise UnusableRecording(NOT_FINITE)
    return waveform


def _resample(waveform, rate, target_rate):
    if rate == target_rate:
        return waveform
    resampled = soxr.resample(waveform, rate, target_rate, quality="HQ")
    # Resampling one or two samples may give none.
    return resampled if resampled.size else waveform[:1]


def _decode(recording, sampling_rate):
    """Return samples as float32 ``(n_samples,)`` or ``(n_samples, n_channels)``, and their rate."""
    if isinstance(recording, PATH_TYPES):
        return read_file(recording)
    if isinstance(recording, Mapping):
        return _decode_dict(recording)
    if is_decoder(recording):
        return _decode_decoder(recording)
    if is_pair(recording):
        array, rate = recording
        return _channels_last(_as_samples(array)), _check_rate(rate)
    samples = _as_samples(recording)
    if samples.ndim != 1:
        raise UnusableRecording(
            f"it is an array of shape {samples.shape}, and a recording is 1-D; "
            "give several channels as a pair (array, sampling_rate)"
        )
    return samples, sampling_rate


def _is_long(path):
    """Return whether to read a file in blocks; False if it can't be opened."""
    try:
        info = soundfile.info(os.fspath(path))
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError):
        return False
    return info.frames * info.channels > _MAX_SAMPLES_AT_ONCE


def _load_in_blocks(path, target_rate, channel):
    """Read, mix and resample a file block by block, to bound memory."""
    with _raise_unusable(path), soundfile.SoundFile(os.fspath(path)) as file:
        blocks = (to_mono(block, channel) for block in file.blocks(_BLOCK, dtype="float32"))
        if file.samplerate == target_rate:
            return np.concatenate(list(blocks))
        stream = soxr.ResampleStream(file.samplerate, target_rate, 1, quality="HQ")
        resampled = [stream.resample_chunk(block) for block in blocks]
        resampled.append(stream.resample_chunk(np.empty(0, dtype=np.float32), last=True))
    return np.concatenate(resampled)


def read_file(path, start=0.0, end=None):
    """Return samples, float32 ``(n_samples,)`` or ``(n_samples, n_channels)``, and their rate."""
    with _raise_unusable(path):
        if start == 0 and end is None:
            return soundfile.read(path, dtype="float32")
        with soundfile.SoundFile(os.fspath(path)) as file:
            rate = file.samplerate
            first, last = round(start * rate), file.frames if end is None else round(end * rate)
            if first >= file.frames or last > file.frames + 1:
                raise UnusableRecording(
                    f"the segment from {start:g} to {end if end is None else round(end, 3)} s is "
                    f"not in the file, which has {file.frames / rate:g} s"
                )
            file.seek(first)
            return file.read(min(last, file.frames) - first, dtype="float32"), rate


def measure_file(path):
    """Return the duration of a file in seconds, from its header."""
    with _raise_unusable(path):
        return soundfile.info(os.fspath(path)).duration


@contextlib.contextmanager
def _raise_unusable(path):
    if os.path.isdir(path):
        raise UnusableRecording("it is a folder")
    if not os.path.exists(path):
        raise UnusableRecording(NO_SUCH_FILE)
    try:
        yield
    except UnusableRecording:
        raise
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError, MemoryError) as error:
        # ValueError and MemoryError: the header has no length, or an impossible one.
        if os.path.exists(path) and os.path.getsize(path) == 0:
            raise UnusableRecording("the file is empty (0 bytes)") from error
        raise UnusableRecording(f"libsndfile can't read the file as audio ({error})") from error


def _decode_dict(recording):
    if not {"array", "sampling_rate"} <= set(recording):
        keys = ", ".join(map(repr, recording))
        raise UnusableRecording(
            f"it is a dict without 'array' and 'sampling_rate' (its keys: {keys}); let `datasets` "
            "decode it by cast_column(..., Audio()), or pass its path"
        )
    samples = _channels_last(_as_samples(recording["array"]))
    return samples, _check_rate(recording["sampling_rate"])


def _decode_decoder(decoder):
    try:
        decoded = decoder.get_all_samples()
    except UnusableRecording:  # raised by SegmentOfFile with its own reason
        raise
    except Exception as error:  # FFmpeg may raise anything
        raise UnusableRecording(f"its decoder failed ({type(error).__name__}: {error})") from error
    return _as_samples(decoded.data).T, _check_rate(decoded.sample_rate)


def is_decoder(recording):
    """Return whether this is a torchcodec ``AudioDecoder``, without importing torchcodec."""
    return hasattr(recording, "get_all_samples")


def is_pair(recording):
    """Return whether this is a pair ``(array, sampling_rate)``."""
    return _is_two(recording, tuple) and _is_array(recording[0]) and _is_number(recording[1])


def _is_two(recording, kinds):
    return isinstance(recording, kinds) and len(recording) == 2


def _is_array(value):
    return isinstance(value, (list, tuple)) or len(getattr(value, "shape", ())) > 0


def _is_number(value):
    return isinstance(value, Real) or getattr(value, "shape", None) == ()


def _check_rate(rate):
    low, high = SAMPLING_RATES
    try:
        if low <= rate <= high:
            return float(rate)
    except TypeError:  # not a number
        pass
    raise UnusableRecording(
        f"its sampling rate is {rate!r}, which is not a number from {low} to {high} Hz"
    )


def _explain_unsupported(recording):
    """Return why an object is not a recording, and what to pass instead."""
    if _is_two(recording, (list, tuple)):
        first, second = recording
        if _is_number(first) and first >= SAMPLING_RATES[0] and _is_array(second):
            return (
                "it looks like (sampling_rate, array), the order of scipy.io.wavfile.read; turn it "
                "round: (array, sampling_rate)"
            )
        if _is_array(first) and not _is_array(second):
            return "it looks like a pair; make it a tuple of an array and a number of Hz"
        if isinstance(first, PATH_TYPES):
            return "it looks like a path with another value; pass the path alone"
    return (
        f"it is of type {type(recording).__name__}; a recording is a path, an array of samples, a "
        "pair (array, sampling_rate), a dict with 'array' and 'sampling_rate', or an AudioDecoder"
    )


def _as_samples(array):
    """Convert an array to float32 samples: floats unchanged, integer PCM scaled to [-1, 1]."""
    try:
        samples = np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UnusableRecording(f"{_explain_unsupported(array)} ({error})") from error
    if samples.ndim == 0 or samples.dtype.kind in "OUST":
        raise UnusableRecording(_explain_unsupported(array))
    if samples.dtype.kind not in "fiu":
        raise UnusableRecording(f"its samples are {samples.dtype}, which are not real numbers")
    if np.ma.is_masked(array):
        raise UnusableRecording("it has masked samples; fill them, or crop the recording")
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # overflow is reported as infinity
            return samples.astype(np.float32, copy=False)
    if samples.dtype.name not in _PCM_SCALE:
        raise UnusableRecording(
            f"its samples are {samples.dtype.name}, which is not a supported PCM format; "
            "convert it to int16, int32 or uint8 PCM, or to floats in [-1, 1]"
        )
    scale = np.float32(_PCM_SCALE[samples.dtype.name])
    offset = scale if samples.dtype.kind == "u" else np.float32(0)
    return (samples.astype(np.float32) - offset) / scale


def _channels_last(samples):
    """Transpose ``(n_channels, n_samples)``, the order of torch, to ``(n_samples, n_channels)``.

    The shorter axis is taken for the channels.
    """
    if samples.ndim == 0 or samples.ndim > 2 or (samples.ndim == 2 and len(set(samples.shape)) < 2):
        raise UnusableRecording(
            f"its array has shape {samples.shape}, which is neither (n_samples,) nor "
            "(n_samples, n_channels)"
        )
    return samples.T if samples.ndim == 2 and samples.shape[0] < samples.shape[1] else samples


def to_mono(samples, channel):
    """Return one channel, or the mean over channels if `channel` is None."""
    if samples.ndim == 1:
        samples = samples[:, np.newaxis]
    n_channels = samples.shape[1]
    if channel is None:
        return samples[:, 0] if n_channels == 1 else samples.mean(axis=1)
    if not -n_channels <= channel < n_channels:
        raise UnusableRecording(f"it has {n_channels} channel(s), so there is no channel={channel}")
    return np.ascontiguousarray(samples[:, channel])


def check_amplitude(waveform):
    """Return the largest magnitude of a waveform, and check that it is not too large.

    Parameters
    ----------
    waveform : ndarray of shape (n_samples,)
        Samples.

    Returns
    -------
    amplitude : float
        Largest magnitude.

    Raises
    ------
    UnusableRecording
        If sums of squares over the recording would overflow.
    """
    amplitude = max(waveform.max(), -waveform.min())
    if amplitude > _MAX_AMPLITUDE:
        raise UnusableRecording(
            f"its samples reach {amplitude:.2g}, too large for a network; scale them to [-1, 1]"
        )
    return amplitude
