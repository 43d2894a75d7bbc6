"""Decode audio files, block by block, as far as they go.

The length in a header is never believed: files are read until nothing comes, so that memory is
bounded by what decodes. A file that holds less than its header promises is used as far as it
decodes, with a note that says how much is missing.
"""

import contextlib
import io
import os
import stat
import sys
import unicodedata

import numpy as np
import soundfile

from ._container import ContainerFile, name_container
from ._header import PatchedFile, find_body, is_ogg_without_end
from ._mpeg import compare_length
from ._problems import UnusableRecording, note

# Samples of a block, over all channels.
_BLOCK = 2**17
# The length that libsndfile gives to files that do not have one.
_UNKNOWN = 2**63 - 1
# Where libsndfile can't go to a given sample: what follows depends on what was decoded before.
_INEXACT_SEEK = {"MPEG_LAYER_III", "MPEG_LAYER_II", "MPEG_LAYER_I", "OPUS", "CONTAINER"}
# Containers give their length in coarse units.
_CONTAINER_TOLERANCE = 0.1  # seconds
# Range in Hz. Other rates are mistakes, and resampling from them could take extremely long.
SAMPLING_RATES = (1_000, 1_000_000)
NO_SUCH_FILE = "there is no such file"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def resolve_path(path):
    """Return the path of an existing file that is written in another way, else the path itself.

    Parameters
    ----------
    path : str or path-like
        Path. If there is no such file, its Unicode characters may be composed or decomposed
        (NFC or NFD), and back-slashes may separate its folders.

    Returns
    -------
    path : str
        Path of an existing file, or `path`.
    """
    path = os.fspath(path)
    if isinstance(path, bytes) or os.path.lexists(path):
        return path
    for name in dict.fromkeys((path, path.replace("\\", "/"))):
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, name)
            if os.path.lexists(other):
                return other
        if os.path.lexists(name):
            return name
    return path


def explain_status(path):
    """Return why a path is not a file that can be read, without opening it.

    Parameters
    ----------
    path : str or path-like
        Path.

    Returns
    -------
    reason : str or None
        None if it is a regular file.
    """
    try:
        status = os.stat(resolve_path(path))
    except (FileNotFoundError, NotADirectoryError):
        return NO_SUCH_FILE
    except (OSError, ValueError) as error:
        return f"the file can't be read ({error})"
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder; list its files, or use sklearn_ser.datasets.load_recordings"
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
        return f"it is {kind}, and not a regular file"
    return "the file is empty (0 bytes)" if status.st_size == 0 else None


def explain_unreadable(path):
    """Return why a file can't be opened as audio, from its header; None if it can."""
    try:
        with open_audio(path):
            return None
    except UnusableRecording as error:
        return str(error)


def check_rate(rate):
    """Return a sampling rate, after checking that it is a number within `SAMPLING_RATES`."""
    low, high = SAMPLING_RATES
    try:
        if low <= rate <= high:
            return float(rate)
    except (TypeError, ValueError):  # not a number
        pass
    raise UnusableRecording(
        f"its sampling rate is {rate!r}, which is not a number from {low} to {high} Hz"
    )


def read_file(path, start=0.0, end=None):
    """Decode a file, or a segment of it.

    Parameters
    ----------
    path : str, path-like or BytesIO
        Path of the file, or its content.
    start : float, default=0.0
        Start of the segment, in seconds.
    end : float, default=None
        End of the segment, in seconds; None is the end of the file. It may exceed the end of the
        file by one sample. Only the segment is decoded, except in formats in which
        libsndfile can't go to a given sample (MP3, Opus): these are decoded from the start.

    Returns
    -------
    samples : ndarray of shape (n_samples,) or (n_samples, n_channels), float32
        Samples. A truncated file is read as far as it decodes.
    rate : int
        Sampling rate, in Hz.

    Raises
    ------
    UnusableRecording
        If the file can't be read, nothing of it decodes, or it ends before the segment does.
    """
    is_whole = not start and end is None
    try:
        with open_audio(path) as audio:
            blocks = list(audio.blocks() if is_whole else audio.segment(start, end))
            no_samples = np.empty((0, audio.n_channels), np.float32)
            samples = np.concatenate([no_samples, *blocks])
            return (samples[:, 0] if audio.n_channels == 1 else samples), audio.rate
    except _ShortFile:
        with open_audio(path) as audio:
            seconds = audio.count() / audio.rate
    until = "its end" if end is None else f"{end} s"
    raise UnusableRecording(
        f"its segment from {start} s to {until} is not within the file, of which {seconds:.6g} s "
        "decode"
    )


