"""Cross-validated scores of single layers, and the targets they are scored on."""

from numbers import Integral

import numpy as np
from joblib import effective_n_jobs
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GroupKFold,
    StratifiedGroupKFold,
    check_cv,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_consistent_length

# The figure of merit of the field for classes, scikit-learn's own for numbers.
DEFAULT_SCORING = {"classes": "balanced_accuracy", "continuous": "r2"}
_DEFAULT_N_SPLITS = 5


def default_estimator(kind):
    """Return the linear probe for a kind of target."""
    head = LogisticRegression(max_iter=1000) if kind == "classes" else Ridge()
    return make_pipeline(StandardScaler(), head)


def split_targets(y, estimator):
    """Split `y` into its columns.

    Returns
    -------
    columns : list of ndarray of shape (n_samples,)
        One array for each target.
    names : list of str or None
        Names of the targets; None where `y` has one axis.
    """
    targets = check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=estimator)
    if targets.ndim == 1:
        return [_settle_dtype(targets)], None
    names = getattr(y, "columns", [f"target{number}" for number in range(targets.shape[1])])
    return [_settle_dtype(column) for column in targets.T], [str(name) for name in names]


def _settle_dtype(column):
    """Give a column of Python objects, as of a data frame of classes and numbers, its dtype."""
    return np.asarray(column.tolist()) if column.dtype == object else column


def kind_of_target(column, target_type):
    """Return "classes" or "continuous"; refuse what is neither, and a single class."""
    found = type_of_target(column, input_name="y")
    if target_type == "continuous" or (target_type == "auto" and found == "continuous"):
        if not np.issubdtype(column.dtype, np.number):
            raise ValueError(f"target_type='continuous', and y holds {column.dtype}.")
        return "continuous"
    if found not in {"binary", "multiclass"}:
        raise ValueError(
            f"y is {found}, and target_type={target_type!r}: layers can be told apart by classes "
            "or, with target_type='continuous', by numbers."
        )
    if len(np.unique(column)) < 2:
        raise ValueError(f"y has one class, {column[0]}: layers can't be told apart by it.")
    return "classes"


def splits_by_groups(cv):
    """Tell whether a splitter asks for `groups` on its own account."""
    return bool(get_routing_for_object(cv).consumes("split", {"groups"}))


def make_splits(cv, layers, column, kind, metadata):
    """Return the pairs of training and test rows, the same for every layer.

    Where `cv` is a number or None, groups are kept together if they are among the metadata.
    """
    groups = metadata.get("groups")
    if groups is None and splits_by_groups(cv):
        raise ValueError(
            f"cv={cv} splits by groups, and none came. Pass groups to fit; where a pipeline or a "
            "search calls it, call sklearn.set_config(enable_metadata_routing=True) first, and "
            "pass groups to that."
        )
    if groups is not None:
        check_consistent_length(layers, groups)
        if cv is None or isinstance(cv, Integral):
            cv = _group_splitter(cv, groups, kind)
    splitter = check_cv(cv, column, classifier=kind == "classes")
    return list(splitter.split(layers, column, **metadata))


def _group_splitter(n_splits, groups, kind):
    n_groups = len(np.unique(groups))
    if n_splits is None:
        n_splits = max(2, min(_DEFAULT_N_SPLITS, n_groups))
    if n_groups < n_splits:
        raise ValueError(
            f"groups holds {n_groups} of them, too few for {n_splits} folds of whole groups."
        )
    return (StratifiedGroupKFold if kind == "classes" else GroupKFold)(n_splits)


def score_layers(layers, column, estimator, *, splits, scoring, params, n_jobs):
    """Score an estimator on each layer.

    Returns
    -------
    scores : ndarray of shape (n_layers, n_splits)
        Test scores.
    """
    run = Parallel(n_jobs=n_jobs, pre_dispatch=effective_n_jobs(n_jobs))
    return np.array(
        run(
            delayed(_score_layer)(layer, column, estimator, splits, scoring, params)
            for layer in np.moveaxis(layers, 1, 0)
        )
    )


def _score_layer(layer, column, estimator, splits, scoring, params):
    result = cross_validate(
        estimator,
        np.ascontiguousarray(layer),
        column,
        cv=splits,
        scoring=scoring,
        params=params,
        error_score="raise",
    )
    return result["test_score"]


def find_best_layer(scores):
    """Return the layer of the highest mean score, the lowest of equals.

    A layer whose mean is not a number, such as a correlation with a constant, comes last.
    """
    means = np.mean(scores, axis=1)
    if np.isnan(means).all():
        raise ValueError(
            "No layer has a score that is a number: choose another scoring, or larger folds."
        )
    return int(np.nanargmax(means))
