"""Time a training step of EmoHRNetClassifier and of timm's network in a plain loop.

python benchmarks/emohrnet_speed.py [--size 128x192] [--runs 5] [--compile]
"""

import argparse
import statistics
import time

import numpy as np
import timm
import torch
from torch.nn import functional

from sklearn_ser import EmoHRNetClassifier
from sklearn_ser.nn import HRNet

BATCH_SIZE = 32
N_STEPS = 4


def bare(make_network, X, y, *, channels_last=False, bfloat16=False, compiled=False):
    """Return a plain training loop that returns its time."""
    inputs, targets = torch.from_numpy(X)[:, None], torch.from_numpy(y)
    rng = np.random.default_rng(0)

    def loop():
        network = make_network().train()  # a new network each time, as in `fit`
        if channels_last:
            network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
        forward = torch.compile(network) if compiled else network
        if compiled:
            forward(inputs[:BATCH_SIZE]).sum().backward()
        start = time.perf_counter()
        for batch in rng.permutation(len(y)).reshape(-1, BATCH_SIZE):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                outputs = forward(inputs[batch])
            functional.cross_entropy(outputs.float(), targets[batch]).backward()
            optimizer.step()
        return time.perf_counter() - start

    return loop


class Stopwatch:
    """scikit-learn callback that measures the time of epochs, without initialisation."""

    def __init__(self):
        self.seconds = 0.0

    def setup(self, estimator, context):
        self.seconds = 0.0

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.start = time.perf_counter()

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.seconds += time.perf_counter() - self.start


def ours(X, y, **parameters):
    """Return a function that fits and returns the time of the epoch."""
    stopwatch = Stopwatch()
    classifier = EmoHRNetClassifier(
        max_epochs=1, batch_size=BATCH_SIZE, device="cpu", random_state=0, **parameters
    ).set_callbacks(stopwatch)

    def fit():
        classifier.fit(X, y)
        return stopwatch.seconds

    return fit


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="128x192", help="bands x frames")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile too; needs g++")
    arguments = parser.parse_args()
    size = tuple(map(int, arguments.size.split("x")))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_STEPS * BATCH_SIZE, *size)).astype(np.float32)
    y = rng.integers(0, 8, len(X))
    y[:8] = range(8)
    plain = {"crop": 1, "mixup": 0, "n_time_masks": 0, "n_frequency_masks": 0, "noise": 0}

    def timms():
        return timm.create_model("hrnet_w18_small", in_chans=1, num_classes=8)

    def network():
        return HRNet(8)

    methods = {
        "timm, bare loop": bare(timms, X, y),
        "our network, bare loop": bare(network, X, y),
        "our network, channels last": bare(network, X, y, channels_last=True),
        "fit, nothing random": ours(X, y, **plain),
        "fit, as by default": ours(X, y),
        "fit, bfloat16": ours(X, y, dtype="bfloat16"),
    }
    if arguments.compile:
        methods["our network, torch.compile"] = bare(network, X, y, compiled=True)
    runs = {name: [] for name in methods}
    for function in methods.values():
        function()  # warm up, compile
    for _ in range(arguments.runs):
        for name, function in methods.items():
            runs[name].append(function())
    print(f"small-v1, {arguments.size}, batches of {BATCH_SIZE}, {torch.get_num_threads()} threads")
    for name, times in runs.items():
        ratios = [a / b for a, b in zip(times, runs["timm, bare loop"], strict=True)]
        print(
            f"{name:28} median {statistics.median(times) / N_STEPS:.3f} s a step, "
            f"{statistics.median(ratios):.2f} of timm's ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
