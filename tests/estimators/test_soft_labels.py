"""Shares of annotators as targets of the classifiers."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import EmoHRNetClassifier, HyperbolicFusionClassifier
from sklearn_ser.metrics import distribution_divergence, distribution_divergence_scorer
from sklearn_ser.training._classifier import weighted_targets

CLASSES = ["anger", "fear", "sadness"]
FUSION = HyperbolicFusionClassifier(
    [12, 8],
    branch="mlp",
    class_weight=None,
    branch_sizes=(16,),
    n_dims=8,
    hidden_size=8,
    max_epochs=3,
    batch_size=48,
    learning_rate=1e-2,
    device="cpu",
    random_state=0,
)
NETWORK = EmoHRNetClassifier(
    width=2, head_width=2, max_epochs=1, batch_size=24, device="cpu", random_state=0
)


def new(classifier, **parameters):
    return type(classifier)(**classifier.get_params() | parameters)


def inputs(classifier, n=48, seed=0):
    shape = (n, 20) if isinstance(classifier, HyperbolicFusionClassifier) else (n, 12, 20)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def emotions():
    return np.random.default_rng(0).choice(CLASSES, 48, p=[0.5, 0.3, 0.2])


@pytest.fixture(scope="module")
def votes():
    """Return the votes of five annotators; the class of each recording has at least two."""
    rng = np.random.default_rng(1)
    counts = rng.multinomial(3, [1 / 3] * 3, 48)
    counts[np.arange(48), rng.integers(0, 3, 48)] += 2
    return pd.DataFrame(counts, columns=CLASSES)


def same_bits(one, other):
    assert one.classes_.tolist() == other.classes_.tolist()
    return all(np.array_equal(one.state_[name], other.state_[name]) for name in one.state_)


# Targets


BALANCED = {"class_weight": "balanced", "early_stopping": True, "validation_fraction": 0.3}


@pytest.mark.parametrize(
    ("classifier", "parameters"),
    [
        (FUSION, {}),
        (FUSION, BALANCED),
        (FUSION, {"class_weight": {"anger": 2, "fear": 0.3, "sadness": 1}}),
        (NETWORK, BALANCED),
    ],
    ids=["fusion", "balanced fusion", "fusion with weights", "balanced network"],
)
def test_one_vote_is_a_class(classifier, parameters, emotions):
    X = inputs(classifier)
    weights = np.random.default_rng(2).uniform(0, 2, len(X)) * (np.arange(len(X)) > 3)
    one_hot = pd.get_dummies(emotions).astype(float)
    hard = new(classifier, **parameters).fit(X, emotions, weights)
    soft = 5 * one_hot[CLASSES[::-1]]
    assert same_bits(new(classifier, **parameters).fit(X, soft, weights), hard)


def test_forms_of_the_same_shares(votes):
    X = inputs(FUSION)
    expected = new(FUSION).fit(X, votes)
    assert expected.predict(X).dtype.kind == "U"
    named = new(FUSION, classes=CLASSES)
    for fitted in (
        new(FUSION).fit(X, votes[["sadness", "anger", "fear"]]),
        new(FUSION).fit(X, votes.div(votes.sum(axis=1), axis=0)),
        new(FUSION).fit(X, pl.DataFrame(votes.to_dict("list"))),
        named.fit(X, votes.to_numpy()),
        new(named).fit(X, votes.to_numpy().tolist()),
        new(named).fit(X, votes),
    ):
        assert same_bits(fitted, expected)


def test_targets_by_hand():
    shares = np.array([[0.5, 0.5, 0], [0, 0.25, 0.75], [1, 0, 0]])
    weights = np.array([1, 0.5, 0])
    classes = np.array(["a", "b", "c"])
    options = {"classes": classes, "class_weight": None}
    expected = shares * [[1 / 0.75], [0.5 / 0.75], [0]]
    np.testing.assert_allclose(weighted_targets(shares, weights, **options), expected, rtol=1e-6)
    # Recordings count by the mean of the weights of their classes: 0.5 · 2 + 0.5 · 4 and
    # 0.25 · 4 + 0.75 · 8.
    options["class_weight"] = {"a": 2, "b": 4, "c": 8}
    expected = shares * [[3 / 3.25], [0.5 * 7 / 3.25], [0]]
    np.testing.assert_allclose(weighted_targets(shares, weights, **options), expected, rtol=1e-6)
    # Sums of weighted shares: 0.5, 0.625 and 0.375.
    options["class_weight"] = "balanced"
    a, b, c = 1.5 / 3 / np.array([0.5, 0.625, 0.375])
    of_rows = np.array([(a + b) / 2, 0.5 * (b / 4 + 3 * c / 4), 0])
    expected = shares * (of_rows / of_rows[:2].mean())[:, np.newaxis]
    np.testing.assert_allclose(weighted_targets(shares, weights, **options), expected, rtol=1e-6)


def test_the_loss_is_the_cross_entropy_of_shares_and_probabilities(votes):
    X = inputs(FUSION)
    weights = np.random.default_rng(0).uniform(size=48)
    still = new(FUSION, learning_rate=1e-12, dropout=0, max_epochs=1).fit(X, votes, weights)
    shares = votes.to_numpy() / 5
    of_recordings = -(shares * np.log(still.predict_proba(X))).sum(axis=1)
    expected = np.average(of_recordings, weights=weights)
    np.testing.assert_allclose(still.history_["train_loss"], [expected], rtol=1e-5)


def test_gradients_are_weighted_differences_of_probabilities_and_shares():
    logits = torch.tensor([[1.0, 0, -1], [0, 2, 0]], dtype=torch.float64, requires_grad=True)
    shares, weights = np.array([[0.25, 0.25, 0.5], [0, 1, 0]]), np.array([1, 0.5])
    targets = weighted_targets(shares, weights, classes=np.arange(3), class_weight=None)
    FUSION._loss(logits, torch.from_numpy(targets).double()).backward()
    probability = torch.softmax(logits.detach(), dim=1).numpy()
    expected = (weights / 0.75)[:, np.newaxis] * (probability - shares) / 2
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-6)


def test_columns_without_votes_are_classes(votes):
    X = inputs(FUSION)
    fitted = new(FUSION, max_epochs=30, learning_rate=0.03).fit(X, votes.assign(disgust=0))
    assert fitted.classes_.tolist() == ["anger", "disgust", "fear", "sadness"]
    assert fitted.predict_proba(X)[:, 1].max() < 0.1
    assert "disgust" not in fitted.predict(X)


def test_soft_targets_give_probabilities_nearer_to_the_shares():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 20))
    probability = 1 / (1 + np.exp(-2 * X[:, 0]))
    counts = rng.binomial(5, probability)
    votes = pd.DataFrame({"anger": counts, "fear": 5 - counts})
    most_voted = votes.idxmax(axis=1)
    divergences = [
        distribution_divergence(
            np.column_stack([probability, 1 - probability])[150:],
            new(FUSION, max_epochs=40, batch_size=150).fit(X[:150], y[:150]).predict_proba(X[150:]),
        )
        for y in (votes, most_voted)
    ]
    assert divergences[0] < 0.5 * divergences[1]


# Scores and early stopping


def test_accuracy_counts_ties_by_their_number(votes, emotions):
    X = inputs(FUSION)
    fitted = new(FUSION).fit(X, votes)
    first, second = fitted.predict(X[:1])[0], next(c for c in CLASSES if c != fitted.predict(X)[0])
    third = next(c for c in CLASSES if c not in (first, second))
    for voted, accuracy in [
        ({first: 3, second: 1, third: 1}, 1),
        ({first: 2, second: 3, third: 0}, 0),
        ({first: 2, second: 2, third: 1}, 1 / 2),
        ({first: 1, second: 1, third: 1}, 1 / 3),
        ({first: 2, "surprise": 3}, 0),
    ]:
        assert fitted.score(X[:1], pd.DataFrame([voted])) == accuracy
    one_hot = pd.get_dummies(emotions)
    weights = np.arange(48)
    expected = fitted.score(X, emotions, weights)
    assert fitted.score(X, one_hot, sample_weight=weights) == pytest.approx(expected)


@pytest.mark.parametrize("groups", [None, np.arange(48) % 8])
def test_early_stopping_goes_by_the_most_voted_class(groups, votes):
    X = inputs(FUSION)
    X[:, :3] += votes
    most_voted = np.array(CLASSES)[votes.to_numpy().argmax(axis=1)]

    class Spy(HyperbolicFusionClassifier):
        def _split(self, training_set, seed):
            self.training_, self.held_out_ = super()._split(training_set, seed)
            return self.training_, self.held_out_

    parameters = FUSION.get_params() | {"early_stopping": True, "validation_fraction": 0.25}
    fitted = Spy(**parameters | {"class_weight": "balanced"}).fit(X, votes, groups=groups)
    if groups is None:
        hard = Spy(**parameters).fit(X, most_voted)
        np.testing.assert_array_equal(fitted.held_out_, hard.held_out_)
    else:
        assert not set(groups[fitted.held_out_]) & set(groups[fitted.training_])
    assert fitted.best_score_ == max(fitted.history_["valid_score"]) > 0.4


# Other parts of scikit-learn


def test_searches_score_the_divergence(votes):
    X, speakers = inputs(FUSION), np.arange(48) % 6
    search = GridSearchCV(
        make_pipeline(StandardScaler(), new(FUSION)),
        {"hyperbolicfusionclassifier__learning_rate": [1e-2, 1e-3]},
        cv=GroupKFold(3),
        scoring=distribution_divergence_scorer,
        error_score="raise",
    )
    search.fit(X, votes[CLASSES[::-1]], groups=speakers)
    train, test = next(GroupKFold(3).split(X, groups=speakers))
    pipeline = make_pipeline(StandardScaler(), new(FUSION)).fit(X[train], votes.iloc[train])
    expected = distribution_divergence(votes.iloc[test], pipeline.predict_proba(X[test]))
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(-expected)
    by_array = GridSearchCV(
        make_pipeline(StandardScaler(), new(FUSION, classes=CLASSES)),
        search.param_grid,
        cv=GroupKFold(3),
        scoring=distribution_divergence_scorer,
    ).fit(X, votes.to_numpy(), groups=speakers)
    np.testing.assert_array_equal(
        by_array.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


def test_probabilities_of_held_out_speakers_need_cross_validate(votes):
    X, speakers = inputs(FUSION), np.arange(48) % 6
    with pytest.raises(ValueError, match="cross_val_predict removes the names"):
        cross_val_predict(FUSION, X, votes, cv=3, method="predict_proba")
    result = cross_validate(
        FUSION,
        X,
        votes,
        cv=GroupKFold(3),
        groups=speakers,
        return_estimator=True,
        return_indices=True,
    )
    for fitted, train in zip(result["estimator"], result["indices"]["train"], strict=True):
        assert same_bits(fitted, new(FUSION).fit(X[train], votes.iloc[train]))
    predicted = cross_val_predict(FUSION, X, votes, cv=GroupKFold(3), groups=speakers)
    test = result["indices"]["test"][0]
    assert predicted[test].tolist() == result["estimator"][0].predict(X[test]).tolist()


def test_callbacks_score_each_epoch(votes):
    X = inputs(FUSION)
    monitor = ScoringMonitor(scoring=distribution_divergence_scorer)
    fitted = new(FUSION).set_callbacks(monitor).fit(X, votes)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 3
    assert -distribution_divergence(votes, fitted.predict_proba(X)) in rows[-1].values()


def test_warm_start_goes_on_with_shares(votes, emotions):
    X = inputs(FUSION)
    fitted = new(FUSION, warm_start=True).fit(X, emotions).fit(X, votes)
    assert fitted.n_iter_ == 6
    some = votes[["fear", "anger"]]
    fitted.fit(X[some.any(axis=1)], some[some.any(axis=1)])
    assert fitted.classes_.tolist() == CLASSES
    with pytest.raises(ValueError, match=r"y has the classes \['disgust'\], which the previous"):
        fitted.fit(X, votes.rename(columns={"fear": "disgust"}))


# What is refused


def test_a_column_vector_has_one_axis(emotions):
    X = inputs(FUSION)
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        fitted = new(FUSION).fit(X, emotions[:, np.newaxis])
    assert same_bits(fitted, new(FUSION).fit(X, emotions))


@pytest.mark.parametrize("classifier", [FUSION, NETWORK], ids=["fusion", "network"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y.to_numpy(), r"the classes have no names: pass a data frame .* set classes="),
        (
            lambda y: y.mul(y.index != 7, axis=0),
            r"1 of 48 rows .* row 7: \[0.0, 0.0, 0.0\].*leave out",
        ),
        (lambda y: y.drop(index=3).reindex(y.index), r"1 of 48 rows .* row 3: \[nan, nan, nan\]"),
        (lambda y: y - 1, "rows that are neither shares nor counts of votes"),
        (lambda y: y.astype(str) + "x", "does not hold the shares of classes"),
        (lambda y: y.iloc[:40], "inconsistent numbers of samples"),
        (lambda y: y.set_axis(["a", "b", "a"], axis=1), "has repeated names"),
        (lambda y: y.assign(fear=0, sadness=0, anger=1), "y has one class, 'anger'"),
    ],
)
def test_targets_that_are_no_shares(classifier, change, message, votes):
    with pytest.raises(ValueError, match=message):
        new(classifier).fit(inputs(classifier), change(votes))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["fear", "anger", "sadness"], r"classes=\['fear', .* sorted, .* in any order"),
        (["anger", "fear"], "must be the 3 names of the columns"),
        (["anger", "anger", "fear"], "without repetition"),
        (["anger", "fear", "joy"], r"columns of y are named .* classes=\['anger', 'fear', 'joy'\]"),
    ],
)
def test_classes_must_name_the_columns(classes, message, votes):
    with pytest.raises(ValueError, match=message):
        new(FUSION, classes=classes).fit(inputs(FUSION), votes)


def test_class_weights_below_zero_are_refused(votes):
    with pytest.raises(ValueError, match=r"class_weight=.* must be non-negative"):
        new(FUSION, class_weight={"anger": -0.1}).fit(inputs(FUSION), votes)
