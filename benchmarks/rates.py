"""Measure rates for plans of large corpora: bytes per recording, and time per second of audio.

python -m benchmarks.rates path/to/emodb path/to/whisper-base-encoder

Times are CPU times of one thread, medians of some runs. Those of the store are by the clock, since
they depend on the disk.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
import transformers

from sklearn_ser import EmbeddingStore, LogMelSpectrogram, WavLMEmbedder, WhisperEmbedder
from sklearn_ser.datasets import load_emodb

from ._bench import Seconds, measure
from .store_speed import bytes_per_entry, save_entries

N_RECORDINGS = 12
N_RUNS = 3
N_ENTRIES = 2000
HOURS = 1_000_000
SECONDS_PER_RECORDING = 5  # that a million hours are cut into


def median(work):
    """Return the median times of a function."""
    return Seconds(
        *map(statistics.median, zip(*(measure(work) for _ in range(N_RUNS)), strict=True))
    )


def report_rate(name, work, n_seconds):
    """Print how many seconds of audio one thread takes in a second."""
    rate = n_seconds / median(work).cpu
    print(f"{name:36} {rate:8.1f} times real time, {HOURS / rate:12,.0f} CPU-hours", flush=True)


def report_bytes(name, n_bytes):
    """Print the size of a recording's entry, and that of a million hours."""
    total = n_bytes * HOURS * 3600 / SECONDS_PER_RECORDING
    print(f"{name:36} {n_bytes:8,.0f} bytes, {total / 1e12:8.1f} TB", flush=True)


def time_networks(paths, whisper, n_seconds):
    """Time the reading of files and the networks."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        transformers.WavLMModel(transformers.WavLMConfig()).eval().save_pretrained(folder)
        embedders = {
            "files to log-mel statistics": LogMelSpectrogram(pooling="mean_std"),
            "WavLM base, 12 layers": WavLMEmbedder(folder, layers="all"),
            "WavLM base, to layer 6": WavLMEmbedder(folder, layers=6),
            "Whisper base, 30 s": WhisperEmbedder(whisper),
            "Whisper base, own length": WhisperEmbedder(whisper, context="recording"),
        }
        for name, embedder in embedders.items():
            embedder.fit_transform(paths[:1])
            report_rate(name, lambda embedder=embedder: embedder.fit_transform(paths), n_seconds)


def measure_store(shape):
    """Measure the bytes of the store and of Parquet, and the time of loading."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((N_ENTRIES, *shape)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore(folder)
        keys = save_entries(store, rows)

        def save():
            store.clear()
            save_entries(store, rows)

        for name, work in (("saving", save), ("loading", lambda: store.load("network", keys))):
            rate = N_ENTRIES / median(work).wall
            print(f"{f'{name}, store':36} {rate:8,.0f} entries per second", flush=True)
        n_bytes = bytes_per_entry(f"{folder}/other", rows)
        report_bytes(f"store, {shape[0]} layers of {shape[1]}", n_bytes)
        table = pd.DataFrame(rows[:, 0], columns=[f"c{column}" for column in range(shape[1])])
        for dtype in ("float32", "float16"):
            path = Path(folder, f"{dtype}.parquet")
            table.astype(dtype).to_parquet(path)
            report_bytes(f"Parquet, one layer, {dtype}", path.stat().st_size / N_ENTRIES)


def main():
    """Measure all rates."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    paths = load_emodb(sys.argv[1]).recordings
    paths = paths[:: len(paths) // N_RECORDINGS][:N_RECORDINGS]
    n_seconds = sum(soundfile.info(path).duration for path in paths)
    print(f"{len(paths)} recordings of Emo-DB, {n_seconds:.0f} s; {HOURS:,} hours")
    time_networks(paths, sys.argv[2], n_seconds)
    measure_store((13, 768))


if __name__ == "__main__":
    main()
