"""Read damaged audio files: time, memory, and exceptions other than those that are documented.

python benchmarks/reader_fuzz.py --cases 200000 2> /dev/null

Each case changes a few bytes of a small generated file, cuts it, or removes or repeats a part of
it. libsndfile's MP3 decoder writes about each damaged frame to the standard error.
"""

import argparse
import io
import resource
import time
from collections import Counter

import numpy as np
import soundfile

from sklearn_ser.audio import UnusableRecording, load_waveform
from sklearn_ser.audio._problems import collect_notes

FORMATS = {
    "WAV": "PCM_16",
    "RF64": "FLOAT",
    "FLAC": "PCM_16",
    "OGG": "VORBIS",
    "MP3": "MPEG_LAYER_III",
    "AIFF": "PCM_16",
    "AU": "PCM_16",
    "W64": "PCM_16",
    "CAF": "PCM_16",
}
EXTREMES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\0" * 4, b"\xff" * 4]
N_HEADER = 200  # bytes


def make_files(rng):
    """Return the content of a mono and a stereo file in each format."""
    files = []
    for name, subtype in FORMATS.items():
        for shape in (1600, (1600, 2)):
            buffer = io.BytesIO()
            noise = rng.uniform(-0.5, 0.5, shape)
            soundfile.write(buffer, noise, 16000, format=name, subtype=subtype)
            files.append((name, buffer.getvalue()))
    return files


def mutate(content, rng):
    """Return a damaged copy of a file."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 7)):
        length = min(len(content), N_HEADER) if rng.random() < 0.5 else len(content)
        position = int(rng.integers(length + 1))
        kind = rng.integers(10)
        if kind < 7:
            value = EXTREMES[rng.integers(len(EXTREMES))] if kind < 3 else rng.bytes(kind - 2)
            content[position : position + len(value)] = value
        elif kind == 7:
            del content[max(position, 16) :]
        elif kind == 8:
            del content[position : position + int(rng.integers(1, 17))]
        else:
            content[position:position] = content[
                position : position + 20 * int(rng.integers(1, 17))
            ]
    return bytes(content)


def read(content):
    """Return a waveform, or None if it is refused."""
    try:
        with collect_notes():
            return load_waveform(content, sampling_rate=16000)
    except UnusableRecording as error:
        if "reading it failed" in str(error):
            raise AssertionError(f"an exception that was not expected: {error}") from error
        return None


def main():
    """Read all cases, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    files = make_files(rng)
    for _, content in files:
        read(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes, slowest, longest = Counter(), 0.0, 0.0
    for case in range(arguments.cases):
        name, original = files[case % len(files)]
        content = mutate(original, rng)
        start = time.monotonic()
        waveform = read(content)
        slowest = max(slowest, time.monotonic() - start)
        outcomes[name, waveform is not None] += 1
        if waveform is not None:
            assert waveform.size, case
            assert np.isfinite(waveform).all(), case
            longest = max(longest, len(waveform) / 16000)
            if case % 10 == 0:  # memory that was never written would differ
                np.testing.assert_array_equal(read(content), waveform)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{arguments.cases} cases, slowest {slowest:.2f} s, longest waveform {longest:.1f} s")
    above = (peak - before) / 1024
    print(f"peak memory {peak / 1024:.0f} MB, {above:.0f} MB above that of undamaged files")
    for name in FORMATS:
        print(f"{name}: {outcomes[name, True]} read, {outcomes[name, False]} refused")


if __name__ == "__main__":
    main()
