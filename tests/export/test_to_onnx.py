"""ONNX files: run by onnxruntime, they give what the estimator gives."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    ElasticNetCV,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from sklearn_ser import (
    ConcordanceRegressor,
    DistilledRegressor,
    EmoHRNetClassifier,
    HyperbolicFusionClassifier,
    LayerSelector,
    WhisperEmbedder,
    to_onnx,
)
from sklearn_ser.export._steps import convert

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SMALL = {
    "branch_sizes": (8,),
    "n_dims": 6,
    "hidden_size": 8,
    "max_epochs": 5,
    "learning_rate": 0.02,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture
def run(tmp_path):
    """Return a function that exports an estimator and returns the file's outputs by name."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")

    def run(estimator, *batches):
        path = tmp_path / "model.onnx"
        to_onnx(estimator, path)
        session = runtime.InferenceSession(path)
        (given,) = session.get_inputs()
        assert given.type == "tensor(float)"
        names = [output.name for output in session.get_outputs()]
        return [
            dict(zip(names, session.run(None, {given.name: np.float32(X)}), strict=True))
            for X in batches
        ]

    return run


@pytest.fixture
def assert_same(run):
    """Return a function that compares predictions of a file and an estimator."""

    def check(estimator, *batches):
        alone = batches[0][:1]
        for X, outputs in zip((alone, *batches), run(estimator, alone, *batches), strict=True):
            for name, values in outputs.items():
                expected = METHODS[name](estimator, X)
                assert values.shape == expected.shape
                if name == "labels":
                    np.testing.assert_array_equal(values, expected)
                else:
                    assert values.dtype == np.float32
                    np.testing.assert_allclose(values, expected, **TOLERANCE)
        return outputs

    return check


@pytest.fixture
def assert_same_module():
    """Return a function that compares estimators with the modules that are exported of them.

    It takes milliseconds. An export takes seconds, and differs little between these estimators.
    """

    def check(estimator, *batches):
        step = convert(estimator)
        for X in (batches[0][:1], *batches):
            with torch.inference_mode():
                output = step.module(torch.from_numpy(np.float32(X)))
            if step.classes is not None:
                output, index = output
                np.testing.assert_array_equal(step.classes[index], estimator.predict(X))
            expected = METHODS[step.output_name](estimator, X)
            assert output.shape == expected.shape
            np.testing.assert_allclose(output.numpy(), expected, **TOLERANCE)

    return check


METHODS = {
    "probabilities": lambda estimator, X: estimator.predict_proba(X),
    "scores": lambda estimator, X: estimator.decision_function(X),
    "labels": lambda estimator, X: estimator.predict(X),
    "predictions": lambda estimator, X: estimator.predict(X),
    "transformed": lambda estimator, X: estimator.transform(X),
}


@pytest.fixture(scope="module")
def table():
    """Return two blocks of features, whose means are much larger than their variation."""
    rng = np.random.default_rng(0)
    y = np.repeat(["anger", "boredom", "fear"], 20)
    X = rng.normal(size=(60, 20))
    X[y == "anger", :6] += 2
    X[y == "fear", 12:] += 2
    X += np.linspace(-1000, 1000, 20)
    return X.astype(np.float32).astype(np.float64), y


