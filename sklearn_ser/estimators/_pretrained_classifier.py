"""Published emotion classifiers as scikit-learn classifiers."""

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin

from sklearn_ser.training import most_probable, score_classes

from ._pretrained_head import PretrainedHead


class PretrainedEmotionClassifier(ClassifierMixin, PretrainedHead):
    """A published network that classifies emotions in recordings.

    The network and its classification head are used as published. Nothing is trained: `predict`
    can be called without `fit`.

    Parameters
    ----------
    model : str or path, default="superb/hubert-large-superb-er"
        Hub id, or folder with ``config.json`` and the weights, of an audio classification
        checkpoint of the wav2vec 2.0 family (WavLM, HuBERT, wav2vec 2.0, XLS-R, UniSpeech,
        UniSpeech-SAT, data2vec-audio) or of Whisper. The head is that of transformers'
        ``...ForSequenceClassification`` and ``WhisperForAudioClassification``, or has a hidden
        layer after pooling (weights ``classifier.dense`` and ``classifier.out_proj``), which
        transformers would initialise randomly.
    revision : str, default=None
        Branch, tag or commit of a model on the hub. If None, the cached version of the main
        branch is used; it is downloaded if there is none.
    window : float, default=30.0
        Maximum length of the network's input, in seconds; None for no limit. A longer recording
        is covered by as few evenly spaced windows of this length as possible, and their
        logits are averaged. At most 30 for Whisper.
    batch_size : int, default=16
        Maximum number of recordings, or windows, in a batch. A batch is also limited to
        ``2 * batch_size`` seconds of audio, for Whisper with the silence up to thirty seconds.
        Does not change the results. Some hundreds make good use of a GPU.
    sampling_rate : int, default=16000
        Sampling rate of recordings that are passed as arrays without a rate, in Hz. Recordings
        are resampled to the network's 16000 Hz (soxr, HQ).
    channel : int, default=None
        Index of the channel to use of multi-channel recordings. If None, channels are averaged.
    device : str, default="auto"
        Device of the network, such as "cpu", "cuda" or "cuda:1". With "auto", a CUDA GPU is used
        if available, otherwise the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Precision of the encoder's weights and arithmetic. Statistics over time and the head are
        float32.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder or store that caches the logits of recordings by their content, so that each
        recording passes through the network once across calls, processes and sessions. If None,
        nothing is cached.
    on_error : {"raise", "nan"}, default="raise"
        What to do with unusable recordings. "raise" raises a `RecordingError`; "nan" emits one
        warning that lists them, and returns rows of NaN, and None as their class.
    local_files_only : bool, default=False
        If True, only use a model that is already on this machine, without a download.
    verbose : int, default=0
        If 1, show a progress bar while the network runs. Nothing is shown if all outputs are
        cached.
    n_jobs : int, default=None
        Number of threads that read and decode recordings. None means 1 unless in a
        `joblib.parallel_config` context; -1 means all processors.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Names of the emotions as in ``id2label`` of the checkpoint, sorted. Available before `fit`;
        they are read from the checkpoint, which is downloaded if necessary.
    n_features_in_ : int
        Number of samples of each waveform. Defined only if `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Defined only if `X` was a data frame of numbers in `fit`.

    See Also
    --------
    PretrainedEmotionRegressor : Published networks for arousal, valence and dominance.
    WavLMEmbedder : Layers of a network as features for your own classifier.
    sklearn.frozen.FrozenEstimator : Calibrate this classifier on your own recordings.

    Notes
    -----
    `decision_function` equals the logits of transformers' feature extractor and network for the
    recording alone, with columns in the order of `classes_`; the relative difference is below
    1e-5 in float32. They do not depend on the other recordings in the batch, nor on their order.
    Whisper's encoder gets the recording padded with silence to thirty seconds, and its head
    averages all thirty seconds, as in its training.

    The probabilities are the softmax of the logits. Networks are often overconfident on other
    corpora than their own, so calibrate them before thresholds are set.

    Weights are loaded when the first recording is processed, once per process. Clones share them,
    and they are not pickled. Missing or unexpected weights raise an error.

    References
    ----------
    S. Yang et al., "SUPERB: Speech processing Universal PERformance Benchmark", Interspeech 2021.
    arXiv 2105.01051.

    Examples
    --------
    A small network with random weights, saved in the format of the hub:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import PretrainedEmotionClassifier
    >>> from transformers import WavLMConfig, WavLMForSequenceClassification
    >>> small = WavLMConfig(
    ...     hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    ...     conv_dim=[8] * 7, num_conv_pos_embedding_groups=2,
    ...     id2label={0: "neutral", 1: "anger", 2: "sadness"},
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> WavLMForSequenceClassification(small).save_pretrained(folder)
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> classifier = PretrainedEmotionClassifier(folder)
    >>> print(*classifier.classes_)
    anger neutral sadness
    >>> classifier.predict_proba([tone, tone[:4000]]).shape
    (2, 3)
    """

    _task = "single_label_classification"
    _names_attribute = "classes_"

    def __init__(
        self,
        model="superb/hubert-large-superb-er",
        *,
        revision=None,
        window=30.0,
        batch_size=16,
        sampling_rate=16000,
        channel=None,
        device="auto",
        dtype="float32",
        memory=None,
        on_error="raise",
        local_files_only=False,
        verbose=0,
        n_jobs=None,
    ):
        self.model = model
        self.revision = revision
        self.window = window
        self.batch_size = batch_size
        self.sampling_rate = sampling_rate
        self.channel = channel
        self.device = device
        self.dtype = dtype
        self.memory = memory
        self.on_error = on_error
        self.local_files_only = local_files_only
        self.verbose = verbose
        self.n_jobs = n_jobs

    def decision_function(self, X):
        """Return the logits of the network.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that `fit` accepts.

        Returns
        -------
        logits : ndarray of shape (n_recordings, n_classes), or (n_recordings,) for two classes
            Columns are in the order of `classes_`. For two classes, the difference of the logits,
            which is positive for the second one.

        Raises
        ------
        RecordingError
            If a recording can't be used; it lists all files that can't be opened as audio.
            With ``on_error="nan"``, their rows are NaN instead, and one warning lists them.
        """
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X):
        """Compute the probability of each emotion.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that `fit` accepts.

        Returns
        -------
        probabilities : ndarray of shape (n_recordings, n_classes)
            Columns are in the order of `classes_`. Each row sums to one.

        Raises
        ------
        RecordingError
            If a recording can't be used; it lists all files that can't be opened as audio.
            With ``on_error="nan"``, their rows are NaN instead, and one warning lists them.
        """
        # In float64, so that each row sums to one.
        return softmax(self._outputs(X).astype(np.float64), axis=1)

    def predict(self, X):
        """Predict the emotion of each recording.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that `fit` accepts.

        Returns
        -------
        classes : ndarray of shape (n_recordings,)
            Names of the emotions, as in `classes_`. An array of objects with None for recordings
            that can't be used, with ``on_error="nan"``.

        Raises
        ------
        RecordingError
            If a recording can't be used; it lists all files that can't be opened as audio.
            With ``on_error="nan"``, one warning lists them instead.
        """
        return most_probable(self.classes_, self._outputs(X))

    def score(self, X, y, sample_weight=None):
        """Compute the accuracy of the predicted emotions.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that `fit` accepts.
        y : array-like of shape (n_recordings,)
            Emotions.
        sample_weight : array-like of shape (n_recordings,), default=None
            Weights of the recordings.

        Returns
        -------
        accuracy : float
            Accuracy. With ``on_error="nan"``, recordings that can't be used count as wrong.
        """
        return score_classes(y, self.predict(X), sample_weight)

    def _sort(self, backbone):
        return np.argsort(backbone.label_names)
