"""Time of reading files and of spectrograms, relative to soundfile and librosa."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import soundfile

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.audio import ErrorCollector, SegmentOfFile, load_waveform, read_each

from ._bench import RATE, at_least, compare


def read(recordings, n_jobs=None):
    """Decode recordings, and do nothing with them."""
    load = partial(load_waveform, sampling_rate=RATE)
    for _ in read_each(load, recordings, ErrorCollector("raise"), n_jobs=n_jobs):
        pass


def read_by_soundfile(paths):
    """Decode files one after another."""
    for path in paths:
        soundfile.read(path, dtype="float32")


def read_by_soundfile_in_threads(paths):
    """Decode files in two threads, and do nothing else."""
    with ThreadPoolExecutor(2) as threads:
        for _ in threads.map(partial(soundfile.read, dtype="float32"), paths):
            pass


def files(bench):
    """Files of two seconds, and segments of a long file."""
    n = bench.size(2000, 400, 4)
    seconds = [bench.size(2, 2, 0.1)] * n
    loop, threads = "a loop over `soundfile.read`", "`soundfile.read` in two threads"
    for n_jobs, formats, goal in ((2, ["flac"], at_least(1.6)), (1, ["flac", "wav"], None)):
        paths = bench.write_noise("_".join(formats), seconds, formats)
        rivals = {loop: partial(read_by_soundfile, paths)}
        if n_jobs == 2:
            rivals[threads] = partial(read_by_soundfile_in_threads, paths)
        ours = {"ours": partial(read, paths, n_jobs)}
        runs = bench.run(rivals | ours, {"ours": {"decoded files": n}})
        kinds = " and ".join(map(str.upper, formats))
        name = f"reading {n} {kinds} files, `n_jobs={n_jobs}`"
        for rival in rivals:
            yield compare(name, rival, runs, "ours", rival, goal if rival == loop else None)


def segments(bench):
    """Segments of one second of a long file."""
    n = bench.size(600, 100, 2)
    (path,) = bench.write_noise("long", [n], ["flac"])
    ours = [SegmentOfFile(path, start, start + 1) for start in range(n)]

    def by_soundfile():
        for start in range(n):
            soundfile.read(path, start=start * RATE, stop=(start + 1) * RATE, dtype="float32")

    runs = bench.run(
        {"soundfile": by_soundfile, "ours": partial(read, ours)}, {"ours": {"decoded files": n}}
    )
    name = f"reading {n} segments of a FLAC file"
    yield compare(name, "`soundfile.read` with `start` and `stop`", runs, "ours", "soundfile")


def log_mel(bench):
    """Log-mel spectrograms of Emo-DB, from files to an array."""
    paths = bench.recordings(64)
    embedders = {n: LogMelSpectrogram(normalize=None, n_jobs=n) for n in (1, 2)}
    np.testing.assert_allclose(embedders[1].transform(paths), by_librosa(paths), atol=0.002)
    rivals = {n: partial(embedder.transform, paths) for n, embedder in embedders.items()}
    runs = bench.run({"librosa": partial(by_librosa, paths), **rivals})
    for n in embedders:
        name = f"`LogMelSpectrogram(n_jobs={n})`"
        yield compare(name, "librosa", runs, n, "librosa", at_least(3))


def by_librosa(paths):
    """Return the same spectrograms."""
    import librosa

    rows = []
    for path in paths:
        waveform, rate = soundfile.read(path, dtype="float32")
        start = max(len(waveform) - 48000, 0) // 2
        waveform = librosa.util.fix_length(waveform[start : start + 48000], size=48000)
        mel = librosa.feature.melspectrogram(
            y=waveform, sr=rate, n_fft=1024, hop_length=256, n_mels=128
        )
        rows.append(librosa.power_to_db(mel))
    return np.stack(rows)
