"""Labels that are missing or mixed name themselves, and targets may have any unit."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_ser import (
    ConcordanceRegressor,
    DistilledClassifier,
    EmoHRNetClassifier,
    HyperbolicFusionClassifier,
    LayerSelector,
)
from sklearn_ser._targets import binary_exponent, check_labels, check_numbers, find_missing
from sklearn_ser.metrics import (
    concordance_correlation_coefficient,
    confidence_interval,
    unweighted_average_recall,
)
from sklearn_ser.training._classifier import weighted_targets
from small_networks import small_network

N = 24
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((N, 6))
SPECTROGRAMS = RNG.standard_normal((N, 8, 20))
RECORDINGS = list(RNG.uniform(-0.5, 0.5, (N, 1600)).astype(np.float32))
LABELS = ["anger", "fear", "sadness"] * (N // 3)
ONCE = {"max_epochs": 1, "random_state": 0}
# Name -> a classifier, and its input.
CLASSIFIERS = {
    "emohrnet": (partial(EmoHRNetClassifier, width=2, head_width=2, **ONCE), SPECTROGRAMS),
    "fusion": (partial(HyperbolicFusionClassifier, [3, 3]), TABLE),
    "fusion of networks": (
        partial(HyperbolicFusionClassifier, [3, 3], branch="mlp", **ONCE),
        TABLE,
    ),
    "distilled": (
        partial(DistilledClassifier, small_network("wavlm-short", later=True), **ONCE),
        RECORDINGS,
    ),
}


def _with(value, labels=LABELS):
    return [*labels[:3], value, *labels[4:]]


# What a missing label may be, in every container.
MISSING = {
    "None": _with(None),
    "NaN": _with(np.nan),
    "array of objects": np.array(_with(None), dtype=object),
    "float": np.array(_with(np.nan, [0.0, 1.0] * (N // 2))),
    "numbers and None": _with(None, [0, 1] * (N // 2)),
    "float32": _with(np.float32("nan"), [0, 1] * (N // 2)),
    "Series": pd.Series(_with(None)),
    "categorical": pd.Series(_with(None)).astype("category"),
    "string": pd.Series(_with(None), dtype="string"),
    "NA": pd.Series(_with(pd.NA), dtype=object),
    "NaT": _with(pd.NaT),
    "timedelta64": _with(np.timedelta64("NaT"), [0, 1] * (N // 2)),
    "Int64": pd.Series(_with(pd.NA, [0, 1] * (N // 2)), dtype="Int64"),
    "polars": pl.Series(_with(None)),
    "polars numbers": pl.Series(_with(None, [0, 1] * (N // 2))),
}


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING)
def test_missing_labels_are_found(labels):
    np.testing.assert_array_equal(find_missing(labels), [3])
    with pytest.raises(ValueError, match=rf"y is missing for 1 of {N} .*position 3: leave them"):
        check_labels(labels, "y")


@pytest.mark.parametrize(
    "labels", [LABELS, [0, 1], [True, False], np.array(LABELS), [1.5, 2.0], ["nan", ""]]
)
def test_labels_that_are_not_missing(labels):
    assert not len(find_missing(labels))
    check_labels(labels, "y")


@pytest.mark.parametrize("labels", [_with(5), _with(b"anger"), pd.Series(_with(("anger",)))])
def test_mixed_labels_name_their_types(labels):
    with pytest.raises(ValueError, match=r"y has labels of the types .*str.*: they must be all"):
        check_labels(labels, "y")


NUMBERS = [0.5, 1.0] * (N // 2)
# A value among numbers -> the reason why it is refused.
NO_NUMBERS = {
    "None": (None, "is missing for 1 of 24 .*position 3: leave them out"),
    "NaN": (np.nan, "is missing for 1 of 24"),
    "NA": (pd.NA, "is missing for 1 of 24"),
    "infinity": (-np.inf, "is infinite for 1 of 24 .*position 3: leave them out"),
    "string": ("high", "has values of the types .*str: they must be numbers .*high"),
    "complex": (1j, "has values of the types complex, float.*: they must be numbers"),
    "large integer": (10**400, "has values of the types .*int: they must be numbers .*too large"),
    "bytes": (b"a", "has values of the types bytes, float"),
    "list": ([1], "has values of the types .*list: they must be numbers"),
}


@pytest.mark.parametrize(("value", "reason"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_targets_that_are_no_numbers(value, reason):
    numbers = _with(value, NUMBERS)
    with pytest.raises(ValueError, match="y_pred " + reason):
        check_numbers(numbers, "y_pred")
    for y in (numbers, pd.DataFrame({"a": NUMBERS, "b": pd.Series(numbers, dtype=object)})):
        with pytest.raises(ValueError, match="y " + reason):
            ConcordanceRegressor(**ONCE).fit(TABLE, y)
        with pytest.raises(ValueError, match="y_true " + reason):
            concordance_correlation_coefficient(y, y)


@pytest.mark.parametrize("numbers", [NUMBERS, [0, 1], [True], ["1", 2], [], 1.0, np.float32([0])])
def test_targets_that_are_numbers(numbers):
    check_numbers(numbers, "y")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_name_missing_labels(name):
    make, X = CLASSIFIERS[name]
    for labels in (MISSING["None"], MISSING["float"], MISSING["string"]):
        with pytest.raises(ValueError, match="y is missing for 1 of 24"):
            make().fit(X, labels)
    with pytest.raises(ValueError, match="y has labels of the types int, str"):
        make().fit(X, _with(5))
    with pytest.raises(ValueError, match=r"classes is missing for 1 of 3"):
        make(classes=["anger", None, "fear"]).fit(X, np.full((N, 3), 1 / 3))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_class_weights_name_their_class(name):
    make, X = CLASSIFIERS[name]
    reason = r"class_weight=.* has the weight .* for the class 'fear'"
    for weight in (np.nan, np.inf, 10**400, -1, None, "2", [1]):
        with pytest.raises(ValueError, match=reason):
            make(class_weight={"anger": 1, "fear": weight}).fit(X, LABELS)


@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**1000, 1e308 / 1.5])
def test_class_weights_have_no_unit(unit):
    weights = {"anger": 1.0, "fear": 0.5, "sadness": 1.5}
    scaled = {name: weight * unit for name, weight in weights.items()}
    expected, found = (
        weighted_targets(
            np.eye(3)[np.arange(N) % 3],
            np.ones(N),
            classes=np.array(list(weights)),
            class_weight=class_weight,
        )
        for class_weight in (weights, scaled)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1)[:3], [1, 0.5, 1.5])


def test_weights_that_vanish_in_float32_are_zero():
    make, X = CLASSIFIERS["fusion of networks"]
    weights = np.where(np.arange(N) == 3, 1e308, 1)
    with pytest.raises(ValueError, match="at least two classes, and y has one class, 'anger'"):
        make().fit(X, LABELS, sample_weight=weights)
    with pytest.raises(ValueError, match=r"class_weight=.* above zero for at least two classes"):
        make(class_weight={"anger": 1e300}).fit(X, ["anger", "fear"] * (N // 2))


def test_scores_name_missing_labels():
    make, X = CLASSIFIERS["fusion"]
    with pytest.raises(ValueError, match="y is missing for 1 of 24"):
        make().fit(X, LABELS).score(X, _with(None))
    with pytest.raises(ValueError, match="y_true is missing for 1 of 24"):
        unweighted_average_recall(_with(None), LABELS)
    with pytest.raises(ValueError, match="y_pred is missing for 1 of 24"):
        unweighted_average_recall(LABELS, _with(None))
    with pytest.raises(ValueError, match="groups is missing for 1 of 24"):
        confidence_interval(unweighted_average_recall, LABELS, LABELS, groups=MISSING["string"])


@pytest.mark.parametrize("layer", ["weighted", "best"])
def test_layer_selection_names_missing_labels(layer):
    layers = TABLE.reshape(N, 3, 2)
    for y in (MISSING["None"], MISSING["float"], MISSING["string"]):
        with pytest.raises(ValueError, match="y is missing for 1 of 24"):
            LayerSelector(layer).fit(layers, y)
    with pytest.raises(ValueError, match="y has labels of the types int, str"):
        LayerSelector(layer).fit(layers, pd.DataFrame({"a": LABELS, "b": _with(5)}))


@pytest.mark.parametrize("exponent", [-1000, -500, 500, 1000])
def test_regressors_predict_in_any_unit(exponent):
    """Scaling by a power of two is exact, so that the predictions have the same bits."""
    regressor = ConcordanceRegressor(max_epochs=2, random_state=0)
    y = TABLE[:, :2] + [0, 3]
    expected = regressor.fit(TABLE, y).predict(TABLE)
    score = regressor.score(TABLE, y)
    y = np.ldexp(y, exponent)
    found = regressor.fit(TABLE, y).predict(TABLE)
    np.testing.assert_array_equal(found, np.ldexp(expected, exponent))
    assert regressor.score(TABLE, y) == score


def test_targets_at_the_largest_number_have_finite_predictions():
    y = np.sign(TABLE[:, :2]) * np.finfo(float).max
    predictions = ConcordanceRegressor(**ONCE).fit(TABLE, y).predict(TABLE)
    assert np.isfinite(predictions).all()
    assert np.ptp(predictions[:, 0] / 2) > 0


def test_layer_weights_do_not_depend_on_the_unit_of_y():
    layers = TABLE.reshape(N, 3, 2)
    y = TABLE[:, 0] + 0.1
    expected = LayerSelector("weighted").fit(layers, y).layer_weights_
    for exponent in (-1000, 1000):
        selector = LayerSelector("weighted").fit(layers, np.ldexp(y, exponent))
        np.testing.assert_array_equal(selector.layer_weights_, expected)


def test_binary_exponents():
    columns = np.array([[0.0, 1.0, -3.0, 1e300, 5e-324], [0.0, 0.5, 1.0, -1.0, 0.0]])
    np.testing.assert_array_equal(binary_exponent(columns), [0, 1, 2, 997, -1073])
    assert (np.abs(np.ldexp(columns, -binary_exponent(columns))) < 1).all()
