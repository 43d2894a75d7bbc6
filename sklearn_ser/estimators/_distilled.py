"""Arousal, valence and dominance from small encoders of speech and text, end to end."""

import os
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.callback import with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_ser._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from sklearn_ser._warnings import warn
from sklearn_ser.audio import SAMPLING_RATES, Problems
from sklearn_ser.backbones import choose_device, load_speech_backbone
from sklearn_ser.distillation import (
    Reader,
    SpeechFeatures,
    SpeechInputs,
    SpeechStudent,
    TextStudent,
    ask_regressor,
    average_windows,
    count_parameters,
    fit_regressor,
    is_encoder,
    learn_layers,
    load_teacher,
    look_at,
    read_speech_student,
    read_text_student,
    tokens_of,
)
from sklearn_ser.embedders import HubertEmbedder, TextEmbedder, WhisperEmbedder
from sklearn_ser.nn import (
    FRAME_POOLINGS,
    TEXT_FUSIONS,
    DistilledNetwork,
    VectorRegressor,
    concordance_loss,
)
from sklearn_ser.store import EmbeddingStore
from sklearn_ser.training import (
    TorchEstimator,
    TrainingSet,
    check_groups,
    moments,
    read_targets,
)

from ._speech_table import join_speech, naming_unlabeled, read_speech_table
from ._speech_vectors import embed

# So many of the recordings that can't be used are named.
_MAX_NAMED = 10


