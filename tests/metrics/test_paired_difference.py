"""Differences between two predictions, and their intervals over speakers."""

import numpy as np
import pandas as pd
import pytest

from sklearn_ser.metrics import (
    concordance_correlation_coefficient,
    confidence_interval,
    paired_difference,
    unweighted_average_recall,
)

SETTINGS = {"n_resamples": 100, "random_state": 3}


@pytest.fixture
def classes():
    rng = np.random.default_rng(0)
    y = rng.choice(["anger", "fear", "sadness"], 300, p=[0.7, 0.2, 0.1])
    better, worse = (
        np.where(rng.random(300) < share, y, rng.permutation(y)) for share in (0.7, 0.5)
    )
    return y, better, worse, rng.integers(0, 10, 300)


@pytest.fixture
def dimensions():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((200, 3))
    better, worse = (y + noise * rng.standard_normal(y.shape) for noise in (0.5, 1))
    return y, better, worse, rng.integers(0, 8, 200)


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_equal_to_the_interval_of_the_difference_of_two_columns(classes, level):
    y, better, worse, speakers = classes

    def difference(y, both):
        first, second = both.T
        return unweighted_average_recall(y, first) - unweighted_average_recall(y, second)

    settings = {"groups": speakers, "confidence_level": level, **SETTINGS}
    both = np.column_stack([better, worse])
    found = paired_difference(unweighted_average_recall, y, better, worse, **settings)
    assert found == (difference(y, both), *confidence_interval(difference, y, both, **settings))
    assert found[1] < found[0] < found[2]


def test_antisymmetric(classes):
    y, better, worse, speakers = classes
    settings = {"groups": speakers, **SETTINGS}
    difference, low, high = paired_difference(
        unweighted_average_recall, y, better, worse, **settings
    )
    reverse = paired_difference(unweighted_average_recall, y, worse, better, **settings)
    assert difference > 0
    np.testing.assert_allclose(reverse, (-difference, -high, -low), rtol=0, atol=1e-15)


def test_no_difference_between_equal_predictions(classes):
    y, better, _, speakers = classes
    assert paired_difference(
        unweighted_average_recall, y, better, better, groups=speakers, **SETTINGS
    ) == (0, 0, 0)


def test_draws_are_those_of_the_interval(classes):
    # Compared with predictions of a constant score, the difference varies as the metric does.
    y, better, _, speakers = classes
    constant = np.full(len(y), "disgust")
    settings = {"groups": speakers, **SETTINGS}
    assert paired_difference(unweighted_average_recall, y, better, constant, **settings)[
        1:
    ] == confidence_interval(unweighted_average_recall, y, better, **settings)


def test_paired_intervals_are_narrower_than_separate_ones():
    # Four speakers are difficult for both, which differ by one recording of each speaker.
    y = np.tile([0, 1], 100)
    speakers = np.repeat(np.arange(10), 20)
    better = np.where(speakers < 4, 1 - y, y)
    worse = better.copy()
    worse[::20] = 1 - worse[::20]
    settings = {"groups": speakers, **SETTINGS}
    low, high = confidence_interval(unweighted_average_recall, y, better, **settings)
    _, paired_low, paired_high = paired_difference(
        unweighted_average_recall, y, better, worse, **settings
    )
    assert paired_high - paired_low < (high - low) / 3


def test_several_targets(dimensions):
    y, better, worse, speakers = dimensions
    difference, low, high = paired_difference(
        concordance_correlation_coefficient, y, better, worse, groups=speakers, **SETTINGS
    )
    scores = [concordance_correlation_coefficient(y, values) for values in (better, worse)]
    assert difference == scores[0] - scores[1]
    assert 0 < low < difference < high


def test_data_frames_and_lists_equal_arrays(dimensions):
    y, better, worse, speakers = dimensions
    settings = {"groups": list(speakers), **SETTINGS}
    frames = [pd.DataFrame(values, index=range(5, 205)) for values in (y, better, worse)]
    assert paired_difference(
        concordance_correlation_coefficient, *frames, **settings
    ) == paired_difference(concordance_correlation_coefficient, y, better, worse, **settings)


def test_invalid_input_raises(classes):
    y, better, worse, speakers = classes
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        paired_difference(unweighted_average_recall, y, better, worse[:-1], groups=speakers)
    with pytest.raises(ValueError, match=r"groups has 1 speaker\(s\).*at least 2"):
        paired_difference(unweighted_average_recall, y, better, worse, groups=np.zeros(len(y)))
    with pytest.raises(ValueError, match="'y_pred_baseline' parameter"):
        paired_difference(unweighted_average_recall, y, better, None, groups=speakers)
