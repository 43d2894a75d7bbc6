"""Forward passes, time and bytes of embeddings that are cached."""

import subprocess
import sys
from functools import cache, partial
from itertools import count
from pathlib import Path

import numpy as np
import transformers
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import EmbeddingStore, LayerSelector, WavLMEmbedder, WhisperEmbedder

from ._bench import at_least, at_most, compare
from ._machine import arithmetic
from ._transformers import save_network
from .encoder_speed import find_whisper

BATCH_SIZE = 16  # saved in one transaction
# As many values as WavLM base, but far less to compute.
NARROW = {
    "intermediate_size": 16,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 48,
}
NARROWER = NARROW | {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
# What a new process runs: the imports of a search, and a transform from a full store.
IMPORTS = """
import sklearn.linear_model, sklearn.model_selection, sklearn.pipeline
from sklearn_ser import LayerSelector, WavLMEmbedder
"""
TRANSFORM = """
import sys
_, model, store, *paths = sys.argv
WavLMEmbedder(model, layers="all", memory=store, device="cpu").transform(paths)
assert not {"torch", "transformers"} & set(sys.modules)
"""


def make_pipeline(*embedder, memory=None):
    """Return a pipeline; `memory` is that of scikit-learn."""
    return Pipeline(
        [
            *(("embed", step) for step in embedder),
            ("layer", LayerSelector()),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=1000)),
        ],
        memory=memory,
    )


def one_pass(bench):
    """A search over layers of Whisper base, with each way of caching."""
    n_folds, n_layers = bench.size((5, 5), (2, 2), (2, 2))
    n_candidates = 2 * n_layers
    n = bench.size(20, 8, 8)
    paths, is_anger = bench.recordings(n), np.arange(n) % 4 == 0
    grid = {"layer__layer": range(1, n_layers + 1), "classify__C": [0.1, 1]}
    cv = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    folders = map(str, map((bench.folder / "one_pass").joinpath, map(str, count())))
    last = []

    def search(embedder_memory=None, pipeline_memory=None):
        embedder = WhisperEmbedder(
            find_whisper(bench),
            layers="all",
            context="recording",
            device="cpu",
            memory=embedder_memory,
        )
        GridSearchCV(make_pipeline(embedder, memory=pipeline_memory), grid, cv=cv).fit(
            paths, is_anger
        )

    def search_once():
        last[:] = [next(folders)]
        search(*last)

    passes = {
        "scikit-learn's Pipeline": n_folds * n_candidates + 1,
        "Pipeline(memory=)": n_folds + n_candidates,
        "the embedder's memory=": 1,
        "the same search again": 0,
    }
    rivals = {
        "scikit-learn's Pipeline": search,
        "Pipeline(memory=)": lambda: search(pipeline_memory=next(folders)),
        "the embedder's memory=": search_once,
        "the same search again": lambda: search(*last),
    }
    with arithmetic(1):
        runs = bench.run(
            dict(zip(passes, rivals.values(), strict=True)),
            {name: {"forward passes": times * n} for name, times in passes.items()},
            warm_up=False,
            n_runs=bench.size(3, 1, 1),
        )
    first, pipeline, ours, again = passes
    for theirs in (first, pipeline, again):
        yield compare(
            f"search of {n_candidates} candidates, {n_folds} folds, `memory=`",
            f"{theirs}: {passes[theirs]} passes of each recording",
            runs,
            ours,
            theirs,
        )


@cache
def fill_store(bench):
    """Return the embedder, recordings, its layers and the time of the first `transform`."""
    sizes = bench.size(NARROW, NARROW, NARROWER)
    folder = save_network(transformers.WavLMModel, bench.folder / "narrow", **sizes)
    embedder = WavLMEmbedder(folder, layers="all", memory=str(bench.folder / "store"), device="cpu")
    paths = bench.recordings(bench.size(len(bench.corpus[0]), 100, 8))
    layers = []
    counts = {"forward passes": len(paths), "decoded files": len(paths)}
    with arithmetic(1):
        runs = bench.run(
            {"first transform": lambda: layers.append(embedder.transform(paths))},
            {"first transform": counts},
            warm_up=False,
            n_runs=1,
        )
    return embedder, paths, layers[0], runs["first transform"]


def warm(bench):
    """Reading all recordings from a full store."""
    embedder, paths, _, first = fill_store(bench)
    runs = bench.run(
        {"next ones": partial(embedder.transform, paths)},
        {"next ones": {"forward passes": 0, "decoded files": 0}},
    )
    runs["first"] = first * bench.n_runs
    name = f"warm `transform` of {len(paths)} files, 13 layers of 768"
    yield compare(
        name, "the first, with a narrow network", runs, "next ones", "first", at_least(100)
    )


def new_process(bench):
    """Reading all recordings from a full store in a new process."""
    embedder, paths, *_ = fill_store(bench)
    arguments = [embedder.model, embedder.memory, *paths]
    processes = {"imports": [IMPORTS], "transform": [IMPORTS + TRANSFORM, *arguments]}
    rivals = {
        name: partial(subprocess.run, [sys.executable, "-c", *code], check=True)
        for name, code in processes.items()
    }
    name = "new process that transforms from a full store"
    runs = bench.run(rivals, warm_up=False)
    yield compare(name, "its imports", runs, "transform", "imports", at_most(1.15))


def search(bench):
    """A search over layers and penalties, with a full store and with an array."""
    embedder, paths, layers, _ = fill_store(bench)
    rows = bench.rows(len(paths))
    emotions, speakers = (values[rows] for values in bench.corpus[1:])
    grid = {
        "layer__layer": bench.size(range(13), (0, 12), (0, 3)),
        "classify__C": bench.size((0.01,), (1,), (1,)),
    }

    def run(pipeline, X):
        GridSearchCV(pipeline, grid, cv=LeaveOneGroupOut()).fit(X, emotions, groups=speakers)

    runs = bench.run(
        {
            "array": partial(run, make_pipeline(), layers),
            "store": partial(run, make_pipeline(embedder), paths),
        },
        {"store": {"forward passes": 0, "decoded files": 0}},
        warm_up=False,
        n_runs=bench.size(1, 3, 1),
    )
    name = (
        f"`GridSearchCV`, warm store, {len(paths)} recordings, {' × '.join(map(_n, grid.values()))}"
    )
    yield compare(name, "precomputed layers", runs, "store", "array", at_most(1.15))


def _n(values):
    return str(len(values))


def save_entries(store, rows):
    """Save rows under made-up keys, and return the keys."""
    keys = [f"{number:032x}" for number in range(len(rows))]
    for start in range(0, len(rows), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        store.save("network", dict(zip(keys[batch], rows[batch], strict=True)))
    return keys


def bytes_per_entry(folder, rows):
    """Return the bytes on disk of each entry of a new store."""
    save_entries(EmbeddingStore(folder), rows)
    return sum(file.stat().st_size for file in Path(folder).iterdir()) / len(rows)


def store_size(bench):
    """Bytes of the store for each recording, relative to those of its layers."""
    shape = (13, 768)
    rows = np.random.default_rng(0).standard_normal((256, *shape)).astype(np.float32)
    n_bytes = bytes_per_entry(bench.folder / "entries", rows)
    limit = 1.05 * rows[0].nbytes
    bench.check(f"bytes per recording in the store, at most {limit:.0f}", n_bytes <= limit, True)
    return ()
