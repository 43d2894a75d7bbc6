"""Published models of emotion dimensions as scikit-learn regressors."""

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin

from sklearn_ser.training import score_targets

from ._pretrained_head import PretrainedHead


class PretrainedEmotionRegressor(MultiOutputMixin, RegressorMixin, PretrainedHead):
    """A published network that predicts arousal, valence and dominance, or other targets.

    The network and its regression head are used as published. Nothing is trained: `predict` can
    be called without `fit`.

    Parameters
    ----------
    model : str or path, default="audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim"
        Hub id, or folder with ``config.json`` and the weights, of a checkpoint of the wav2vec 2.0
        family (WavLM, HuBERT, wav2vec 2.0, XLS-R, UniSpeech, UniSpeech-SAT, data2vec-audio) or of
        Whisper with a regression head. The head is that of audEERING's model (weights
        ``classifier.dense`` and ``classifier.out_proj``), or that of transformers'
        ``...ForSequenceClassification`` and ``WhisperForAudioClassification`` with
        ``problem_type="regression"`` or a single output.
    revision : str, default=None
        Branch, tag or commit of a model on the hub. If None, the cached version of the main
        branch is used; it is downloaded if there is none.
    window : float, default=30.0
        Maximum length of the network's input, in seconds; None for no limit. A longer recording
        is covered by as few evenly spaced windows of this length as possible, and their
        predictions are averaged. At most 30 for Whisper.
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
        Folder or store that caches the predictions of recordings by their content, so that each
        recording passes through the network once across calls, processes and sessions. If None,
        nothing is cached.
    on_error : {"raise", "nan"}, default="raise"
        What to do with unusable recordings. "raise" raises a `RecordingError`; "nan" returns
        rows of NaN and emits one warning that lists these recordings.
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
    target_names_ : ndarray of shape (n_targets,)
        Names of the targets as in ``id2label`` of the checkpoint, in the order of the columns:
        arousal, dominance and valence for audEERING's model. Available before `fit`; they are
        read from the checkpoint, which is downloaded if necessary.
    n_features_in_ : int
        Number of samples of each waveform. Defined only if `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Defined only if `X` was a data frame of numbers in `fit`.

    See Also
    --------
    PretrainedEmotionClassifier : Published networks for emotion classes.
    ConcordanceRegressor : Your own regressor on embeddings.
    DistilledRegressor : Small encoders trained end to end.

    Notes
    -----
    The prediction equals the output of transformers' feature extractor, encoder and the head for
    the recording alone; the relative difference is below 1e-5 in float32. It does not depend on
    the other recordings in the batch, nor on their order. Whisper's encoder gets the recording
    padded with silence to thirty seconds, and its head averages all thirty seconds, as in its
    training.

    Targets are in the units of the model's training: audEERING's are about 0 to 1. The loaders of
    this package return arousal, valence and dominance, which is another order than audEERING's.
    `score` finds the columns of a data frame by their names. For other metrics, select them:
    ``frame[regressor.target_names_]``.

    Weights are loaded when the first recording is processed, once per process. Clones share them,
    and they are not pickled. Missing or unexpected weights raise an error.

    References
    ----------
    J. Wagner, A. Triantafyllopoulos, H. Wierstorf, M. Schmitt, F. Burkhardt, F. Eyben,
    B. W. Schuller, "Dawn of the Transformer Era in Speech Emotion Recognition: Closing the Valence
    Gap", IEEE Transactions on Pattern Analysis and Machine Intelligence 45 (9), 2023.
    arXiv 2203.07378.

    Examples
    --------
    A small network with random weights, saved in the format of the hub:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import PretrainedEmotionRegressor
    >>> from transformers import WavLMConfig, WavLMForSequenceClassification
    >>> small = WavLMConfig(
    ...     hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    ...     conv_dim=[8] * 7, num_conv_pos_embedding_groups=2,
    ...     id2label={0: "arousal", 1: "valence"}, problem_type="regression",
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> WavLMForSequenceClassification(small).save_pretrained(folder)
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> regressor = PretrainedEmotionRegressor(folder)
    >>> print(*regressor.target_names_)
    arousal valence
    >>> regressor.predict([tone, tone[:4000]]).shape
    (2, 2)
    """

    _task = "regression"
    _names_attribute = "target_names_"

    def __init__(
        self,
        model="audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim",
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

    def predict(self, X):
        """Predict the targets of each recording.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that `fit` accepts.

        Returns
        -------
        predictions : ndarray of shape (n_recordings, n_targets), or (n_recordings,) for one target
            Columns are in the order of `target_names_`.

        Raises
        ------
        RecordingError
            If a recording can't be used; it lists all files that can't be opened as audio.
            With ``on_error="nan"``, their rows are NaN instead, and one warning lists them.
        """
        predictions = self._outputs(X).astype(np.float64)
        return predictions[:, 0] if predictions.shape[1] == 1 else predictions

    def score(self, X, y, sample_weight=None):
        """Compute the coefficient of determination R² of the predictions.

        Parameters
        ----------
        X : sequence of recordings, or array-like of shape (n_recordings, n_samples)
            Recordings in any form that `fit` accepts.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            Targets, in the units of the model. Columns of a data frame are found by their names,
            if these are those of `target_names_`.
        sample_weight : array-like of shape (n_recordings,), default=None
            Weights of the recordings.

        Returns
        -------
        r2 : float
            Mean over the targets, at most 1.

        Raises
        ------
        RecordingError
            If a recording can't be used; it lists all files that can't be opened as audio.
        ValueError
            With ``on_error="nan"``, if recordings can't be used, and so have no prediction.
        """
        return score_targets(self, X, y, sample_weight)

    def _sort(self, backbone):
        return np.arange(len(backbone.label_names))
