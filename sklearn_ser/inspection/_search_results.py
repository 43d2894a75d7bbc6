"""From the results of a search, or from a fitted selector, to scores of layers."""

import re
from collections.abc import Mapping
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from sklearn_ser.layers import LayerSelector

_FIRST_SPLIT = re.compile(r"split0_test_(.+)")


class LayerScores(NamedTuple):
    """One line of the picture: `layers`, and `scores` of shape (n_layers, n_splits)."""

    layers: list
    scores: np.ndarray


def results_of(source):
    """Return `cv_results_` of a fitted search, or the mapping that `source` is."""
    results = getattr(source, "cv_results_", source)
    if not isinstance(results, Mapping) or "params" not in results:
        raise ValueError(
            f"Got {type(source).__name__}, and need a fitted search, or its cv_results_, over the "
            "parameter layer of a LayerSelector."
        )
    if "iter" in results:
        raise ValueError(
            "The candidates of a halving search were scored on different numbers of recordings: "
            "search with GridSearchCV."
        )
    return results


def find_parameter(results, param=None):
    """Return the name of the searched `layer` among the parameters."""
    names = sorted({name for params in results["params"] for name in params})
    found = [name for name in names if name == "layer" or name.endswith("__layer")]
    if param is not None:
        found = [param] if param in names else []
    if len(found) != 1:
        raise ValueError(
            f"{param or 'The parameter layer'} is not one of the parameters searched over, which "
            f"are {names}."
            if not found
            else f"The search is over {found}: say by param which of them to draw."
        )
    return found[0]


def find_metrics(results, metric=None):
    """Return the names of the metrics to draw: all of them if `metric` is None."""
    metrics = [found.group(1) for name in results if (found := _FIRST_SPLIT.fullmatch(name))]
    if metric is None:
        return metrics
    asked = [metric] if isinstance(metric, str) else list(metric)
    if missing := [name for name in asked if name not in metrics]:
        raise ValueError(f"metric={missing} was not scored; the search has {metrics}.")
    return asked


def name_of_metric(source, metric):
    """Return the name of a metric; where a search has only one, that of its `scoring`."""
    scoring = getattr(source, "scoring", None)
    return scoring if metric == "score" and isinstance(scoring, str) else metric


def other_parameters(results, param):
    """Return the names of the other parameters that took several values."""
    values: dict[str, set] = {}
    for params in results["params"]:
        for name, value in params.items():
            values.setdefault(name, set()).add(repr(value))
    return sorted(name for name, found in values.items() if name != param and len(found) > 1)


def scores_of_layers(results, param, metric):
    """Collect the test scores of each layer.

    Where several candidates have the same layer, those of the highest mean score are taken; a
    mean that is not a number is the lowest.
    """
    n_splits = sum(
        1 for name in results if re.fullmatch(rf"split\d+_test_{re.escape(metric)}", name)
    )
    scores = np.column_stack([results[f"split{split}_test_{metric}"] for split in range(n_splits)])
    best: dict = {}
    for params, of_candidate in zip(results["params"], scores, strict=True):
        if param in params:
            layer = _hashable(params[param])
            known = best.get(layer)
            if known is None or np.isnan(known.mean()) or of_candidate.mean() > known.mean():
                best[layer] = of_candidate
    layers = sorted(best, key=_order)
    return LayerScores(layers, np.array([best[layer] for layer in layers]))


def find_selector(estimator):
    """Return the fitted `LayerSelector("best")` that an estimator is, or that it holds."""
    found = list(_selectors(estimator))
    if len(found) != 1:
        raise ValueError(
            f"{type(estimator).__name__} holds {len(found)} fitted LayerSelector('best'), and "
            "must hold one."
        )
    return found[0]


def _selectors(estimator):
    estimator = getattr(estimator, "best_estimator_", estimator)  # of a search
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            yield from _selectors(step)
    elif isinstance(estimator, LayerSelector) and (
        getattr(estimator, "layer_scores_", None) is not None
    ):
        yield estimator


def _hashable(layer):
    """Return a layer as an int, a tuple of ints, or a word."""
    if isinstance(layer, str):
        return layer
    return int(layer) if isinstance(layer, Integral) else tuple(int(index) for index in layer)


def _order(layer):
    """Sort indices first, then lists, then words."""
    if isinstance(layer, int):
        return 0, (layer,), ""
    return (1, layer, "") if isinstance(layer, tuple) else (2, (), layer)
