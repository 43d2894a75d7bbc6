"""Concordance correlation coefficient: exact computation and properties."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, cross_validate

from sklearn_ser.metrics import (
    concordance_correlation_coefficient,
    concordance_scorer,
    confidence_interval,
)

VALUES = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=30)


def exact(true, predicted, weights=None):
    """Compute the coefficient in fractions, with population moments; None if undefined."""
    weights = [1] * len(true) if weights is None else weights
    total = Fraction(sum(weights))

    def average(values):
        return sum(Fraction(w) * v for w, v in zip(weights, values, strict=True)) / total

    true, predicted = list(map(Fraction, true)), list(map(Fraction, predicted))
    means = average(true), average(predicted)
    covariance = average(
        [(t - means[0]) * (p - means[1]) for t, p in zip(true, predicted, strict=True)]
    )
    variances = [
        average([(value - mean) ** 2 for value in values])
        for values, mean in zip((true, predicted), means, strict=True)
    ]
    denominator = sum(variances) + (means[0] - means[1]) ** 2
    return None if denominator == 0 else float(2 * covariance / denominator)


@given(VALUES, st.data())
def test_equal_to_a_direct_computation(pairs, data):
    true, predicted = zip(*pairs, strict=True)
    weights = data.draw(
        st.one_of(st.none(), st.lists(st.integers(1, 5), min_size=len(true), max_size=len(true)))
    )
    expected = exact(true, predicted, weights)
    if expected is None:
        with pytest.warns(UndefinedMetricWarning, match=r"target \[0\]"):
            found = concordance_correlation_coefficient(true, predicted, sample_weight=weights)
        assert np.isnan(found)
    else:
        found = concordance_correlation_coefficient(true, predicted, sample_weight=weights)
        assert found == pytest.approx(expected, abs=1e-12)


def test_known_value():
    # The example of audmetric's documentation.
    assert concordance_correlation_coefficient([0, 1, 2], [0, 1, 1]) == pytest.approx(2 / 3)


def test_constants():
    assert concordance_correlation_coefficient([1, 1, 1], [0, 1, 2]) == 0
    assert concordance_correlation_coefficient([0, 1, 2], [0.1, 0.1, 0.1]) == 0
    assert concordance_correlation_coefficient([1, 1], [2, 2]) == 0
    # The mean of 0.1 is not exact in floating point, but the values are constant.
    with pytest.warns(UndefinedMetricWarning, match="constant and equal"):
        assert np.isnan(concordance_correlation_coefficient([0.1] * 7, [0.1] * 7))


def test_constants_are_found_among_weighted_recordings_only():
    weights = [0] + [1] * 10
    with pytest.warns(UndefinedMetricWarning):
        found = concordance_correlation_coefficient(
            [7] + [0.1] * 10, [3] + [0.1] * 10, sample_weight=weights
        )
    assert np.isnan(found)


def test_large_values_lose_no_precision():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 8, 50)
    predicted = true + rng.integers(-2, 3, 50)
    near = concordance_correlation_coefficient(true, predicted)
    far = concordance_correlation_coefficient(true + 2.0**40, predicted + 2.0**40)
    assert far == pytest.approx(near, abs=1e-12)


@pytest.mark.parametrize("exponent", [-1000, -300, 300, 1000])
def test_the_unit_makes_no_difference(exponent):
    rng = np.random.default_rng(0)
    true, predicted = rng.standard_normal((2, 50, 2))
    expected = concordance_correlation_coefficient(true, predicted)
    true, predicted = np.ldexp(true, exponent), np.ldexp(predicted, exponent)
    assert concordance_correlation_coefficient(true, predicted) == expected


def test_the_largest_numbers():
    largest = np.finfo(float).max
    true = np.array([-largest, largest, largest, -largest])
    assert concordance_correlation_coefficient(true, true) == pytest.approx(1)
    assert concordance_correlation_coefficient(true, -true) == pytest.approx(-1)


def test_differences_in_mean_and_variance_reduce_the_coefficient():
    true = np.arange(10.0)
    assert concordance_correlation_coefficient(true, true) == pytest.approx(1, abs=1e-15)
    assert concordance_correlation_coefficient(true, true + 3) < 0.7
    assert concordance_correlation_coefficient(true, true / 3) < 0.7
    assert concordance_correlation_coefficient(true, -true + 9) == pytest.approx(-1, abs=1e-15)


def test_a_weight_counts_as_repetition():
    true, predicted, weights = [0, 1, 2, 5], [1, 1, 2, 3], [1, 2, 0, 3]
    repeated = concordance_correlation_coefficient(
        np.repeat(true, weights), np.repeat(predicted, weights)
    )
    weighted = concordance_correlation_coefficient(true, predicted, sample_weight=weights)
    assert weighted == pytest.approx(repeated, abs=1e-15)


@pytest.fixture
def targets():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(60, 3))
    return true, true + rng.normal(size=(60, 3)) * [0.1, 1, 10]


def test_several_targets(targets):
    true, predicted = targets
    each = concordance_correlation_coefficient(true, predicted, multioutput="raw_values")
    for target in range(3):
        alone = concordance_correlation_coefficient(true[:, target], predicted[:, target])
        assert each[target] == pytest.approx(alone, abs=1e-14)
        chosen = np.eye(3)[target]
        assert (
            concordance_correlation_coefficient(true, predicted, multioutput=chosen) == each[target]
        )
    assert concordance_correlation_coefficient(true, predicted) == pytest.approx(each.mean())
    weighted = concordance_correlation_coefficient(true, predicted, multioutput=[2, 1, 1])
    assert weighted == pytest.approx(np.average(each, weights=[2, 1, 1]))


def test_an_undefined_target_without_weight_is_ignored(targets):
    true, predicted = (values.copy() for values in targets)
    true[:, 2] = predicted[:, 2] = 1
    with pytest.warns(UndefinedMetricWarning, match=r"target \[2\]"):
        found = concordance_correlation_coefficient(true, predicted, multioutput=[1, 1, 0])
    assert found == concordance_correlation_coefficient(true[:, :2], predicted[:, :2])


def test_invalid_input_raises(targets):
    true, predicted = targets
    with pytest.raises(ValueError, match="y_true has 3 targets and y_pred 2"):
        concordance_correlation_coefficient(true, predicted[:, :2])
    with pytest.raises(ValueError, match="y_pred is missing for 1 of 2"):
        concordance_correlation_coefficient([1, 2], [1, np.nan])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        concordance_correlation_coefficient([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="one weight for each of 3 targets"):
        concordance_correlation_coefficient(true, predicted, multioutput=[1, 0])
    with pytest.raises(ValueError, match="none below zero"):
        concordance_correlation_coefficient(true, predicted, multioutput=[1, -1, 0])
    with pytest.raises(ValueError, match="at least one non-zero"):
        concordance_correlation_coefficient([1, 2], [1, 2], sample_weight=[0, 0])
    with pytest.raises(ValueError, match="Negative values"):
        concordance_correlation_coefficient([1, 2], [1, 2], sample_weight=[1, -1])
    with pytest.raises(ValueError, match="'multioutput' parameter"):
        concordance_correlation_coefficient(true, predicted, multioutput="variance_weighted")


def test_scorers_in_searches(targets):
    y, X = targets
    per_target = {
        name: make_scorer(concordance_correlation_coefficient, multioutput=np.eye(3)[target])
        for target, name in enumerate(("arousal", "valence", "dominance"))
    }
    scores = cross_validate(Ridge(), X, y, scoring={"mean": concordance_scorer, **per_target})
    mean_score = np.mean([scores[f"test_{name}"] for name in per_target], axis=0)
    np.testing.assert_allclose(scores["test_mean"], mean_score)
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1e6]}, scoring=concordance_scorer).fit(X, y)
    assert search.best_params_ == {"alpha": 0.1}


@pytest.mark.slow
def test_interval_over_speakers(targets):
    true, predicted = targets
    speakers = np.repeat(np.arange(6), 10)
    low, high = confidence_interval(
        concordance_correlation_coefficient, true, predicted, groups=speakers, random_state=0
    )
    assert low < concordance_correlation_coefficient(true, predicted) < high
