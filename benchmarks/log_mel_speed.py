"""Time LogMelSpectrogram and a loop over librosa, from FLAC files to an array.

python benchmarks/log_mel_speed.py path/to/emodb
"""

import statistics
import sys
import time

import librosa
import numpy as np
import soundfile

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.datasets import load_emodb

N_RECORDINGS = 64
N_RUNS = 9


def with_librosa(paths):
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


def with_threads(n_jobs):
    return LogMelSpectrogram(normalize=None, n_jobs=n_jobs).transform


def seconds(function, paths):
    start = time.perf_counter()
    function(paths)
    return time.perf_counter() - start


def main():
    corpus = load_emodb(sys.argv[1])
    paths = corpus.recordings[:: len(corpus.recordings) // N_RECORDINGS][:N_RECORDINGS]
    methods = {"librosa": with_librosa, "1 thread": with_threads(1), "2 threads": with_threads(2)}
    reference = with_librosa(paths)
    difference = np.abs(with_threads(1)(paths) - reference).max()
    print(f"{len(paths)} recordings of Emo-DB; largest difference {difference:.4f} dB")
    runs = {name: [] for name in methods}
    for _ in range(N_RUNS):
        for name, function in methods.items():
            runs[name].append(seconds(function, paths))
    for name, times in runs.items():
        ratios = [a / b for a, b in zip(runs["librosa"], times, strict=True)]
        print(
            f"{name:10} median {statistics.median(times) * 1000:6.1f} ms, librosa takes "
            f"{statistics.median(ratios):.2f} times as long "
            f"({min(ratios):.2f} to {max(ratios):.2f} over {N_RUNS} runs)"
        )


if __name__ == "__main__":
    main()
