"""Damaged files of every format give a waveform or the reason why not, in bounded time and memory.

`mutate` is the grammar: bytes that are replaced, removed or repeated, mostly in the header.
"""

import io
import time
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ser.audio import load_waveform
from sklearn_ser.audio._problems import UnusableRecording, collect_notes

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float": ("WAV", "FLOAT"),
    "adpcm": ("WAV", "IMA_ADPCM"),
    "rf64": ("RF64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
}
HEADER = 200  # bytes
EXTREMES = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\0" * 4, b"\xff" * 4])
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["replace", "cut", "remove", "repeat"]),
        st.booleans(),  # within the header
        st.floats(0, 1, exclude_max=True),
        st.one_of(EXTREMES, st.binary(min_size=1, max_size=16)),
    ),
    min_size=1,
    max_size=6,
)


def mutate(content, changes):
    content = bytearray(content)
    for kind, in_header, fraction, value in changes:
        position = int(fraction * min(len(content), HEADER if in_header else len(content)))
        if kind == "replace":
            content[position : position + len(value)] = value
        elif kind == "cut":
            del content[max(position, 16) :]
        elif kind == "remove":
            del content[position : position + len(value)]
        else:
            content[position:position] = content[position : position + 20 * len(value)]
    return bytes(content)


def read(content):
    """Return the waveform, or None if there is a reason why not."""
    try:
        with collect_notes():
            return load_waveform(content, sampling_rate=16000)
    except UnusableRecording as error:
        reason = str(error)
    assert "reading it failed" not in reason  # an exception that was not expected
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(name):
    rng = np.random.default_rng(0)
    form, subtype = FORMATS[name]
    originals = []
    for shape in (1600, (1600, 2)):
        buffer = io.BytesIO()
        noise = rng.uniform(-0.5, 0.5, shape)
        soundfile.write(buffer, noise, 16000, format=form, subtype=subtype)
        originals.append(buffer.getvalue())

    @given(st.sampled_from(originals), CHANGES)
    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    def check(original, changes):
        content = mutate(original, changes)
        tracemalloc.start()
        start = time.monotonic()
        waveform = read(content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.monotonic() - start < 5
        assert peak < 50e6
        if waveform is not None:
            assert waveform.dtype == np.float32
            assert waveform.size
            assert np.isfinite(waveform).all()
            # Memory that was never written would differ.
            np.testing.assert_array_equal(read(content), waveform)

    check()
