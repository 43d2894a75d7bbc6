"""Layers of HuBERT as a scikit-learn transformer."""

from ._base import RecordingTransformer
from ._pretrained import SPEECH_CONSTRAINTS, find_backbone, resolve_speech_encoder


class HubertEmbedder(RecordingTransformer):
    """Layers of a frozen HuBERT, pooled over time.

    For each recording and layer, the hidden states are averaged over time, or summarised by
    other statistics. The transformer is stateless: `transform` can be called without `fit`.

    Parameters
    ----------
    model : str or path, default="facebook/hubert-large-ll60k"
        Hub id, or folder with ``config.json`` and the weights. All networks of the wav2vec 2.0
        family are supported: WavLM, HuBERT, DistilHuBERT, wav2vec 2.0, XLS-R, UniSpeech,
        UniSpeech-SAT and data2vec-audio. Columns are named after the model type.
    revision : str, default=None
        Branch, tag or commit of a model on the hub. If None, the cached version of the main
        branch is used; it is downloaded if there is none.
    layers : {"last", "all"}, int or list of int, default="last"
        Hidden states to return, numbered as in transformers: 0 is the input of the first block,
        1 the output of the first block, and so on; negative numbers count from the last layer.
        For networks with stable layer norm (the large ones), the last layer is taken after the
        final norm, as ``last_hidden_state`` (``hidden_states[-1]`` is taken before it). Layers
        beyond the deepest requested one are not computed.
    flatten : bool, default=False
        Whether to concatenate several layers in one row, in the order of `layers`. If False,
        several layers are returned along a separate axis.
    pooling : {"mean", "mean_std", "max"} or callable, default="mean"
        Statistics of each layer over time: mean, mean and standard deviation, or maximum; or a
        function that maps frames of shape (n_frames, n_dims) to a 1-D array.
    window : float, default=30.0
        Maximum length of the network's input, in seconds; None for no limit. Longer recordings
        are split into overlapping windows. Each frame is pooled once, from the window in which
        it is farther from the edge.
    hop : float, default=None
        Step between the starts of successive windows, in seconds. If None, ``0.8 * window``.
    batch_size : int, default=16
        Maximum number of recordings, or windows, in a batch. A batch is also limited to
        ``2 * batch_size`` seconds of audio. Does not change the results. Some hundreds make good
        use of a GPU.
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
    WhisperEmbedder : Layers of Whisper's encoder.
    LayerSelector : Select or combine layers inside cross-validation.
    EmbeddingStore : Cache of embeddings with a limit on its size, for `memory`.

    Notes
    -----
    **Exact batches.** The embedding of a recording does not depend on the other recordings in
    its batch, nor on their order. It equals the output of transformers' feature extractor and
    network for this recording alone: the convolutions and the group norm over time are applied
    to one recording at a time, and the blocks to the frames of all recordings, without padding.
    Positional embeddings and attention see the frames of their own recording. Only attention on
    GPUs pads, within groups of similar length, and masks the padding.
    In float32 the relative difference is below 1e-5 for each layer. With zero padding, as in
    other libraries, the features of networks with a group norm over time, such as the base
    models of this family, change by 25 % and more.

    The preprocessing of the checkpoint is applied: with ``do_normalize``, which is also the
    default of transformers, each recording is standardised over its own samples. A recording
    too short for one frame (400 samples) is padded with zeros on the right.

    Weights are loaded when the first recording is embedded, once per process. Clones share them,
    and they are not pickled. Missing or unexpected weights raise an error.

    References
    ----------
    W.-N. Hsu, B. Bolte, Y.-H. H. Tsai, K. Lakhotia, R. Salakhutdinov, A. Mohamed, "HuBERT:
    Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units",
    IEEE/ACM Transactions on Audio, Speech, and Language Processing 29, 2021. arXiv 2106.07447.

    H.-J. Chang, S.-w. Yang, H.-y. Lee, "DistilHuBERT: Speech Representation Learning by
    Layer-wise Distillation of Hidden-unit BERT", ICASSP 2022. arXiv 2110.01900.

    Examples
    --------
    A small network with random weights, saved in the format of the hub:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import HubertEmbedder
    >>> from transformers import HubertConfig, HubertModel
    >>> small = HubertConfig(
    ...     hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
    ...     conv_dim=[8] * 7, num_conv_pos_embedding_groups=2,
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> HubertModel(small).save_pretrained(folder)
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> HubertEmbedder(folder).fit_transform([tone, tone[:4000]]).shape
    (2, 24)
    >>> HubertEmbedder(folder, layers="all").fit_transform([tone, tone[:4000]]).shape
    (2, 4, 24)
    >>> embedder = HubertEmbedder(folder, layers=[1, 2], flatten=True)
    >>> embedder.get_feature_names_out()[[0, -1]]
    array(['hubert_layer01_dim0000', 'hubert_layer02_dim0023'], dtype=object)
    """

    _parameter_constraints: dict = {
        **RecordingTransformer._parameter_constraints,
        **SPEECH_CONSTRAINTS,
    }

    def __init__(
        self,
        model="facebook/hubert-large-ll60k",
        *,
        revision=None,
        layers="last",
        flatten=False,
        pooling="mean",
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
        return find_backbone(self, "wav2vec2")

    def _resolve(self):
        return resolve_speech_encoder(self)
