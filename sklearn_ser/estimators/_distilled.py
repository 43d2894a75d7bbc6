"""Arousal, valence and dominance from small encoders of speech and text, trained end to end."""

import os
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.callback import with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_ser._sklearn import HasMethods, Interval, StrOptions, fit_context
from sklearn_ser.audio import SAMPLING_RATES, ErrorCollector
from sklearn_ser.distillation._regressor_teacher import fit_teacher, predict_teacher
from sklearn_ser.distillation._speech_inputs import (
    Reader,
    SpeechInputs,
    predict_windows,
    tokenize_transcripts,
)
from sklearn_ser.distillation._students import (
    SpeechFeatures,
    SpeechStudent,
    TextStudent,
    count_parameters,
    read_speech_student,
    read_text_student,
)
from sklearn_ser.nn import FRAME_POOLINGS, TEXT_FUSIONS, DistilledNetwork
from sklearn_ser.training import TorchRegressor, callback_data, count_batches, encode_targets

from ._speech_table import concatenate_recordings, read_speech_table


class _Encoders(NamedTuple):
    """Settings of the encoders, and their pretrained weights, or None for a warm start."""

    audio: dict[str, Any]
    text: dict[str, Any] | None
    weights: dict[str, torch.Tensor] | None


class DistilledRegressor(TorchRegressor):
    """Arousal, valence and dominance from small encoders of speech and text, trained end to end.

    A small speech encoder, and a small text encoder if there are transcripts, are fine-tuned
    together with a regression head to maximise the concordance correlation coefficient (CCC) [1]_.
    A teacher regressor, such as a search over the layers of a large encoder, may provide further
    targets.

    Parameters
    ----------
    audio_model : str or path, default="ntu-spml/distilhubert"
        Speech encoder: a hub id or a folder, such as that of
        `~sklearn_ser.distillation.distill_encoder`. A model of the wav2vec 2.0 family
        (DistilHuBERT, HuBERT, WavLM, wav2vec 2.0, …) or of Whisper, which is run on the
        recording's own length.
    text_model : str or path, default=None
        Text encoder: a hub id, such as "distilbert-base-uncased", or a folder. If None,
        transcripts are not used.
    teacher : estimator, default=None
        Regressor, pipeline or search whose predictions are learned in addition to `y`. A clone is
        fitted on the training set; it gets all columns of a table, which a `ColumnTransformer` can
        select. Wrap a fitted teacher in a `~sklearn.frozen.FrozenEstimator`.
    alpha : float, default=0.5
        Weight of the teacher in the loss, from 0 to 1; `y` has the weight ``1 - alpha``.
    freeze : {"extractors", None}, default="extractors"
        Part of the encoders that is not trained: "extractors" are the convolutional feature
        extractor and the word embeddings. To train a head only, use `ConcordanceRegressor` on
        embeddings.
    pooling : {"mean", "attentive_statistics"}, default="mean"
        Pooling over frames: their mean, or weighted mean and standard deviation with learned
        weights.
    fusion : {"concat", "cross_attention"}, default="concat"
        Fusion of speech and text. With "cross_attention", frames attend to the tokens of the
        transcript before pooling.
    hidden_size : int, default=1024
        Width of the hidden layer of the head.
    dropout : float, default=0.5
        Dropout rate before and after the hidden layer.
    max_epochs : int, default=20
        Maximum number of epochs.
    batch_size : int, default=32
        Number of recordings of a batch; at least 2, as the concordance is that of a batch.
    learning_rate : float, default=0.001
        Highest learning rate of AdamW for the head.
    encoder_learning_rate : float, default=1e-05
        Highest learning rate of AdamW for the encoders. Learning rates increase over a tenth of
        the steps, and then decay to zero along half a cosine.
    weight_decay : float, default=0.01
        Decoupled weight decay of AdamW.
    gradient_checkpointing : bool, default=False
        If True, activations of the speech encoder are recomputed in the backward pass, which saves
        memory and takes longer.
    early_stopping : bool, default=False
        Whether to hold out a validation set, to stop when its CCC does not improve, and to keep the
        weights of the best epoch. If `groups` are passed to `fit`, whole speakers are held out.
    validation_fraction : float, default=0.1
        Fraction of the recordings, or of the speakers, to hold out with `early_stopping`.
    n_iter_no_change : int, default=5
        Number of epochs without improvement after which `early_stopping` stops.
    max_duration : float, default=15.0
        Duration in seconds. Longer recordings are cropped in training, at random in each epoch,
        and at the centre for validation; for prediction they are cut into windows, whose
        predictions are averaged.
    sampling_rate : int, default=16000
        Sampling rate of arrays that come without one, in Hz.
    channel : int, default=None
        Channel to use. If None, channels are averaged.
    on_error : {"raise", "nan"}, default="raise"
        "raise" raises an error for a recording that cannot be used. "nan" leaves such recordings
        out of training, predicts NaN for them, and lists them in one warning.
    local_files_only : bool, default=False
        If True, models of a hub are only looked up on this machine.
    device : str, default="auto"
        Device to compute on, such as "cpu" or "cuda:1". "auto" is a CUDA GPU if there is one, else
        the CPU.
    dtype : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of autocast in training. Weights are kept, and predictions made, in float32.
    random_state : int, RandomState instance or None, default=None
        Seed of the head's initial weights, the order of the recordings, crops and dropout.
    warm_start : bool, default=False
        If True, `fit` continues from the weights of the previous call, for `max_epochs` more.
    n_jobs : int, default=None
        Number of threads that decode recordings, as in `joblib.Parallel`, while the network
        trains on the previous batch.
    verbose : int, default=0
        If nonzero, a line is printed for each epoch.

    Attributes
    ----------
    target_names_ : list of str
        Names of the columns of `y`; "target0" and so on if they have none.
    target_mean_, target_scale_ : ndarray of shape (n_targets,)
        Mean and standard deviation of the targets. A constant target is predicted as its constant.
    state_ : dict of str to ndarray
        Weights of the encoders and of the head by name. The files of the models are not needed for
        prediction. The arrays are read-only.
    architecture_ : dict
        Arguments of the network: settings of the encoders, the tokenizer, sizes.
    n_parameters_, n_trainable_parameters_ : int
        Number of parameters of the encoders and the head, and of those that are trained.
    teacher_ : estimator
        The fitted teacher. Defined only if there is one.
    history_ : dict of str to list
        Learning curve, one entry per epoch: ``epoch``, ``learning_rate`` of the head in the last
        step, ``train_loss``, and with `early_stopping` ``valid_loss`` and ``valid_score``.
    n_iter_ : int
        Number of epochs, including those before a warm start.
    best_score_ : float or None
        With `early_stopping`, the mean CCC on the validation set in the best epoch.
    n_features_in_ : int
        Number of columns of `X`. Defined only if `X` was a table of waveforms in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they are all strings.

    See Also
    --------
    sklearn_ser.distillation.distill_encoder : Distils a small encoder from the layers of a large
        one, for `audio_model`.
    ConcordanceRegressor : Trains a head on frozen embeddings.
    LayerSelector : Selects the layer of a large encoder.
    sklearn_ser.metrics.concordance_correlation_coefficient : The metric that is maximised.

    Notes
    -----
    *Loss.* One minus the CCC of a batch, with population moments, summed over targets. The CCC is
    weighted by `sample_weight`. Targets are standardised, which does not change it.

    *Standardisation.* The head standardises its inputs by their mean and standard deviation over
    the first epoch.

    *Exact batches.* The prediction of a recording does not depend on its batch: convolutions
    process one recording at a time, and attention masks padding.

    *Missing transcripts.* None, NaN and blank transcripts are replaced by a learned vector. It is
    learned from a tenth of the transcripts, which are dropped in training, so that a model trained
    with transcripts also predicts without them.

    *Decoding.* Missing files are found before training. Each epoch decodes each recording once; a
    recording that cannot be used raises an error when it is first decoded, or is left out from then
    on. Its targets are part of `target_mean_` and `target_scale_`. A teacher decodes the recordings
    itself, for which its embedder's `memory` helps. With a teacher and ``on_error="nan"``, all
    recordings are decoded once before, as the teacher is fitted on those that can be used.

    References
    ----------
    .. [1] D. de Oliveira, N. R. Prabhu, T. Gerkmann, "Leveraging Semantic Information for Efficient
       Self-Supervised Emotion Recognition with Audio-Textual Distilled Models", Interspeech 2023,
       arXiv 2305.19184.

    Examples
    --------
    A small network with random weights stands in for a pretrained one:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import DistilledRegressor
    >>> from transformers import HubertConfig, HubertModel
    >>> folder = tempfile.mkdtemp()
    >>> small = HubertConfig(
    ...     hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    ...     conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    ... )
    >>> HubertModel(small).save_pretrained(folder)
    >>> rng = np.random.default_rng(0)
    >>> recordings = [volume * rng.normal(size=4000) for volume in np.linspace(0.01, 1, 8)]
    >>> arousal_and_valence = rng.uniform(1, 7, size=(8, 2))
    >>> regressor = DistilledRegressor(folder, max_epochs=1, random_state=0)
    >>> regressor.fit(recordings, arousal_and_valence).predict(recordings[:3]).shape
    (3, 2)
    """

    _parameter_constraints: dict = {
        **{n: c for n, c in TorchRegressor._parameter_constraints.items() if n != "schedule"},
        "audio_model": [str, os.PathLike],
        "text_model": [str, os.PathLike, None],
        "teacher": [HasMethods(["fit", "predict"]), None],
        "alpha": [Interval(Real, 0, 1, closed="both")],
        "freeze": [StrOptions({"extractors"}), None],
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
    }
    schedule = "cosine"

    def __init__(
        self,
        audio_model="ntu-spml/distilhubert",
        text_model=None,
        *,
        teacher=None,
        alpha=0.5,
        freeze="extractors",
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
        verbose=0,
    ):
        self.audio_model = audio_model
        self.text_model = text_model
        self.teacher = teacher
        self.alpha = alpha
        self.freeze = freeze
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
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    @with_callbacks
    def fit(self, X, y, sample_weight=None, groups=None, unlabeled=None):
        """Train the encoders and the head.

        Parameters
        ----------
        X : sequence of recordings, table of waveforms, or data frame
            Paths, arrays, pairs ``(array, sampling_rate)`` and so on, as the embedders take them; a
            2-D array whose rows are waveforms; or a table with a column of recordings and one of
            transcripts. Columns are found by names such as "path" and "transcript"; those of an
            object array are the recordings and the transcripts.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            Targets, such as arousal, valence and dominance, in any units.
        sample_weight : array-like of shape (n_recordings,), default=None
            Sample weights. Recordings of weight zero are ignored.
        groups : array-like of shape (n_recordings,), default=None
            Speakers. With `early_stopping`, whole speakers are held out. A teacher that takes
            groups, such as a search, gets them too; within a pipeline, if metadata routing is
            enabled.
        unlabeled : sequence of recordings or table, default=None
            Further recordings, without targets, for which the teacher's predictions are learned.

        Returns
        -------
        self : object
            Fitted regressor.

        Raises
        ------
        RecordingError
            If a recording cannot be used, unless ``on_error="nan"``.
        ValueError
            If targets are missing, parameters contradict each other, or training diverges.
        """
        self._reset()
        labelled, extra = self._read_tables(X, unlabeled)
        encoders = self._load_encoders()
        inputs = self._make_inputs(encoders, labelled, extra)
        targets, plan = self._make_targets(inputs, y, sample_weight, groups)
        self._set_architecture(self._describe_network(encoders))
        targets, plan = self._add_teacher(inputs, targets, plan, X, y, groups, unlabeled)
        self._train(
            inputs,
            targets,
            callback_data(X, y, sample_weight),
            plan=plan,
            validation_inputs=inputs.center_crop(),
            prepare=partial(_load_pretrained, encoders.weights, self.batch_size),
        )
        inputs.warn_skipped()
        self._count_parameters()
        return self

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : sequence of recordings, table of waveforms, or data frame
            As in `fit`. Transcripts may be missing.

        Returns
        -------
        predictions : ndarray of shape (n_recordings,) or (n_recordings, n_targets)
            Predictions, in the units and with the number of axes of `y`.
        """
        check_is_fitted(self, "state_")
        speech, text = read_speech_table(self, X, reset=False), self.architecture_["text"]
        token_ids = None if text is None else tokenize_transcripts(text, speech)
        module = self._fitted_module()
        front_end = module.audio.front_end
        outputs = predict_windows(
            module,
            speech.recordings,
            self._reader(front_end),
            token_ids,
            n_outputs=len(self.target_names_),
            max_seconds=front_end.check_duration(self.max_duration),
            batch_size=self.batch_size,
            problems=ErrorCollector(self.on_error),
        )
        return self._scale_back(outputs)

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
        parts = [labelled] if extra is None else [labelled, extra]
        problems = ErrorCollector(self.on_error)
        recordings = concatenate_recordings([part.recordings for part in parts], problems)
        token_ids = None
        if encoders.text is not None:
            token_ids = [ids for part in parts for ids in tokenize_transcripts(encoders.text, part)]
        features = SpeechFeatures(encoders.audio)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        n_before = self.n_iter_ if self._is_warm_start else 0
        return SpeechInputs(
            recordings,
            self._reader(features),
            max_seconds=features.check_duration(self.max_duration),
            rng=np.random.default_rng([seed, n_before]),
            problems=problems,
            token_ids=token_ids,
            n_labelled=len(labelled.recordings),
        )

    def _make_targets(self, inputs, y, sample_weight, groups):
        if self.teacher is not None and self.on_error == "nan":
            inputs.find_problems()
        return encode_targets(
            self,
            y,
            sample_weight,
            groups,
            n_recordings=inputs.n_labelled,
            n_unlabeled=len(inputs) - inputs.n_labelled,
            skip=inputs.problems.by_position,
        )

    def _add_teacher(self, inputs, training_set, plan, X, y, groups, unlabeled):
        """Fit the teacher, and append its predictions to the targets.

        The recordings of `unlabeled` that can be used are added to the training set.
        """
        self.__dict__.pop("teacher_", None)
        if self.teacher is None:
            return training_set, plan
        targets, kept, n_labelled = training_set.targets, training_set.positions, inputs.n_labelled
        metadata = {"sample_weight": targets[:n_labelled, -1].astype(float), "groups": groups}
        self.teacher_ = fit_teacher(self.teacher, X, y, metadata, plan.training)
        usable = np.setdiff1d(np.arange(len(inputs)), list(inputs.problems.by_position))
        extra = usable[usable >= n_labelled]
        taught = np.zeros_like(targets)
        taught[kept, -1], taught[extra, -1] = targets[kept, -1], 1
        n_targets = len(self.target_names_)
        predicted = predict_teacher(self.teacher_, X, kept, n_targets)
        taught[kept, :-1] = self._standardize(predicted)
        if len(extra):
            rows = extra - n_labelled
            predicted = predict_teacher(
                self.teacher_, unlabeled, rows, n_targets, suffix=" (of unlabeled=)"
            )
            taught[extra, :-1] = self._standardize(predicted)
        return (
            training_set._replace(targets=np.hstack([targets, taught])),
            plan._replace(training=np.concatenate([plan.training, extra])),
        )

    def _describe_network(self, encoders):
        return {
            "audio_model": os.fspath(self.audio_model),
            "text_model": None if self.text_model is None else os.fspath(self.text_model),
            "audio": encoders.audio,
            "text": encoders.text,
            "n_targets": len(self.target_names_),
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
        return DistilledNetwork(
            audio,
            text,
            sizes["n_targets"],
            pooling=sizes["pooling"],
            fusion=sizes["fusion"],
            hidden_size=sizes["hidden_size"],
            dropout=self.dropout,
        )

    def _optimizer(self, module):
        groups: dict[bool, list] = {True: [], False: []}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                groups[name.startswith(("audio.", "text."))].append(parameter)
        rates = {True: self.encoder_learning_rate, False: self.learning_rate}
        return torch.optim.AdamW(
            [{"params": groups[key], "lr": rates[key]} for key in groups if groups[key]],
            weight_decay=self.weight_decay,
            fused=True,
        )

    def _loss(self, outputs, targets):
        n_columns = outputs.shape[1] + 1
        loss = super()._loss(outputs, targets[:, :n_columns])
        if targets.shape[1] == n_columns:
            return loss
        taught = super()._loss(outputs, targets[:, n_columns:])
        return (1 - self.alpha) * loss + self.alpha * taught

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags


def _load_pretrained(weights, batch_size, module, training):
    module.load_state_dict(module.state_dict() | weights)
    module.head.n_to_fit = count_batches(len(training), batch_size)
