"""Base class of the classifiers and regressors that are published checkpoints."""

import numpy as np

from sklearn_ser._pickles import Estimator
from sklearn_ser._sklearn import fit_context
from sklearn_ser.embedders._base import RecordingTransformer, check_recordings
from sklearn_ser.embedders._pretrained import (
    FRAME_CONSTRAINTS,
    PRECISION_CONSTRAINTS,
    PRETRAINED_CONSTRAINTS,
    choose_vector,
    find_backbone,
    resolve_recording_embedder,
)

# Task of a checkpoint -> what it returns, and the estimator for it.
_TASKS = {
    "single_label_classification": ("a classification head", "PretrainedEmotionClassifier"),
    "regression": ("a regression head", "PretrainedEmotionRegressor"),
}


class PretrainedHead(Estimator):
    """A published network with its head, which needs no `fit`.

    A subclass sets `_task`, the task of its checkpoints, and `_names_attribute`, the name of the
    attribute with the names of the outputs, and defines `_sort(backbone)`.
    """

    _parameter_constraints: dict = {
        **RecordingTransformer._parameter_constraints,
        **PRETRAINED_CONSTRAINTS,
        **PRECISION_CONSTRAINTS,
        "window": FRAME_CONSTRAINTS["window"],
    }
    _task: str
    _names_attribute: str

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Validate the parameters, the checkpoint and the recordings.

        Nothing is trained, so the other methods can be called without `fit`.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that the transformers accept, such as paths, segments or arrays.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        RecordingError
            If a file does not exist, is empty or is no regular file, or if a row of a table is
            not finite, unless ``on_error="nan"``. It lists all of them.
        """
        self._resolve()
        check_recordings(self, X, reset=True, on_error=self.on_error)
        return self

    def __getattr__(self, name):
        """Return the names of the outputs, which are read from the checkpoint."""
        # Not a property, because scikit-learn's HTML representation reads all properties, and this
        # one may download the checkpoint. That of a pipeline reads its `classes_`, and skips
        # attributes that raise an `AttributeError`.
        if name == type(self)._names_attribute:
            try:
                return self._load_names()
            except (OSError, ValueError, ImportError) as error:
                raise AttributeError(
                    f"No {name}, since the checkpoint can't be used: {error}"
                ) from error
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _load_names(self):
        backbone = self._load_backbone()
        return np.asarray(backbone.label_names)[self._sort(backbone)]

    def _sort(self, backbone):
        """Return the positions of the outputs in the order of the columns."""
        raise NotImplementedError

    def _outputs(self, X):
        """Return the outputs of the head in the order of the columns."""
        self._validate_params()
        resolved = self._resolve()
        recordings = check_recordings(self, X, reset=False, on_error=self.on_error)
        return resolved.compute(recordings)[:, self._sort(self._load_backbone())]

    def _resolve(self):
        return resolve_recording_embedder(self, choose_vector, window=self.window)

    def _load_backbone(self):
        backbone = find_backbone(self, "head")
        if backbone.task == self._task:
            return backbone
        label = backbone.checkpoint.label
        names = ", ".join(backbone.label_names)
        if backbone.task not in _TASKS:
            raise ValueError(
                f"{label} is a network for {backbone.task} ({names}), which is not supported: "
                "choose another model, or use an embedder for its layers."
            )
        head, class_name = _TASKS[backbone.task]
        raise ValueError(f"{label} has {head} ({names}): use {class_name} for it.")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        return tags
