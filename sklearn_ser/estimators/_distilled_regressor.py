"""Arousal, valence and dominance from small encoders of speech and text, trained end to end."""

import torch
from sklearn.callback import with_callbacks

from sklearn_ser._sklearn import HasMethods, fit_context
from sklearn_ser.distillation._teacher_estimator import predict_teacher
from sklearn_ser.training import TorchRegressor, encode_targets

from ._distilled import DistilledEstimator, EncodedTargets, parameter_constraints, suggest


class DistilledRegressor(DistilledEstimator, TorchRegressor):
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
        With `early_stopping`, the mean CCC on the validation set in the best epoch.
    n_features_in_ : int
        Number of columns of `X`. Defined only if `X` was a table of waveforms in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they are all strings.

    See Also
    --------
    sklearn_ser.distillation.distill_encoder : Distils a small encoder from the layers of a large
        one, for `audio_model`.
    DistilledClassifier : The same for emotions.
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
    process one recording at a time, and frames attend to those of their own recording.

    *Missing transcripts.* None, NaN and blank transcripts are replaced by a learned vector. It is
    learned from a tenth of the transcripts, which are dropped in training, so that a model trained
    with transcripts also predicts without them.

    *Decoding.* Missing files are found before training. Each epoch decodes each recording once; a
    recording that cannot be used raises an error when it is first decoded, or is left out from then
    on. Its targets are part of `target_mean_` and `target_scale_`. A teacher decodes the recordings
    itself, for which its embedder's `memory` helps. With a teacher and ``on_error="nan"``, all
    recordings are decoded once before, as the teacher is fitted on those that can be used.

    *Checkpoints.* The folder of `checkpoint` belongs to one training. `fit` continues from the last
    complete epoch, and the result has the bits of a training without interruption (on the same
    kind of CPU, with the same number of threads of torch). After the end, `fit` with the same
    parameters and data returns the same result, without training. Otherwise it raises an error that
    names what differs; files are compared by path, size and time of modification. If `random_state`
    is not an integer, the seeds are those of the checkpoint. A teacher is fitted again. The file
    holds arrays and JSON, no pickles.

    References
    ----------
    .. [1] D. de Oliveira, N. R. Prabhu, T. Gerkmann, "Leveraging Semantic Information for Efficient
       Self-Supervised Emotion Recognition with Audio-Textual Distilled Models", Interspeech 2023,
       arXiv 2305.19184.
    .. [2] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
       arXiv 2106.09685.

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

    _parameter_constraints: dict = parameter_constraints(
        TorchRegressor, teacher=[HasMethods(["fit", "predict"]), None]
    )

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
        return self._fit(X, y, sample_weight, groups, unlabeled)

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
        return self._scale_back(self._average_windows(X))

    @property
    def _n_outputs(self):
        return len(self.target_names_)

    def _encode_targets(self, y, sample_weight, groups, *, n_recordings, skip):
        with suggest(
            "To predict classes such as emotions, use DistilledClassifier.",
            "could not convert string to float",
        ):
            training_set, plan = encode_targets(
                self, y, sample_weight, groups, n_recordings=n_recordings, skip=skip
            )
        return EncodedTargets(training_set, plan, training_set.targets[:, -1])

    def _predict_teacher(self, X, rows, **settings):
        predicted = predict_teacher(self.teacher_, X, rows, self._n_outputs, **settings)
        return self._standardize(predicted)

    def _teacher_loss(self, outputs, predicted, weights):
        return TorchRegressor._loss(self, outputs, torch.column_stack([predicted, weights]))
