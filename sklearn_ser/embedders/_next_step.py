"""Find a later step of the pipeline that can't take three axes, before anything is computed."""

import inspect

from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags


def check_next_step(transformer, remedy):
    """Raise an error if the next step of the pipeline that is being fitted needs a table.

    scikit-learn's own error comes after the embeddings are computed, which may take hours, and
    does not say where the third axis comes from. Without a pipeline nothing is checked, nor are
    steps of other packages or with estimators of their own.

    Parameters
    ----------
    transformer : transformer
        Transformer with a 3-dimensional output, in whose `fit` this is called.
    remedy : str
        How to get a 2-dimensional output.
    """
    step = _find_next_step(transformer)
    if step is None or not _needs_table(step):
        return
    raise ValueError(
        f"The output of {type(transformer).__name__} has three axes, and the next step of the "
        f"pipeline, {type(step).__name__}, takes a table. {remedy}."
    )


def _find_next_step(transformer):
    """Return the step after a transformer that a pipeline is fitting, or None."""
    frame = inspect.currentframe()
    while frame is not None:
        names = frame.f_locals
        if frame.f_code is Pipeline._fit.__code__ and names["cloned_transformer"] is transformer:
            later = names["self"].steps[names["step_idx"] + 1 :]
            return next((step for _, step in later if step not in (None, "passthrough")), None)
        frame = frame.f_back
    return None


def _needs_table(step):
    """Return whether an estimator of scikit-learn takes tables only."""
    if not type(step).__module__.startswith("sklearn."):
        return False
    if any(hasattr(value, "fit") for value in step.get_params().values()):
        return False
    tags = get_tags(step)
    return not (tags.input_tags.three_d_array or tags.no_validation)
