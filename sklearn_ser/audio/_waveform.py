"""One recording, whatever it is kept in, to one waveform.

Each function here raises `UnusableRecording` with the reason alone; the caller
knows the recording's position and adds it.
"""

import contextlib
import os
from collections.abc import Mapping
from numbers import Real

import numpy as np
import soundfile
import soxr

# Full scale of each PCM type: what libsndfile divides by when it reads floats.
_PCM_SCALE = {"int16": 2.0**15, "int32": 2.0**31, "uint8": 2.0**7}

# Samples of all channels: about six minutes in mono, from where on files are read in blocks.
_LONG = 2**24
_BLOCK = 2**17
PATH_TYPES = (str, os.PathLike)
# Hz. Beyond these a rate is a mistake, and resampling from it may take for ever.
SAMPLING_RATES = (1_000, 1_000_000)
# Beyond this, sums of squares over a recording overflow, and statistics come out finite but wrong.
_LOUDEST = 1e12
NO_SUCH_FILE = "there is no such file"
NOT_FINITE = "it has samples that are NaN or infinity"


class UnusableRecording(ValueError):
    """The reason why one recording can't be used."""


def load_waveform(recording, *, sampling_rate, target_rate=None, channel=None):
    """Read one recording as a mono waveform.

    Parameters
    ----------
    recording : path, array, pair, dict or AudioDecoder
        One entry of what `X` may hold.
    sampling_rate : int
        The rate of an array that comes without one, in Hz.
    target_rate : int, default=None
        The rate of the waveform returned, in Hz; `sampling_rate` if None.
    channel : int, default=None
        The channel to keep, counted from 0, negative from the last; None averages all.

    Returns
    -------
    waveform : ndarray of shape (n_samples,), float32
        At least one sample, all finite.

    Raises
    ------
    UnusableRecording
        With the reason why this is not a recording that can be used.
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
    # A recording of one or two samples may round down to none.
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
    """Tell whether a file is to be read in blocks; what is wrong with it, reading it will tell."""
    try:
        info = soundfile.info(os.fspath(path))
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError):
        return False
    return info.frames * info.channels > _LONG


def _load_in_blocks(path, target_rate, channel):
    """Read one mono waveform from a file, never holding its channels or its own rate at whole."""
    with _told_as_unusable(path), soundfile.SoundFile(os.fspath(path)) as file:
        blocks = (to_mono(block, channel) for block in file.blocks(_BLOCK, dtype="float32"))
        if file.samplerate == target_rate:
            return np.concatenate(list(blocks))
        stream = soxr.ResampleStream(file.samplerate, target_rate, 1, quality="HQ")
        resampled = [stream.resample_chunk(block) for block in blocks]
        resampled.append(stream.resample_chunk(np.empty(0, dtype=np.float32), last=True))
    return np.concatenate(resampled)


def read_file(path):
    """Return float32 samples, ``(n_samples,)`` or ``(n_samples, n_channels)``, and their rate."""
    with _told_as_unusable(path):
        return soundfile.read(path, dtype="float32")


@contextlib.contextmanager
def _told_as_unusable(path):
    if os.path.isdir(path):
        raise UnusableRecording("it is a folder")
    if not os.path.exists(path):
        raise UnusableRecording(NO_SUCH_FILE)
    try:
        yield
    except UnusableRecording:
        raise
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError, MemoryError) as error:
        # The last two: a header that gives no length, or one that cannot be.
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
    except UnusableRecording:  # a decoder of this package says what is wrong itself
        raise
    except Exception as error:  # whatever FFmpeg finds wrong with this one recording
        raise UnusableRecording(f"its decoder failed ({type(error).__name__}: {error})") from error
    return _as_samples(decoded.data).T, _check_rate(decoded.sample_rate)


def is_decoder(recording):
    """Tell whether this is a torchcodec ``AudioDecoder``, without importing torchcodec."""
    return hasattr(recording, "get_all_samples")


def is_pair(recording):
    """Tell whether this is a pair ``(array, sampling_rate)``."""
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
    except TypeError:  # no number at all
        pass
    raise UnusableRecording(
        f"its sampling rate is {rate!r}, which is no number from {low} to {high} Hz"
    )


def _explain(recording):
    """Say what a recording looks like that is none, and what to do."""
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
            return "it looks like a path with something beside it; pass the path alone"
    return (
        f"it is of type {type(recording).__name__}; a recording is a path, an array of samples, a "
        "pair (array, sampling_rate), a dict with 'array' and 'sampling_rate', or an AudioDecoder"
    )


def _as_samples(array):
    """Return an array as float32 samples: floats unchanged, integer PCM scaled to [-1, 1]."""
    try:
        samples = np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UnusableRecording(f"{_explain(array)} ({error})") from error
    if samples.ndim == 0 or samples.dtype.kind in "OUST":
        raise UnusableRecording(_explain(array))
    if samples.dtype.kind not in "fiu":
        raise UnusableRecording(f"its samples are {samples.dtype}, which are no real numbers")
    if np.ma.is_masked(array):
        raise UnusableRecording("it has masked samples; fill them, or cut the recording")
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is told as infinite
            return samples.astype(np.float32, copy=False)
    if samples.dtype.name not in _PCM_SCALE:
        raise UnusableRecording(
            f"its samples are {samples.dtype.name}, which is no PCM format known here; "
            "convert it to int16, int32 or uint8 PCM, or to floats in [-1, 1]"
        )
    scale = np.float32(_PCM_SCALE[samples.dtype.name])
    offset = scale if samples.dtype.kind == "u" else np.float32(0)
    return (samples.astype(np.float32) - offset) / scale


def _channels_last(samples):
    """Turn ``(n_channels, n_samples)``, torch's order, into ``(n_samples, n_channels)``.

    The shorter side counts the channels: no recording has fewer samples than channels.
    """
    if samples.ndim == 0 or samples.ndim > 2 or (samples.ndim == 2 and len(set(samples.shape)) < 2):
        raise UnusableRecording(
            f"its array has shape {samples.shape}, which is neither (n_samples,) nor "
            "(n_samples, n_channels)"
        )
    return samples.T if samples.ndim == 2 and samples.shape[0] < samples.shape[1] else samples


def to_mono(samples, channel):
    """Return one channel of the samples, or the mean of all if `channel` is None."""
    if samples.ndim == 1:
        samples = samples[:, np.newaxis]
    n_channels = samples.shape[1]
    if channel is None:
        return samples[:, 0] if n_channels == 1 else samples.mean(axis=1)
    if not -n_channels <= channel < n_channels:
        raise UnusableRecording(f"it has {n_channels} channel(s), so there is no channel={channel}")
    return np.ascontiguousarray(samples[:, channel])


def refuse_too_loud(waveform):
    """Return the largest magnitude of a waveform, or refuse one that no network can take.

    Parameters
    ----------
    waveform : ndarray of shape (n_samples,)

    Returns
    -------
    loudest : float

    Raises
    ------
    UnusableRecording
        If sums of squares over the recording would overflow.
    """
    loudest = max(waveform.max(), -waveform.min())
    if loudest > _LOUDEST:
        raise UnusableRecording(
            f"its samples reach {loudest:.2g}, too large for a network; scale them to [-1, 1]"
        )
    return loudest
