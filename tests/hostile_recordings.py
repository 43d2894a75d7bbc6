"""Recordings that are damaged, odd or no recordings at all: one table of cases for all embedders.

A case makes a recording, and says what becomes of it: an error with certain words, or the same row
as that of certain samples. `INPUTS` has the same for `X` as a whole.
"""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import soundfile
import soxr
import torch
from scipy import sparse

from sklearn_ser.audio import SegmentOfFile

RATE = 16000
# Exact in 16 bits, so that integers and files of the same samples are equal.
SAMPLES = np.random.default_rng(0).integers(-(2**14), 2**14, 4000).astype(np.int16)
FLOATS = (SAMPLES / 2**15).astype(np.float32)
HALF = len(FLOATS) // 2


@dataclass(frozen=True)
class Case:
    """A recording, and what becomes of it.

    Parameters
    ----------
    name : str
        Name of the case.
    make : callable
        Function of an empty folder that returns the recording.
    outcome : str or ndarray
        Regular expression of the reason why it is refused, or samples at 16 kHz that have the same
        row if it is used.
    """

    name: str
    make: object
    outcome: object


# Content of files


def audio(samples=FLOATS, rate=RATE, form="WAV", subtype="PCM_16"):
    """Return the content of an audio file."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=form, subtype=subtype)
    return content.getvalue()


WAV = audio()
FLAC = audio(form="FLAC")


def patched(content, position, value):
    """Return a content with other bytes at a position, or behind the name of a chunk."""
    start = content.index(position) + len(position) if isinstance(position, bytes) else position
    return content[:start] + value + content[start + len(value) :]


def file(content, name="a.wav", form=str):
    """Return a function of a folder that writes a file, and returns its path."""

    def make(folder):
        (folder / name).write_bytes(content)
        return form(folder / name)

    return make


def segment(*times, channel=None, content=WAV, form=SegmentOfFile):
    """Return a function that writes a file, and returns a segment of it."""
    return file(content, form=lambda path: form(str(path), *times, channel=channel))


def segment_dict(content=WAV, **values):
    """Return a function that writes a file, and returns a dict with its path."""
    return file(content, form=lambda path: {"path": str(path), **values})


def pipe(folder):
    """Return the path of a named pipe, of which reading would never end."""
    os.mkfifo(folder / "pipe.wav")
    return str(folder / "pipe.wav")


def link(target):
    """Return a function that returns the path of a symbolic link."""

    def make(folder):
        (folder / "link.wav").symlink_to(target(folder) if callable(target) else target)
        return str(folder / "link.wav")

    return make


def constant(recording):
    """Return a function of a folder that returns a recording that needs no file."""
    return lambda folder: recording


# Objects that raise


def _raise(error):
    raise error


class Raises:
    """An array whose conversion raises."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


class RaisingPath(os.PathLike):
    """A path whose conversion raises."""

    def __fspath__(self):
        raise KeyError("no path")


class RaisingMapping(Mapping):
    """A dict whose methods raise."""

    def __getitem__(self, key):
        raise RuntimeError("no key")

    def __iter__(self):
        raise RuntimeError("no keys")

    def __len__(self):
        return 1


class RaisingFile(io.BytesIO):
    """An open file that can't be read."""

    def read(self, *args):
        raise OSError("disk error")


class RaisingShape:
    """An array whose shape raises."""

    @property
    def shape(self):
        raise RuntimeError("no shape")


class RaisingRepr:
    """An object without a text."""

    def __repr__(self):
        raise RuntimeError("no text")


def decoder(data=None, rate=RATE, error=None):
    """Return an object like an AudioDecoder."""
    if error is not None:
        return SimpleNamespace(get_all_samples=lambda: _raise(error))
    samples = SimpleNamespace(data=data, sample_rate=rate)
    return SimpleNamespace(get_all_samples=lambda: samples)


def closed_file():
    """Return a file that is closed."""
    content = io.BytesIO(WAV)
    content.close()
    return content


