"""Load one recording of any supported type as a mono waveform.

The functions raise `UnusableRecording` with the reason only; the caller adds the position of the
recording.
"""

import io
import os
import stat
from collections.abc import Mapping
from itertools import chain
from numbers import Real
from threading import Lock

import numpy as np
import soxr

from ._file import SAMPLING_RATES, check_rate, open_audio
from ._problems import UnusableRecording, explain_errors, note

# Full scale of each PCM type, by which libsndfile divides to return floats.
_PCM_SCALE = {"int16": 2.0**15, "int32": 2.0**31, "uint8": 2.0**7}

# Files with more samples, over all channels, are resampled in blocks (six minutes of mono at
# 48 kHz).
_MAX_SAMPLES_AT_ONCE = 2**24
PATH_TYPES = (str, os.PathLike)
BYTES_TYPES = (bytes, bytearray, memoryview)
# Above this, sums of squares over a recording overflow, and statistics are finite but wrong.
_MAX_AMPLITUDE = 1e12
# Floats beyond this are no audio in [-1, 1], but probably PCM that was not divided.
_MAX_USUAL_AMPLITUDE = 8.0
_PCM_BITS = (16, 24, 32)
# Channels whose mean is this much lower than they are cancel each other (60 dB).
_CANCELLED = 1e-3
_NO_SAMPLES = np.empty(0, dtype=np.float32)
_EMPTY = "it is empty (no samples)"
NOT_FINITE = "it has samples that are NaN or infinity"
# A file object has one position, and may be in `X` several times.
_FILE_LOCK = Lock()


def load_waveform(recording, *, sampling_rate, target_rate=None, channel=None):
    """Read one recording as a mono waveform.

    Parameters
    ----------
    recording : path, bytes, file object, array, pair, dict or AudioDecoder
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
        At least one sample, all finite. A truncated file is read as far as it decodes.

    Raises
    ------
    UnusableRecording
        If the recording can't be used, regardless of what it raises. The message is the reason.

    Warns
    -----
    UserWarning
        If a file is truncated, floats exceed full scale by far, or channels cancel each other.
        Where several recordings are read, there is one warning for all.
    """
    mixer = _Mixer(channel)
    with explain_errors():
        waveform = _load(recording, sampling_rate, target_rate or sampling_rate, mixer)
    mixer.note_cancelled()
    _note_amplitude(waveform)
    return waveform


def _load(recording, sampling_rate, target_rate, mixer):
    source = find_file(recording)
    if source is None:
        samples, rate = _decode(recording, sampling_rate)
        return _resample([mixer(samples)], rate, target_rate, np.inf)
    with open_audio(source) as audio:
        n_at_once = _MAX_SAMPLES_AT_ONCE // audio.n_channels
        return _resample(map(mixer, audio.blocks()), audio.rate, target_rate, n_at_once)


def find_file(recording):
    """Return the path or the content of a recording that is a file, else None.

    Parameters
    ----------
    recording : object
        One element of `X`.

    Returns
    -------
    source : str, path-like, BytesIO or None
        None for arrays, pairs, decoders, and dicts with an array.
    """
    if isinstance(recording, PATH_TYPES):
        return recording
    if isinstance(recording, BYTES_TYPES):
        return io.BytesIO(recording)
    if is_file_object(recording):
        return io.BytesIO(_read_file_object(recording))
    if isinstance(recording, Mapping) and "array" not in recording:
        for key, types in (("bytes", BYTES_TYPES), ("path", PATH_TYPES)):
            if isinstance(recording.get(key), types):
                return find_file(recording[key])
    return None


def is_file_object(recording):
    """Return whether this is an open file."""
    return hasattr(recording, "read") and hasattr(recording, "seek")


def _read_file_object(file):
    """Return the content of an open file, and leave its position as it was."""
    try:
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):  # not a file of the operating system
        is_regular = True
    if not is_regular or not file.seekable():
        raise UnusableRecording("it is an open pipe or device; pass its content as bytes")
    with _FILE_LOCK:
        position = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(position)
    if not isinstance(content, bytes):
        raise UnusableRecording("it is a file that is open as text; open it in mode 'rb'")
    return content


class _Mixer:
    """Select or average channels, and find those that cancel each other."""

    def __init__(self, channel):
        self.channel = channel
        self.peak = self.mixed_peak = 0.0

    def __call__(self, samples):
        """Return one block as mono."""
        mono = to_mono(samples, self.channel)
        if self.channel is None and mono.size and samples.size > mono.size:
            self.peak = max(self.peak, samples.max(), -samples.min())
            self.mixed_peak = max(self.mixed_peak, mono.max(), -mono.min())
        return mono

    def note_cancelled(self):
        """Note if the mean of the channels is silent, and they are not."""
        if self.peak > 0 and self.mixed_peak <= _CANCELLED * self.peak:
            note(
                f"its channels cancel each other when they are averaged (they reach "
                f"{self.peak:.2g}, their mean {self.mixed_peak:.2g}); select one by channel="
            )


