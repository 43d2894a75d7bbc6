"""Scores of groups of recordings or speakers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from sklearn_ser.metrics import (
    concordance_correlation_coefficient,
    confidence_interval,
    score_by_group,
    unweighted_average_recall,
)

SETTINGS = {"n_resamples": 50, "random_state": 3}


@pytest.fixture
def predictions():
    """Return true and predicted classes, the speakers, and their sex."""
    rng = np.random.default_rng(0)
    y = rng.choice(["anger", "fear", "sadness"], 300)
    speakers = rng.integers(0, 10, 300)
    sex = np.where(speakers < 7, "male", "female")
    y_pred = np.where(rng.random(300) < np.where(speakers < 7, 0.8, 0.4), y, rng.permutation(y))
    return y, y_pred, speakers, sex


@pytest.mark.parametrize("container", [list, np.array, pd.Series])
def test_rows_are_the_metric_and_its_interval_in_each_group(predictions, container):
    y, y_pred, speakers, sex = predictions
    table = score_by_group(
        unweighted_average_recall, y, y_pred, by=container(sex), groups=speakers, **SETTINGS
    )
    assert table.columns.tolist() == ["n_recordings", "n_speakers", "score", "low", "high"]
    assert table.index.tolist() == ["female", "male"]
    assert table["n_speakers"].tolist() == [3, 7]
    for group, row in table.iterrows():
        here = sex == group
        assert row["n_recordings"] == here.sum()
        assert row["score"] == unweighted_average_recall(y[here], y_pred[here])
        assert (row["low"], row["high"]) == confidence_interval(
            unweighted_average_recall, y[here], y_pred[here], groups=speakers[here], **SETTINGS
        )


def test_table_of_speakers(predictions):
    y, y_pred, speakers, _ = predictions
    table = score_by_group(accuracy_score, y, y_pred, by=speakers)
    assert table.columns.tolist() == ["n_recordings", "score"]
    assert table.index.tolist() == list(range(10))
    assert np.average(table["score"], weights=table["n_recordings"]) == pytest.approx(
        accuracy_score(y, y_pred)
    )


def test_one_speaker_has_no_interval(predictions):
    y, y_pred, speakers, _ = predictions
    table = score_by_group(accuracy_score, y, y_pred, by=speakers, groups=speakers)
    assert (table["n_speakers"] == 1).all()
    assert table[["low", "high"]].isna().all(axis=None)
    assert table["score"].notna().all()


@pytest.mark.parametrize("missing", [None, np.nan])
def test_recordings_without_a_group_are_the_last_row(missing):
    by = pd.Series(["male", missing, "female", missing], name="sex", dtype=object)
    table = score_by_group(accuracy_score, [0, 0, 1, 1], [0, 1, 1, 1], by=by)
    assert table.index.name == "sex"
    assert table.index[:2].tolist() == ["female", "male"]
    assert table.index.isna().tolist() == [False, False, True]
    assert table["score"].tolist() == [1, 1, 0.5]
    assert table["n_recordings"].tolist() == [1, 1, 2]


def test_categories_keep_their_order_and_rows_their_position():
    ages = pd.Series([70, 20, 25, 71], index=[3, 1, 0, 2], name="age")
    by = pd.cut(ages, [0, 30, 50, 100], labels=["young", "middle", "old"])
    table = score_by_group(accuracy_score, [0, 1, 1, 0], [0, 0, 0, 0], by=by)
    assert table.index.tolist() == ["young", "old"]
    assert table["score"].tolist() == [0, 1]


def test_several_targets():
    y = np.random.default_rng(0).standard_normal((40, 3))
    by = np.repeat(["a", "b"], 20)
    table = score_by_group(
        concordance_correlation_coefficient, y, 0.5 * y, by=by, groups=np.arange(40) % 4, **SETTINGS
    )
    assert table.loc["b", "score"] == concordance_correlation_coefficient(y[20:], 0.5 * y[20:])
    assert (table["low"] < table["high"]).all()


@pytest.mark.filterwarnings("error")
def test_a_group_of_one_class_does_not_warn():
    table = score_by_group(
        unweighted_average_recall, ["a", "a", "b"], ["a", "a", "b"], by=[1, 1, 2]
    )
    assert table["score"].tolist() == [1, 1]


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_speakers_raise(missing):
    with pytest.raises(ValueError, match="groups is missing for 1 of 2 recordings"):
        score_by_group(accuracy_score, [0, 1], [0, 1], by=["a", "b"], groups=["x", missing])


def test_inconsistent_lengths_raise():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        score_by_group(accuracy_score, [0, 1], [0, 1], by=["male"])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        score_by_group(accuracy_score, [0, 1], [0, 1], by=["a", "b"], groups=["03"])
