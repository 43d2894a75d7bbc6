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


def warn_without_groups(choice: str, estimator: str) -> None:
    """Warn that a choice within `fit` was made on speakers that were trained on.

    Parameters
    ----------
    choice : str
        What is held out instead of speakers.
    estimator : str
        Name of the class.
    """
    warn(
        f"{choice}, because no groups reached {estimator}.fit: speakers of the training set are "
        "scored, which favours what recognises them. Pass fit(X, y, groups=speakers). In a "
        "pipeline or a search, call sklearn.set_config(enable_metadata_routing=True) first, and "
        "pass groups=speakers to its fit."
    )
