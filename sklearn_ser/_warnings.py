"""Warnings that point at the user's line, not at ours."""

import inspect
import warnings

_NOT_THE_USER = ("sklearn_ser.", "sklearn.", "joblib.")


def warn(message: str) -> None:
    """Warn at the line outside this package and scikit-learn that called it."""
    frame, level = inspect.currentframe(), 0
    while frame and frame.f_globals.get("__name__", "").startswith(_NOT_THE_USER):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level + 1)