class DistilledRegressor(MultiOutputMixin, RegressorMixin, TorchEstimator):
    """Arousal, valence and dominance from small distilled encoders of speech and text.

    A small encoder of speech, and one of text if there are transcripts, are trained end to end;
    their states are pooled, joined, and a head predicts any number of targets, with the
    concordance correlation coefficient as the loss. A large model may teach them: by its
    predictions, or by its layers.

    Parameters
    ----------
    audio_model : str or path, default="ntu-spml/distilhubert"
        A hub id or a folder: an encoder of the wav2vec 2.0 family (DistilHuBERT, HuBERT, WavLM,
        wav2vec 2.0, …) or of Whisper, which sees the recording's own length.
    text_model : str or path, default=None
        A hub id, such as "distilbert-base-uncased", or a folder: an encoder of text. None goes
        without transcripts.
    recording_column : str or int, default=None
        Column of a table `X`. None finds it by its name, such as "path".
    transcript_column : str or int, default=None
        The same of the transcripts, such as "transcript".
    sampling_rate : int, default=16000
        Of arrays that come without a rate, in Hz.
    channel : int, default=None
        Which channel of several to take. None averages all.
    freeze : {"extractors", "all", None}, default="extractors"
        What is not trained: the convolutions and the embeddings of words; all but the head, which
        takes seconds, as each recording passes through the encoders once (see `memory`); or
        nothing. Before that, `distillation` of a teacher's layers trains all of the student.
    pooling : {"mean", "attentive_statistics"}, default="mean"
        Of the frames: their mean, or mean and deviation with learned weights.
    fusion : {"concat", "cross_attention"}, default="concat"
        With "cross_attention", frames attend to the transcript's tokens before they are pooled.
    hidden_size : int, default=1024
        Width of the head's hidden layer.
    dropout : float, default=0.5
        Share of numbers dropped in training before and after that layer.
    transcript_dropout : float, default=0.1
        Share of transcripts that count as missing in training, so that what stands for a missing
        one is learned.
    max_length : int, default=None
        Most tokens of a transcript. None is the model's own limit.
    max_duration : float, default=15.0
        Seconds. Of longer recordings, training sees a part of that length, another one in each
        epoch, and early stopping the one in the middle; prediction cuts them into windows of at
        most that length and averages.
    teacher : estimator, str or path, default=None
        A regressor, or a pipeline or search that ends in one: it is cloned and fitted on those
        recordings of `X` that are trained on, and its predictions are learned beside `y`. It gets
        all columns of a table, of which a `ColumnTransformer` chooses. One that was fitted before
        comes as a `FrozenEstimator`. Or a large encoder of speech, a hub id or a folder, whose
        layers the student learns to predict.
    alpha : float, default=0.5
        Weight of the teacher in the loss, from 0 to 1; the labels have the rest. Not used with
        ``distillation="before"``.
    teacher_layers : tuple of int, default=(4, 8, 12)
        Layers of a teaching encoder, counted as transformers does.
    distillation : {"before", "during"}, default="before"
        Whether the student learns the layers of a teaching encoder for `distillation_epochs`
        before it learns `y`, or at the same time.
    distillation_epochs : int, default=10
        Passes over all recordings, labelled or not. 0 leaves the student as it is made.
    distillation_learning_rate : float, default=0.0002
        Of AdamW, after a warm-up of 7 %.
    student_from : {"teacher", None}, default=None
        "teacher" makes the student of the teaching encoder's own first layers, in place of
        `audio_model`.
    student_layers : int, default=2
        Number of these layers.
    student_width : int, default=None
        Width of that student. A narrower one of Whisper's make begins as the least squares of the
        teacher's layers on those recordings that it is trained on, one of another make with a part
        of the teacher's weights. None is the teacher's.
    max_epochs : int, default=20
        Number of passes over the recordings, at most.
    batch_size : int, default=32
        Number of recordings of a training step. At least 2: concordance is that of a batch.
    learning_rate : float, default=0.001
        Of AdamW, for the head.
    encoder_learning_rate : float, default=1e-05
        The same for the encoders.
    weight_decay : float, default=0.01
        Decoupled from the gradients.
    warmup : float, default=0.1
        Share of the steps in which the learning rates rise from zero.
    schedule : {"cosine", None}, default="cosine"
        Whether the learning rates fall to zero along half a cosine over `max_epochs`, or stay.
    gradient_accumulation : int, default=1
        Number of batches whose gradients are averaged for a step. The concordance is still that of
        each batch.
    gradient_checkpointing : bool, default=False
        Whether training computes what is inside the blocks of the speech encoder twice, in place
        of keeping it in memory.
    early_stopping : bool, default=False
        Whether to hold recordings out, to stop when their concordance rises no longer, and to keep
        the weights at its best. With `groups` in `fit`, whole speakers are held out.
    validation_fraction : float, default=0.1
        With `early_stopping`, share of the speakers or recordings that are held out.
    n_iter_no_change : int, default=5
        With `early_stopping`, number of epochs without a better score after which training ends.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        With ``freeze="all"``, folder where embeddings are kept, as in the embedders.
    on_error : {"raise", "nan"}, default="raise"
        Whether a recording that can't be used raises an error; or is left out of training, gets
        NaN as its prediction, and one warning lists all of them.
    local_files_only : bool, default=False
        Whether to look for a hub's model on this machine alone.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1" and so on; "auto" is a CUDA GPU where there is
        one, else the CPU.
    dtype : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of the products in training. Weights are kept, and predictions made, in float32.
    random_state : int, RandomState instance or None, default=None
        Seed of the head's weights, order, parts of recordings and dropout.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last one, for `max_epochs` more.
    n_jobs : int, default=None
        Number of threads that read recordings.
    verbose : int, default=0
        Whether to print a line for each epoch.

    Attributes
    ----------
    target_names_ : list of str
        Names of the columns of `y`; "target0" and so on where they have none.
    target_mean_, target_scale_ : ndarray of shape (n_targets,)
        Mean and deviation of the targets, by which the network's outputs are scaled. A target
        that is constant is predicted as that constant.
    state_ : dict of str to ndarray
        Weights of the encoders and of the head by their names; with ``freeze="all"`` those of the
        head alone. The network is built from it once and kept, without the models' files; the
        arrays are read-only, and others that are put in their place are followed.
    architecture_ : dict
        What the network is built from: settings of the encoders, the tokenizer, sizes.
    n_parameters_, n_trainable_parameters_ : int
        Numbers in the weights of the encoders and the head, and how many of them are trained.
    teacher_ : estimator
        The fitted teacher. Only where it is a regressor.
    teacher_n_parameters_ : int
        Numbers in the weights of the teaching encoder. Only where it is one.
    distillation_history_ : list of float
        With ``distillation="before"``, the loss of each pass.
    history_ : dict of str to list
        The curve, one entry for each epoch: ``epoch``, ``learning_rate`` (of the head, in the last
        step), ``train_loss``, and with `early_stopping` ``valid_loss`` and ``valid_score``.
    n_iter_ : int
        Number of epochs, those before a warm start included.
    best_score_ : float or None
        With `early_stopping`, the mean concordance on what was held out at the weights that were
        kept.
    n_features_in_ : int
        Number of columns of `X`. Only where `X` was a table of waveforms in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they have any.

    See Also
    --------
    LayerSelector : Which layer of a large encoder knows arousal, and which valence.
    sklearn_ser.metrics.concordance_correlation_coefficient : The figure that is learned.

    Notes
    -----
    *Loss.* One minus the concordance correlation coefficient of a batch, with the moments of the
    population, summed over targets; targets are standardised, which changes no concordance.

    *Exact batches.* A recording's prediction is the same alone and in any batch, as convolutions
    see one recording at a time, and padding is hidden from attention.

    *Weights.* The concordance of a batch is that of its weighted recordings. Recordings of weight
    zero are left out.

    *Missing transcripts.* None, NaN and blank ones are replaced by a learned vector. So a model
    that was trained with transcripts predicts without them too.

    References
    ----------
    D. de Oliveira, N. R. Prabhu, T. Gerkmann, "Leveraging Semantic Information for Efficient
    Self-Supervised Emotion Recognition with Audio-Textual Distilled Models", Interspeech 2023,
    arXiv 2305.19184.

    H.-J. Chang, S. Yang, H. Lee, "DistilHuBERT: Speech Representation Learning by Layer-wise
    Distillation of Hidden-unit BERT", ICASSP 2022, arXiv 2110.01900.

    Examples
    --------
    A small network of the same make, with random weights, saved as the hub's models are:

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
        **TorchEstimator._parameter_constraints,
        "audio_model": [str, os.PathLike],
        "text_model": [str, os.PathLike, None],
        "recording_column": [str, Integral, None],
        "transcript_column": [str, Integral, None],
        "sampling_rate": [Interval(Integral, *SAMPLING_RATES, closed="both")],
        "channel": [Integral, None],
        "freeze": [StrOptions({"extractors", "all"}), None],
        "pooling": [StrOptions(set(FRAME_POOLINGS))],
        "fusion": [StrOptions(set(TEXT_FUSIONS))],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "transcript_dropout": [Interval(Real, 0, 1, closed="left")],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "max_duration": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="both")],
        "teacher_layers": ["array-like"],
        "distillation": [StrOptions({"before", "during"})],
        "distillation_epochs": [Interval(Integral, 0, None, closed="left")],
        "distillation_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "student_from": [StrOptions({"teacher"}), None],
        "student_layers": [Interval(Integral, 1, None, closed="left")],
        "student_width": [Interval(Integral, 1, None, closed="left"), None],
        # Concordance is that of a batch.
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "encoder_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        "gradient_accumulation": [Interval(Integral, 1, None, closed="left")],
        "gradient_checkpointing": ["boolean"],
        "memory": [str, os.PathLike, HasMethods(["cache"]), EmbeddingStore, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "local_files_only": ["boolean"],
        "n_jobs": [Integral, None],
        "teacher": [str, os.PathLike, HasMethods(["fit", "predict"]), None],
    }

    target_names_: list[str]
    target_mean_: np.ndarray
    target_scale_: np.ndarray
    _widths: list | None
    _settings: dict
    _begins_with: dict

    def __init__(
        self,
        audio_model="ntu-spml/distilhubert",
        text_model=None,
        *,
        recording_column=None,
        transcript_column=None,
        sampling_rate=16000,
        channel=None,
        freeze="extractors",
        pooling="mean",
        fusion="concat",
        hidden_size=1024,
        dropout=0.5,
        transcript_dropout=0.1,
        max_length=None,
        max_duration=15.0,
        teacher=None,
        alpha=0.5,
        teacher_layers=(4, 8, 12),
        distillation="before",
        distillation_epochs=10,
        distillation_learning_rate=2e-4,
        student_from=None,
        student_layers=2,
        student_width=None,
        max_epochs=20,
        batch_size=32,
        learning_rate=1e-3,
        encoder_learning_rate=1e-5,
        weight_decay=0.01,
        warmup=0.1,
        schedule="cosine",
        gradient_accumulation=1,
        gradient_checkpointing=False,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        memory=None,
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
        self.recording_column = recording_column
        self.transcript_column = transcript_column
        self.sampling_rate = sampling_rate
        self.channel = channel
        self.freeze = freeze
        self.pooling = pooling
        self.fusion = fusion
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.transcript_dropout = transcript_dropout
        self.max_length = max_length
        self.max_duration = max_duration
        self.teacher = teacher
        self.alpha = alpha
        self.teacher_layers = teacher_layers
        self.distillation = distillation
        self.distillation_epochs = distillation_epochs
        self.distillation_learning_rate = distillation_learning_rate
        self.student_from = student_from
        self.student_layers = student_layers
        self.student_width = student_width
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.encoder_learning_rate = encoder_learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.schedule = schedule
        self.gradient_accumulation = gradient_accumulation
        self.gradient_checkpointing = gradient_checkpointing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.memory = memory
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
            transcripts.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            The targets, such as arousal, valence and dominance, in any unit.
        sample_weight : array-like of shape (n_recordings,), default=None
            Weights of the recordings, in any unit; those of weight zero are left out.
        groups : array-like of shape (n_recordings,), default=None
            The speaker of each recording: with ``early_stopping``, whole speakers are held out. A
            teacher that splits by groups, such as a search, gets them too; within a pipeline, with
            metadata routing enabled.
        unlabeled : sequence of recordings or table, default=None
            Further recordings, without targets, for a teacher to teach on.

        Returns
        -------
        self : object
            The regressor itself.

        Raises
        ------
        RecordingError
            If a recording can't be used, unless ``on_error="nan"``.
        ValueError
            If targets are missing, parameters contradict each other, or training diverges.
        """
        self._reset()
        for name in ("teacher_", "teacher_n_parameters_", "distillation_history_"):
            self.__dict__.pop(name, None)
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        data = {"X": X, "y": y, "metadata": metadata}
        self._refuse_contradictions(unlabeled)
        labelled = read_speech_table(self, X, reset=not self._is_warm_start)
        y = self._check_targets(y, len(labelled[0]))
        weights = check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
        groups = check_groups(groups, len(y)) if groups is not None else None
        more = None if unlabeled is None else read_speech_table(self, unlabeled, reset=False)
        if self.text_model is not None and labelled[1] is None:
            raise ValueError(
                f"text_model={self.text_model!r} needs transcripts, and X has none: pass a table "
                "with a column of recordings and one of transcripts, or text_model=None."
            )
        if not self._is_warm_start:
            self._begins_with = self._read_students()
        try:
            return self._fit(labelled, y, weights, groups, more, data, unlabeled)
        finally:
            self.__dict__.pop("_begins_with", None)
            self.__dict__.pop("_teacher_layers", None)

    def _fit(self, labelled, y, weights, groups, more, data, unlabeled):
        recordings, transcripts = join_speech(labelled, more)
        vectors, reader = None, None
        with naming_unlabeled(len(y)):
            if self.freeze == "all":
                vectors = self._embed(recordings, transcripts, self._names())
                usable = vectors.usable
            else:
                reader = self._reader(SpeechFeatures(self._known("audio")))
                usable, problems = reader.find_problems(recordings, self.on_error)
                _tell_left_out(problems)
        kept, weights = self._choose(weights, usable)
        extra = usable[usable >= len(y)]
        n_columns = 2 * (y.shape[1] + 1)
        training_set = TrainingSet(
            np.zeros((len(recordings), n_columns), dtype=np.float32),
            kept,
            groups=groups[kept] if groups is not None and self.early_stopping else None,
            balance_by=np.arange(len(recordings)) >= len(y),
        )
        seeds, own, validation = self._plan(training_set)
        if not self._is_warm_start:
            self.target_mean_, self.target_scale_ = moments(y[own], weights[own])
        training_set.targets[kept, : y.shape[1]] = self._standardize(y[kept])
        training_set.targets[kept, y.shape[1]] = weights[kept]
        if self._taught_by_regressor:
            self._ask_teacher(
                training_set.targets, kept, own, extra, weights, data, unlabeled, groups
            )
        inputs = vectors
        if inputs is None:
            inputs = self._inputs(recordings, transcripts, reader, np.union1d(own, extra))
        self._widths = None if vectors is None else vectors.widths
        self._set_architecture(self._sizes())
        teaches_all = self._taught_by_regressor or self.distillation == "during"
        self._train(
            inputs,
            training_set,
            data,
            plan=(seeds, np.concatenate([own, extra]) if teaches_all else own, validation),
            validation_inputs=_middle_of(inputs),
            prepare=partial(self._prepare, inputs),
            warmup=self.warmup,
            accumulate=self.gradient_accumulation,
        )
        self.__dict__.pop("_teacher_layers", None)  # its heads are for training alone
        self._count_parameters()
        return self

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : sequence of recordings, table of waveforms, or data frame
            As in `fit`. Transcripts may be missing, some or all.

        Returns
        -------
        predictions : ndarray of shape (n_recordings,) or (n_recordings, n_targets)
            In the units of `y`, with as many axes as it had.
        """
        check_is_fitted(self, "state_")
        recordings, transcripts = read_speech_table(self, X, reset=False)
        if self.architecture_["is_frozen"]:
            outputs = self._outputs(self._embed(recordings, transcripts, self.architecture_))
        else:
            outputs = self._predict_windows(recordings, transcripts)
        predictions = outputs.astype(np.float64) * self.target_scale_ + self.target_mean_
        return predictions if self._has_target_axis else predictions[:, 0]

    def distill(self, recordings, folder):
        """Make a small encoder of a teaching one, without any labels, and save it.

        Parameters
        ----------
        recordings : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            As for `fit`.
        folder : path
            Where to save it, as transformers does: `HubertEmbedder`, `WavLMEmbedder` or
            `WhisperEmbedder` can use it, and `audio_model` as well. One of Whisper's make has
            learned from recordings of their own length: ``context="recording"``.

        Returns
        -------
        folder : str
            The same.

        Raises
        ------
        ValueError
            If `teacher` is no encoder.
        """
        self._validate_params()
        if not is_encoder(self.teacher):
            raise ValueError(
                f"distill needs teacher= to be an encoder of speech, such as "
                f"'facebook/hubert-large-ll60k' or a folder, and it is {self.teacher!r}."
            )
        recordings, _ = read_speech_table(self, recordings, reset=False)
        settings, weights = self._read_speech()
        student = SpeechStudent(settings)
        student.load_state_dict(weights)
        reader = self._reader(student.reading)
        usable, problems = reader.find_problems(recordings, self.on_error)
        _tell_left_out(problems)
        inputs = SpeechInputs(recordings, reader, max_seconds=self.max_duration, rng=None)
        self._narrow(student, inputs, usable)
        self._learn_layers(student, recordings, reader, usable)
        student.save(folder)
        return os.fspath(folder)

    # What `fit` is made of.

    def _refuse_contradictions(self, unlabeled):
        by_layers = is_encoder(self.teacher)
        if self.freeze == "all" and by_layers:
            raise ValueError(
                "freeze='all' trains no encoder, and teacher= is one to learn from: call "
                "distill(recordings, folder) first, and pass audio_model=folder."
            )
        if self.freeze == "all" and (self.pooling != "mean" or self.fusion != "concat"):
            raise ValueError(
                f"freeze='all' keeps one vector of a recording, and pooling={self.pooling!r} with "
                f"fusion={self.fusion!r} needs its frames: choose pooling='mean' and "
                "fusion='concat', or freeze='extractors'."
            )
        if self.student_from is not None and not by_layers:
            raise ValueError(
                "student_from='teacher' needs teacher= to be an encoder of speech, and it is "
                f"{self.teacher!r}."
            )
        if unlabeled is not None and self.teacher is None:
            raise ValueError("unlabeled recordings need a teacher: pass teacher=.")

    def _check_targets(self, y, n_recordings):
        values, names, self._has_target_axis = read_targets(y, n_recordings)
        if self._is_warm_start and names != self.target_names_:
            raise ValueError(
                f"warm_start=True can't go on with the targets {names}: the network was trained "
                f"on {self.target_names_}."
            )
        self.target_names_ = names
        return values

    def _read_students(self):
        """Return the weights to begin with, by name; keep the settings for `architecture_`."""
        if self.freeze == "all":
            self._settings = {"audio": None, "text": None}
            return {}
        audio, weights = self._read_speech()
        weights = {f"audio.{name}": values for name, values in weights.items()}
        text = None
        if self.text_model is not None:
            text, of_text = read_text_student(
                self.text_model,
                max_length=self.max_length,
                local_files_only=self.local_files_only,
                parameter="text_model",
            )
            weights |= {f"text.{name}": values for name, values in of_text.items()}
        self._settings = {"audio": audio, "text": text}
        return weights

    def _read_speech(self):
        given = {"local_files_only": self.local_files_only}
        if self.student_from == "teacher":
            return read_speech_student(
                self.teacher,
                n_layers=self.student_layers,
                width=self.student_width,
                parameter="teacher",
                **given,
            )
        return read_speech_student(self.audio_model, parameter="audio_model", **given)

    def _reader(self, features):
        longest = features.max_samples
        if longest is not None and self.max_duration * features.sampling_rate > longest:
            raise ValueError(
                f"max_duration={self.max_duration} is too long for this encoder, which takes at "
                f"most {longest / features.sampling_rate:g} s at once."
            )
        return Reader(
            features, sampling_rate=self.sampling_rate, channel=self.channel, n_jobs=self.n_jobs
        )

    def _choose(self, weights, usable):
        """Return the positions to learn from and the weight of each recording."""
        is_usable = np.isin(np.arange(len(weights)), usable)
        weights = weights / (weights.max(initial=0) or 1) * is_usable
        kept = np.flatnonzero(weights)
        if not len(kept):
            reason = "all have weight zero" if len(usable) else "none can be used"
            raise ValueError(f"No recording is left to learn from: {reason}.")
        return kept, weights / weights[kept].mean()

    def _standardize(self, y):
        return (y - self.target_mean_) / np.where(self.target_scale_ > 0, self.target_scale_, 1)

    @property
    def _taught_by_regressor(self):
        return self.teacher is not None and not is_encoder(self.teacher)

    def _ask_teacher(self, targets, kept, own, extra, weights, data, unlabeled, groups):
        """Fit the teacher on what is trained on, and put its predictions beside the targets."""
        n_labelled = len(weights)
        given = {"sample_weight": data["metadata"].get("sample_weight"), "groups": groups}
        self.teacher_ = fit_regressor(self.teacher, data["X"], data["y"], given, own)
        taught = targets[:, len(self.target_names_) + 1 :]
        for X, rows, shift in ((data["X"], kept, 0), (unlabeled, extra, n_labelled)):
            if len(rows):
                predicted = ask_regressor(self.teacher_, X, rows - shift, taught.shape[1] - 1)
                taught[rows, :-1] = self._standardize(predicted)
        taught[kept, -1] = weights[kept]
        taught[extra, -1] = 1

    def _inputs(self, recordings, transcripts, reader, positions):
        """Return what the network sees; let a student learn its teacher's layers before."""
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        inputs = SpeechInputs(
            recordings,
            reader,
            max_seconds=self.max_duration,
            rng=np.random.default_rng(seed),
            token_ids=tokens_of(self._known("text"), transcripts, len(recordings)),
        )
        if is_encoder(self.teacher) and self.distillation == "during":
            self._teacher_layers = self._load_teacher(reader)
            inputs.teacher = self._teacher_layers
            inputs.teacher.standardize(inputs, positions)
        if is_encoder(self.teacher) and not self._is_warm_start:
            student = SpeechStudent(self._known("audio"))
            own = {n: v for n, v in self._begins_with.items() if n.startswith("audio.")}
            student.load_state_dict({n.removeprefix("audio."): v for n, v in own.items()})
            self._narrow(student, inputs, positions)
            if self.distillation == "before":
                self._learn_layers(student, recordings, reader, positions)
            learned = student.cpu().state_dict()
            self._begins_with |= {f"audio.{name}": values for name, values in learned.items()}
        return inputs

    def _narrow(self, student, inputs, positions):
        """Fit a narrower student to the teacher it is made of."""
        if self.student_from == "teacher" and self.student_width is not None:
            features = inputs.some_features(positions)
            student.narrow(self.teacher, features, local_files_only=self.local_files_only)

    def _known(self, what):
        """Return the settings of the encoder of "audio" or "text" that is trained."""
        return (self.architecture_ if self._is_warm_start else self._settings)[what]

    def _names(self):
        """Return what decides which encoders there are."""
        by_teacher = self.student_from == "teacher"
        names = {
            "audio_model": None if by_teacher else os.fspath(self.audio_model),
            "text_model": None if self.text_model is None else os.fspath(self.text_model),
            "max_length": self.max_length,
        }
        if by_teacher:
            names |= {
                "teacher": os.fspath(self.teacher),
                "student_layers": int(self.student_layers),
                "student_width": None if self.student_width is None else int(self.student_width),
            }
        return names

    def _learn_layers(self, student, recordings, reader, positions):
        """Let a student learn the teacher's layers."""
        self.distillation_history_ = []
        teacher = self._load_teacher(reader)
        if not self.distillation_epochs:
            return
        rng = check_random_state(self.random_state)
        seed, seed_of_parts = rng.randint(np.iinfo(np.int32).max, size=2)
        inputs = SpeechInputs(
            recordings,
            reader,
            max_seconds=self.max_duration,
            rng=np.random.default_rng(seed_of_parts),
            teacher=teacher,
        )
        self.distillation_history_ = learn_layers(
            student,
            inputs,
            positions,
            n_epochs=self.distillation_epochs,
            batch_size=self.batch_size,
            rate=self.distillation_learning_rate,
            dtype=getattr(torch, self.dtype),
            device=choose_device(self.device),
            seed=int(seed),
        )

    def _load_teacher(self, reader):
        teacher = load_teacher(
            self.teacher,
            self.teacher_layers,
            reader.network,
            device=choose_device(self.device),
            local_files_only=self.local_files_only,
        )
        self.teacher_n_parameters_ = count_parameters(teacher.backbone)
        return teacher

    def _embed(self, recordings, transcripts, names):
        audio_embedder, text_embedder = self._embedders(names)
        return embed(recordings, transcripts, audio_embedder, text_embedder)

    def _embedders(self, names):
        """Return the embedders of what is not trained, None where there are no transcripts."""
        given = {
            "memory": self.memory,
            "device": self.device,
            "batch_size": self.batch_size,
            "local_files_only": self.local_files_only,
        }
        backbone = load_speech_backbone(
            names["audio_model"],
            device="cpu",
            local_files_only=self.local_files_only,
            parameter="audio_model",
        )
        audio_embedder = (
            WhisperEmbedder(names["audio_model"], context="recording")
            if backbone.name == "whisper"
            else HubertEmbedder(names["audio_model"])
        ).set_params(
            sampling_rate=self.sampling_rate,
            channel=self.channel,
            n_jobs=self.n_jobs,
            on_error=self.on_error,
            **given,
        )
        if names["text_model"] is None:
            return audio_embedder, None
        text_embedder = TextEmbedder(names["text_model"], max_length=names["max_length"])
        return audio_embedder, text_embedder.set_params(**given)

    def _predict_windows(self, recordings, transcripts):
        module = self._fitted_module()
        return average_windows(
            module,
            recordings,
            self._reader(module.audio.reading),
            tokens_of(self.architecture_["text"], transcripts, len(recordings)),
            n_outputs=len(self.target_names_),
            max_seconds=self.max_duration,
            batch_size=self.batch_size,
            problems=Problems(self.on_error),
        )

    def _count_parameters(self):
        module = self._fitted_module()
        self.n_trainable_parameters_ = count_parameters(module, trainable=True)
        self.n_parameters_ = count_parameters(module)
        if self.freeze == "all":
            for embedder in self._embedders(self.architecture_):
                if embedder is not None:
                    self.n_parameters_ += count_parameters(embedder._load_backbone())

    # What `TorchEstimator` asks for.

    def _sizes(self):
        return self._names() | {
            "audio": self._known("audio"),
            "text": self._known("text"),
            "is_frozen": self.freeze == "all",
            "widths": self._widths,
            "n_targets": len(self.target_names_),
            "pooling": self.pooling,
            "fusion": self.fusion,
            "hidden_size": int(self.hidden_size),
        }

    def _build_module(self):
        sizes = self.architecture_
        head = {
            "hidden_size": sizes["hidden_size"],
            "dropout": self.dropout,
            "text_dropout": self.transcript_dropout,
        }
        if sizes["is_frozen"]:
            n_audio, n_text = sizes["widths"]
            return VectorRegressor(n_audio, n_text, sizes["n_targets"], **head)
        audio = SpeechStudent(sizes["audio"], saves_memory=self.gradient_checkpointing)
        text = None if sizes["text"] is None else TextStudent(sizes["text"])
        module = DistilledNetwork(
            audio,
            text,
            sizes["n_targets"],
            pooling=sizes["pooling"],
            fusion=sizes["fusion"],
            **head,
        )
        if self.freeze == "extractors":
            audio.freeze_convolutions()
            if text is not None:
                text.freeze_words()
        teacher = self.__dict__.get("_teacher_layers")
        if teacher is not None:
            module.learn_layers(teacher.backbone.n_dims, len(teacher.layers))
        return module

    def _prepare(self, inputs, module, positions):
        """Load the encoders' weights, and standardise what the head is given."""
        module.load_state_dict(module.state_dict() | self._begins_with)
        head = module if isinstance(module, VectorRegressor) else module.regressor
        vectors = look_at(module.eval(), _middle_of(inputs), positions, self.batch_size)
        head.standardize(**vectors)

    def _optimizer(self, module):
        encoders: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                of_encoder = name.startswith(("audio.", "text."))
                (encoders if of_encoder else others).append(parameter)
        groups = [
            {"params": encoders, "lr": self.encoder_learning_rate},
            {"params": others, "lr": self.learning_rate},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]],
            weight_decay=self.weight_decay,
            fused=True,
        )

    def _loss(self, outputs, targets):
        n_targets = len(self.target_names_)
        varied = torch.from_numpy(self.target_scale_ > 0).to(outputs.device)
        predicted = outputs[:, :n_targets][:, varied]

        def miss(columns):
            weights = columns[:, -1]
            # Concordance knows of ratios of weights alone; a batch counts by their mean.
            mean_weight = weights.sum() / (weights > 0).sum().clamp_min(1)
            return mean_weight * concordance_loss(predicted, columns[:, :-1][:, varied], weights)

        loss = miss(targets[:, : n_targets + 1])
        if outputs.shape[1] > n_targets:
            return (1 - self.alpha) * loss + self.alpha * outputs[:, -1].mean()
        if self._taught_by_regressor:
            return (1 - self.alpha) * loss + self.alpha * miss(targets[:, n_targets + 1 :])
        return loss

    def _score(self, outputs, targets):
        n_targets = len(self.target_names_)
        varied = torch.from_numpy(self.target_scale_ > 0)
        if not varied.any():
            return 0.0
        predicted = outputs[:, :n_targets].float()[:, varied]
        loss = concordance_loss(predicted, targets[:, :n_targets][:, varied], targets[:, n_targets])
        return 1 - float(loss) / int(varied.sum())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags


def _middle_of(inputs):
    return inputs.in_the_middle() if isinstance(inputs, SpeechInputs) else inputs


def _tell_left_out(problems):
    if problems.by_position:
        listed = "; ".join(
            f"recording {position}: {problem}"
            for position, problem in list(problems.by_position.items())[:_MAX_NAMED]
        )
        warn(
            f"{len(problems.by_position)} recordings can't be used and are left out of training: "
            f"{listed}."
        )
