"""Teachers: encoders whose layers a student learns, regressors whose predictions it learns."""

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import clone
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from sklearn_ser.nn import LayerPredictor, initialize_heads

# As DistilHuBERT was trained.
_WARMUP, _MAX_GRADIENT = 0.07, 5.0


def is_encoder(teacher):
    """Tell a teacher that is the name of an encoder from a regressor."""
    return teacher is not None and not hasattr(teacher, "predict")


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
    from ._training import Recipe, Samples, train

    teacher = inputs.teacher
    module = LayerPredictor(student, teacher.backbone.n_dims, len(teacher.layers))
    initialize_heads(module.heads, torch.Generator().manual_seed(seed))
    losses: list[float] = []

    def end(curve):
        losses.append(curve["train_loss"])
        if not np.isfinite(losses[-1]):
            raise ValueError(
                "The loss of distillation is not finite: lower distillation_learning_rate="
                f"{rate}, or look for recordings that are far louder than all others."
            )
        return False

    recipe = Recipe(
        loss=lambda outputs, targets: outputs.mean(),
        optimizer=lambda module: torch.optim.AdamW(module.parameters(), rate, fused=True),
        max_epochs=n_epochs,
        batch_size=batch_size,
        schedule="cosine",
        warmup=_WARMUP,
        accumulate=1,
        dtype=dtype,
        device=device,
        augment=None,
        score=lambda outputs, targets: -float(outputs.mean()),
        max_gradient=_MAX_GRADIENT,
    )
    nothing = np.zeros((len(inputs), 1), dtype=np.float32)
    train(
        module,
        recipe,
        Samples(inputs, nothing, positions),
        None,
        rng=np.random.default_rng(seed),
        begin=lambda: None,
        end=end,
    )
    return losses


def fit_regressor(teacher, X, y, metadata):
    """Clone a teacher and fit it; one that is a `FrozenEstimator` stays as it is.

    Parameters
    ----------
    teacher : estimator
    X, y : as for `fit`
    metadata : dict
        ``sample_weight`` and ``groups``, of which it gets what it takes.

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
        if hasattr(teacher, "cv"):  # a search hands groups on to its splitter
            taken |= metadata.keys() & {"groups"}
    return teacher.fit(X, y, **{name: metadata[name] for name in taken})
