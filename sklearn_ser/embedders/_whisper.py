"""Layers of Whisper's encoder as a scikit-learn transformer."""

from sklearn_ser._sklearn import StrOptions

from ._base import RecordingTransformer
from ._pretrained import SPEECH_CONSTRAINTS, find_backbone, resolve_speech_encoder


class WhisperEmbedder(RecordingTransformer):
    """Layers of Whisper's frozen encoder, pooled over time.

    For each recording and layer, the hidden states are averaged over time, or summarised by
    other statistics. The transformer is stateless: `transform` can be called without `fit`.

    Parameters
    ----------
    model : str or path, default="openai/whisper-base"
        Hub id, or folder with ``config.json`` and the weights of the whole model or of its
        encoder only.
    revision : str, default=None
        Branch, tag or commit of a model on the hub. If None, the cached version of the main
        branch is used; it is downloaded if there is none.
    layers : {"last", "all"}, int or list of int, default="last"
        Hidden states to return, numbered as in transformers: 0 is the input of the first block,
        1 the output of the first block, and so on; negative numbers count from the last layer.
        The last layer is taken after the final norm. Layers beyond the deepest requested one are
        not computed.
    flatten : bool, default=False
        Whether to concatenate several layers in one row, in the order of `layers`. If False,
        several layers are returned along a separate axis.
    pooling : {"mean", "mean_std", "max"} or callable, default="mean"
        Statistics of each layer over time: mean, mean and standard deviation, or maximum; or a
        function that maps frames of shape (n_frames, n_dims) to a 1-D array. Padding is
        excluded.
    context : {"30s", "recording"}, default="30s"
        Length of the encoder's input. "30s" pads each recording with silence to thirty seconds,
        as in Whisper's training. "recording" uses the recording's own length and truncates the
        positional embedding accordingly. Only frames of the recording are pooled in both cases.
    window : float, default=30.0
        Maximum length of the network's input, in seconds, at most 30. Longer recordings are
        split into overlapping windows. Each frame is pooled once, from the window in which it is
        farther from the edge.
    hop : float, default=None
        Step between the starts of successive windows, in seconds. If None, ``0.8 * window``.
    batch_size : int, default=16
        Maximum number of recordings, or windows, in a batch. A batch is also limited to
        ``2 * batch_size`` seconds of audio, with the silence up to thirty seconds. Does not change
        the results. Some hundreds make good use of a GPU.
    sampling_rate : int, default=16000
        Sampling rate of recordings that are passed as arrays without a rate, in Hz. Recordings
        are resampled to the network's 16000 Hz (soxr, HQ).
    channel : int, default=None
        Index of the channel to use of multi-channel recordings. If None, channels are averaged.
    device : str, default="auto"
        Device of the network, such as "cpu", "cuda" or "cuda:1". With "auto", a CUDA GPU is used
        if available, otherwise the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Precision of weights and arithmetic. Statistics over time and the output are float32.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder or store that caches embeddings. Entries are found by the content of the
        recording, so each recording is embedded once across folds, candidates, processes and
        sessions. All computed layers are stored, so another choice of `layers` can reuse them.
        Before a search in several processes, fill the cache by one call of `transform`. If None,
        nothing is cached.
    on_error : {"raise", "nan"}, default="raise"
        What to do with unusable recordings. "raise" raises a `RecordingError`; "nan" returns
        rows of NaN and emits one warning that lists these recordings.
    local_files_only : bool, default=False
        If True, only use a model that is already on this machine, without a download.
    verbose : int, default=0
        If 1, show a progress bar while the network runs. Nothing is shown if all embeddings are
        cached.
    n_jobs : int, default=None
        Number of threads that read and decode recordings. None means 1 unless in a
        `joblib.parallel_config` context; -1 means all processors.

    Attributes
    ----------
    n_features_in_ : int
        Number of samples of each waveform. Defined only if `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Defined only if `X` was a data frame of numbers in `fit`.

    See Also
    --------
    WavLMEmbedder : Layers of WavLM.
    HubertEmbedder : Layers of HuBERT.
    LayerSelector : Select or combine layers inside cross-validation.
    EmbeddingStore : Cache of embeddings with a limit on its size, for `memory`.

    Notes
    -----
    **Context.** Whisper was trained on inputs of thirty seconds, padded with silence.
    ``context="30s"`` is the default because it reproduces the published network and the output
    of other implementations. ``context="recording"`` takes a fraction of the time for utterances
    of a few seconds, with equal emotion recognition where both were measured.

    **Exact batches.** The embedding of a recording does not depend on the other recordings in
    its batch, nor on their order; in float32 the relative difference is below 1e-5 for each
    layer. With ``context="30s"`` it equals the output of transformers' feature extractor and
    encoder, averaged over the frames of the recording. With ``context="recording"`` it equals
    the output of an encoder whose positional embedding has the length of the recording.
    Transformers' own encoder ignores attention masks.

    Weights are loaded when the first recording is embedded, once per process. Clones share them,
    and they are not pickled. Missing or unexpected weights raise an error.

    References
    ----------
    A. Radford, J. W. Kim, T. Xu, G. Brockman, C. McLeavey, I. Sutskever, "Robust Speech
    Recognition via Large-Scale Weak Supervision", ICML 2023. arXiv 2212.04356.

    Examples
    --------
    A small encoder with random weights, saved in the format of the hub:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import WhisperEmbedder
    >>> from transformers import WhisperConfig, WhisperModel
    >>> small = WhisperConfig(
    ...     d_model=24, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32,
    ...     decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=51865,
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> WhisperModel(small).save_pretrained(folder)
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> WhisperEmbedder(folder).fit_transform([tone, tone[:4000]]).shape
    (2, 24)
    >>> embedder = WhisperEmbedder(folder, layers="all", context="recording")
    >>> embedder.fit_transform([tone, tone[:4000]]).shape
    (2, 3, 24)
    """

    _parameter_constraints: dict = {
        **RecordingTransformer._parameter_constraints,
        **SPEECH_CONSTRAINTS,
        "context": [StrOptions({"30s", "recording"})],
    }

    def __init__(
        self,
        model="openai/whisper-base",
        *,
        revision=None,
        layers="last",
        flatten=False,
        pooling="mean",
        context="30s",
        window=30.0,
        hop=None,
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
        self.layers = layers
        self.flatten = flatten
        self.pooling = pooling
        self.context = context
        self.window = window
        self.hop = hop
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

    def _load_backbone(self):
        return find_backbone(self, "whisper", context=self.context)

    def _resolve(self):
        return resolve_speech_encoder(self)