class _ShortFile(UnusableRecording):
    """A file ends before a segment does."""


@contextlib.contextmanager
def open_audio(source):
    """Open a file for decoding.

    Parameters
    ----------
    source : str, path-like or BytesIO
        Path of the file, or its content.

    Yields
    ------
    audio : AudioFile
        The open file.

    Raises
    ------
    UnusableRecording
        If it can't be opened, also in place of errors of libsndfile in the body of the ``with``.
    """
    if isinstance(source, io.BytesIO):
        if not source.getbuffer().nbytes:
            raise UnusableRecording("it is empty (0 bytes)")
    elif reason := explain_status(source):
        raise UnusableRecording(reason)
    try:
        with contextlib.ExitStack() as stack:
            yield _open(source, stack)
    except (UnusableRecording, MemoryError):
        raise
    except Exception as error:  # of libsndfile or FFmpeg
        reason = _explain_content(source) or (
            f"{_name_decoder(error)} can't read the file as audio ({_explain(error)})"
        )
        raise UnusableRecording(reason) from error


def _explain_content(source):
    """Return what a file is that is often found in place of audio, or None."""
    try:
        head = source.getvalue()[:64] if isinstance(source, io.BytesIO) else _read_head(source)
    except OSError:  # the reason is that it can't be read
        return None
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS to the audio, and not the audio; run git lfs pull"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page, and not audio; download it again"
    return None


def _read_head(path):
    with open(resolve_path(path), "rb") as file:
        return file.read(64)


def _name_decoder(error):
    return "FFmpeg" if type(error).__module__.startswith("av.") else "libsndfile"


def _explain(error):
    # libsndfile's message if the first frames of an MP3 can't be decoded.
    if "possibly a pipe" in str(error):
        return "it looks like an MP3, but no frame can be decoded"
    return getattr(error, "error_string", None) or error


def _open(source, stack):
    """Return the open file, with a header that makes libsndfile read all of it."""
    if isinstance(source, io.BytesIO):
        raw = io.BytesIO(source.getvalue())  # another position; the content is not copied
    else:
        path = resolve_path(source)
        raw = stack.enter_context(open(path, "rb"))  # noqa: SIM115
        # As bytes, since the name may not be valid Unicode.
        source = path if sys.platform == "win32" else os.fsencode(path)
    name = name_container(raw.read(16))
    if name is not None:
        raw.seek(0)
        container = stack.enter_context(ContainerFile(raw, name))
        check_rate(container.samplerate)
        return AudioFile(container, container.n_promised, None, has_no_end=False)
    body = find_body(raw)
    patches = {} if body is None else body.patches
    if patches or isinstance(source, io.BytesIO):
        source = PatchedFile(raw, patches)
    file = stack.enter_context(soundfile.SoundFile(source))
    check_rate(file.samplerate)
    n_promised: int | None = file.frames
    has_no_end = file.format == "OGG" and is_ogg_without_end(raw)
    if file.format == "MP3":
        length = compare_length(raw, file.frames)
        if length.corrected is not None:
            file = stack.enter_context(soundfile.SoundFile(length.corrected))
        has_no_end = length.is_cut and not length.is_promised
        n_promised = n_promised if length.is_cut and length.is_promised else None
    return AudioFile(file, n_promised, body, has_no_end=has_no_end)


