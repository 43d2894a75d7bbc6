"""Unweighted average recall, and confidence intervals over speakers."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

from sklearn_ser.metrics import confidence_interval, unweighted_average_recall


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    y_true = rng.choice(["anger", "fear", "sadness"], 300, p=[0.7, 0.2, 0.1])
    y_pred = np.where(rng.random(300) < 0.6, y_true, rng.permutation(y_true))
    return y_true, y_pred, rng.integers(0, 10, 300)


def test_equal_to_scikit_learns(predictions):
    y_true, y_pred, _ = predictions
    recall = unweighted_average_recall(y_true, y_pred)
    assert recall == pytest.approx(balanced_accuracy_score(y_true, y_pred), abs=1e-15)
    assert recall == pytest.approx(recall_score(y_true, y_pred, average="macro"), abs=1e-15)
    weight = np.random.default_rng(1).random(len(y_true))
    assert unweighted_average_recall(y_true, y_pred, sample_weight=weight) == pytest.approx(
        balanced_accuracy_score(y_true, y_pred, sample_weight=weight), abs=1e-15
    )


def test_classes_not_in_y_true_do_not_count():
    assert unweighted_average_recall(["anger", "fear"], ["anger", "disgust"]) == 0.5


def test_classes_without_weight_do_not_count():
    recall = unweighted_average_recall(["a", "b"], ["a", "a"], sample_weight=[1, 0])
    assert recall == 1


@pytest.mark.parametrize("y_true", [[], [1.0, np.nan]])
def test_empty_and_missing_labels_raise(y_true):
    with pytest.raises(ValueError, match=r"empty|NaN"):
        unweighted_average_recall(y_true, y_true)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        (["a", "b"], [0, 1], "Mix of label input types"),
        ([0.5, 1.5], [0.5, 2.5], "Unknown label type"),
        ([[1, 0], [0, 1]], [0, 1], "should be a 1d array"),
    ],
)
def test_labels_of_the_wrong_kind_raise(y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        unweighted_average_recall(y_true, y_pred)


def test_inconsistent_lengths_raise():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        unweighted_average_recall(["anger"], ["anger", "fear"])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        confidence_interval(unweighted_average_recall, ["anger"], ["fear"], groups=[1, 2])


def test_interval_is_reproducible_and_contains_the_metric(predictions):
    y_true, y_pred, speakers = predictions
    first, second = (
        confidence_interval(
            unweighted_average_recall,
            y_true,
            y_pred,
            groups=speakers,
            n_resamples=100,
            random_state=3,
        )
        for _ in range(2)
    )
    assert first == second
    assert first[0] < unweighted_average_recall(y_true, y_pred) < first[1]


@pytest.mark.slow
def test_interval_is_over_speakers_not_recordings():
    # All recordings of five speakers are correct, those of five others wrong.
    y_true = np.zeros(1000)
    speakers = np.repeat(np.arange(10), 100)
    y_pred = np.where(speakers < 5, 0, 1)
    low, high = confidence_interval(
        unweighted_average_recall, y_true, y_pred, groups=speakers, random_state=0
    )
    # Binomial with n = 10, p = .5: the 2.5 % and 97.5 % points are 2 and 8 of 10.
    assert (low, high) == (0.2, 0.8)


def test_interval_of_one_speaker_raises():
    with pytest.raises(ValueError, match=r"groups has 1 speaker\(s\).*at least 2"):
        confidence_interval(unweighted_average_recall, [0, 1], [0, 1], groups=["03", "03"])


def test_negative_weights_raise():
    with pytest.raises(ValueError, match="Negative"):
        unweighted_average_recall(["anger", "fear"], ["anger", "fear"], sample_weight=[-1, 2])
