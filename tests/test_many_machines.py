"""The page about Dask and Ray: its code runs on two worker processes, also if one is killed."""

import os
import re
import signal

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline

from sklearn_ser import EmbeddingStore, LayerSelector
from test_docs import MANY_MACHINES, run

pytestmark = pytest.mark.slow
UNUSABLE = "voice05"


# What runs on workers is defined within functions, and so is pickled by value: workers need not
# import this module.


def pid_scorer():
    """Return a scorer that gives the number of its process."""
    return lambda *arguments: os.getpid()


def network_counter():
    """Return a function that counts the networks in the memory of its process."""

    def count():
        from sklearn_ser.backbones import _loading

        return len(_loading._networks)

    return count


def assert_equal_scores(search, other):
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(search.cv_results_[name], other.cv_results_[name], rtol=1e-12)


def check_embeddings(page):
    """Compare the dataset with the rows of one process."""
    written = pd.read_parquet(page["folder"] / "embeddings")
    assert list(written.index) == list(page["table"].index)
    assert list(written["error"].dropna().index) == [UNUSABLE]
    assert "voice05.flac" in written["error"][UNUSABLE]
    assert written.loc[UNUSABLE].drop("error").isna().all()
    usable = page["table"].drop(index=UNUSABLE)
    expected = clone(page["embedder"]).set_params(memory=None).fit_transform(usable["path"])
    error = np.linalg.norm(page["embeddings"] - expected, axis=1)
    assert (error <= 1e-5 * np.linalg.norm(expected, axis=1)).all()
    assert (page["embeddings"].columns == expected.columns).all()
    assert len(EmbeddingStore(page["embedder"].memory)) == len(usable)
    return expected


def check_searches(page):
    """Compare searches over columns and over recordings with sequential ones."""
    groups, emotions = page["labels"]["speaker"], page["labels"]["emotion"]
    sequential = clone(page["search"]).fit(page["embeddings"], emotions, groups=groups)
    assert_equal_scores(page["search"], sequential)
    assert page["search"].best_params_ == sequential.best_params_

    embedder = clone(page["embedder"]).set_params(layers="all", flatten=False)
    embedder.set_output(transform="default")
    pipeline = make_pipeline(embedder, LayerSelector(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(
        pipeline,
        {"layerselector__layer": [1, 2, 3]},
        cv=GroupKFold(2),
        scoring={"score": "balanced_accuracy", "pid": pid_scorer()},
        refit=False,
    )
    paths = page["table"].drop(index=UNUSABLE)["path"]
    embedder.fit_transform(paths)
    with joblib.parallel_config(backend="dask"):
        search.fit(paths, emotions, groups=groups)
    pids = {search.cv_results_[f"split{fold}_test_pid"][i] for fold in range(2) for i in range(3)}
    assert pids <= set(page["client"].run(os.getpid).values())
    assert_equal_scores(
        search,
        clone(search).set_params(scoring="balanced_accuracy").fit(paths, emotions, groups=groups),
    )


def check_killed_worker(page, folder, expected):
    """Kill a worker in the middle of a partition, and compare what the dataset has in the end."""
    import dask.dataframe as dd

    embed, kept = page["embed_partition"], folder / "kept"

    def embed_and_die(table, embedder):
        if len(table) and not kept.exists():
            embed(table[:3], embedder)
            kept.write_text(str(len(EmbeddingStore(embedder.memory))))
            os.kill(os.getpid(), signal.SIGKILL)
        return embed(table, embedder)

    embedder = clone(page["embedder"]).set_params(memory=folder / "cache")
    partitions = dd.from_pandas(page["table"].drop(index=UNUSABLE), npartitions=1)
    rows = partitions.map_partitions(embed_and_die, embedder, meta=page["meta"]).compute()
    assert kept.read_text() == "3"
    assert len(EmbeddingStore(embedder.memory)) == len(expected)
    np.testing.assert_allclose(rows.drop(columns="error"), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(os.name != "posix", reason="it kills a process by a signal")
def test_dask_on_two_processes(tmp_path):  # one test, since to start workers takes seconds
    pytest.importorskip("distributed")
    page = run(MANY_MACHINES)
    try:
        expected = check_embeddings(page)
        check_searches(page)
        assert set(page["client"].run(network_counter()).values()) == {1}
        check_killed_worker(page, tmp_path, expected)
    finally:
        page["client"].close()
    nothing = page["embed_partition"](page["table"].loc[[UNUSABLE]], page["embedder"])
    assert nothing["error"].notna().all()
    assert nothing.dtypes.equals(page["meta"].dtypes)


def test_ray_on_two_processes(monkeypatch):
    ray = pytest.importorskip("ray")
    rng = np.random.default_rng(0)
    search = GridSearchCV(
        make_pipeline(LayerSelector(n_layers=2), LogisticRegression()),
        {"layerselector__layer": [0, 1]},
        cv=GroupKFold(2),
        scoring={"score": "balanced_accuracy", "pid": pid_scorer()},
        refit=False,
    )
    table = pd.DataFrame({"emotion": ["anger", "sadness"] * 20, "speaker": [0, 0, 1, 1] * 10})
    names = {
        "joblib": joblib,
        "search": search,
        "labels": table,
        "embeddings": rng.standard_normal((40, 6))
        + (table["emotion"] == "anger").to_numpy()[:, None],
    }
    init = ray.init
    monkeypatch.setattr(ray, "init", lambda: init(num_cpus=2, include_dashboard=False))
    try:
        (block,) = re.findall(
            r"^```{code-block} python\n(import ray\n.*?)^```$",
            MANY_MACHINES.read_text(),
            re.M | re.S,
        )
        exec(block, names)
    finally:
        ray.shutdown()
    assert os.getpid() not in search.cv_results_["split0_test_pid"]
    sequential = clone(search).set_params(scoring="balanced_accuracy")
    sequential.fit(names["embeddings"], table["emotion"], groups=table["speaker"])
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], sequential.cv_results_["mean_test_score"]
    )