class AudioFile:
    """An open audio file.

    Parameters
    ----------
    file : SoundFile
        The file.
    n_promised : int or None
        Number of samples per channel in the header, None if it has none.
    body : Body or None
        What the header of an uncompressed file says about the samples.
    has_no_end : bool
        Whether the file is known to lack its end, by an unknown amount.
    """

    def __init__(self, file, n_promised, body, *, has_no_end):
        self._file, self._body, self._has_no_end = file, body, has_no_end
        self._n_promised = None if n_promised == _UNKNOWN else n_promised
        self._error = None
        self.rate, self.n_channels = file.samplerate, file.channels

    def blocks(self):
        """Yield arrays of shape (n_samples, n_channels), and note how much is missing."""
        n_decoded = 0
        for block in self._read(_UNKNOWN):
            n_decoded += len(block)
            yield block
        self._note_missing(n_decoded)

    def segment(self, start, end):
        """Yield the arrays of a segment, in seconds."""
        if not 0 <= start < (np.inf if end is None else end):
            raise UnusableRecording(f"its segment from {start} to {end} s is not a stretch of time")
        first = round(start * self.rate)
        last = _UNKNOWN if end is None else round(end * self.rate)
        position = 0
        if first < self._file.frames and self._file.subtype not in _INEXACT_SEEK:
            try:
                position = self._file.seek(first)
            except soundfile.LibsndfileError:
                raise _ShortFile from None
        for block in self._read(last - position, position):
            n_before = max(0, first - position)
            position += len(block)
            if n_before < len(block):
                yield block[n_before:]
        if end is None and position > first:
            self._note_missing(position)
        elif position < last - 1 or position <= first:
            raise _ShortFile

    def count(self):
        """Return the number of samples that decode; nothing may have been read before."""
        return sum(map(len, self._read(_UNKNOWN)))

    def _read(self, n_samples, position=0):
        """Yield blocks until `n_samples` are read or nothing comes."""
        n_left = min(n_samples, self._file.frames - position)
        if self._file.format == "MP3":
            self._file.seek(position)  # the rounding of `soundfile.read`, which seeks first
        while n_left > 0:
            n_block = min(n_left, max(1, _BLOCK // self.n_channels))
            # NaN shows how much came before an error.
            buffer = np.full((n_block, self.n_channels), np.nan, dtype=np.float32)
            try:
                block = self._file.read(out=buffer)
            except Exception as error:  # of libsndfile or FFmpeg
                self._error = error
                is_filled = ~np.isnan(buffer[:, 0])
                block = buffer[: n_block if is_filled.all() else is_filled.argmin()]
                if len(block):
                    yield block
                elif not position:
                    raise
                return
            if not len(block):
                return
            position += len(block)
            n_left -= len(block)
            yield block

    def _note_missing(self, n_decoded):
        n_promised = self._n_promised
        if self._body is not None and self._body.n_promised and n_decoded:
            unit = self._body.n_available // n_decoded or 1  # bytes of a sample of all channels
            ratio = (self._body.n_promised // unit) / max(1, self._body.n_available // unit)
            n_promised = round(n_decoded * max(1.0, ratio))
        tolerance = _CONTAINER_TOLERANCE * self.rate if self._file.format == "CONTAINER" else 0
        if n_decoded and n_promised is not None and n_promised > n_decoded + tolerance:
            seconds, missing = n_promised / self.rate, (n_promised - n_decoded) / self.rate
            note(
                f"it is truncated or damaged: its header promises {seconds:.6g} s, and the last "
                f"{missing:.3g} s are missing"
            )
        elif n_decoded and self._has_no_end:
            note(
                f"it is truncated: its header has no length, but its last page or frame is not the "
                f"end, and {n_decoded / self.rate:.6g} s decode"
            )
        elif self._error is not None and "fseek" not in str(self._error):
            note(f"it is damaged: decoding stopped after {n_decoded / self.rate:.6g} s")
