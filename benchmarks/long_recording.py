"""Measure the memory for a recording of one hour: WavLM base in windows.

python benchmarks/long_recording.py
"""

import resource
import tempfile
import time

import numpy as np
import soundfile
import transformers

from sklearn_ser import WavLMEmbedder

RATE = 16000
SECONDS = 3600


def peak():
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    """Embed one second, then one hour."""
    transformers.logging.disable_progress_bar()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        transformers.WavLMModel(transformers.WavLMConfig()).save_pretrained(folder)
        with soundfile.SoundFile(f"{folder}/hour.flac", "w", RATE, 1) as file:
            for _ in range(SECONDS):
                file.write(0.1 * rng.standard_normal(RATE))
        embedder = WavLMEmbedder(folder, layers="all")
        embedder.fit_transform([np.zeros(RATE)])
        before = peak()
        start = time.perf_counter()
        row = embedder.transform([f"{folder}/hour.flac"])
        took = time.perf_counter() - start
    print(f"{row.shape[1]} layers of one hour in {took:.0f} s, {SECONDS / took:.0f} x real time")
    print(f"peak with model, libraries and one second: {before:.2f} GB")
    print(f"beyond that for one hour: {peak() - before:.2f} GB")


if __name__ == "__main__":
    main()
