"""HyperbolicFusionClassifier: blocks, predictions, points and distances."""

import io
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_ser import HyperbolicFusionClassifier
from sklearn_ser.nn import HyperbolicFusionNetwork, poincare

WIDTHS = [12, 8]
SMALL = {
    "branch": "mlp",
    "branch_sizes": (16,),
    "n_dims": 8,
    "hidden_size": 8,
    "max_epochs": 20,
    "learning_rate": 1e-2,
    "device": "cpu",
    "random_state": 0,
}
FUSIONS = ["mobius", "concat", "sum", "gyromidpoint"]


def small(blocks=WIDTHS, **parameters):
    return HyperbolicFusionClassifier(blocks, **SMALL | parameters)


@pytest.fixture(scope="module")
def table():
    """Return two blocks, each of which separates one emotion from the other two."""
    rng = np.random.default_rng(0)
    y = np.repeat(["anger", "boredom", "fear"], 30)
    X = rng.normal(size=(90, 20)).astype(np.float32)
    X[y == "anger", :6] += 2
    X[y == "fear", 12:] += 2
    return X, y


@pytest.fixture(scope="module")
def fitted(table):
    return small().fit(*table)


def same_bits(one, other):
    return all(np.array_equal(one.state_[name], other.state_[name]) for name in one.state_)


# Training


@pytest.mark.slow
@pytest.mark.parametrize("head", ["softmax", "mlr"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_it_learns_from_both_blocks(table, fusion, head):
    X, y = table
    both = small(fusion=fusion, head=head).fit(X, y).score(X, y)
    one = small([12], fusion=fusion, head=head).fit(X[:, :12], y).score(X[:, :12], y)
    assert both >= 0.95
    assert both > one


def test_the_module_is_the_network_of_hyfuse(fitted, table):
    X, _ = table
    network = HyperbolicFusionNetwork(
        WIDTHS, 3, branch="mlp", branch_sizes=(16,), n_dims=8, hidden_size=8
    ).eval()
    network.load_state_dict({name: torch.tensor(v) for name, v in fitted.state_.items()})
    standardized = StandardScaler().fit_transform(X.astype(np.float64)).astype(np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(standardized))
        points = network.fuse(torch.from_numpy(standardized)).numpy()
    expected = torch.softmax(logits.double(), dim=1).numpy()
    np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=1e-6)
    np.testing.assert_allclose(fitted.transform(X), points, atol=1e-6)


@pytest.mark.slow
def test_zero_curvature_is_the_euclidean_network(table):
    X, y = table
    flat = small(curvature=0).fit(X, y)
    bent = small(curvature=1e-6).fit(X, y)
    assert flat.curvature_ == 0
    np.testing.assert_allclose(bent.predict_proba(X), flat.predict_proba(X), atol=1e-3)
    summed = small(curvature=0, fusion="sum").fit(X, y)
    np.testing.assert_allclose(flat.predict_proba(X), summed.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(("curvature", "n_learned"), [("learn", 1), ("learn_each", 2)])
def test_curvatures_are_learned(table, curvature, n_learned):
    learned = small(curvature=curvature, learning_rate=0.03).fit(*table)
    assert learned.state_["log_curvatures"].shape == (n_learned,)
    assert learned.curvature_ != 1
    expected = np.exp(learned.state_["log_curvatures"].mean())
    assert learned.curvature_ == pytest.approx(expected)


# Points on the ball


@pytest.mark.parametrize("curvature", [0.5, 4.0, "learn"])
def test_points_lie_on_the_ball_and_have_names(table, curvature):
    X, y = table
    learned = small(curvature=curvature).fit(X, y)
    points = learned.transform(X)
    assert points.shape == (90, 8)
    assert (np.sqrt(learned.curvature_) * np.linalg.norm(points, axis=1) < 1).all()
    names = learned.get_feature_names_out()
    assert names.tolist() == [f"hyperbolicfusionclassifier{i}" for i in range(8)]
    frame = learned.set_output(transform="pandas").transform(X)
    assert frame.columns.tolist() == names.tolist()


def test_concatenated_vectors_are_wider(table):
    beside = small(fusion="concat").fit(*table)
    assert beside.transform(table[0]).shape == (90, 16)
    assert len(beside.get_feature_names_out()) == 16


@pytest.mark.parametrize("curvature", [0, 1.0, 4.0])
def test_distances_to_the_origin_are_those_of_the_points(table, curvature):
    X, y = table
    learned = small(curvature=curvature).fit(X, y)
    points = torch.from_numpy(learned.transform(X))
    expected = poincare.distance(points, torch.zeros(8), curvature)
    np.testing.assert_allclose(learned.distance_to_origin(X), expected, rtol=1e-4)


# Blocks


def test_blocks_of_a_union_are_understood_in_their_order(table):
    X, y = table
    union = make_union(
        FunctionTransformer(lambda X: X[:, :12], feature_names_out=lambda _, names: names[:12]),
        SelectKBest(k=5),
    ).set_output(transform="pandas")
    pipeline = make_pipeline(union, small("auto")).fit(X, y)
    blocks = pipeline[-1].blocks_
    assert {name: len(columns) for name, columns in blocks.items()} == {
        "functiontransformer": 12,
        "selectkbest": 5,
    }
    assert pipeline[-1].n_blocks_ == 2
    assert pipeline.score(X, y) >= 0.9


def test_blocks_of_a_column_transformer_are_understood(table):
    X, y = table
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(20)])
    columns = make_column_transformer(
        (StandardScaler(), frame.columns[:12]), (SelectKBest(k=3), frame.columns[12:])
    ).set_output(transform="pandas")
    pipeline = make_pipeline(columns, small("auto")).fit(frame, y)
    assert sorted(pipeline[-1].blocks_) == ["selectkbest", "standardscaler"]


