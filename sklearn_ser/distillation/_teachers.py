"""Teachers: encoders whose layers a student learns, regressors whose predictions it learns."""

from contextlib import contextmanager

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import clone
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from sklearn_ser._sklearn import BaseSearchCV, safe_indexing
from sklearn_ser._warnings import warn
from sklearn_ser.backbones import load_speech_backbone
from sklearn_ser.nn import LayerPredictor
from sklearn_ser.training import Samples, TrainingContext

from ._speech_inputs import TeacherLayers

# As DistilHuBERT was trained.
_WARMUP, _MAX_GRADIENT = 0.07, 5.0


def is_encoder(teacher):
    """Tell a teacher that is the name of an encoder from a regressor."""
    return teacher is not None and not hasattr(teacher, "predict")


def load_teacher(teacher, layers, student, *, device, local_files_only):
    """Load an encoder whose layers a student is to predict.

    Parameters
    ----------
    teacher : str or path
        A hub id or a folder.
    layers : sequence of int
        Which of its layers, counted as transformers does.
    student : SpeechFeatures or Backbone
        Whose frames are to meet the teacher's.
    device : str
        Where the teacher computes.
    local_files_only : bool
        Whether to look on this machine alone.

    Returns
    -------
    teacher : TeacherLayers

    Raises
    ------
    ValueError
        If it has no such layer, or its frames don't meet the student's.
    """
    backbone = load_speech_backbone(
        teacher, device=device, local_files_only=local_files_only, parameter="teacher"
    )
    wanted = sorted({int(layer) for layer in layers})
    if not wanted or not 0 <= wanted[0] <= wanted[-1] < backbone.n_layers:
        raise ValueError(
            f"teacher_layers={layers!r} must be some of the layers 0 to {backbone.n_layers - 1} "
            f"of teacher={teacher!r}."
        )
    for what in ("sampling_rate", "stride"):
        if getattr(backbone, what) != getattr(student, what):
            raise ValueError(
                f"The {what} of teacher={teacher!r} is {getattr(backbone, what)}, and that of the "
                f"student {getattr(student, what)}: their frames don't meet. Choose another "
                "teacher, or student_from='teacher'."
            )
    return TeacherLayers(backbone, wanted)


def learn_layers(student, inputs, positions, *, n_epochs, batch_size, rate, dtype, device, seed):
    """Train an encoder to predict a teacher's layers, in place.

    Parameters
    ----------
    student : SpeechStudent
        Changed in place.
    inputs : SpeechInputs
        With a teacher.
    positions : ndarray of int
        The recordings.
    n_epochs, batch_size : int
        Passes over them, and recordings of a step.
    rate : float
        Highest learning rate of AdamW.
    dtype : torch.dtype
        Precision of the products.
    device : str
        Where to train.
    seed : int
        Of the heads' weights and of the order.

    Returns
    -------
    losses : list of float
        One for each pass.
    """
    from sklearn_ser.training._loop import TrainingConfig, train

    teacher = inputs.teacher
    config = TrainingConfig(
        loss=lambda outputs, targets: outputs.mean(),
        optimizer=lambda module: torch.optim.AdamW(module.parameters(), rate, fused=True),
        max_epochs=n_epochs,
        batch_size=batch_size,
        device=device,
        warmup=_WARMUP,
        dtype=dtype,
        max_gradient=_MAX_GRADIENT,
    )
    teacher.standardize(inputs, positions)
    nothing = np.zeros((len(inputs), 1), dtype=np.float32)
    context = TrainingContext(seed, device)
    with context.active():
        module = LayerPredictor(student, teacher.backbone.n_dims, len(teacher.layers))
    losses: list[float] = []
    for curve in train(
        module,
        config,
        Samples(inputs, nothing, positions),
        rng=np.random.default_rng(seed),
        context=context,
    ):
        losses.append(curve["train_loss"])
        if not np.isfinite(losses[-1]):
            raise ValueError(
                "The loss of distillation is not finite: lower distillation_learning_rate="
                f"{rate}, or look for recordings that are far louder than all others."
            )
    return losses


def fit_regressor(teacher, X, y, metadata, rows):
    """Clone a teacher and fit it; one that is a `FrozenEstimator` stays as it is.

    Parameters
    ----------
    teacher : estimator
    X, y : as for `fit`
    metadata : dict
        ``sample_weight`` and ``groups``, of which it gets what it takes.
    rows : ndarray of int
        What of them it is fitted on.

    Returns
    -------
    teacher : estimator
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
    weights = metadata.get("sample_weight")
    if weights is not None and "sample_weight" not in taken and np.ptp(weights):
        warn(
            "teacher= takes no sample_weight where it is, and counts all recordings of a weight "
            "above zero alike. Within a pipeline, metadata routing brings it to a step."
        )
    with _naming_teacher():
        return teacher.fit(
            safe_indexing(X, rows), safe_indexing(y, rows), **{n: metadata[n] for n in taken}
        )


def ask_regressor(teacher, X, rows, n_targets):
    """Return a teacher's predictions of some recordings.

    Parameters
    ----------
    teacher : estimator
        Fitted.
    X : as for `fit`
    rows : ndarray of int
        Positions in it.
    n_targets : int

    Returns
    -------
    predictions : ndarray of shape (len(rows), n_targets)

    Raises
    ------
    ValueError
        If it predicts another number of targets, or NaN.
    """
    with _naming_teacher():
        predicted = np.asarray(teacher.predict(safe_indexing(X, rows)), dtype=np.float64)
    predicted = predicted.reshape(len(rows), -1)
    if predicted.shape[1] != n_targets:
        raise ValueError(
            f"teacher= predicts {predicted.shape[1]} targets, and y has {n_targets}: fit it on the "
            "same ones."
        )
    if not np.isfinite(predicted).all():
        raise ValueError(
            "The predictions of teacher= are not finite for some recordings: look for those "
            "that it can't use."
        )
    return predicted


@contextmanager
def _naming_teacher():
    try:
        yield
    except Exception as error:
        error.add_note(
            "This comes from teacher=, which is given X as it is, with all columns of a table: "
            "a ColumnTransformer chooses among them."
        )
        raise
