"""What whole processes cost: imports, and peak memory."""

import multiprocessing
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import transformers

from sklearn_ser import HyperbolicFusionClassifier, WavLMEmbedder

from ._bench import NotMeasured, Row, at_most, compare
from ._transformers import save_network
from .store_speed import NARROWER


def imports(bench):
    """Import of the package."""
    runs = bench.run(
        {
            statement: partial(subprocess.run, [sys.executable, "-c", statement], check=True)
            for statement in ("import sklearn.base", "import sklearn_ser")
        }
    )
    yield compare(
        "`import sklearn_ser`",
        "`import sklearn.base`",
        runs,
        "import sklearn_ser",
        "import sklearn.base",
    )


def memory(bench):
    """Peak memory of many recordings, and of predictions for a large table."""
    if bench.mode == "quick":
        raise NotMeasured("takes minutes: fewer recordings than 500 are read ahead as a whole")
    many, few = bench.size((5000, 500), None, (4, 2))
    folder = str(save_network(transformers.WavLMModel, bench.folder / "memory", **NARROWER))
    seconds = np.random.default_rng(0).uniform(0.5, 1.5, many)
    paths = bench.write_noise("many", seconds, ["flac"])
    first, second = (_in_new_process(embed, folder, paths[:n]) for n in (few, many))
    yield _megabytes(
        f"peak memory, {many} recordings", f"{few} recordings", second - first, at_most(50, "MB")
    )
    yield _megabytes(
        "`HyperbolicFusionClassifier.predict` of 307 MB",
        "peak memory before",
        _in_new_process(predict, bench.size(100_000, None, 100)),
    )


def _megabytes(what, against, value, goal=None):
    return Row(what, against, goal, [value], [], "MB", {})


def embed(folder, paths):
    """Return the peak memory of embedding recordings."""
    WavLMEmbedder(folder, device="cpu").fit_transform(paths)
    return peak()


def predict(n):
    """Return the memory of a prediction, in addition to the table."""
    rng = np.random.default_rng(0)
    widths = [512, 256]
    classifier = HyperbolicFusionClassifier(widths, branch="mlp", max_epochs=1, device="cpu")
    classifier.fit(rng.standard_normal((2000, sum(widths))), np.arange(2000) % 7)
    table = rng.standard_normal((n, sum(widths)), dtype=np.float32)
    before = peak()
    classifier.predict(table)
    return peak() - before


def peak():
    """Return the peak memory of this process in MB, without that of its parent."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def _in_new_process(function, *arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
