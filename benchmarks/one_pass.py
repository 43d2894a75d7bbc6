"""Count forward passes and time a grid search over layers, with and without `memory=`.

Afterwards, read the whole corpus from a full store: in one `transform`, in a search, and in a new
process.

python benchmarks/one_pass.py path/to/emodb path/to/whisper-base-encoder
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector, WhisperEmbedder
from sklearn_ser.backbones._whisper import WhisperBackbone
from sklearn_ser.datasets import load_emodb
from sklearn_ser.embedders import _embedding

N_RECORDINGS = 35
GRID = {"layer__layer": [1, 2, 3, 4, 5], "classifier__C": [0.1, 1]}
N_RUNS = 5
# What a new process runs: the imports of a search, and a transform from a full store.
IMPORTS = """
import sklearn.linear_model, sklearn.model_selection, sklearn.pipeline
from sklearn_ser import LayerSelector, WhisperEmbedder
"""
TRANSFORM = """
import sys
from pathlib import Path
_, corpus, model, store = sys.argv
embedder = WhisperEmbedder(model, layers="all", context="recording", memory=store)
embedder.transform(sorted(Path(corpus).rglob("*.flac")))
assert not {"torch", "transformers"} & set(sys.modules)
"""


def pipeline(model, **steps):
    """Return the pipeline. `cache` is the memory of the pipeline; others go to the embedder."""
    cache = steps.pop("cache", None)
    embedder = WhisperEmbedder(model, layers="all", context="recording", **steps)
    return Pipeline(
        [
            ("embed", embedder),
            ("layer", LayerSelector()),
            ("scale", StandardScaler()),
            ("classifier", LogisticRegression(max_iter=1000)),
        ],
        memory=cache,
    )


def search(first, X, emotions):
    """Return the CPU seconds of a search, with or without the embedder as the first step."""
    steps = pipeline(sys.argv[2], **first) if first else pipeline(sys.argv[2])[1:]
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    start = time.process_time()
    GridSearchCV(steps, GRID, cv=cv).fit(X, emotions)
    return time.process_time() - start


def cpu_of_process(code, *arguments):
    """Return the CPU seconds of a new process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def read_full_store(corpus, store):
    """Time what reads the layers of the whole corpus from a store. CPU seconds, interleaved."""
    embedder = pipeline(sys.argv[2], memory=store)[0]
    decoded = []
    load = _embedding.load_waveform
    _embedding.load_waveform = lambda *args, **options: decoded.append(1) or load(*args, **options)
    runs = {name: [] for name in ("first", "again", "store", "layers", "imports", "process")}
    for number in range(N_RUNS + 1):
        start = time.process_time()
        layers = embedder.transform(corpus.recordings)
        runs["again" if number else "first"].append(time.process_time() - start)
        if not number:
            print(f"{len(decoded)} recordings decoded by the first transform of the corpus")
            decoded.clear()
            continue
        runs["store"].append(search({"memory": store}, corpus.recordings, corpus.target))
        runs["layers"].append(search({}, layers, corpus.target))
        runs["imports"].append(cpu_of_process(IMPORTS))
        runs["process"].append(cpu_of_process(IMPORTS + TRANSFORM, *sys.argv[1:3], store))
    print(f"{len(decoded)} recordings decoded later")
    median = {name: statistics.median(times) for name, times in runs.items()}
    print(f"first transform / next ones: {median['first'] / median['again']:.0f}")
    for other, base in (("store", "layers"), ("process", "imports")):
        ratios = [a / b for a, b in zip(runs[other], runs[base], strict=True)]
        print(
            f"{other} / {base}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
            f"{max(ratios):.2f}), {median[other]:.2f} and {median[base]:.2f} s of CPU"
        )


def main():
    """Count forward passes and time each method, and the reading of a full store."""
    corpus = load_emodb(sys.argv[1])
    chosen = np.linspace(0, len(corpus.target) - 1, N_RECORDINGS).astype(int)
    recordings = [corpus.recordings[row] for row in chosen]
    emotions = corpus.target[chosen] == "anger"
    passed = []
    encode = WhisperBackbone.encode

    def count(self, waveforms, depth):
        passed.append(len(waveforms))
        return encode(self, waveforms, depth)

    WhisperBackbone.encode = count
    pipeline(sys.argv[2]).fit(recordings, emotions)  # loads the weights before timing
    with tempfile.TemporaryDirectory() as folder:
        methods = {
            "scikit-learn's Pipeline": {},
            "Pipeline(memory=)": {"cache": f"{folder}/joblib"},
            "embedder's memory=": {"memory": f"{folder}/store"},
            "the same, second run": {"memory": f"{folder}/store"},
        }
        seconds = {}
        for name, steps in methods.items():
            passed.clear()
            search = GridSearchCV(
                pipeline(sys.argv[2], **steps),
                GRID,
                cv=StratifiedKFold(5, shuffle=True, random_state=0),
            )
            start = time.perf_counter()
            search.fit(recordings, emotions)
            seconds[name] = time.perf_counter() - start
            print(
                f"{name:25} {sum(passed):5} forward passes of recordings "
                f"({sum(passed) / N_RECORDINGS:.0f} each), {seconds[name]:.1f} s",
                flush=True,
            )
        ratio = seconds["scikit-learn's Pipeline"] / seconds["embedder's memory="]
        print(f"scikit-learn's pipeline takes {ratio:.1f} times as long as one pass")
        read_full_store(corpus, f"{folder}/corpus")


if __name__ == "__main__":
    main()
