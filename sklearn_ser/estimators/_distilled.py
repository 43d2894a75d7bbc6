"""Base class of estimators that train encoders of speech and text end to end."""

import os
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_ser._sklearn import Interval, StrOptions
from sklearn_ser.audio import (
    SAMPLING_RATES,
    ErrorCollector,
    fingerprint_recordings,
    join_first,
)
from sklearn_ser.distillation._speech_inputs import (
    Reader,
    SpeechInputs,
    TokenSequences,
    predict_windows,
    tokenize_transcripts,
)
from sklearn_ser.distillation._students import (
    SpeechFeatures,
    SpeechStudent,
    TextStudent,
    check_duration,
    count_parameters,
    read_speech_student,
    read_text_student,
)
from sklearn_ser.distillation._teacher_estimator import fit_teacher
from sklearn_ser.nn import FRAME_POOLINGS, TEXT_FUSIONS, DistilledNetwork, add_adapters
from sklearn_ser.training import (
    TorchEstimator,
    TrainingContext,
    TrainingPlan,
    TrainingSet,
    callback_data,
    count_batches,
    hash_arrays,
)

from ._speech_table import concatenate_recordings, read_speech_table

# What errors and warnings write after a position in `unlabeled`.
_OF_UNLABELED = " (of unlabeled=)"


class _Encoders(NamedTuple):
    """Settings of the encoders, and their pretrained weights, or None for a warm start."""

    audio: dict[str, Any]
    text: dict[str, Any] | None
    weights: dict[str, torch.Tensor] | None


def parameter_constraints(base, **own):
    """Return the constraints of the parameters of a subclass of `DistilledEstimator`.

    Parameters
    ----------
    base : type
        `TorchRegressor` or `TorchClassifier`.
    **own : list
        Constraints of further parameters.

    Returns
    -------
    constraints : dict of str to list
    """
    constraints = base._parameter_constraints | DistilledEstimator._parameter_constraints | own
    return {name: values for name, values in constraints.items() if name != "schedule"}


@contextmanager
def suggest(remedy, problem):
    """Append a remedy to the message of a `ValueError` that contains a problem."""
    try:
        yield
    except ValueError as error:
        if problem not in str(error):
            raise
        raise ValueError(f"{str(error).rstrip('.')}. {remedy}") from error


class EncodedTargets(NamedTuple):
    """Targets of the recordings of `X`, and what was derived from them.

    Attributes
    ----------
    training_set : TrainingSet
        Targets in the form of the loss.
    plan : TrainingPlan
        Seeds, and the split into a training and a validation set.
    weights : ndarray of shape (n_recordings,)
        Sample weights. Nonzero weights have a mean of one.
    """

    training_set: TrainingSet
    plan: TrainingPlan
    weights: np.ndarray