@pytest.fixture(scope="module")
def layers():
    """Return the layers of recordings of two or four emotions."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4, 5)) * np.array([1, 3, 10, 30])[:, np.newaxis] + 20
    y = np.arange(40) % 4
    X[y == 1, 2] += 20
    return X.astype(np.float32), y


FUSIONS = [
    {"branch": "mlp", "fusion": "gyromidpoint", "curvature": "learn"},
    {"branch": "mlp", "curvature": 5, "max_norm": None},
    {"branch": "mlp", "head": "mlr", "curvature": "learn"},
    {"branch": "conv", "fusion": "mobius"},
]
SIMILAR_FUSIONS = [
    {"branch": "mlp", "fusion": "sum", "curvature": "learn_each"},
    {"fusion": "concat"},
    {"fusion": "sum"},
    {"fusion": "gyromidpoint"},
    {"standardize": False, "C": 1e-5},
    {"branch": "mlp", "fusion": "mobius"},
    {"branch": "mlp", "fusion": "concat"},
    {"branch": "mlp", "head": "mlr", "curvature": 0},
]


def fit_blocks(table, parameters):
    """Return a fitted classifier, and recordings with all blocks, without one, and far away."""
    X, y = table
    # The order of the columns in the network is not that in X.
    blocks = {"end": slice(8, 20), "start": slice(0, 8)}
    classifier = HyperbolicFusionClassifier(blocks, **SMALL | parameters).fit(X, y)
    missing = X.copy()
    missing[::3, :8] = np.nan
    missing[1::3, 8:] = np.nan
    return classifier, X, missing, X * 1e6


@pytest.mark.parametrize(
    "parameters", [{}, *(pytest.param(some, marks=pytest.mark.slow) for some in FUSIONS)], ids=str
)
def test_fusions_with_and_without_all_blocks(assert_same, table, parameters):
    outputs = assert_same(*fit_blocks(table, parameters))
    assert list(outputs) == ["probabilities", "labels"]


@pytest.mark.parametrize("parameters", SIMILAR_FUSIONS, ids=str)
def test_similar_fusions_with_and_without_all_blocks(assert_same_module, table, parameters):
    assert_same_module(*fit_blocks(table, parameters))


@pytest.mark.slow
def test_a_block_with_some_missing_columns_is_missing(run, table):
    X, y = table
    classifier = HyperbolicFusionClassifier([8, 12]).fit(X, y)
    some, whole = X.copy(), X.copy()
    some[:, 3], whole[:, :8] = np.nan, np.nan
    some, whole = (output["probabilities"] for output in run(classifier, some, whole))
    np.testing.assert_array_equal(some, whole)
    np.testing.assert_allclose(some.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("small_hrnet")
def test_spectrograms_of_any_length(assert_same):
    rng = np.random.default_rng(0)
    X = 10 * rng.normal(size=(24, 24, 40)) - 50
    y = np.repeat(["anger", "fear", "sadness"], 8)
    for label, emotion in enumerate(np.unique(y)):
        X[y == emotion, 8 * label : 8 * label + 8] += 20
    classifier = EmoHRNetClassifier(width=2, head_width=2, max_epochs=1, random_state=0)
    classifier.fit(X, y)
    others = (10 * rng.normal(size=(3, 24, n_frames)) - 50 for n_frames in (1, 31, 32, 33, 100))
    assert_same(classifier, X, *others)


@pytest.mark.slow
@pytest.mark.usefixtures("small_hrnet")
def test_spectrograms_of_one_band(assert_same_module):
    X = np.random.default_rng(0).normal(size=(16, 40))
    y = np.repeat(["anger", "fear"], 8)
    X[y == "fear"] += 1
    parameters = {"width": 2, "head_width": 2, "max_epochs": 2, "random_state": 0}
    pipeline = make_pipeline(StandardScaler(), EmoHRNetClassifier(**parameters))
    assert_same_module(pipeline.fit(X, y), X)


@pytest.mark.parametrize(
    "n_targets", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (None, 1))]
)
def test_arousal_valence_and_dominance(assert_same, table, n_targets):
    X, _ = table
    y = np.tanh((X - X.mean(axis=0))[:, :3]) + 3
    y[:, 2] = 4  # a constant target is predicted as its constant
    y = y[:, 0] if n_targets is None else y[:, :n_targets]
    regressor = ConcordanceRegressor(hidden_size=8, max_epochs=5, random_state=0).fit(X, y)
    assert_same(regressor, X)


@pytest.mark.parametrize(
    "layer",
    [
        *(pytest.param(layer, marks=pytest.mark.slow) for layer in (-2, [2, 0], "mean", "best")),
        "weighted",
    ],
)
def test_layers_in_a_pipeline(assert_same, layers, layer):
    X, y = layers
    pipeline = make_pipeline(LayerSelector(layer), StandardScaler(), LogisticRegression())
    outputs = assert_same(pipeline.fit(X, y), X)
    assert outputs["labels"].dtype == np.int64


@pytest.mark.slow
def test_layers_as_a_table_and_for_each_target(assert_same, layers):
    X, y = layers
    X = X.reshape(len(X), -1)
    selector = LayerSelector("weighted", n_layers=4).fit(X, np.column_stack([y, y == 1]))
    assert assert_same(selector, X)["transformed"].shape == (40, 10)


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        RobustScaler(),
        RobustScaler(with_centering=False, with_scaling=False),
        MaxAbsScaler(),
        MinMaxScaler((-1, 2), clip=True),
    ],
    ids=str,
)
def test_scalers(assert_same_module, layers, scaler):
    X = layers[0][:, 1].astype(np.float64)
    assert_same_module(scaler.fit(X[::2]), X, 2 * X)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        LogisticRegressionCV(Cs=2, l1_ratios=(0,), use_legacy_attributes=False, scoring="accuracy"),
        LinearDiscriminantAnalysis(),
        LinearSVC(),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_linear_classifiers(assert_same_module, table, classifier, n_classes):
    X, y = table
    X, y = X[: 20 * n_classes], y[: 20 * n_classes]
    assert_same_module(make_pipeline(StandardScaler(), "passthrough", classifier).fit(X, y), X)


@pytest.mark.parametrize(
    ("regressor", "n_targets"),
    [
        (LinearRegression(), 2),
        (Ridge(fit_intercept=False), None),
        (Ridge(), 1),
        (RidgeCV(), 2),
        (Lasso(alpha=0.1), 2),
        (ElasticNetCV(), None),
        (LinearSVR(), None),
    ],
    ids=str,
)
def test_linear_regressors(assert_same_module, table, regressor, n_targets):
    X, _ = table
    y = np.random.default_rng(0).normal(size=(60, 2))
    y = y[:, 0] if n_targets is None else y[:, :n_targets]
    assert_same_module(make_pipeline(StandardScaler(), regressor).fit(X, y), X)


@pytest.mark.slow
def test_a_decision_function_and_a_regressor(assert_same, table):
    X, y = table
    assert list(assert_same(LinearSVC().fit(X[:40], y[:40]), X)) == ["scores", "labels"]
    assert list(assert_same(Ridge().fit(X, X[:, :2]), X)) == ["predictions"]


def test_a_network_in_a_pipeline(assert_same, layers):
    X, y = layers
    regressor = ConcordanceRegressor(hidden_size=8, max_epochs=5, random_state=0)
    assert_same(make_pipeline(LayerSelector(1), regressor).fit(X, y), X)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [[False, True], [1.0, 2.0]])
def test_labels_have_the_type_of_the_classes(assert_same, layers, classes):
    X, y = layers
    y = np.array(classes)[(y == 1).astype(int)]
    labels = assert_same(LogisticRegression().fit(X[:, 2], y), X[:, 2])["labels"]
    assert labels.dtype == y.dtype


@pytest.fixture(scope="module")
def model(tmp_path_factory, table):
    """Return a model and its path, exported by the method from a data frame."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    X, y = table
    frame = pd.DataFrame(X).rename(columns=lambda column: f"{'ab'[column > 7]}__{column}")
    path = tmp_path_factory.mktemp("model") / "fusion.onnx"
    assert HyperbolicFusionClassifier().fit(frame, y).to_onnx(path) is None
    return onnx.load(path), path


