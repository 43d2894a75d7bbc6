"""Time `fit` of HyperbolicFusionClassifier and its rivals, and the memory of `predict`.

Linear branches are compared with LogisticRegression on the same tables, and networks with a plain
training loop.

python benchmarks/fusion_speed.py [--runs 7]
"""

import argparse
import os
import resource
import statistics
import time

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from sklearn_ser import HyperbolicFusionClassifier
from sklearn_ser.nn import HyperbolicFusionNetwork

N, WIDTHS, N_CLASSES, N_EPOCHS, BATCH_SIZE = 2000, (512, 256), 7, 5, 32
# Recordings, columns of two blocks, and classes: as in Emo-DB and RAVDESS.
TABLES = [(535, (128, 256), 7), (535, (512, 256), 7), (1440, (128, 256), 8), (1440, (512, 256), 8)]
SETTINGS = {
    "MLP branches": {"branch": "mlp"},
    "convolution branches": {"branch": "conv"},
    "MLP branches, hyperplanes": {"branch": "mlp", "head": "mlr"},
}


def bare(X, y, settings):
    """Time a plain training loop with the same network, batches and optimiser."""
    start = time.perf_counter()
    inputs = torch.from_numpy(StandardScaler().fit_transform(X.astype(np.float64))).float()
    targets = torch.from_numpy(y)
    torch.manual_seed(0)
    network = HyperbolicFusionNetwork(WIDTHS, N_CLASSES, **settings).train()
    flat, *on_ball = network.parameter_groups()
    optimizers = [torch.optim.AdamW([flat], 1e-3, weight_decay=0, fused=True)]
    if on_ball:
        from geoopt.optim import RiemannianAdam

        optimizers.append(RiemannianAdam(on_ball, 1e-3))
    for _ in range(N_EPOCHS):
        for batch in torch.randperm(N).split(BATCH_SIZE):
            for optimizer in optimizers:
                optimizer.zero_grad()
            functional.cross_entropy(network(inputs[batch]), targets[batch]).backward()
            for optimizer in optimizers:
                optimizer.step()
    return time.perf_counter() - start


def ours(X, y, settings):
    """Time `fit`."""
    classifier = HyperbolicFusionClassifier(
        list(WIDTHS),
        max_epochs=N_EPOCHS,
        batch_size=BATCH_SIZE,
        device="cpu",
        random_state=0,
        **settings,
    )
    start = time.perf_counter()
    classifier.fit(X, y)
    return time.perf_counter() - start


def time_linear_branches(n_runs):
    """Print the ratio of the times of linear branches and of a logistic regression."""
    for n, widths, n_classes in TABLES:
        X, y = make_classification(
            n,
            sum(widths),
            n_informative=40,
            n_redundant=sum(widths) - 40,
            n_classes=n_classes,
            random_state=0,
        )
        logistic = LogisticRegression(C=0.01, class_weight="balanced", max_iter=3000)
        rivals = make_pipeline(StandardScaler(), logistic), HyperbolicFusionClassifier(widths)
        times = []
        for _ in range(n_runs + 1):
            row = []
            for model in rivals:
                start = time.perf_counter()
                model.fit(X, y)
                row.append(time.perf_counter() - start)
            times.append(row)
        ratios = [ours / theirs for theirs, ours in times[1:]]  # the first run is a warm-up
        print(
            f"linear branches, {n} x {sum(widths)}, {n_classes} classes: "
            f"{statistics.median(ours for _, ours in times[1:]):.3f} s, "
            f"{statistics.median(ratios):.2f} of logistic regression's "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def measure_prediction(X, y):
    """Print the additional memory of `predict` on 100 000 rows."""
    classifier = HyperbolicFusionClassifier(
        list(WIDTHS), branch="mlp", max_epochs=1, device="cpu", random_state=0
    ).fit(X, y)
    table = np.random.default_rng(1).standard_normal((100_000, sum(WIDTHS)), dtype=np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    classifier.predict(table)
    seconds = time.perf_counter() - start
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"predict, {len(table)} x {table.shape[1]} ({table.nbytes / 1e6:.0f} MB): {seconds:.1f} s, "
        f"{added / 1e3:.0f} MB beyond the table"
    )


def main():
    """Print the ratios of times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, sum(WIDTHS)), dtype=np.float32)
    y = rng.integers(0, N_CLASSES, N)
    measure_prediction(X, y)
    time_linear_branches(arguments.runs)
    print(
        f"fit, {N} x {sum(WIDTHS)}, {N_EPOCHS} epochs, batches of {BATCH_SIZE}, "
        f"{torch.get_num_threads()} threads of {os.cpu_count()} processors"
    )
    for name, settings in SETTINGS.items():
        pairs = []
        for run in range(arguments.runs + 1):
            pair = ours(X, y, settings), bare(X, y, settings)
            if run:  # the first run is a warm-up
                pairs.append(pair)
        ratios = [fit / loop for fit, loop in pairs]
        print(
            f"{name}: {statistics.median(fit for fit, _ in pairs):.2f} s, "
            f"{statistics.median(ratios):.2f} of the bare loop's "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
