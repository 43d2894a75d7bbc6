"""Issue warnings that point to the user's code."""

import inspect
import warnings

_INTERNAL_MODULES = ("sklearn_ser.", "sklearn.", "joblib.")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the first stack level outside this package, scikit-learn and joblib."""
    frame, level = inspect.currentframe(), 0
    while frame and frame.f_globals.get("__name__", "").startswith(_INTERNAL_MODULES):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)
