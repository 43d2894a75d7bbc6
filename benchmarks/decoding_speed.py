"""Time of reading files and segments, relative to a loop over soundfile.

python benchmarks/decoding_speed.py
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from sklearn_ser.audio import SegmentOfFile, load_waveform

RATE = 16000
N_FILES = 2000
N_SECONDS = 600
N_RUNS = 5


def write_files(folder):
    """Write noise of 2 s as FLAC and WAV in turn, and one long FLAC file."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(N_FILES):
        path = folder / f"{number}.{('flac', 'wav')[number % 2]}"
        soundfile.write(path, rng.uniform(-0.5, 0.5, 2 * RATE), RATE)
        paths.append(str(path))
    long = str(folder / "long.flac")
    soundfile.write(long, rng.uniform(-0.5, 0.5, N_SECONDS * RATE), RATE)
    return paths, long


def compare(name, ours, theirs):
    """Print the median and range of the ratio of two functions' times, run in turn."""
    ratios, seconds = [], []
    for _ in range(N_RUNS):
        times = []
        for function in (ours, theirs):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
        seconds.append(times[0])
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(f"{name}: {statistics.median(seconds):.2f} s, {middle:.2f} ({low:.2f} to {high:.2f})")


def main():
    """Print both comparisons."""
    with tempfile.TemporaryDirectory() as folder:
        paths, long = write_files(Path(folder))
        compare(
            f"{N_FILES} files",
            lambda: [load_waveform(path, sampling_rate=RATE) for path in paths],
            lambda: [soundfile.read(path, dtype="float32") for path in paths],
        )
        starts = range(N_SECONDS - 1)
        segments = [SegmentOfFile(long, start, start + 1) for start in starts]
        compare(
            f"{len(segments)} segments of one file",
            lambda: [load_waveform(segment, sampling_rate=RATE) for segment in segments],
            lambda: [
                soundfile.read(long, start=s * RATE, stop=(s + 1) * RATE, dtype="float32")
                for s in starts
            ],
        )


if __name__ == "__main__":
    main()