def test_what_the_file_contains(model, table):
    model, path = model
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.producer_name == "sklearn_ser"
    entries = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert entries == {
        "classes": ["anger", "boredom", "fear"],
        "feature_names": [*(f"a__{i}" for i in range(8)), *(f"b__{i}" for i in range(8, 20))],
    }
    # No paths of the machine on which it was exported.
    assert b"sklearn_ser/" not in path.read_bytes()
    assert os.listdir(path.parent) == [path.name]


def test_the_file_needs_neither_this_package_nor_torch(model):
    pytest.importorskip("onnxruntime")
    code = """
import sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
probabilities, labels = session.run(None, {"features": numpy.zeros((2, 20), numpy.float32)})
print(probabilities.shape, session.get_modelmeta().custom_metadata_map["classes"])
assert not {"sklearn_ser", "sklearn", "torch", "onnx"} & set(sys.modules)
"""
    command = [sys.executable, "-c", code, str(model[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == '(2, 3) ["anger", "boredom", "fear"]\n'


@pytest.mark.slow
def test_targets_are_named(tmp_path, table):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    y = pd.DataFrame(table[0][:, :2], columns=["arousal", "valence"])
    path = tmp_path / "model.onnx"
    ConcordanceRegressor(hidden_size=2, max_epochs=1).fit(table[0], y).to_onnx(str(path))
    (entry,) = onnx.load(path).metadata_props
    assert (entry.key, entry.value) == ("targets", '["arousal", "valence"]')


def test_an_export_that_fails_leaves_the_file_as_it_was(tmp_path, table, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    path = tmp_path / "model.onnx"
    path.write_text("before")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        to_onnx(LinearDiscriminantAnalysis().fit(*table), path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    "estimator",
    [
        EmoHRNetClassifier(),
        HyperbolicFusionClassifier(),
        ConcordanceRegressor(),
        LayerSelector(),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_an_estimator_that_is_not_fitted(estimator, tmp_path):
    with pytest.raises(NotFittedError):
        to_onnx(estimator, tmp_path / "model.onnx")
    assert not os.listdir(tmp_path)


def test_a_training_that_failed_leaves_nothing_to_export(table, tmp_path):
    X, y = table
    classifier = HyperbolicFusionClassifier([8, 12], branch="mlp", max_epochs=1, learning_rate=1e30)
    with pytest.raises(ValueError, match="diverged"):
        classifier.fit(X, y)
    with pytest.raises(NotFittedError):
        classifier.to_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "step",
    [WhisperEmbedder("model"), DistilledRegressor("model"), PoissonRegressor()],
    ids=lambda step: type(step).__name__,
)
def test_steps_that_cannot_be_exported(step, tmp_path, monkeypatch):
    monkeypatch.setattr("sklearn_ser.export._steps.check_is_fitted", lambda estimator: None)
    name = type(step).__name__
    with pytest.raises(TypeError, match=rf"cannot export {name}\. .*Ridge.*\(pipeline\[1:\]"):
        to_onnx(make_pipeline(step, LogisticRegression()), tmp_path / "model.onnx")
    assert not hasattr(step, "to_onnx")


def test_a_classifier_as_a_transformer_cannot_be_exported(table, tmp_path):
    X, y = table
    pipeline = make_pipeline(HyperbolicFusionClassifier([8, 12]), LogisticRegression())
    with pytest.raises(TypeError, match="HyperbolicFusionClassifier for predictions"):
        to_onnx(pipeline.fit(X, y), tmp_path / "model.onnx")


def test_the_extra_is_named_where_it_is_missing(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"to_onnx needs the package 'onnx'.*'\.\[onnx\]'"):
        to_onnx(LinearDiscriminantAnalysis().fit(*table), tmp_path / "model.onnx")