_TWO = np.array([0.5, 0.5], dtype=np.float32)
# Arrays, and what is none: name, recording, outcome.
VALUES = [
    ("no samples", np.array([]), "it is empty"),
    ("no samples of int16", np.array([], dtype=np.int16), "it is empty"),
    ("empty list", [], "it is empty"),
    ("empty tuple", (), "it is empty"),
    ("no samples of two channels", (np.zeros((0, 2)), RATE), "it is empty"),
    ("NaN", np.full(900, np.nan), "NaN or infinity"),
    ("one NaN", np.append(FLOATS, np.nan), "NaN or infinity"),
    ("infinity", np.append(FLOATS, np.inf), "NaN or infinity"),
    ("negative infinity", np.append(-np.inf, FLOATS), "NaN or infinity"),
    ("NaN in one channel", (np.stack([FLOATS, FLOATS * np.nan]), RATE), "NaN or infinity"),
    ("beyond float32", np.array([1e300, -1e300]), "NaN or infinity"),
    ("channels beyond float32", (np.full((9, 2), 3e38), RATE), "NaN or infinity"),
    ("vast", FLOATS * 1e20, r"scale them to \[-1, 1\]"),
    ("near the largest", np.full(900, 3e38), r"scale them to \[-1, 1\]"),
    ("int8", SAMPLES.astype(np.int8), "int8, which is not a supported PCM format.*int16"),
    ("int64", SAMPLES.astype(np.int64), "int64, which is not a supported PCM format"),
    ("uint16", SAMPLES.astype(np.uint16), "uint16, which is not a supported PCM format"),
    ("uint64", SAMPLES.astype(np.uint64), "uint64, which is not a supported PCM format"),
    ("range", range(900), "int64, which is not a supported PCM format"),
    ("truth values", SAMPLES > 0, "bool, which are not real numbers"),
    ("complex", FLOATS * 1j, "complex64, which are not real numbers"),
    ("dates", SAMPLES.astype("M8[s]"), "datetime64.*, which are not real numbers"),
    ("durations", SAMPLES.astype("m8[s]"), "timedelta64.*, which are not real numbers"),
    ("records", np.zeros(9, dtype=[("a", "f4")]), "which are not real numbers"),
    ("objects", FLOATS.astype(object), "of type ndarray; a recording is"),
    ("objects of None", np.full(9, None), "of type ndarray; a recording is"),
    ("array of text", np.array(["a.wav", "b.wav"]), "of type ndarray; a recording is"),
    ("list of text", ["a.wav", "b.wav", "c.wav"], "of type list; a recording is"),
    ("masked", np.ma.masked_less(FLOATS, 0), "masked samples; fill them"),
    ("no axis", np.array(0.5), "of type ndarray; a recording is"),
    ("two axes", np.zeros((2, 100)), r"shape \(2, 100\).*\(array, sampling_rate\)"),
    ("three axes", np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
    ("list of lists", [[0.1, 0.2, 0.3]] * 3, r"shape \(3, 3\)"),
    ("ragged list", [0.1, [0.2]], "type list.*inhomogeneous"),
    ("data frame", pd.DataFrame(np.zeros((9, 2))), r"shape \(9, 2\)"),
    ("sparse", sparse.csr_array(np.eye(9)), "of type csr_array; a recording is"),
    ("tensor with a gradient", torch.zeros(9, requires_grad=True), "of type Tensor.*grad"),
    ("None", None, "type NoneType; a recording is a path"),
    ("NaN for a path", float("nan"), "of type float"),
    ("NA", pd.NA, "of type NAType"),
    ("NaT", pd.NaT, "of type NaTType"),
    ("integer", 7, "of type int"),
    ("large integer", 10**400, "of type int"),
    ("truth value", True, "of type bool"),
    ("number of NumPy", np.float32(1), "of type float32"),
    ("ellipsis", ..., "of type ellipsis"),
    ("class", dict, "of type type"),
    ("function", constant, "of type function"),
    ("set", {0.5}, "of type set"),
    ("generator", (x for x in [0.5]), "of type generator"),
    ("object", object(), "of type object"),
    ("object without text", RaisingRepr(), "of type RaisingRepr"),
    # Pairs
    ("rate 0", (FLOATS, 0), "sampling rate is 0, which is not a number from 1000 to 1000000 Hz"),
    ("negative rate", (FLOATS, -RATE), "sampling rate is -16000"),
    ("low rate", (FLOATS, 10), "sampling rate is 10"),
    ("high rate", (FLOATS, 2_000_000), "sampling rate is 2000000"),
    ("rate NaN", (FLOATS, float("nan")), "sampling rate is nan"),
    ("infinite rate", (FLOATS, float("inf")), "sampling rate is inf"),
    ("large rate", (FLOATS, 10**400), "which is not a number from 1000"),
    ("true rate", (FLOATS, True), "sampling rate is True"),
    ("complex rate", (FLOATS, 1j * RATE), "looks like a pair; make it a tuple"),
    ("rate as text", (FLOATS, "16000"), "looks like a pair; make it a tuple"),
    ("rate None", (FLOATS, None), "looks like a pair; make it a tuple"),
    ("rate in an array", (FLOATS, np.array([RATE])), "of type tuple"),
    ("list for a pair", [FLOATS, RATE], "looks like a pair; make it a tuple"),
    ("other order", (RATE, FLOATS), r"turn it round: \(array, sampling_rate\)"),
    ("other order, ragged", (RATE, [[0.1], [0.2, 0.3]]), "turn it round"),
    ("path and rate", ("a.wav", RATE), "pass the path alone"),
    ("three of a pair", (FLOATS, RATE, 0), "of type tuple"),
    ("as many channels as samples", (np.zeros((3, 3)), RATE), r"shape \(3, 3\), which is neither"),
    ("pair of three axes", (np.zeros((3, 3, 2)), RATE), r"shape \(3, 3, 2\), which is neither"),
    ("ragged pair", ([[0.1], [0.2, 0.3]], RATE), "inhomogeneous"),
    ("pair of int64", (SAMPLES.astype(np.int64), RATE), "int64, which is not a supported"),
    # Dicts
    ("empty dict", {}, r"without 'array' and 'sampling_rate' \(its keys: \)"),
    ("dict without rate", {"array": FLOATS}, r"\(its keys: 'array'\)"),
    ("dict without array", {"sampling_rate": RATE}, r"\(its keys: 'sampling_rate'\)"),
    ("rate None in a dict", {"array": FLOATS, "sampling_rate": None}, "sampling rate is None"),
    ("rates in a dict", {"array": FLOATS, "sampling_rate": FLOATS}, "sampling rate is array"),
    ("array None", {"array": None, "sampling_rate": RATE}, "type NoneType"),
    ("dict of text", {"array": "a.wav", "sampling_rate": RATE}, "type str"),
    ("path None", {"path": None}, "without 'array' and 'sampling_rate'"),
    ("path is a number", {"path": 5}, "without 'array' and 'sampling_rate'"),
    ("path is an array", {"path": FLOATS}, "without 'array' and 'sampling_rate'"),
    ("bytes are text", {"bytes": "RIFF"}, "without 'array' and 'sampling_rate'"),
    ("no bytes", {"bytes": b""}, r"empty \(0 bytes\)"),
    ("few bytes", {"bytes": b"RIFF", "path": None}, "libsndfile can't read the file as audio"),
    ("dict of a missing file", {"path": "gone.wav"}, "'gone.wav': there is no such file"),
    ("dict of other keys", {1: 2, "three": 4}, r"\(its keys: 1, 'three'\)"),
    # Paths
    ("missing file", "gone.wav", "'gone.wav': there is no such file"),
    ("missing Path", Path("gone.wav"), "'gone.wav': there is no such file"),
    ("missing folder", "gone/gone.wav", "there is no such file"),
    ("empty path", "", "there is no such file"),
    ("URL", "https://example.org/a.wav", "there is no such file"),
    ("NUL", "nul\0byte.wav", "null"),
    ("long path", "a" * 5000, "can't be read.*too long"),
    ("surrogate", "\ud800.wav", "can't be read.*surrogates not allowed"),
    ("device", "/dev/zero", "it is a device, and not a regular file"),
    ("segment of a missing file", SegmentOfFile("gone.wav", 1), "'gone.wav' from 1 s .*no such"),
    ("path that raises", RaisingPath(), "KeyError: 'no path'"),
    # Files in memory
    ("no bytes in memory", b"", r"empty \(0 bytes\)"),
    ("empty open file", io.BytesIO(), r"empty \(0 bytes\)"),
    ("path as bytes", b"a.wav", "libsndfile can't read the file as audio"),
    ("text file", io.StringIO("text"), "mode 'rb'"),
    ("closed file", closed_file(), "closed file"),
    ("file that raises", RaisingFile(), "OSError: disk error"),
    # Objects that raise
    ("array raises OSError", Raises(OSError("gone")), "OSError: gone"),
    ("array raises KeyError", Raises(KeyError("sample")), "KeyError: 'sample'"),
    ("array raises MemoryError", Raises(MemoryError()), "MemoryError"),
    ("array raises RecursionError", Raises(RecursionError("deep")), "of type Raises"),
    ("dict that raises", RaisingMapping(), "RuntimeError: no key"),
    ("shape that raises", RaisingShape(), "of type RaisingShape"),
    ("decoder of None", SimpleNamespace(get_all_samples=lambda: None), "AttributeError"),
    ("decoder of one axis", decoder(FLOATS), r"shape \(4000,\), and not \(n_channels"),
    ("decoder of three axes", decoder(np.zeros((2, 3, 4))), r"shape \(2, 3, 4\)"),
    ("decoder of rate 0", decoder(np.zeros((1, 9)), 0), "sampling rate is 0"),
    ("decoder raises", decoder(error=RuntimeError("no packet")), "RuntimeError: no packet"),
    ("decoder lacks memory", decoder(error=MemoryError("all")), "MemoryError: all"),
    # Odd, but recordings
    ("int16", SAMPLES, FLOATS),
    ("int32", SAMPLES.astype(np.int32) << 16, FLOATS),
    ("uint8", (SAMPLES // 256 + 128).astype(np.uint8), (SAMPLES // 256 / 2**7)),
    ("big-endian int16", SAMPLES.astype(">i2"), FLOATS),
    ("float16", FLOATS.astype(np.float16), FLOATS.astype(np.float16)),
    ("float64", FLOATS.astype(np.float64), FLOATS),
    ("long double", FLOATS.astype(np.longdouble), FLOATS),
    ("big-endian float", FLOATS.astype(">f4"), FLOATS),
    ("stride", np.repeat(FLOATS, 2)[::2], FLOATS),
    ("negative stride", FLOATS[::-1].copy()[::-1], FLOATS),
    ("list", FLOATS.tolist(), FLOATS),
    ("tuple", tuple(FLOATS.tolist()), FLOATS),
    ("tensor", torch.from_numpy(FLOATS), FLOATS),
    ("series", pd.Series(FLOATS, index=range(5, len(FLOATS) + 5)), FLOATS),
    ("series of polars", pl.Series(FLOATS), FLOATS),
    ("rate without axis", (FLOATS, np.array(RATE)), FLOATS),
    ("rate is a float", (FLOATS, 16000.0), FLOATS),
    ("two equal channels", (np.stack([FLOATS, FLOATS]), RATE), FLOATS),
    ("channels last", (np.stack([FLOATS, FLOATS], axis=1), RATE), FLOATS),
    ("dict", {"array": FLOATS, "sampling_rate": RATE, "path": "gone.wav"}, FLOATS),
    ("decoder", decoder(np.stack([FLOATS, FLOATS])), FLOATS),
    ("content in memory", memoryview(WAV), FLOATS),
    ("dict of content", {"bytes": bytearray(FLAC), "path": "gone.mp3"}, FLOATS),
    ("one sample", np.array([0.5]), np.array([0.5])),
    ("two samples of another rate", (_TWO, 48000), soxr.resample(_TWO, 48000, RATE)),
    ("silence", np.zeros(4000), np.zeros(4000)),
    ("offset", np.ones(4000), np.ones(4000)),
    ("subnormal", np.full(4000, 1e-40), np.full(4000, 1e-40)),
    ("alternating", np.tile([1.0, -1.0], 2000), np.tile([1.0, -1.0], 2000)),
]

_HALF_WAV = WAV[: 44 + 2 * HALF]
_MP4 = b"\0\0\0\x1cftypM4A " + bytes(100)
# Files: name, function of a folder that returns a recording, outcome.
FILES = [
    ("folder", lambda folder: folder, "it is a folder; .*load_recordings"),
    ("named pipe", pipe, "it is a named pipe, and not a regular file"),
    ("link to a named pipe", link(pipe), "it is a named pipe"),
    ("segment of a named pipe", lambda folder: SegmentOfFile(pipe(folder)), "it is a named pipe"),
    ("broken link", link("gone.wav"), "there is no such file"),
    ("link to itself", link("link.wav"), "can't be read.*symbolic links"),
    ("file for a folder", file(WAV, form=lambda path: f"{path}/b.wav"), "there is no such file"),
    ("no content", file(b""), r"the file is empty \(0 bytes\)"),
    ("one byte", file(b"R"), "libsndfile can't read"),
    ("text", file(b"no audio at all"), "libsndfile can't read the file as audio"),
    ("HTML", file(b"\n<!DOCTYPE html><title>Sign in</title>"), "an HTML page, and not audio"),
    ("LFS", file(b"version https://git-lfs.github.com/spec/v1\n"), "pointer of Git LFS.*lfs pull"),
    ("JSON", file(b'{"error": 404}'), "libsndfile can't read"),
    ("image", file(b"\x89PNG\r\n\x1a\n" + bytes(100)), "libsndfile can't read"),
    ("archive", file(b"PK\x03\x04" + bytes(100)), "libsndfile can't read"),
    ("pickle", file(b"\x80\x04cos\nsystem\n(S'exit'\ntR."), "libsndfile can't read"),
    ("zeros", file(bytes(1000), "a.raw"), "libsndfile can't read"),
    ("ones", file(b"\xff" * 1000, "a.mp3"), "can't read the file as audio"),
    ("RIFF alone", file(WAV[:12]), "libsndfile can't read"),
    ("half of a header", file(WAV[:30]), "libsndfile can't read"),
    ("header alone", file(WAV[:44]), "empty"),
    ("WAV without samples", file(audio(np.zeros(0))), r"it is empty \(no samples\)"),
    ("chunk behind no samples", file(audio(np.zeros(0)) + b"LIST\4\0\0\0INFO"), "no samples"),
    ("rate 44 of a file", file(audio(rate=44)), "sampling rate is 44, which is not a number from"),
    ("rate of 2 MHz", file(audio(rate=2_000_000)), "sampling rate is 2000000"),
    ("rate 0 of a file", file(patched(WAV, 24, bytes(4))), "can't read|sampling rate is 0"),
    ("no channels", file(patched(WAV, 22, bytes(2))), "libsndfile can't read"),
    ("codec of WAV", file(patched(WAV, 20, b"\xfe\xca")), "libsndfile can't read"),
    ("NaN in a file", file(audio(np.append(FLOATS, np.nan), subtype="FLOAT")), "NaN or infinity"),
    ("infinity in a file", file(audio(np.full(9, np.inf), subtype="FLOAT")), "NaN or infinity"),
    ("double in a file", file(audio(np.full(9, 1e300), subtype="DOUBLE")), "NaN or infinity"),
    ("FLAC cut in its header", file(FLAC[:30]), "libsndfile can't read"),
    ("FLAC header alone", file(FLAC[:42]), "can't read|empty"),
    ("Ogg cut", file(audio(form="OGG", subtype="VORBIS")[:60]), "libsndfile can't read"),
    ("Opus cut", file(audio(form="OGG", subtype="OPUS")[:60]), "libsndfile can't read"),
    ("ID3 alone", file(b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)), "can't read"),
    ("MP4 without content", file(_MP4, "a.m4a"), r"FFmpeg can't read|'\.\[av\]'"),
    ("Matroska alone", file(b"\x1a\x45\xdf\xa3", "a.webm"), r"FFmpeg can't read|'\.\[av\]'"),
    # Segments
    ("segment behind the end", segment(1, 2), "from 1 s to 2 s: .*not within the file.*0.25 s dec"),
    ("segment over the end", segment(0.1, 1), "from 0.1 s to 1 s: .*not within the file"),
    ("start at the end", segment(0.25), "not within the file"),
    ("segment of a missing channel", segment(channel=5), r"1 channel\(s\).*channel=5"),
    ("negative channel", segment(channel=-2), r"1 channel\(s\).*channel=-2"),
    ("segment behind the cut", segment(0.2, content=_HALF_WAV), "0.2 s to .*, of which 0.125 s"),
    ("segment of text", segment(content=b"no audio at all"), "libsndfile can't read"),
    ("start below 0", segment_dict(start=-1), "no segment: they must be seconds with 0 <= start"),
    ("end before start", segment_dict(start=0.2, end=0.1), "must be seconds with 0 <= start < end"),
    ("empty segment", segment_dict(start=0.1, end=0.1), "must be seconds with 0 <= start < end"),
    ("infinite start", segment_dict(start=np.inf), "must be seconds with 0 <= start < end"),
    ("times as words", segment_dict(start="soon"), "could not convert string to float"),
    ("list of times", segment_dict(start=[0, 1]), "float"),
    ("times of bytes", segment_dict(start=0.1, bytes=WAV), "leave bytes and array out"),
    ("times of an array", segment_dict(start=0.1, array=FLOATS), "leave bytes and array out"),
    # Odd, but recordings
    ("other ending", file(FLAC, "a.wav"), FLOATS),
    ("no ending", file(WAV, "a"), FLOATS),
    ("odd name", file(WAV, "\n 😀 'a\".wav"), FLOATS),
    ("link", link(file(WAV)), FLOATS),
    ("garbage behind", file(WAV + b"\xff" * 100), FLOATS),
    ("written to a pipe", file(patched(WAV, b"data", b"\xff" * 4)), FLOATS),
    ("length 0 in the header", file(patched(WAV, b"data", bytes(4))), FLOATS),
    ("length of a FLAC", file(patched(FLAC, 21, bytes([FLAC[21] & 240]) + b"\xff" * 4)), FLOATS),
    ("truncated", file(_HALF_WAV), FLOATS[:HALF]),
    ("many channels", file(audio(np.repeat(FLOATS[:, None], 64, axis=1))), FLOATS),
    ("segment", segment(0.05, 0.15), FLOATS[800:2400]),
    ("times as text", segment_dict(start="0.05", end="0.15"), FLOATS[800:2400]),
    ("missing times", segment_dict(start=np.nan, end=0.15), FLOATS[:2400]),
    ("one frame over the end", segment(0.05, 0.25 + 1 / RATE), FLOATS[800:]),
]

CASES = [Case(name, constant(value), outcome) for name, value, outcome in VALUES]
CASES += [Case(name, make, outcome) for name, make, outcome in FILES]

_TABLE = np.zeros((3, 900))
# What is no list of recordings: name, X, the error.
INPUTS = [
    ("path", "a.wav", r"single recording \('a.wav'\).*\[X\]"),
    ("bytes", WAV, r"single recording .*\[X\]"),
    ("number", 3.5, "sequence of recordings"),
    ("array", FLOATS, r"single recording .*\[X\]"),
    ("numbers", [0.1, 0.2], r"single recording .*\[X\]"),
    ("pair", (FLOATS, RATE), r"single recording .*\[X\]"),
    ("dict", {"array": FLOATS, "sampling_rate": RATE}, r"single recording .*\[X\]"),
    ("open file", io.BytesIO(WAV), r"single recording .*\[X\]"),
    ("segment", SegmentOfFile("a.wav"), r"single recording \('a\.wav'\)"),
    ("empty list", [], "0 sample"),
    ("empty series", pd.Series([], dtype=str), "0 sample"),
    ("empty table", np.zeros((0, 900)), "0 sample"),
    ("None", None, "NoneType.*sequence of recordings"),
    ("set", {"a.wav"}, "set.*sequence of recordings"),
    ("iterator", iter(["a.wav"]), "iterator.*sequence of recordings"),
    ("object", object(), "object.*sequence of recordings"),
    ("spectrograms", np.zeros((2, 3, 4)), r"shape \(2, 3, 4\).*rows are waveforms"),
    (
        "text in a table",
        pd.DataFrame({"path": ["a.wav"], "age": [31]}),
        r"\(path, age\).*X\['path",
    ),
    ("truth values", _TABLE > 0, "table of bool"),
    ("dates", _TABLE.astype("M8[s]"), "table of datetime64"),
    ("masked", np.ma.masked_less(_TABLE, 1), "masked samples"),
    ("complex", _TABLE * 1j, "Complex data not supported"),
    ("sparse", sparse.csr_array(_TABLE), "[Ss]parse data"),
    ("NaN in a row", np.where(np.arange(3)[:, None] == 1, np.nan, _TABLE), "ecording 1: row"),
    ("times backwards", pd.DataFrame({"path": ["a"], "start": [2], "end": [1]}), "Row 0 of X"),
    ("times of arrays", pd.DataFrame({"path": [_TABLE], "start": [2]}), "Row 0 of X.*not a path"),
]

# Transcripts: the transcript, and why it is refused; None if it is used.
TRANSCRIPTS = {
    "None": (None, r"missing \(None\)"),
    "NaN": (np.nan, r"missing \(nan\)"),
    "NaN in float32": (np.float32("nan"), r"missing \(nan\)"),
    "NA": (pd.NA, r"missing \(<NA>\)"),
    "NaT": (pd.NaT, r"missing \(NaT\)"),
    "number": (7, r"of type int, not str \(7\)"),
    "bytes": (b"no", r"of type bytes, not str \(b'no'\)"),
    "list": (["no"], r"of type list, not str \(\['no'\]\)"),
    "dict": ({"text": "no"}, r"of type dict, not str \(\{'text': 'no'\}\)"),
    "array": (np.zeros(3), r"of type ndarray, not str \(array.*\)"),
    "object without text": (RaisingRepr(), r"of type RaisingRepr, not str \(\.\.\.\)"),
    "surrogate": ("\ud800", r"not valid Unicode: '\\ud800'"),
    "empty": ("", None),
    "spaces": (" \t\n\u00a0", None),
    "NUL": ("\0", None),
    "control characters": ("".join(map(chr, range(32))), None),
    "emoji": ("😀👩\u200d👩\u200d👧", None),
    "directions": ("\u202eabc\u202c \u05d0", None),
    "combining characters": ("e" + "\u0301" * 200, None),
    "special tokens": ("[CLS] [MASK] </s> <pad>", None),
    "one long word": ("a" * 50_000, None),
    "many words": ("no " * 5000, None),
    "string of NumPy": (np.str_("no"), None),
}
