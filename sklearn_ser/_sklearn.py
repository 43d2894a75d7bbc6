"""The only imports of private names of scikit-learn."""

import sys
from types import FunctionType

from sklearn.base import _fit_context as fit_context
from sklearn.metrics._scorer import _SCORERS
from sklearn.metrics._scorer import _BaseScorer as BaseScorer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _check_y as check_y

__all__ = [
    "BaseScorer",
    "BaseSearchCV",
    "HasMethods",
    "Interval",
    "StrOptions",
    "check_feature_names_in",
    "check_sample_weight",
    "check_y",
    "fit_context",
    "is_data_frame_requested",
    "register_scorers",
    "safe_indexing",
    "validate_params",
]


def is_data_frame_requested(transformer):
    """Return whether `set_output` or the global configuration requests data frames."""
    return _get_output_config("transform", transformer)["dense"] != "default"


def register_scorers(scorers):
    """Make scorers available to scikit-learn by name, as its own are.

    Classes and functions of scikit-learn copy the names of all scorers into the constraints of
    their parameter `scoring` when their module is imported. The names are added to the copies of
    modules that are already imported. A name that is registered already keeps its scorer.

    Parameters
    ----------
    scorers : dict of str to callable
        Scorer for each name.
    """
    new = {name: scorer for name, scorer in scorers.items() if name not in _SCORERS}
    _SCORERS.update(new)
    for options in _scorer_options():
        options.update(new)


def _scorer_options():
    """Yield the sets of names that constrain `scoring` in all imported modules."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] not in {"sklearn", "sklearn_ser"}:
            continue
        for definition in list(vars(module).values()):
            if isinstance(definition, (type, FunctionType)):
                yield from _scorer_options_of(definition)


def _scorer_options_of(definition):
    attributes = ("_parameter_constraints", "_skl_parameter_constraints")  # classes, functions
    for attribute in attributes:
        constraints = getattr(definition, attribute, None)
        if isinstance(constraints, dict):
            for constraint in constraints.get("scoring", ()):
                if isinstance(constraint, StrOptions) and "accuracy" in constraint.options:
                    yield constraint.options
