"""Emotions from small encoders of speech and text, trained end to end."""

from functools import partial
from numbers import Real

import torch
from sklearn.callback import with_callbacks
from torch.nn import functional

from sklearn_ser._sklearn import HasMethods, Interval, fit_context
from sklearn_ser.distillation._teacher_estimator import predict_teacher_proba
from sklearn_ser.nn import softened_divergence
from sklearn_ser.training import TorchClassifier, encode_classes, smooth_labels

from ._distilled import DistilledEstimator, EncodedTargets, parameter_constraints, suggest


class DistilledClassifier(DistilledEstimator, TorchClassifier):
    """Emotions from small encoders of speech and text, trained end to end.

    A small speech encoder, and a small text encoder if there are transcripts, are fine-tuned
    together with a classification head to minimise the cross-entropy. A teacher classifier, such as
    a search over the layers of a large encoder, may provide further targets: its probabilities,
    softened by a temperature [1]_. `DistilledRegressor` is the same for arousal, valence and
    dominance.

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
        Classifier, pipeline or search with `predict_proba`, whose probabilities are learned in
        addition to `y`. A clone is fitted on the training set; it gets `y` as it is, and all
        columns of a table, which a `ColumnTransformer` can select. Wrap a fitted teacher in a
        `~sklearn.frozen.FrozenEstimator`.
    alpha : float, default=0.5
        Weight of the teacher in the loss, from 0 to 1; `y` has the weight ``1 - alpha``.
    temperature : float, default=2.0
        Temperature at which the probabilities of the teacher are learned. At higher temperatures,
        classes that are unlikely count for more.
    label_smoothing : float, default=0.0
        Share of each label that is spread evenly over all classes.
    classes : array-like of shape (n_classes,), default=None
        Sorted names of the columns of soft labels. If None, they are the names of the columns of
        a data frame.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss. "balanced" weights are inversely proportional to the
        frequencies of the classes. The weight of soft labels is the mean over their shares. The
        loss of the teacher is not weighted by class.
    freeze : {"extractors", None}, default="extractors"
        Part of the encoders that is not trained: "extractors" are the convolutional feature
        extractor and the word embeddings.
    n_trainable_layers : int, default=None
        Number of the last layers of each encoder that are trained, and nothing else of it; 0 trains
        the head only. If None, all that `freeze` leaves.
    lora_rank : int, default=None
        Rank of low-rank adapters (LoRA [2]_) of the queries and values of attention. If not None,
        these are trained instead of the weights of the encoders, and are added to the weights at
        the end. They take higher rates, such as ``encoder_learning_rate=1e-3``.
    layer_decay : float, default=1.0
        Factor by which the learning rate decreases from each layer of an encoder to the one below.
        Parameters outside of the layers, such as those of the input, have the lowest rate.
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
        Number of recordings of a batch.
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
        Whether to hold out a validation set, to stop when its unweighted average recall does not
        improve, and to keep the weights of the best epoch. If `groups` are passed to `fit`, whole
        speakers are held out, else a stratified share.
    validation_fraction : float, default=0.1
        Fraction of the recordings, or of the speakers, to hold out with `early_stopping`.
    n_iter_no_change : int, default=5
        Number of epochs without improvement after which `early_stopping` stops.
    max_duration : float, default=15.0
        Duration in seconds. Longer recordings are cropped in training, at random in each epoch,
        and at the centre for validation; for prediction they are cut into windows, whose
        probabilities are averaged.
    sampling_rate : int, default=16000
        Sampling rate of arrays that come without one, in Hz.
    channel : int, default=None
        Channel to use. If None, channels are averaged.
    on_error : {"raise", "nan"}, default="raise"
        "raise" raises an error for a recording that cannot be used. "nan" leaves such recordings
        out of training, and lists them in one warning; their probabilities are NaN, and their
        predicted class is None.
    local_files_only : bool, default=False
        If True, models of a hub are only looked up on this machine.
    device : str, default="auto"
        Device to compute on, such as "cpu" or "cuda:1". "auto" is a CUDA GPU if there is one, else
        the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Precision of autocast in training. Weights are kept, and predictions made, in float32.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    random_state : int, RandomState instance or None, default=None
        Seed of the head's initial weights, the order of the recordings, crops and dropout.
    warm_start : bool, default=False
        If True, `fit` continues from the weights of the previous call, for `max_epochs` more.
    n_jobs : int, default=None
        Number of threads that decode recordings, as in `joblib.Parallel`, while the network
        trains on the previous batch.
    checkpoint : str or path, default=None
        Folder in which the state of the training is saved after each epoch, from which a `fit` that
        was killed continues when it is called again: see the notes. It is created if it does not
        exist.
    verbose : int or "auto", default="auto"
        If nonzero, a line is printed for each epoch, and a progress bar is shown in a terminal or
        notebook; both with the time left. "auto" shows the bar only, if training takes longer than
        half a minute. 0 shows nothing.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted. Columns of soft labels without votes are among them.
    state_ : dict of str to ndarray
        Weights of the encoders and of the head by name. The files of the models are not needed for
        prediction. The arrays are read-only.
    architecture_ : dict
        Arguments of the network: settings of the encoders, the tokenizer, sizes.
    n_parameters_, n_trainable_parameters_ : int
        Number of parameters of the encoders, their adapters and the head, and of those that are
        trained.
    teacher_ : estimator
        The fitted teacher. Defined only if there is one.
    history_ : dict of str to list
        Learning curve, one entry per epoch: ``epoch``, ``learning_rate`` of the head in the last
        step, ``train_loss``, and with `early_stopping` ``valid_loss`` and ``valid_score``.
    n_iter_ : int
        Number of epochs, including those before a warm start.
    best_score_ : float or None
        With `early_stopping`, the recall on the validation set in the best epoch.
    n_features_in_ : int
        Number of columns of `X`. Defined only if `X` was a table of waveforms in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they are all strings.

    See Also
    --------
    DistilledRegressor : The same for continuous targets.
    EmoHRNetClassifier : Trains a network on spectrograms from scratch.
    LayerSelector : Selects the layer of a large encoder, for a classifier on frozen embeddings.
    sklearn_ser.distillation.distill_encoder : Distils a small encoder from the layers of a large
        one, for `audio_model`.

    Notes
    -----
    *Loss.* The cross-entropy of a recording is multiplied by its sample weight and by its class
    weight, whose product has a mean of one over the training set. The teacher's part is the
    Kullback-Leibler divergence at the temperature, times its square, weighted by `sample_weight`.

    *Standardisation.* The head standardises its inputs by their mean and standard deviation over
    the first epoch.

    *Exact batches.* The prediction of a recording does not depend on its batch: convolutions
    process one recording at a time, and frames attend to those of their own recording.

    *Missing transcripts.* None, NaN and blank transcripts are replaced by a learned vector. It is
    learned from a tenth of the transcripts, which are dropped in training, so that a model trained
    with transcripts also predicts without them.

    *Decoding.* Missing files are found before training. Each epoch decodes each recording once; a
    recording that cannot be used raises an error when it is first decoded, or is left out from then
    on. A teacher decodes the recordings itself, for which its embedder's `memory` helps. With a
    teacher and ``on_error="nan"``, all recordings are decoded once before, as the teacher is fitted
    on those that can be used.

    *Checkpoints.* The folder of `checkpoint` belongs to one training. `fit` continues from the last
    complete epoch, and the result has the bits of a training without interruption (on the same
    kind of CPU, with the same number of threads of torch). After the end, `fit` with the same
    parameters and data returns the same result, without training. Otherwise it raises an error that
    names what differs; files are compared by path, size and time of modification. If `random_state`
    is not an integer, the seeds are those of the checkpoint. A teacher is fitted again. The file
    holds arrays and JSON, no pickles.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015,
       arXiv 1503.02531.
    .. [2] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
       arXiv 2106.09685.

    Examples
    --------
    A small network with random weights stands in for a pretrained one:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import DistilledClassifier
    >>> from transformers import HubertConfig, HubertModel
    >>> folder = tempfile.mkdtemp()
    >>> small = HubertConfig(
    ...     hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    ...     conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    ... )
    >>> HubertModel(small).save_pretrained(folder)
    >>> rng = np.random.default_rng(0)
    >>> recordings = [volume * rng.normal(size=4000) for volume in np.linspace(0.01, 1, 8)]
    >>> emotions = ["sadness"] * 4 + ["anger"] * 4
    >>> classifier = DistilledClassifier(folder, max_epochs=1, random_state=0)
    >>> classifier.fit(recordings, emotions).predict_proba(recordings[:3]).shape
    (3, 2)
    >>> classifier.classes_.tolist()
    ['anger', 'sadness']
    """

    _parameter_constraints: dict = parameter_constraints(
        TorchClassifier,
        teacher=[HasMethods(["fit", "predict_proba"]), None],
        temperature=[Interval(Real, 0, None, closed="neither")],
        label_smoothing=[Interval(Real, 0, 1, closed="left")],
    )

    def __init__(
        self,
        audio_model="ntu-spml/distilhubert",
        text_model=None,
        *,
        teacher=None,
        alpha=0.5,
        temperature=2.0,
        label_smoothing=0.0,
        classes=None,
        class_weight=None,
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
        super().__init__(
            audio_model,
            text_model,
            teacher=teacher,
            alpha=alpha,
            freeze=freeze,
            n_trainable_layers=n_trainable_layers,
            lora_rank=lora_rank,
            layer_decay=layer_decay,
            pooling=pooling,
            fusion=fusion,
            hidden_size=hidden_size,
            dropout=dropout,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            encoder_learning_rate=encoder_learning_rate,
            weight_decay=weight_decay,
            gradient_checkpointing=gradient_checkpointing,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            max_duration=max_duration,
            sampling_rate=sampling_rate,
            channel=channel,
            on_error=on_error,
            local_files_only=local_files_only,
            device=device,
            dtype=dtype,
            random_state=random_state,
            warm_start=warm_start,
            n_jobs=n_jobs,
            checkpoint=checkpoint,
            verbose=verbose,
        )
        self.temperature = temperature
        self.label_smoothing = label_smoothing
        self.classes = classes
        self.class_weight = class_weight

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
        y : array-like of shape (n_recordings,) or (n_recordings, n_classes)
            Emotions, as strings or numbers, or soft labels: the shares of the emotions in the votes
            of annotators, or their numbers of votes, which are divided by their sum. The emotions
            are the columns of a data frame, or `classes` for other arrays.
        sample_weight : array-like of shape (n_recordings,), default=None
            Sample weights. Recordings of weight zero are ignored.
        groups : array-like of shape (n_recordings,), default=None
            Speakers. With `early_stopping`, whole speakers are held out. A teacher that takes
            groups, such as a search, gets them too; within a pipeline, if metadata routing is
            enabled.
        unlabeled : sequence of recordings or table, default=None
            Further recordings, without labels, for which the teacher's probabilities are learned.

        Returns
        -------
        self : object
            Fitted classifier.

        Raises
        ------
        RecordingError
            If a recording cannot be used, unless ``on_error="nan"``.
        ValueError
            If labels are missing or continuous, there are fewer than two classes, parameters
            contradict each other, or training diverges.
        """
        return self._fit(X, y, sample_weight, groups, unlabeled)

    def predict_proba(self, X):
        """Compute the probability of each class.

        Parameters
        ----------
        X : sequence of recordings, table of waveforms, or data frame
            As in `fit`. Transcripts may be missing.

        Returns
        -------
        probabilities : ndarray of shape (n_recordings, n_classes)
            Columns are in the order of `classes_`. Each row sums to one, or is NaN with
            ``on_error="nan"``.
        """
        return self._average_windows(X, activation=partial(torch.softmax, dim=1))

    def predict(self, X):
        """Predict the class of each recording.

        Parameters
        ----------
        X : sequence of recordings, table of waveforms, or data frame
            As in `fit`. Transcripts may be missing.

        Returns
        -------
        classes : ndarray of shape (n_recordings,)
            Predicted classes, of the type of `y` in `fit`. An array of objects with None for
            recordings that cannot be used, with ``on_error="nan"``.
        """
        return super().predict(X)

    @property
    def _n_outputs(self):
        return len(self.classes_)

    def _encode_targets(self, y, sample_weight, groups, *, n_recordings, skip):
        with suggest(
            "To predict numbers such as arousal, use DistilledRegressor.",
            "Unknown label type: continuous",
        ):
            training_set, weights = encode_classes(
                self, range(n_recordings), y, sample_weight, groups, skip=skip
            )
        training_set = smooth_labels(training_set, self.label_smoothing)
        weights = weights / weights[training_set.positions].mean()
        return EncodedTargets(training_set, self._plan(training_set), weights)

    def _predict_teacher(self, X, rows, **settings):
        return predict_teacher_proba(self.teacher_, X, rows, self.classes_, **settings)

    def _label_loss(self, outputs, targets):
        n_labelled = targets.any(dim=1).sum().clamp_min(1)
        return functional.cross_entropy(outputs, targets, reduction="sum") / n_labelled

    def _teacher_loss(self, outputs, predicted, weights):
        return softened_divergence(outputs, predicted, weights, temperature=self.temperature)

    def _score(self, outputs, targets):
        return super()._score(outputs, targets[:, : outputs.shape[1]])  # without the teacher's
