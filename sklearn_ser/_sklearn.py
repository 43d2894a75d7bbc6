"""The only imports of private names of scikit-learn."""

from sklearn.base import _fit_context as fit_context
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _check_y as check_y

__all__ = [
    "BaseSearchCV",
    "HasMethods",
    "Interval",
    "StrOptions",
    "check_feature_names_in",
    "check_sample_weight",
    "check_y",
    "fit_context",
    "is_data_frame_requested",
    "safe_indexing",
    "validate_params",
]


def is_data_frame_requested(transformer):
    """Return whether `set_output` or the global configuration requests data frames."""
    return _get_output_config("transform", transformer)["dense"] != "default"