def test_columns_may_lie_in_any_order(table):
    X, y = table
    names = [f"voice__{i}" for i in range(12)] + [f"codec__{i}" for i in range(8)]
    frame = pd.DataFrame(X, columns=names)
    order = [0, *range(12, 20), *range(1, 12)]
    plain = small("auto").fit(frame, y)
    mixed = small("auto").fit(frame.iloc[:, order], y)
    assert mixed.blocks_["codec"].tolist() == list(range(1, 9))
    np.testing.assert_allclose(
        mixed.predict_proba(frame.iloc[:, order]), plain.predict_proba(frame), atol=1e-6
    )


def test_only_mobius_addition_depends_on_the_order_of_blocks(table):
    X, y = table
    turned = {"codec": slice(12, 20), "voice": slice(0, 12)}
    for fusion, matters in (("mobius", True), ("gyromidpoint", False)):
        classifier = small(fusion=fusion).fit(X, y)
        points = classifier.transform(X)
        state = dict(classifier.state_)
        for name in state:
            if name.startswith("branches."):
                _, number, rest = name.split(".", 2)
                classifier.state_[f"branches.{1 - int(number)}.{rest}"] = state[name]
        classifier.architecture_["block_widths"] = [8, 12]
        classifier.blocks_ = {name: np.arange(20)[columns] for name, columns in turned.items()}
        difference = np.abs(classifier.transform(X) - points).max()
        assert (difference > 1e-3) == matters


def test_three_blocks_and_one(table):
    X, y = table
    assert small([6, 6, 8]).fit(X, y).n_blocks_ == 3
    assert small([20]).fit(X, y).score(X, y) >= 0.9


def test_widths_that_do_not_add_up_raise(table):
    with pytest.raises(ValueError, match=r"blocks=\[12, 9\] add up to 21 columns, and X has 20"):
        small([12, 9]).fit(*table)


# Standardisation, weights, warm start


def test_units_of_columns_make_no_difference(fitted, table):
    X, y = table
    units = 2.0 ** np.arange(-10, 10)  # powers of two, so that nothing is rounded
    other = small(max_epochs=1).fit(X * units, y)
    other.state_ = fitted.state_  # as the order of the recordings goes by their content
    np.testing.assert_allclose(other.predict_proba(X * units), fitted.predict_proba(X), atol=1e-6)
    raw = small(standardize=False).fit(X, y)
    assert raw.mean_ is None
    assert not np.allclose(raw.predict_proba(4 * X), raw.predict_proba(X))


def test_zero_weights_are_ignored_by_the_standardisation(fitted, table):
    X, y = table
    outlying = np.concatenate([X, 1000 + X[:1]])
    weighted = small().fit(outlying, np.append(y, y[0]), np.append(np.ones(len(y)), 0))
    assert same_bits(weighted, fitted)


@pytest.mark.slow
def test_warm_start_continues_and_other_parameters_raise(table):
    X, y = table
    for head in ("softmax", "mlr"):
        classifier = small(warm_start=True, head=head, max_epochs=2).fit(X, y)
        mean = classifier.mean_
        assert classifier.fit(X + 5, y).n_iter_ == 4
        np.testing.assert_array_equal(classifier.mean_, mean)
    with pytest.raises(ValueError, match=r"can't continue with fusion='sum': .* fusion='mobius'"):
        classifier.set_params(fusion="sum").fit(X, y)


