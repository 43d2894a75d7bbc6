"""Cross-validated scores of single layers."""

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

from sklearn_ser._targets import check_labels, check_not_missing
from sklearn_ser._warnings import warn_without_groups

# By kind of target: the usual metric of the field, and the default of scikit-learn.
DEFAULT_SCORING = {"classes": "balanced_accuracy", "continuous": "r2"}
_DEFAULT_N_SPLITS = 5


def default_estimator(kind):
    """Return the default linear probe for a kind of target."""
    head = LogisticRegression(max_iter=1000) if kind == "classes" else Ridge()
    return make_pipeline(StandardScaler(), head)


def split_targets(y, estimator):
    """Split `y` into one array per target.

    Returns
    -------
    columns : list of ndarray of shape (n_samples,)
        One array for each target.
    names : list of str or None
        Names of the targets; None if `y` is 1-D.
    """
    if y is not None:
        check_not_missing(y, "y")
    targets = check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=estimator)
    if targets.ndim == 1:
        return [_infer_dtype(targets)], None
    names = getattr(y, "columns", [f"target{number}" for number in range(targets.shape[1])])
    return [_infer_dtype(column) for column in targets.T], [str(name) for name in names]


def _infer_dtype(column):
    """Convert a column of objects, such as from a data frame of mixed types, to its dtype."""
    if column.dtype == object:
        check_labels(column, "y")
        return np.asarray(column.tolist())
    return column


def kind_of_target(column, target_type):
    """Return "classes" or "continuous"; raise for other targets and for a single class."""
    with np.errstate(invalid="ignore"):  # numbers beyond the integers
        found = type_of_target(column, input_name="y")
    if target_type == "continuous" or (target_type == "auto" and found == "continuous"):
        if not np.issubdtype(column.dtype, np.number):
            raise ValueError(f"target_type='continuous', but y has dtype {column.dtype}.")
        return "continuous"
    if found not in {"binary", "multiclass"}:
        raise ValueError(
            f"y is {found}, but target_type={target_type!r}: y must hold classes or, with "
            "target_type='continuous', numbers."
        )
    if len(np.unique(column)) < 2:
        raise ValueError(f"y has one class, {column[0]}; at least two are needed.")
    return "classes"


def splits_by_groups(cv):
    """Return whether a splitter requests `groups` by default."""
    return bool(get_routing_for_object(cv).consumes("split", {"groups"}))


def make_splits(cv, layers, column, kind, metadata):
    """Return the pairs of training and test indices, which are the same for every layer.

    If `cv` is a number or None, the splits keep groups together. Without groups in `metadata`,
    they split by recordings, with a warning.
    """
    groups = metadata.get("groups")
    if groups is None and splits_by_groups(cv):
        raise ValueError(
            f"cv={cv} splits by groups, but no groups were passed. Pass groups to fit; within a "
            "pipeline or a search, call sklearn.set_config(enable_metadata_routing=True) and pass "
            "groups to its fit."
        )
    if groups is None and (cv is None or isinstance(cv, Integral)):
        warn_without_groups('layer="best" scores layers on recordings', "LayerSelector")
    if groups is not None:
        check_consistent_length(layers, groups)
        check_labels(groups, "groups")
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
            f"groups has {n_groups} groups, too few for {n_splits} folds of whole groups."
        )
    return (StratifiedGroupKFold if kind == "classes" else GroupKFold)(n_splits)


def score_layers(layers, column, estimator, *, splits, scoring, params, n_jobs):
    """Compute the cross-validated scores of an estimator on each layer.

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
    """Return the index of the layer with the highest mean score, the lowest in case of a tie.

    Layers whose mean score is NaN, such as a correlation with a constant, are ignored.
    """
    means = np.mean(scores, axis=1)
    if np.isnan(means).all():
        raise ValueError(
            "The scores of all layers are NaN: choose another scoring, larger folds, or another "
            "unit if y has numbers above 1e150."
        )
    return int(np.nanargmax(means))
