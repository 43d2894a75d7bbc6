"""Time the speech embedders and transformers, with all and with fewer layers.

python benchmarks/encoder_speed.py path/to/emodb path/to/whisper-base-encoder
"""

import statistics
import sys
import tempfile
import time

import numpy as np
import soundfile
import torch
import transformers

from sklearn_ser import WavLMEmbedder, WhisperEmbedder
from sklearn_ser.datasets import load_emodb

N_RECORDINGS = 8
N_RUNS = 3


def one_by_one(network):
    """Return the exact equivalent with transformers: a loop over single recordings."""

    def embed(waveforms):
        rows = []
        for waveform in waveforms:
            with torch.inference_mode():
                output = network(torch.from_numpy(waveform)[None], output_hidden_states=True)
            rows.append(
                np.stack([hidden[0].mean(dim=0).numpy() for hidden in output.hidden_states])
            )
        return np.stack(rows)

    return embed


def time_in_turn(methods, waveforms):
    """Return the times of each method, run in turn."""
    for method in methods.values():
        method(waveforms[:2])
    seconds = {name: [] for name in methods}
    for _ in range(N_RUNS):
        for name, method in methods.items():
            start = time.perf_counter()
            method(waveforms)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def report(seconds, reference):
    """Print the median time of each method, and the ratio of the reference's time to it."""
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(seconds[reference], times, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(
            f"  {name:45} {statistics.median(times):6.2f} s; {reference} takes {ratio} times",
            flush=True,
        )


def main():
    """Compare the methods on real recordings."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    paths = load_emodb(sys.argv[1]).recordings
    paths = paths[:: len(paths) // N_RECORDINGS][:N_RECORDINGS]
    waveforms = [soundfile.read(path, dtype="float32")[0] for path in paths]
    total = sum(map(len, waveforms)) / 16000
    print(f"{len(waveforms)} recordings of Emo-DB, {total:.0f} s, {N_RUNS} runs")
    torch.manual_seed(0)
    network = transformers.WavLMModel(transformers.WavLMConfig()).eval()
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
        wavlm = {
            "transformers, one by one": one_by_one(network),
            "WavLMEmbedder, all layers": WavLMEmbedder(folder, layers="all").fit_transform,
            "WavLMEmbedder, layer 6": WavLMEmbedder(folder, layers=6).fit_transform,
            "WavLMEmbedder, all layers, bfloat16": WavLMEmbedder(
                folder, layers="all", dtype="bfloat16"
            ).fit_transform,
        }
        print("WavLM base, random weights")
        report(time_in_turn(wavlm, waveforms), "transformers, one by one")
    whisper = {
        f"{context}, {dtype}": WhisperEmbedder(
            sys.argv[2], layers="all", context=context, dtype=dtype
        ).fit_transform
        for context in ("30s", "recording")
        for dtype in ("float32", "bfloat16")
    }
    print("Whisper base, real weights")
    report(time_in_turn(whisper, waveforms), "30s, float32")


if __name__ == "__main__":
    main()