@pytest.mark.parametrize("blocks", [[8, 12], [8, 4, 8], {"b": 12, "a": 8}])
def test_warm_start_with_other_blocks_raises(table, blocks):
    classifier = small(warm_start=True, max_epochs=1).fit(*table)
    with pytest.raises(ValueError, match=r"other blocks.* blocks of \{'block0': 12, 'block1': 8\}"):
        classifier.set_params(blocks=blocks).fit(*table)
    with pytest.raises(ValueError, match="add up to 812 columns"):
        classifier.set_params(blocks=[12, 800]).fit(*table)
    assert classifier.set_params(blocks=[slice(12), slice(12, 20)]).fit(*table).n_iter_ == 2


def test_warm_start_refuses_another_standardisation_and_takes_the_same_sizes(table):
    classifier = small(warm_start=True, max_epochs=1, branch_sizes=None).fit(*table)
    assert classifier.set_params(branch_sizes=(256,)).fit(*table).n_iter_ == 2
    with pytest.raises(ValueError, match="cannot continue with standardize=False"):
        classifier.set_params(standardize=False).fit(*table)


@pytest.mark.parametrize("sizes", [[0], [-3], [8.7], ["8"], [[8]], [True]])
def test_invalid_branch_sizes_raise(table, sizes):
    with pytest.raises(ValueError, match=r"branch_sizes=.* must contain positive integers"):
        small(branch_sizes=sizes).fit(*table)


@pytest.mark.parametrize("max_norm", [1e-30, 1e30])
@pytest.mark.parametrize("fusion", ["mobius", "sum", "gyromidpoint"])
def test_any_positive_max_norm(table, fusion, max_norm):
    classifier = small(max_norm=max_norm, fusion=fusion, max_epochs=2).fit(*table)
    assert np.isfinite(classifier.predict_proba(table[0])).all()


def test_columns_of_any_size_are_standardised(table):
    X, y = table
    huge = small(max_epochs=1).fit(X.astype(np.float64) * 2.0**600, y)
    assert np.isfinite(huge.predict_proba(X.astype(np.float64) * 2.0**600)).all()
    np.testing.assert_allclose(huge.scale_ / 2.0**600, small(max_epochs=1).fit(X, y).scale_)


def test_dropout_changes_the_training(table):
    without = small(dropout=0).fit(*table)
    assert not same_bits(without, small(dropout=0.5).fit(*table))


@pytest.mark.slow
def test_points_are_optimised_by_riemannian_adam(table):
    ball = small(head="mlr").fit(*table)
    plane = small(head="mlr", curvature=0).fit(*table)
    assert (np.linalg.norm(ball.state_["head.points"], axis=1) > 0).all()
    assert np.abs(ball.state_["head.points"] - plane.state_["head.points"]).max() > 1e-3


# Extreme input


