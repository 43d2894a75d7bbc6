"""Divergences and F1 scores of distributions, against SciPy and by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.dummy import DummyClassifier
from sklearn.metrics import f1_score

from sklearn_ser.metrics import (
    distribution_divergence,
    distribution_divergence_scorer,
    distribution_f1_score,
)

DIVERGENCES = ["jensen-shannon", "kullback-leibler"]
VOTES = st.integers(2, 5).flatmap(
    lambda n_classes: arrays(np.int64, (2, 6, n_classes), elements=st.integers(0, 9)).map(
        lambda votes: votes + (votes.sum(axis=2, keepdims=True) == 0)
    )
)


@pytest.fixture
def distributions():
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(4), 7), rng.dirichlet(np.ones(4), 7)


def test_divergences_equal_those_of_scipy(distributions):
    p, q = distributions
    distances = jensenshannon(p, q, base=2, axis=1)
    assert distribution_divergence(p, q) == pytest.approx((distances**2).mean(), rel=1e-12)
    relative = entropy(p, q, base=2, axis=1)
    found = distribution_divergence(p, q, divergence="kullback-leibler")
    assert found == pytest.approx(relative.mean(), rel=1e-12)


def test_divergences_by_hand():
    # The middle is (3/4, 1/4): KL((1, 0), m) = log2(4/3), KL((1/2, 1/2), m) = log2(2/√3).
    expected = (np.log2(4 / 3) + np.log2(2 / np.sqrt(3))) / 2
    assert distribution_divergence([[1, 0]], [[0.5, 0.5]]) == pytest.approx(expected)
    kullback = distribution_divergence([[1, 0]], [[0.5, 0.5]], divergence="kullback-leibler")
    assert kullback == pytest.approx(1)
    assert distribution_divergence([[3, 0]], [[0, 1]]) == 1
    assert distribution_divergence([[1, 1]], [[1, 0]], divergence="kullback-leibler") == np.inf


@given(VOTES)
def test_jensen_shannon_is_a_bounded_symmetric_divergence(votes):
    p, q = votes
    found = distribution_divergence(p, q)
    assert 0 <= found <= 1 + 1e-12
    assert found == pytest.approx(distribution_divergence(q, p), abs=1e-12)
    are_equal = np.allclose(p / p.sum(axis=1)[:, None], q / q.sum(axis=1)[:, None])
    assert (found < 1e-9) == are_equal


@pytest.mark.parametrize("divergence", DIVERGENCES)
@given(VOTES)
def test_only_shares_matter_and_no_order_of_classes(divergence, votes):
    p, q = votes[0], votes[1] + 1
    found = distribution_divergence(p, q, divergence=divergence)
    assert found >= 0
    assert distribution_divergence(p, 3 * p, divergence=divergence) == pytest.approx(0, abs=1e-12)
    for other in (
        distribution_divergence(p[:, ::-1], q[:, ::-1], divergence=divergence),
        distribution_divergence(5 * p, q / q.sum(axis=1)[:, None], divergence=divergence),
    ):
        assert other == pytest.approx(found, abs=1e-12)


def test_f1_of_thresholded_shares_by_hand():
    votes = [[4, 1, 0], [0, 2, 3], [1, 1, 1]]  # the first; the second and third; none
    proba = [[0.5, 0.4, 0.1], [0.1, 0.3, 0.6], [0.2, 0.2, 0.6]]  # 1 and 2; 3; 3
    # F1 of 1: one hit. Of 2: a miss and a false alarm. Of 3: a hit and a false alarm.
    assert distribution_f1_score(votes, proba) == pytest.approx((1 + 0 + 2 / 3) / 3)
    has = np.array(votes) / np.sum(votes, axis=1, keepdims=True) > 0.25
    expected = f1_score(has, np.array(proba) > 0.25, average="macro", sample_weight=[1, 2, 3])
    found = distribution_f1_score(votes, proba, threshold=0.25, sample_weight=[1, 2, 3])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("n_classes", range(2, 11))
def test_uniform_votes_are_not_above_the_threshold(n_classes):
    uniform = np.full((1, n_classes), 0.1)
    certain = np.eye(n_classes)[:1]
    assert distribution_f1_score(uniform, uniform) == 0
    assert distribution_f1_score(certain, certain) == pytest.approx(1 / n_classes)


@pytest.mark.parametrize("metric", [distribution_divergence, distribution_f1_score])
def test_classes_of_data_frames_are_matched_by_name(metric, distributions):
    p, q = distributions
    p_frame = pd.DataFrame(p, columns=list("abcd"))
    assert metric(p_frame[list("dbac")], q) == metric(p, q)
    assert metric(p_frame[list("dbac")], pd.DataFrame(q, columns=list("abcd"))) == metric(p, q)
    with pytest.raises(ValueError, match=r"named \['a', .*; they must be the same classes"):
        metric(p_frame, pd.DataFrame(q, columns=list("abce")))


@pytest.mark.parametrize("metric", [distribution_divergence, distribution_f1_score])
def test_two_classes_take_the_probability_of_the_second(metric):
    votes, proba = [[3, 1], [1, 4]], [0.3, 0.6]
    assert metric(votes, proba) == metric(votes, [[0.7, 0.3], [0.4, 0.6]])


def test_sample_weights_weight_recordings(distributions):
    p, q = distributions
    weights = np.arange(7)
    repeated = distribution_divergence(p.repeat(weights, axis=0), q.repeat(weights, axis=0))
    assert distribution_divergence(p, q, sample_weight=weights) == pytest.approx(repeated)
    q[0, 0] = 0  # infinite, but without weight
    options = {"divergence": "kullback-leibler", "sample_weight": weights}
    assert np.isfinite(distribution_divergence(p, q, **options))


@pytest.mark.parametrize(
    ("y_true", "y_proba", "message"),
    [
        ([[1, 0], [0, 0]], [[1, 0], [1, 0]], r"y_true has 1 of 2 rows .* row 1: \[0.0, 0.0\]"),
        ([[1, 0], [-1, 2]], [[1, 0], [1, 0]], r"y_true has 1 of 2 .* row 1: \[-1.0, 2.0\]"),
        ([[1, 0], [1, 2]], [[np.nan, 0], [1, 0]], r"y_proba has 1 of 2 .* row 0: \[nan, 0.0\]"),
        ([[1, 0], [1, 2]], [[1e308, 1e308], [1, 0]], "y_proba has 1 of 2 rows"),
        ([[1, 0, 0]], [[1, 0]], "y_true has 3 classes and y_proba 2"),
        ([[1, 0, 0]], [[1, 0, 0]] * 2, "inconsistent numbers of samples"),
        (["a", "b"], [[1, 0], [1, 0]], r"y_true of shape \(2,\) does not hold the shares"),
        ([["a", "b"]], [[1, 0]], r"y_true of shape \(1, 2\) does not hold .* could not convert"),
        (pd.DataFrame([[1, 0]], columns=["a", "a"]), [[1, 0]], "has repeated names"),
        (pd.DataFrame([[1, 0]], columns=["a", 1]), [[1, 0]], "all of them strings or all"),
    ],
)
def test_invalid_distributions(y_true, y_proba, message):
    with pytest.raises(ValueError, match=message):
        distribution_divergence(y_true, y_proba)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_scorer_takes_the_negative_divergence_of_a_classifier(n_classes):
    classes = list("abc")[:n_classes]
    classifier = DummyClassifier().fit(np.zeros((6, 1)), (classes * 3)[:6])
    votes = pd.DataFrame([range(1, n_classes + 1)] * 2, columns=classes)[classes[::-1]]
    score = distribution_divergence_scorer(classifier, np.zeros((2, 1)), votes)
    assert score == -distribution_divergence(votes, np.full((2, n_classes), 1 / n_classes)) < 0
    with pytest.raises(ValueError, match="they must be the same classes"):
        distribution_divergence_scorer(
            classifier, np.zeros((2, 1)), votes.rename(columns={"a": "joy"})
        )
