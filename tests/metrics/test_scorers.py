"""Scorers, and their names in scikit-learn."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_selection import RFECV, SequentialFeatureSelector
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.metrics import balanced_accuracy_score, check_scoring, get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)

from sklearn_ser import LayerSelector
from sklearn_ser._sklearn import _SCORERS, register_scorers
from sklearn_ser.metrics import concordance_scorer, unweighted_average_recall_scorer

UAR = "unweighted_average_recall"
DATA = """
import numpy as np
X = np.random.default_rng(0).standard_normal((60, 3))
y = np.where(X[:, 0] > 0.3, "anger", "fear")
"""
USE = f"""{DATA}
for scoring in ("{UAR}", "balanced_accuracy"):
    search = GridSearchCV(LogisticRegression(), {{"C": [0.01, 1]}}, scoring=scoring, cv=3).fit(X, y)
    layers = LayerSelector("best", cv=3, scoring=scoring).fit(X[:, :, np.newaxis], y)
    print(search.cv_results_["mean_test_score"], layers.layer_scores_.mean())
    print(permutation_importance(search, X, y, scoring=scoring, random_state=0).importances_mean)
"""
SCIKIT_LEARN = """
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
"""
METRICS = "import sklearn_ser.metrics\n"
LAYERS = "from sklearn_ser import LayerSelector\n"


def _run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.fixture
def table():
    X = np.random.default_rng(0).standard_normal((60, 3))
    return X, np.where(X[:, 0] > 0.3, "anger", "fear")


@pytest.mark.parametrize(
    "imports",
    [METRICS + SCIKIT_LEARN + LAYERS, SCIKIT_LEARN + LAYERS + METRICS],
    ids=["metrics first", "metrics last"],
)
def test_names_work_in_either_order_of_imports(imports):
    result = _run(imports + USE)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[:2] == lines[2:]


def test_names_are_accepted_wherever_scikit_learns_are(table):
    X, y = table
    model, weight = LogisticRegression(), LogisticRegression().fit(X, y)
    grid = {"C": [0.01, 1]}
    for use in (
        lambda scoring: cross_validate(model, X, y, scoring=scoring)["test_score"],
        lambda scoring: cross_validate(model, X, y, scoring=["accuracy", scoring])[
            f"test_{scoring}"
        ],
        lambda scoring: cross_val_score(model, X, y, scoring=scoring),
        lambda scoring: learning_curve(model, X, y, scoring=scoring)[2],
        lambda scoring: validation_curve(
            model, X, y, param_name="C", param_range=[0.1], scoring=scoring
        )[1],
        lambda scoring: permutation_test_score(
            model, X, y, scoring=scoring, n_permutations=2, random_state=0
        )[1],
        lambda scoring: permutation_importance(weight, X, y, scoring=scoring, random_state=0)[
            "importances"
        ],
        lambda scoring: (
            RandomizedSearchCV(model, grid, n_iter=2, scoring=scoring, random_state=0)
            .fit(X, y)
            .cv_results_["mean_test_score"]
        ),
        lambda scoring: RFECV(model, scoring=scoring).fit(X, y).cv_results_["mean_test_score"],
        lambda scoring: SequentialFeatureSelector(model, scoring=scoring).fit(X, y).support_,
        lambda scoring: (
            LogisticRegressionCV(
                Cs=2, l1_ratios=(0.0,), use_legacy_attributes=False, scoring=scoring
            )
            .fit(X, y)
            .scores_
        ),
        lambda scoring: check_scoring(model, scoring)(weight, X, y),
    ):
        np.testing.assert_array_equal(use(UAR), use("balanced_accuracy"))


def test_concordance_by_name(table):
    X, _ = table
    y = X[:, 0] + X[:, 1] ** 2
    by_name, by_scorer = (
        cross_val_score(Ridge(), X, y, scoring=scoring)
        for scoring in ("concordance_correlation_coefficient", concordance_scorer)
    )
    np.testing.assert_array_equal(by_name, by_scorer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "scoring", "works"),
    [
        ("'passthrough'", f"'{UAR}'", False),
        ("LayerSelector(n_layers=1)", f"'{UAR}'", True),
        ("'passthrough'", "unweighted_average_recall_scorer", True),
    ],
    ids=["name, scikit-learn alone", "name, with a LayerSelector", "scorer"],
)
def test_nested_search_in_other_processes(layers, scoring, works):
    # Workers import only what they unpickle: the scorer and LayerSelector bring the names.
    code = f"""{SCIKIT_LEARN}{LAYERS}{DATA}
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn_ser.metrics import unweighted_average_recall_scorer
pipeline = make_pipeline({layers}, LogisticRegression())
search = GridSearchCV(pipeline, {{"logisticregression__C": [0.01, 1]}}, scoring={scoring})
cross_val_score(search, X, y, cv=2, n_jobs=2, error_score="raise")
"""
    result = _run(code)
    assert (result.returncode == 0) == works, result.stderr
    assert works or "The 'scoring' parameter of GridSearchCV must be" in result.stderr


def test_scorer_of_another_package_is_kept(monkeypatch):
    monkeypatch.setitem(_SCORERS, UAR, make_scorer(balanced_accuracy_score))
    register_scorers({UAR: unweighted_average_recall_scorer})
    assert get_scorer(UAR)._score_func is balanced_accuracy_score


def test_unknown_names_still_raise(table):
    X, y = table
    with pytest.raises(ValueError, match=r"'scoring' parameter .* 'unweighted_average'"):
        GridSearchCV(LogisticRegression(), {"C": [1]}, scoring="unweighted_average").fit(X, y)
    with pytest.raises(ValueError, match=r"'scoring' parameter"):
        LayerSelector("best", scoring="unweighted_average").fit(X[:, :, np.newaxis], y)
