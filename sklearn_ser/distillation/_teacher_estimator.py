"""Regressors and classifiers whose predictions a student learns."""

from contextlib import contextmanager

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from sklearn_ser._sklearn import BaseSearchCV, safe_indexing
from sklearn_ser._warnings import warn
from sklearn_ser.audio import RecordingError

_NOT_FINITE = (
    "The predictions of teacher= are not finite for some recordings: leave out those that it can't "
    "use."
)


def fit_teacher(teacher, X, y, metadata, rows):
    """Clone a teacher and fit it; a `FrozenEstimator` stays as it is.

    Parameters
    ----------
    teacher : estimator
        Regressor or classifier, or a pipeline or search that ends in one.
    X, y : array-like
        Arguments of `fit`.
    metadata : dict
        ``sample_weight``, and ``groups`` or None; the teacher gets those that it takes.
    rows : ndarray of int
        Indices of the recordings to fit it on.

    Returns
    -------
    teacher : estimator
        The fitted clone.
    """
    teacher = clone(teacher)
    metadata = {name: value for name, value in metadata.items() if value is not None}
    if get_config()["enable_metadata_routing"]:
        taken = get_routing_for_object(teacher).consumes("fit", metadata.keys())
    else:
        taken = {name for name in metadata if has_fit_parameter(teacher, name)}
        if isinstance(teacher, BaseSearchCV):  # hands groups on to its splitter
            taken |= metadata.keys() & {"groups"}
    metadata = {name: np.asarray(value)[rows] for name, value in metadata.items()}
    if "sample_weight" not in taken and np.ptp(metadata["sample_weight"]):
        warn(
            "teacher= takes no sample_weight, and gives equal weight to all recordings with a "
            "weight above zero. Metadata routing passes weights to the steps of a pipeline."
        )
    with _naming_teacher(rows):
        return teacher.fit(
            safe_indexing(X, rows), safe_indexing(y, rows), **{n: metadata[n] for n in taken}
        )


def predict_teacher(teacher, X, rows, n_targets, *, suffix=""):
    """Return the predictions of a fitted teacher for some recordings.

    Parameters
    ----------
    teacher : estimator
        The fitted teacher.
    X : array-like
        As for `fit`.
    rows : ndarray of int
        Indices of the recordings.
    n_targets : int
        Number of targets that it must predict.
    suffix : str, default=""
        End of the messages of a `RecordingError`.

    Returns
    -------
    predictions : ndarray of shape (len(rows), n_targets)

    Raises
    ------
    ValueError
        If it predicts another number of targets, or values that are not finite.
    """
    with _naming_teacher(rows, suffix):
        predicted = np.asarray(teacher.predict(safe_indexing(X, rows)), dtype=np.float64)
    predicted = predicted.reshape(len(rows), -1)
    if predicted.shape[1] != n_targets:
        raise ValueError(
            f"teacher= predicts {predicted.shape[1]} targets, and y has {n_targets}: fit it on the "
            "same targets."
        )
    if not np.isfinite(predicted).all():
        raise ValueError(_NOT_FINITE)
    return predicted


def predict_teacher_proba(teacher, X, rows, classes, *, suffix=""):
    """Return the probabilities of a fitted teacher for some recordings.

    Parameters
    ----------
    teacher : estimator
        The fitted teacher.
    X : array-like
        As for `fit`.
    rows : ndarray of int
        Indices of the recordings.
    classes : ndarray of shape (n_classes,)
        Sorted classes of the student.
    suffix : str, default=""
        End of the messages of a `RecordingError`.

    Returns
    -------
    probabilities : ndarray of shape (len(rows), n_classes)
        Zero for classes that the teacher does not have.

    Raises
    ------
    ValueError
        If it has other classes, or its probabilities are not finite.
    """
    with _naming_teacher(rows, suffix):
        predicted = np.asarray(teacher.predict_proba(safe_indexing(X, rows)), dtype=np.float64)
        known = np.asarray(teacher.classes_)
    new = np.setdiff1d(known, classes).tolist()
    if new:
        raise ValueError(
            f"teacher= has the classes {new}, which y has not. y has {classes.tolist()}: fit the "
            "teacher on the same classes."
        )
    if not np.isfinite(predicted).all():
        raise ValueError(_NOT_FINITE)
    probabilities = np.zeros((len(rows), len(classes)))
    probabilities[:, np.searchsorted(classes, known)] = predicted
    return probabilities


@contextmanager
def _naming_teacher(rows, suffix=""):
    """Let errors name the teacher, and the positions of recordings in the whole table."""
    note = (
        "This error comes from teacher=, which gets X with all columns of a table: select columns "
        "by a ColumnTransformer."
    )
    try:
        yield
    except RecordingError as error:
        problems = {int(rows[p]): f"{problem}{suffix}" for p, problem in error.problems.items()}
        renamed = RecordingError(problems)
        renamed.add_note(note)
        raise renamed from error.__cause__
    except Exception as error:
        error.add_note(note)
        raise
