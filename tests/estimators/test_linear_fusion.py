"""HyperbolicFusionClassifier with linear branches, and missing blocks in all of its models."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneGroupOut,
    LeaveOneOut,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import HyperbolicFusionClassifier, LogMelSpectrogram
from sklearn_ser.estimators._linear_fusion import LinearTraining, held_out_recall, make_block
from sklearn_ser.nn import HyperbolicFusionNetwork, poincare

WIDTHS = [12, 8]
FUSIONS = ["mobius", "concat", "sum", "gyromidpoint"]
EXACT = {"curvature": 0, "block_loss": 0, "tol": 1e-8}


@pytest.fixture(scope="module")
def table():
    """Return two blocks; the second distinguishes the classes better."""
    rng = np.random.default_rng(0)
    y = np.repeat(["anger", "boredom", "fear", "sadness"], [40, 20, 30, 30])
    X = rng.normal(size=(120, 20))
    X[y == "anger", :6] += 0.7
    X[y == "fear", 12:16] += 1
    X[y == "sadness", 16:] += 1
    return X, y


def logistic(C=0.01, class_weight="balanced"):
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=C, class_weight=class_weight, tol=1e-9, max_iter=10_000),
    )


def without(X, block, rows):
    """Return a copy in which a block is missing in some rows."""
    changed = X.copy()
    changed[rows, slice(0, 12) if block == 0 else slice(12, 20)] = np.nan
    return changed


# Logistic regression


@pytest.mark.parametrize("class_weight", ["balanced", None, {"anger": 3.0}])
@pytest.mark.parametrize("C", [1e-3, 0.01, 1.0])
def test_without_curvature_it_is_logistic_regression(table, C, class_weight):
    X, y = table
    flat = HyperbolicFusionClassifier(WIDTHS, C=C, class_weight=class_weight, **EXACT).fit(X, y)
    expected = logistic(C, class_weight).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(flat.predict_proba(X), expected, atol=1e-5)


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_sums_and_concatenations_are_logistic_regression_at_any_curvature(table, fusion):
    X, y = table
    settings = EXACT | {"curvature": 0.5, "fusion": fusion}
    fused = HyperbolicFusionClassifier(WIDTHS, **settings).fit(X, y)
    expected = logistic().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(fused.predict_proba(X), expected, atol=1e-5)


def test_two_classes_and_weights_are_those_of_logistic_regression(table):
    X, y = table
    weights = np.random.default_rng(1).uniform(0, 3, size=len(y))
    weights[::7] = 0
    two = np.where(y == "anger", "anger", "other")
    for target in (y, two):
        flat = HyperbolicFusionClassifier(WIDTHS, standardize=False, **EXACT)
        flat.fit(X, target, sample_weight=weights)
        expected = logistic()[-1].fit(X, target, sample_weight=weights).predict_proba(X)
        np.testing.assert_allclose(flat.predict_proba(X), expected, atol=1e-5)


def test_more_columns_than_recordings_and_constant_columns():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 200)), np.arange(30) % 3
    X[:, 5] = 1.0
    flat = HyperbolicFusionClassifier([120, 80], C=0.1, **EXACT).fit(X, y)
    expected = logistic(0.1).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(flat.predict_proba(X), expected, atol=1e-5)


def test_weights_are_repetitions(table):
    X, y = table
    weights = np.random.default_rng(1).integers(0, 3, size=len(y))
    settings = {"tol": 1e-9, "standardize": False}
    weighted = HyperbolicFusionClassifier(WIDTHS, **settings).fit(X, y, sample_weight=weights)
    repeated = HyperbolicFusionClassifier(WIDTHS, **settings).fit(
        X.repeat(weights, axis=0), y.repeat(weights)
    )
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-5)
    assert weighted.curvature_ == pytest.approx(repeated.curvature_, rel=1e-4)


# The model


def test_logits_are_those_of_points_fused_on_the_ball(table):
    X, y = table
    fused = HyperbolicFusionClassifier(WIDTHS, curvature=0.7, order="given").fit(X, y)
    standardized = torch.from_numpy(StandardScaler().fit_transform(X))
    weights = [torch.tensor(fused.state_[f"branches.{i}.weight"]).double() for i in (0, 1)]
    z = [block @ w.T for block, w in zip(standardized.split(WIDTHS, 1), weights, strict=True)]
    squared = [v.square().sum(1) for v in z]
    # The mean over recordings has their class weights, which sum to one for each class.
    of_class = 1 / pd.Series(y).map(pd.Series(y).value_counts()).to_numpy() / 4
    c = 0.7 / (1 + np.average(sum(squared) / 2, weights=of_class))
    assert fused.curvature_ == pytest.approx(c, rel=1e-5)
    point = poincare.mobius_add(poincare.exp0(z[0], c), poincare.exp0(z[1], c), c)
    np.testing.assert_allclose(fused.transform(X), point, atol=1e-5)
    logits = poincare.log0(point, c).numpy() + fused.state_["head.bias"]
    expected = torch.softmax(torch.from_numpy(logits), 1)
    np.testing.assert_allclose(fused.predict_proba(X), expected, atol=1e-5)
    assert fused.transform(X).shape == (120, 4)
    assert len(fused.get_feature_names_out()) == 4


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_gradient_is_that_of_the_loss(table, fusion):
    X, y = table
    rng = np.random.default_rng(0)
    targets = np.eye(4)[np.unique(y, return_inverse=True)[1]] * rng.uniform(size=(120, 1))
    targets /= targets.sum()
    present = np.ones((120, 2), dtype=bool)
    present[:30, 0] = False
    X = without(X, 0, ~present[:, 0])
    network = HyperbolicFusionNetwork(
        WIDTHS, 4, branch="linear", fusion=fusion, curvature=0.5
    ).double()
    blocks = [make_block(part, targets.sum(1), 0.01) for part in np.split(X, [12], axis=1)]
    training = LinearTraining(network, blocks, present, targets, block_loss=0.5)
    at = rng.normal(size=84)
    error = check_grad(lambda u: training.loss(u)[0], lambda u: training.loss(u)[1], at)
    assert error < 1e-6 * np.linalg.norm(training.loss(at)[1])


def test_each_block_is_a_classifier_the_better_the_larger_its_loss(table):
    X, y = table
    only_second = without(X, 0, slice(None))
    shares = []
    for block_loss in (0, 1000):
        fused = HyperbolicFusionClassifier(WIDTHS, curvature=0, block_loss=block_loss, tol=1e-8)
        shares.append(fused.fit(X, y).predict_proba(only_second))
    # Dominated by the losses of the blocks, each is a logistic regression of its own. The mean of
    # two losses halves C, and the intercept, which is common, is near zero with balanced classes.
    alone = logistic(0.01 / 2).fit(X[:, 12:], y).predict_proba(X[:, 12:])
    near, far = (np.abs(found - alone).max() for found in shares[::-1])
    assert near < 0.05 < far


def test_it_is_deterministic_and_reports_its_iterations(table, capsys):
    X, y = table
    first, second = (HyperbolicFusionClassifier(WIDTHS).fit(X, y) for _ in range(2))
    assert all(np.array_equal(first.state_[name], second.state_[name]) for name in first.state_)
    losses = first.history_["train_loss"]
    assert first.n_iter_ == len(losses) == len(first.history_["epoch"])
    assert losses[-1] < losses[0] < np.log(4)
    assert capsys.readouterr().out == ""
    HyperbolicFusionClassifier(WIDTHS, verbose=1).fit(X, y)
    assert "iterations, train_loss" in capsys.readouterr().out


def test_a_warm_start_begins_at_the_solution(table):
    X, y = table
    for features in (X, np.random.default_rng(0).normal(size=(120, 300))):
        widths = [12, features.shape[1] - 12]
        fused = HyperbolicFusionClassifier(widths, warm_start=True, C=1.0)
        cold = fused.fit(features, y).n_iter_
        assert fused.fit(features, y).n_iter_ <= cold + 2
        assert len(fused.history_["epoch"]) == fused.n_iter_


def test_correlated_features_take_few_iterations(table):
    _, y = table
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5)) @ rng.normal(size=(5, 60)) + 0.1 * rng.normal(size=(120, 60))
    fused = HyperbolicFusionClassifier([30, 30], C=1.0).fit(X, y)
    usual = LogisticRegression(max_iter=10_000, class_weight="balanced")
    usual.fit(StandardScaler().fit_transform(X), y)
    assert fused.n_iter_ < usual.n_iter_[0] / 2


def test_too_few_iterations_warn(table):
    with pytest.warns(
        ConvergenceWarning, match=r"after 2 iterations, .*LIMIT.* Raise max_iter=2 or tol"
    ):
        HyperbolicFusionClassifier(WIDTHS, max_iter=2).fit(*table)


@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("order", ["given", "auto"])
def test_digits_are_read_as_well_as_by_logistic_regression(C, order):
    X, y = load_digits(return_X_y=True)
    fused = HyperbolicFusionClassifier([32, 32], C=C, order=order)
    scores = [
        cross_val_score(model, X, y, scoring="balanced_accuracy").mean()
        for model in (fused, logistic(C).set_params(logisticregression__tol=1e-4))
    ]
    assert scores[0] > scores[1] - 0.01


@pytest.mark.parametrize("C", [0.01, 1e6])
@pytest.mark.parametrize("curvature", [0.2, 1.0])
def test_points_stay_away_from_the_boundary(table, C, curvature):
    X, y = table
    settings = {"curvature": curvature, "C": C, "tol": 1e-3}
    fused = HyperbolicFusionClassifier(WIDTHS, **settings).fit(10 ** np.arange(20) * X, y)
    points = fused.transform(10 ** np.arange(20) * X)
    radii = np.sqrt(fused.curvature_) * np.linalg.norm(points, axis=1)
    assert np.median(radii) < np.tanh(2 * np.sqrt(curvature))
    assert radii.max() < 1


# The order of the blocks


def test_the_better_block_is_first(table):
    X, y = table
    fused = HyperbolicFusionClassifier(WIDTHS).fit(X, y)
    assert list(fused.blocks_) == ["block1", "block0"]
    scores = list(fused.block_scores_.values())
    assert fused.block_scores_["block1"] > fused.block_scores_["block0"] > 0.25
    assert all(0 < score < 1 for score in scores)
    turned = HyperbolicFusionClassifier([8, 12], order="given").fit(np.roll(X, 8, axis=1), y)
    np.testing.assert_allclose(
        turned.predict_proba(np.roll(X, 8, axis=1)), fused.predict_proba(X), atol=1e-6
    )
    given = HyperbolicFusionClassifier(WIDTHS, order="given").fit(X, y)
    assert list(given.blocks_) == ["block0", "block1"]
    assert given.block_scores_ is None
    assert np.abs(given.predict_proba(X) - fused.predict_proba(X)).max() > 1e-3


# Speakers of 17 and of 8 recordings: more and fewer than the 12 columns.
@pytest.mark.parametrize("groups", [None, np.arange(120) % 7, np.arange(120) // 8])
def test_scores_of_blocks_are_those_of_cross_validation(table, groups):
    X, y = table
    X = StandardScaler().fit_transform(X[:, :12])
    labels = np.unique(y, return_inverse=True)[1]
    C = 0.05
    block = make_block(X, np.full(120, 1 / 120), 1 / C / 120)
    found = held_out_recall(block, np.eye(4)[labels] / 120, labels, groups)
    # Half the squared error of ridge is a quarter of the squared error beside 4 times its penalty.
    shares = np.eye(4)[labels] - np.bincount(labels) / 120
    splits = LeaveOneOut() if groups is None else LeaveOneGroupOut()
    predicted = np.empty(120, dtype=int)
    for train, test in splits.split(X, labels, groups):
        gram = X[train].T @ X[train] + 4 / C * np.eye(12)
        predicted[test] = (X[test] @ np.linalg.solve(gram, X[train].T @ shares[train])).argmax(1)
    assert found == pytest.approx(recall_score(labels, predicted, average="macro"))
    assert 0.3 < found < 1


@pytest.mark.parametrize("by_speaker", [False, True])
def test_scores_of_a_block_that_some_recordings_lack(table, by_speaker):
    X, y = table
    X, rows, speakers = X.copy(), np.arange(0, 120, 3), np.arange(120) % 10
    X[np.arange(120) % 3 > 0, :12] = np.nan
    C = 100.0
    fused = HyperbolicFusionClassifier(WIDTHS, C=C, class_weight=None, standardize=False)
    fused.fit(X, y, groups=speakers if by_speaker else None)
    own, labels = X[rows, :12], np.unique(y, return_inverse=True)[1][rows]
    shares = np.eye(4)[labels] - np.bincount(labels) / len(rows)
    predicted = np.empty(len(rows), dtype=int)
    splits = LeaveOneGroupOut() if by_speaker else LeaveOneOut()
    for train, test in splits.split(own, labels, speakers[rows]):
        gram = own[train].T @ own[train] + 4 / C * np.eye(12)
        weights = np.linalg.solve(gram, own[train].T @ shares[train])
        predicted[test] = (own[test] @ weights).argmax(axis=1)
    expected = recall_score(labels, predicted, average="macro")
    assert fused.block_scores_["block0"] == pytest.approx(expected)


def test_classes_without_weight_are_left_out_of_the_scores(table):
    X, y = table
    class_weight = {"anger": 0.0, "boredom": 1.0, "fear": 1.0, "sadness": 2.0}
    fused = HyperbolicFusionClassifier(WIDTHS, class_weight=class_weight).fit(X, y)
    kept = y != "anger"
    others = HyperbolicFusionClassifier(WIDTHS, class_weight={"sadness": 2.0})
    others.fit(X[kept], y[kept])
    assert set(fused.predict(X)) <= {"boredom", "fear", "sadness"}
    # Standardisation counts all recordings, so that the scores differ a little.
    for name, score in others.block_scores_.items():
        assert fused.block_scores_[name] == pytest.approx(score, abs=0.05)


def test_speakers_are_held_out_for_the_scores(table):
    X, y = table
    rng = np.random.default_rng(0)
    speakers = np.arange(120) % 10
    X[:, :12] += 3 * rng.normal(size=(10, 12))[speakers]
    fused = HyperbolicFusionClassifier(WIDTHS)
    by_recording = fused.fit(X, y).block_scores_
    by_speaker = fused.fit(X, y, groups=speakers).block_scores_
    assert by_recording != by_speaker


# Missing blocks


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("branch", ["linear", "mlp", "conv"])
def test_a_missing_block_has_no_influence(table, fusion, branch):
    X, y = table
    fused = HyperbolicFusionClassifier(
        WIDTHS, fusion=fusion, branch=branch, max_epochs=2, device="cpu", random_state=0
    ).fit(X, y)
    rows = np.arange(0, 120, 3)
    for block in (0, 1):
        gaps = without(X, block, rows)
        points, shares = fused.transform(gaps), fused.predict_proba(gaps)
        others = np.setdiff1d(np.arange(120), rows)
        np.testing.assert_allclose(shares[others], fused.predict_proba(X)[others], atol=1e-6)
        assert np.isfinite(shares).all()
        if fusion == "concat":
            continue
        # The fused point is that of the other block: exp₀ of its vector.
        network = fused._fitted_module()
        kept = list(fused.blocks_).index(f"block{1 - block}")
        standardized = (X - fused.mean_) / fused.scale_
        part = standardized[:, fused.blocks_[f"block{1 - block}"]].astype(np.float32)
        with torch.no_grad():
            tangents = network.branches[kept](torch.from_numpy(part))
            alone = poincare.exp0(tangents, network.curvature(), network.max_norm)
        np.testing.assert_allclose(points[rows], alone[rows], atol=1e-5)


def test_missing_blocks_in_training(table):
    X, y = table
    gaps = without(without(X, 0, slice(0, 120, 4)), 1, slice(1, 120, 4))
    for branch in ("linear", "mlp"):
        fused = HyperbolicFusionClassifier(
            WIDTHS, branch=branch, max_epochs=10, device="cpu", random_state=0
        ).fit(gaps, y)
        assert fused.score(gaps, y) > 0.6
        known = ~np.isnan(gaps[:, 0])
        np.testing.assert_allclose(fused.mean_[:12], X[known, :12].mean(axis=0), atol=1e-6)


def test_a_row_without_a_block_is_a_row_of_zero_features_for_linear_branches(table):
    X, y = table
    X = StandardScaler().fit_transform(X)
    settings = {"standardize": False, "block_loss": 0, "order": "given", "curvature": 0}
    gaps = HyperbolicFusionClassifier(WIDTHS, **settings).fit(without(X, 0, slice(9)), y)
    zeros = X.copy()
    zeros[:9, :12] = 0
    filled = HyperbolicFusionClassifier(WIDTHS, **settings).fit(zeros, y)
    np.testing.assert_allclose(gaps.predict_proba(X), filled.predict_proba(X), atol=1e-5)


def test_recordings_that_one_embedder_cannot_read_are_classified_by_the_other(table):
    names = [f"voice__{i}" for i in range(12)] + [f"codec__{i}" for i in range(8)]
    X, y = table
    frame = pd.DataFrame(X, columns=names)
    frame.loc[:9, names[:12]] = np.nan
    fused = HyperbolicFusionClassifier().fit(frame, y)
    assert fused.predict(frame).shape == (120,)
    assert GridSearchCV(fused, {"C": [0.01, 0.1]}, cv=3, error_score="raise").fit(frame, y)


def test_nan_in_a_part_of_a_block_and_rows_without_any_block_raise(table):
    X, y = table
    fused = HyperbolicFusionClassifier(WIDTHS).fit(X, y)
    partly, nothing, infinite = X.copy(), X.copy(), X.copy()
    partly[[3, 7], 14] = np.nan
    nothing[5] = np.nan
    infinite[2, 2] = np.inf
    for call in (fused.predict, lambda X: clone(fused).fit(X, y)):
        with pytest.raises(ValueError, match=r"of block 'block1', in rows 3, 7\. .*Impute"):
            call(partly)
        with pytest.raises(ValueError, match=r"NaN in all columns in rows 5: .* Remove the rows"):
            call(nothing)
        with pytest.raises(ValueError, match="infinity"):
            call(infinite)


@pytest.mark.parametrize("branch", ["linear", "mlp"])
def test_a_block_that_no_recording_has_raises(table, branch):
    X, y = table
    weights = np.ones(len(y))
    weights[:5] = 0
    for gaps in (without(X, 0, slice(None)), without(X, 0, slice(5, None))):
        fused = HyperbolicFusionClassifier(WIDTHS, branch=branch)
        with pytest.raises(
            ValueError, match=r"block 'block0' of all recordings .* leave the block"
        ):
            fused.fit(gaps, y, sample_weight=weights)


def test_huge_columns_with_missing_blocks(table):
    X, y = table
    gaps = without(X, 0, slice(9))
    huge = HyperbolicFusionClassifier(WIDTHS).fit(gaps * 2.0**600, y)
    expected = HyperbolicFusionClassifier(WIDTHS).fit(gaps, y).predict_proba(gaps)
    np.testing.assert_allclose(huge.predict_proba(gaps * 2.0**600), expected, atol=1e-6)


# Input and parameters


def test_recordings_and_layers_raise_with_the_remedy():
    y = [0, 1] * 3
    fused = HyperbolicFusionClassifier()
    with pytest.raises(ValueError, match=r"X contains recordings: put embedders before it, as in"):
        fused.fit(["a.wav", "b.wav"] * 3, y)
    with pytest.raises(ValueError, match=r"shape \(6, 3, 4\): put LayerSelector after"):
        fused.fit(np.zeros((6, 3, 4)), y)
    waves = [np.zeros(n) for n in range(8000, 8006)]
    with pytest.raises(ValueError, match="X contains recordings"):
        fused.fit(waves, y)
    assert make_pipeline(LogMelSpectrogram(pooling="mean"), HyperbolicFusionClassifier([64]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"head": "mlr"}, "head='mlr' needs a network: set branch='mlp'"),
        ({"curvature": "learn"}, "curvature='learn' needs a network"),
        ({"curvature": "learn_each"}, "curvature='learn_each' needs a network"),
    ],
)
def test_what_linear_branches_do_not_have_raises(table, parameters, message):
    with pytest.raises(ValueError, match=message):
        HyperbolicFusionClassifier(WIDTHS, **parameters).fit(*table)


def test_it_is_quiet(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HyperbolicFusionClassifier(WIDTHS).fit(*table).predict(table[0])