def _note_amplitude(waveform):
    amplitude = max(waveform.max(), -waveform.min())
    if amplitude > _MAX_USUAL_AMPLITUDE:
        bits = next((n for n in _PCM_BITS if amplitude <= 2 ** (n - 1)), None)
        divide = f"divide it by {2 ** (bits - 1)}" if bits else "scale it to [-1, 1]"
        note(
            f"its samples reach {amplitude:.6g}, far beyond full scale, 1.0; if it is PCM that was "
            f"converted to floats, {divide}"
        )


def _check_samples(waveform):
    if waveform.size == 0:
        raise UnusableRecording(_EMPTY)
    if not np.isfinite(waveform).all():
        raise UnusableRecording(NOT_FINITE)
    return waveform


def _resample(blocks, rate, target_rate, n_at_once):
    """Resample a recording at once, or in blocks if it has more samples, to bound memory."""
    blocks, kept, n_samples = iter(blocks), [], 0
    for block in blocks:
        kept.append(block)
        n_samples += len(block)
        if n_samples > n_at_once and rate != target_rate:
            stream = soxr.ResampleStream(rate, target_rate, 1, quality="HQ")
            kept = [stream.resample_chunk(block) for block in chain(kept, blocks)]
            kept.append(stream.resample_chunk(_NO_SAMPLES, last=True))
            rate = target_rate
    waveform = _check_samples(kept[0] if len(kept) == 1 else np.concatenate([_NO_SAMPLES, *kept]))
    if rate == target_rate:
        return waveform
    resampled = soxr.resample(waveform, rate, target_rate, quality="HQ")
    if not np.isfinite(resampled).all():
        raise UnusableRecording("its samples are too large to resample; scale them to [-1, 1]")
    # Resampling one or two samples may give none.
    return resampled if resampled.size else waveform[:1]


def _decode(recording, sampling_rate):
    """Return samples as float32 ``(n_samples,)`` or ``(n_samples, n_channels)``, and their rate."""
    if isinstance(recording, Mapping):
        return _decode_dict(recording)
    if is_decoder(recording):
        return _decode_decoder(recording)
    if is_pair(recording):
        array, rate = recording
        return _channels_last(_as_samples(array)), check_rate(rate)
    samples = _as_samples(recording)
    if samples.ndim != 1:
        raise UnusableRecording(
            f"it is an array of shape {samples.shape}, and a recording is 1-D; "
            "give several channels as a pair (array, sampling_rate)"
        )
    return samples, sampling_rate


def _decode_dict(recording):
    if not {"array", "sampling_rate"} <= set(recording):
        keys = ", ".join(map(repr, recording))
        raise UnusableRecording(
            f"it is a dict without 'array' and 'sampling_rate' (its keys: {keys}), and without "
            "'bytes' or 'path'"
        )
    samples = _channels_last(_as_samples(recording["array"]))
    return samples, check_rate(recording["sampling_rate"])


def _decode_decoder(decoder):
    try:
        decoded = decoder.get_all_samples()
    except UnusableRecording:  # raised by SegmentOfFile with its own reason
        raise
    except Exception as error:  # FFmpeg may raise anything
        raise UnusableRecording(f"its decoder failed ({type(error).__name__}: {error})") from error
    samples = _as_samples(decoded.data)
    if samples.ndim != 2:
        raise UnusableRecording(
            f"its decoder returned shape {samples.shape}, and not (n_channels, n_samples)"
        )
    return samples.T, check_rate(decoded.sample_rate)


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
        "pair (array, sampling_rate), a dict with 'array' and 'sampling_rate', the bytes of a "
        "file, an open binary file, or an AudioDecoder"
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
    return scale_pcm(samples.astype(np.float32), samples.dtype)


def scale_pcm(samples, dtype):
    """Scale integer PCM to [-1, 1].

    Parameters
    ----------
    samples : ndarray, float32
        Samples of any shape.
    dtype : dtype
        Type that they were converted from. Samples of other types than int16, int32 and uint8 are
        returned unchanged.

    Returns
    -------
    scaled : ndarray, float32
    """
    if dtype.name not in _PCM_SCALE:
        return samples
    scale = np.float32(_PCM_SCALE[dtype.name])
    return (samples - (scale if dtype.kind == "u" else np.float32(0))) / scale


def _channels_last(samples):
    """Transpose ``(n_channels, n_samples)``, the order of torch, to ``(n_samples, n_channels)``.

    The shorter axis is taken for the channels.
    """
    if samples.ndim == 0 or samples.ndim > 2 or (samples.ndim == 2 and len(set(samples.shape)) < 2):
        raise UnusableRecording(
            f"its array has shape {samples.shape}, which is neither (n_samples,) nor "
            "(n_samples, n_channels)"
        )
    if samples.size == 0:
        raise UnusableRecording(_EMPTY)
    return samples.T if samples.ndim == 2 and samples.shape[0] < samples.shape[1] else samples


def to_mono(samples, channel):
    """Return one channel, or the mean over channels if `channel` is None."""
    if samples.ndim == 1:
        samples = samples[:, np.newaxis]
    n_channels = samples.shape[1]
    if channel is None and n_channels == 1:
        return samples[:, 0]
    if channel is None:
        with np.errstate(over="ignore", invalid="ignore"):  # reported as not finite
            return samples.mean(axis=1)
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
