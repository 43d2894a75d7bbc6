"""The one place that imports scikit-learn's parameter validation, whose names are private."""

from collections.abc import Mapping
from typing import Any

from sklearn.utils._param_validation import HasMethods, StrOptions, validate_params

__all__ = ["HasMethods", "StrOptions", "validated_loader"]

_OPTIONS: dict[str, list[Any]] = {
    "emotions": ["array-like", Mapping, None],
    "return_X_y": ["boolean"],
    "as_frame": ["boolean"],
}


def validated_loader(**constraints):
    """Validate a loader's own parameters and those that all loaders share."""
    return validate_params({**_OPTIONS, **constraints}, prefer_skip_nested_validation=True)