class DistilledEstimator(TorchEstimator):
    """Encoders of speech and text, trained end to end on the targets and on those of a teacher.

    A subclass inherits from it and from `TorchRegressor` or `TorchClassifier`, in this order,
    calls `_fit` in `fit` and `_average_windows` in prediction, and defines

    - `_n_outputs`: the number of outputs of the network, known once targets are encoded;
    - `_encode_targets(y, sample_weight, groups, *, n_recordings, skip)`: return `EncodedTargets`;
      `skip` are the indices of recordings that cannot be used;
    - `_predict_teacher(X, rows, **settings)`: return the teacher's targets for some recordings, an
      array of shape (n_rows, n_outputs);
    - `_teacher_loss(outputs, predicted, weights)`: return the loss of a batch given the teacher's
      targets and the sample weights;

    and may define `_label_loss(outputs, targets)`, the loss of a batch in which targets of
    recordings without labels are zero.

    With a teacher, the targets of a recording are followed by the teacher's and its weight.
    """

    _parameter_constraints: dict = {
        "audio_model": [str, os.PathLike],
        "text_model": [str, os.PathLike, None],
        "alpha": [Interval(Real, 0, 1, closed="both")],
        "freeze": [StrOptions({"extractors"}), None],
        "n_trainable_layers": [Interval(Integral, 0, None, closed="left"), None],
        "lora_rank": [Interval(Integral, 1, None, closed="left"), None],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "pooling": [StrOptions(set(FRAME_POOLINGS))],
        "fusion": [StrOptions(set(TEXT_FUSIONS))],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "encoder_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "gradient_checkpointing": ["boolean"],
        "max_duration": [Interval(Real, 0, None, closed="neither")],
        "sampling_rate": [Interval(Integral, *SAMPLING_RATES, closed="both")],
        "channel": [Integral, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "local_files_only": ["boolean"],
        "n_jobs": [Integral, None],
        "checkpoint": [str, os.PathLike, None],
        "verbose": ["verbose", StrOptions({"auto"})],
    }
    schedule = "cosine"
    _warmup = 0.1

    teacher_: Any

    def __init__(
        self,
        audio_model="ntu-spml/distilhubert",
        text_model=None,
        *,
        teacher=None,
        alpha=0.5,
        freeze="extractors",
        n_trainable_layers=None,
        lora_rank=None,
        layer_decay=1.0,
        pooling="mean",
        fusion="concat",
        hidden_size=1024,
        dropout=0.5,
        max_epochs=20,
        batch_size=32,
        learning_rate=1e-3,
        encoder_learning_rate=1e-5,
        weight_decay=0.01,
        gradient_checkpointing=False,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        max_duration=15.0,
        sampling_rate=16000,
        channel=None,
        on_error="raise",
        local_files_only=False,
        device="auto",
        dtype="float32",
        random_state=None,
        warm_start=False,
        n_jobs=None,
        checkpoint=None,
        verbose="auto",
    ):
        self.audio_model = audio_model
        self.text_model = text_model
        self.teacher = teacher
        self.alpha = alpha
        self.freeze = freeze
        self.n_trainable_layers = n_trainable_layers
        self.lora_rank = lora_rank
        self.layer_decay = layer_decay
        self.pooling = pooling
        self.fusion = fusion
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.encoder_learning_rate = encoder_learning_rate
        self.weight_decay = weight_decay
        self.gradient_checkpointing = gradient_checkpointing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.max_duration = max_duration
        self.sampling_rate = sampling_rate
        self.channel = channel
        self.on_error = on_error
        self.local_files_only = local_files_only
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.checkpoint = checkpoint
        self.verbose = verbose

    def _fit(self, X, y, sample_weight, groups, unlabeled):
        """Train; see `fit` of the subclasses."""
        self._reset()
        labelled, extra = self._read_tables(X, unlabeled)
        encoders = self._load_encoders()
        inputs = self._make_inputs(encoders, labelled, extra)
        targets = self._make_targets(inputs, y, sample_weight, groups)
        self._set_architecture(self._describe_network(encoders))
        training_set, plan = self._add_teacher(inputs, targets, X, y, groups, unlabeled)
        self._train(
            inputs,
            training_set,
            callback_data(X, y, sample_weight),
            plan=plan,
            validation_inputs=inputs.center_crop(),
            prepare=partial(_load_pretrained, encoders.weights, self.batch_size),
            fingerprint=partial(_fingerprint, encoders.weights, labelled, extra, inputs.token_ids),
        )
        inputs.warn_skipped()
        self._count_parameters()
        return self

    def _average_windows(self, X, activation=None):
        """Return the outputs for each recording, averaged over its windows."""
        check_is_fitted(self, "state_")
        speech, text = read_speech_table(self, X, reset=False), self.architecture_["text"]
        token_ids = None if text is None else TokenSequences(tokenize_transcripts(text, speech))
        module = self._fitted_module()
        front_end = module.audio.front_end
        return predict_windows(
            module,
            speech.recordings,
            self._reader(front_end),
            token_ids,
            n_outputs=self._n_outputs,
            max_seconds=check_duration(self.max_duration, front_end),
            batch_size=self.batch_size,
            problems=ErrorCollector(self.on_error),
            activation=activation,
        )

    @property
    def _n_outputs(self):
        raise NotImplementedError

    def _encode_targets(self, y, sample_weight, groups, *, n_recordings, skip):
        raise NotImplementedError

    def _predict_teacher(self, X, rows, **settings):
        raise NotImplementedError

    def _label_loss(self, outputs, targets):
        return super()._loss(outputs, targets)

    def _teacher_loss(self, outputs, predicted, weights):
        raise NotImplementedError

    def _read_tables(self, X, unlabeled):
        """Return recordings and transcripts of `X`, and of `unlabeled` or None."""
        labelled = read_speech_table(self, X, reset=not self._is_warm_start)
        if self.text_model is not None and labelled.transcripts is None:
            raise ValueError(
                f"text_model={self.text_model!r} needs transcripts, and X has none: pass a table "
                "with a column of recordings and one of transcripts, or text_model=None."
            )
        if unlabeled is None:
            return labelled, None
        if self.teacher is None:
            raise ValueError("unlabeled recordings need a teacher: pass teacher=.")
        return labelled, read_speech_table(self, unlabeled, reset=False)

    def _load_encoders(self):
        if self._is_warm_start:
            return _Encoders(self.architecture_["audio"], self.architecture_["text"], None)
        where = {"local_files_only": self.local_files_only}
        audio, found = read_speech_student(self.audio_model, parameter="audio_model", **where)
        weights = {f"audio.{name}": values for name, values in found.items()}
        text = None
        if self.text_model is not None:
            text, found = read_text_student(self.text_model, parameter="text_model", **where)
            weights |= {f"text.{name}": values for name, values in found.items()}
        return _Encoders(audio, text, weights)

    def _reader(self, features):
        return Reader(
            features, sampling_rate=self.sampling_rate, channel=self.channel, n_jobs=self.n_jobs
        )

    def _make_inputs(self, encoders, labelled, extra):
        """Return batches of `X` followed by `unlabeled`, if there are any."""
        parts = [(labelled, "")] if extra is None else [(labelled, ""), (extra, _OF_UNLABELED)]
        problems = ErrorCollector(self.on_error)
        recordings = concatenate_recordings([part.recordings for part, _ in parts], problems)
        token_ids = None
        if encoders.text is not None:
            token_ids = TokenSequences(
                ids
                for part, suffix in parts
                for ids in tokenize_transcripts(encoders.text, part, suffix)
            )
        features = SpeechFeatures(encoders.audio)
        seed = self._draw_seed("crops")
        n_before = self.n_iter_ if self._is_warm_start else 0
        return SpeechInputs(
            recordings,
            self._reader(features),
            max_seconds=check_duration(self.max_duration, features),
            rng=np.random.default_rng([seed, n_before]),
            problems=problems,
            token_ids=token_ids,
            n_labelled=len(labelled.recordings),
        )

    def _make_targets(self, inputs, y, sample_weight, groups):
        if self.teacher is not None and self.on_error == "nan":
            inputs.find_problems()
        n_recordings = inputs.n_labelled
        problems = inputs.problems.by_position
        skip = sorted(row for row in problems if row < n_recordings)
        if len(skip) == n_recordings:
            listed = join_first([f"recording {row}: {problems[row]}" for row in skip])
            raise ValueError(f"No recording is left to train on: none can be used ({listed}).")
        return self._encode_targets(y, sample_weight, groups, n_recordings=n_recordings, skip=skip)

    def _add_teacher(self, inputs, encoded, X, y, groups, unlabeled):
        """Fit the teacher, and append its predictions to the targets.

        The recordings of `unlabeled` that can be used are added to the training set.
        """
        self.__dict__.pop("teacher_", None)
        training_set, plan, weights = encoded
        if self.teacher is None:
            return training_set, plan
        # Raises the errors of the network before a teacher is trained.
        with TrainingContext(0, "cpu").active(), torch.device("meta"):
            self._build_module()
        metadata = {"sample_weight": weights.astype(float), "groups": groups}
        self.teacher_ = fit_teacher(self.teacher, X, y, metadata, plan.training)
        n_labelled, kept = inputs.n_labelled, training_set.positions
        usable = np.setdiff1d(np.arange(len(inputs)), list(inputs.problems.by_position))
        extra = usable[usable >= n_labelled]
        taught = np.zeros((len(inputs), self._n_outputs + 1), dtype=np.float32)
        taught[kept, :-1], taught[kept, -1] = self._predict_teacher(X, kept), weights[kept]
        if len(extra):
            taught[extra, :-1] = self._predict_teacher(
                unlabeled, extra - n_labelled, suffix=_OF_UNLABELED
            )
            taught[extra, -1] = 1
        targets = np.pad(training_set.targets, ((0, len(inputs) - n_labelled), (0, 0)))
        is_unlabeled = np.arange(len(inputs)) >= n_labelled
        return (
            training_set._replace(targets=np.hstack([targets, taught]), balance_by=is_unlabeled),
            plan._replace(training=np.concatenate([plan.training, extra])),
        )

    def _describe_network(self, encoders):
        return {
            "audio_model": os.fspath(self.audio_model),
            "text_model": None if self.text_model is None else os.fspath(self.text_model),
            "audio": encoders.audio,
            "text": encoders.text,
            "n_outputs": self._n_outputs,
            "pooling": self.pooling,
            "fusion": self.fusion,
            "hidden_size": int(self.hidden_size),
        }

    def _count_parameters(self):
        module = self._fitted_module()
        self.n_parameters_ = count_parameters(module)
        self.n_trainable_parameters_ = count_parameters(module, trainable=True)

    def _build_module(self):
        sizes = self.architecture_
        audio = SpeechStudent(sizes["audio"], gradient_checkpointing=self.gradient_checkpointing)
        text = None if sizes["text"] is None else TextStudent(sizes["text"])
        if self.freeze == "extractors":
            audio.freeze_convolutions()
            if text is not None:
                text.freeze_word_embeddings()
        for student in filter(None, (audio, text)):
            self._restrict_training(student)
        return DistilledNetwork(
            audio,
            text,
            sizes["n_outputs"],
            pooling=sizes["pooling"],
            fusion=sizes["fusion"],
            hidden_size=sizes["hidden_size"],
            dropout=self.dropout,
        )

    def _restrict_training(self, student):
        """Exclude all but the last layers, or adapters in them, from training."""
        n_trainable, blocks = self.n_trainable_layers, student.blocks
        if n_trainable is not None:
            if n_trainable > len(blocks):
                raise ValueError(
                    f"n_trainable_layers={n_trainable} is more than the {len(blocks)} layers of "
                    "an encoder: pass at most this number, or None to train all."
                )
            student.requires_grad_(False)
            blocks = blocks[len(blocks) - n_trainable :].requires_grad_(True)
        if self.lora_rank is not None and n_trainable != 0:
            student.requires_grad_(False)
            add_adapters(blocks, self.lora_rank)

    def _optimizer(self, module):
        rates: dict[torch.nn.Parameter, float] = {}
        for student in filter(None, (module.audio, module.text)):
            rates |= self._rates(student)
        groups: dict[float, list] = {}
        head: list[torch.nn.Parameter] = []
        for parameter in module.parameters():
            if parameter.requires_grad:
                group = groups.setdefault(rates[parameter], []) if parameter in rates else head
                group.append(parameter)
        settings = [{"params": group, "lr": rate} for rate, group in groups.items()]
        return torch.optim.AdamW(
            [*settings, {"params": head, "lr": self.learning_rate}],
            weight_decay=self.weight_decay,
            fused=True,
        )

    def _rates(self, student):
        """Return the learning rate of each parameter of an encoder."""
        n_blocks, highest = len(student.blocks), self.encoder_learning_rate
        rates = dict.fromkeys(student.parameters(), highest * self.layer_decay**n_blocks)
        for number, block in enumerate(student.blocks, 1):
            rate = highest * self.layer_decay ** (n_blocks - number)
            rates |= dict.fromkeys(block.parameters(), rate)
        return rates

    def _end_epoch(self, module):
        module.head.n_to_fit = 0  # also if batches of the first epoch had no usable recording

    def _loss(self, outputs, targets):
        if self.teacher is None:
            return super()._loss(outputs, targets)
        n_taught = outputs.shape[1] + 1
        targets, taught = targets[:, :-n_taught], targets[:, -n_taught:]
        loss = self._label_loss(outputs, targets)
        of_teacher = self._teacher_loss(outputs, taught[:, :-1], taught[:, -1])
        return (1 - self.alpha) * loss + self.alpha * of_teacher

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags


def _fingerprint(weights, labelled, extra, token_ids):
    """Return what a checkpoint compares of the inputs; no file is opened."""
    unlabeled = None if extra is None else fingerprint_recordings(extra.recordings)
    return {
        "recordings or their paths, sizes or times of modification": fingerprint_recordings(
            labelled.recordings
        ),
        "unlabeled recordings": unlabeled,
        "transcripts": None if token_ids is None else hash_arrays(token_ids.ids, token_ids.ends),
        "pretrained weights": hash_arrays(weights),
    }


def _load_pretrained(weights, batch_size, module, training):
    module.load_state_dict(module.state_dict() | weights)
    module.head.n_to_fit = count_batches(len(training), batch_size)
