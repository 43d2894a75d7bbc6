"""Extract scores of layers from the results of a search or from a fitted selector."""

import re
from collections.abc import Mapping
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from sklearn_ser.layers import LayerSelector

_FIRST_SPLIT = re.compile(r"split0_test_(.+)")


class LayerScores(NamedTuple):
    """One line of the plot: `layers`, and `scores` of shape (n_layers, n_splits)."""

    layers: list
    scores: np.ndarray


def get_cv_results(source):
    """Return `cv_results_` of a fitted search, or `source` itself if it is a mapping."""
    results = getattr(source, "cv_results_", source)
    if not isinstance(results, Mapping) or "params" not in results:
        raise ValueError(
            f"Got {type(source).__name__}, but a fitted search over the parameter layer of a "
            "LayerSelector, or its cv_results_, is needed."
        )
    if "iter" in results:
        raise ValueError(
            "The candidates of a halving search are scored on different numbers of recordings: "
            "use GridSearchCV."
        )
    return results


def find_parameter(results, param=None):
    """Return the name of the searched parameter `layer`."""
    names = sorted({name for params in results["params"] for name in params})
    found = [name for name in names if name == "layer" or name.endswith("__layer")]
    if param is not None:
        found = [param] if param in names else []
    if len(found) != 1:
        raise ValueError(
            f"{param or 'The parameter layer'} is not one of the parameters searched over, which "
            f"are {names}."
            if not found
            else f"The search is over {found}: choose one with the parameter param."
        )
    return found[0]


def find_metrics(results, metric=None):
    """Return the names of the metrics to plot; all metrics if `metric` is None."""
    metrics = [found.group(1) for name in results if (found := _FIRST_SPLIT.fullmatch(name))]
    if metric is None:
        return metrics
    requested = [metric] if isinstance(metric, str) else list(metric)
    if missing := [name for name in requested if name not in metrics]:
        raise ValueError(f"metric={missing} was not scored; the search has {metrics}.")
    return requested


def metric_name(source, metric):
    """Return the name of a metric; if a search has only one, the name of its `scoring`."""
    scoring = getattr(source, "scoring", None)
    return scoring if metric == "score" and isinstance(scoring, str) else metric


def other_parameters(results, param):
    """Return the names of the other parameters with several values."""
    values: dict[str, set] = {}
    for params in results["params"]:
        for name, value in params.items():
            values.setdefault(name, set()).add(repr(value))
    return sorted(name for name, found in values.items() if name != param and len(found) > 1)


def collect_layer_scores(results, param, metric):
    """Collect the test scores of each layer.

    If several candidates have the same layer, the one with the highest mean score is used; a mean
    of NaN counts as the lowest.
    """
    n_splits = sum(
        1 for name in results if re.fullmatch(rf"split\d+_test_{re.escape(metric)}", name)
    )
    scores = np.column_stack([results[f"split{split}_test_{metric}"] for split in range(n_splits)])
    best: dict = {}
    for params, candidate_scores in zip(results["params"], scores, strict=True):
        if param in params:
            layer = _hashable(params[param])
            mean = best[layer].mean() if layer in best else np.nan
            if np.isnan(mean) or candidate_scores.mean() > mean:
                best[layer] = candidate_scores
    layers = sorted(best, key=_sort_key)
    return LayerScores(layers, np.array([best[layer] for layer in layers]))


def find_selector(estimator):
    """Return the fitted `LayerSelector("best")` in an estimator."""
    found = list(_selectors(estimator))
    if len(found) != 1:
        raise ValueError(
            f"{type(estimator).__name__} contains {len(found)} fitted LayerSelector('best'); it "
            "must contain one."
        )
    return found[0]


def _selectors(estimator):
    estimator = getattr(estimator, "best_estimator_", estimator)  # if it is a search
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            yield from _selectors(step)
    elif isinstance(estimator, LayerSelector) and (
        getattr(estimator, "layer_scores_", None) is not None
    ):
        yield estimator


def _hashable(layer):
    """Convert a layer to an int, a tuple of ints or a str."""
    if isinstance(layer, str):
        return layer
    return int(layer) if isinstance(layer, Integral) else tuple(int(index) for index in layer)


def _sort_key(layer):
    """Return a key that sorts indices first, then tuples, then words."""
    if isinstance(layer, int):
        return 0, (layer,), ""
    return (1, layer, "") if isinstance(layer, tuple) else (2, (), layer)