CHANGES = [
    lambda X, y, rng: X,
    lambda X, y, rng: X * 0,
    lambda X, y, rng: np.where(np.arange(X.shape[1]) == 1, 7.5, X),
    lambda X, y, rng: np.where(np.arange(X.shape[1]) == 1, 1e30 * X, X),
    lambda X, y, rng: np.where(np.arange(len(X))[:, None] == 1, 1e30, X),
    lambda X, y, rng: np.where(rng.random(X.shape) < 0.1, -1e30, X),
    lambda X, y, rng: np.where(np.arange(X.shape[1]) == 1, 1e-310 * X, X),
    lambda X, y, rng: X * 1e-40,
    lambda X, y, rng: X[np.arange(len(X)) // 2],  # rows twice
    lambda X, y, rng: X[:, :1].repeat(X.shape[1], axis=1),
    lambda X, y, rng: np.where(np.arange(X.shape[1]) == 1, y[:, None], X),
    lambda X, y, rng: np.where(np.arange(X.shape[1]) == 1, y[:, None] == y[0], 0),
    lambda X, y, rng: (100 * X).clip(-1e6, 1e6).astype(int),
]
CHOICES = {
    "fusion": FUSIONS,
    "head": ["softmax", "mlr"],
    "branch": ["linear", "mlp", "conv"],
    "curvature": [0, 1e-6, 1.0, 10.0, "learn", "learn_each"],
    "max_norm": [1.0, 1.0, None],
    "standardize": [True, True, False],
    "learning_rate": [1e-3, 1e-2],
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_extreme_tables_give_finite_numbers(seed):
    rng = np.random.default_rng(seed)
    n, width = rng.choice([2, 3, 12, 40]), rng.choice([2, 20, 20, 20, 5000])
    y = np.arange(n) if seed % 4 == 0 else np.arange(n) % 2
    X = rng.normal(size=(n, width))
    for change in (seed % len(CHANGES), rng.integers(len(CHANGES))):
        X = CHANGES[change](X, y, rng)
    choices = {name: values[rng.integers(len(values))] for name, values in CHOICES.items()}
    assert_all_is_finite(X, y, choices)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    X=arrays(
        float,
        st.tuples(st.sampled_from([2, 3, 12]), st.integers(2, 8)),
        elements=st.floats(-1e30, 1e30),
    ),
    n_classes=st.sampled_from([2, 12]),
    choices=st.fixed_dictionaries({n: st.sampled_from(values) for n, values in CHOICES.items()}),
)
def test_any_table_gives_finite_numbers(X, n_classes, choices):
    assert_all_is_finite(X, np.arange(len(X)) % n_classes, choices)


def assert_all_is_finite(X, y, choices):
    """Train a small classifier on a table, and check that all outputs are finite."""
    width = X.shape[1]
    if choices["branch"] == "linear":
        is_learned = isinstance(choices["curvature"], str)
        choices = choices | {"head": "softmax", "curvature": 1.0 if is_learned else 0.2}
    classifier = small([width // 2, width - width // 2], max_epochs=3, **choices).fit(X, y)
    assert all(np.isfinite(values).all() for values in classifier.state_.values())
    assert np.isfinite(classifier.history_["train_loss"]).all()
    assert np.isfinite(classifier.predict_proba(X)).all()
    assert np.isfinite(classifier.transform(X)).all()
    assert np.isfinite(classifier.distance_to_origin(X)).all()


# Searches, persistence and memory


@pytest.mark.slow
def test_a_search_over_fusion_and_curvature_with_speakers(table):
    X, y = table
    search = GridSearchCV(
        make_pipeline(StandardScaler(), small(max_epochs=3)),
        {
            "hyperbolicfusionclassifier__fusion": ["mobius", "concat"],
            "hyperbolicfusionclassifier__curvature": [0, 1.0],
        },
        cv=GroupKFold(3),
        error_score="raise",
    )
    search.fit(X, y, groups=np.arange(90) % 6)
    assert len(search.cv_results_["params"]) == 4


@pytest.mark.parametrize("head", ["softmax", "mlr"])
def test_pickles_contain_only_arrays(table, head):
    X, y = table
    classifier = small(head=head).fit(X, y)
    expected = classifier.predict_proba(X)
    stream = io.BytesIO()
    joblib.dump(classifier, stream)
    stream.seek(0)
    for loaded in (pickle.loads(pickle.dumps(classifier)), joblib.load(stream)):
        np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    assert all(type(values) is np.ndarray for values in classifier.state_.values())
    assert not hasattr(clone(classifier), "state_")


@pytest.mark.slow
def test_skops_reads_it_without_trust_in_anything_else(fitted, table):
    skops = pytest.importorskip("skops.io")
    stored = skops.dumps(fitted)
    untrusted = skops.get_untrusted_types(data=stored)
    assert untrusted == ["sklearn_ser.estimators._hyperbolic_fusion.HyperbolicFusionClassifier"]
    loaded = skops.loads(stored, trusted=untrusted)
    X, _ = table
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.slow
def test_geoopt_is_imported_for_points_on_a_ball_alone_and_without_its_warnings():
    code = """
import sys, warnings
import numpy as np
from sklearn_ser import HyperbolicFusionClassifier
from sklearn_ser.nn import HyperbolicFusionNetwork
HyperbolicFusionNetwork([4], 2)
HyperbolicFusionNetwork([4], 2, head="mlr", curvature=0)
X, y = np.eye(6), [0, 1] * 3
HyperbolicFusionClassifier([3, 3], branch="mlp", max_epochs=1).fit(X, y).predict(X)
assert "geoopt" not in sys.modules
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    HyperbolicFusionNetwork([4], 2, head="mlr")
assert "geoopt" in sys.modules
assert not caught, caught
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_prediction_copies_a_batch_at_a_time(fitted, table, monkeypatch):
    X, _ = table
    sizes = []
    fuse = HyperbolicFusionNetwork.forward

    def spy(self, features):
        sizes.append(len(features))
        return fuse(self, features)

    monkeypatch.setattr(HyperbolicFusionNetwork, "forward", spy)
    fitted.predict(np.tile(X, (10, 1)))
    assert sum(sizes) == 900
    assert max(sizes) <= fitted.batch_size
