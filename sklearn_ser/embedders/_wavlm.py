"""Layers of WavLM as a scikit-learn transformer."""

from ._base import RecordingTransformer
from ._pretrained import SPEECH_CONSTRAINTS, find_backbone, rows_of_layers


class WavLMEmbedder(RecordingTransformer):
    """Layers of a frozen WavLM, pooled over time.

    Each recording becomes one row for each layer asked for: the mean of the network's frames, or
    other statistics of them. Nothing is learned, so `transform` needs no `fit`.

    Parameters
    ----------
    model : str or path, default="microsoft/wavlm-base-plus"
        A hub id, or a folder in which there are ``config.json`` and the weights. Any network of
        the wav2vec 2.0 family will do: WavLM, HuBERT, DistilHuBERT, wav2vec 2.0, XLS-R,
        UniSpeech, UniSpeech-SAT and data2vec-audio; columns are named after what it is.
    revision : str, default=None
        Branch, tag or commit of a model on the hub. None is its main branch, as it was when it
        was first downloaded.
    layers : {"last", "all"}, int or list of int, default="last"
        Hidden states to return, counted as transformers does: 0 is the input of the first block,
        1 the output of the first block, and so on; negative numbers count from the last.
        With stable layer norm (the large networks) the last layer is after the final norm, as
        ``last_hidden_state`` is (and ``hidden_states[-1]`` is not). The network stops at the
        deepest layer asked for.
    flatten : bool, default=False
        With several layers, whether they lie side by side in one row, the first layer first, or
        have an axis of their own.
    pooling : {"mean", "mean_std", "max"} or callable, default="mean"
        What is kept of each layer's frames: their mean, mean and standard deviation, or maximum;
        or a function from frames of shape (n_frames, n_dims) to a 1-D array. Only frames of the
        recording itself are pooled, never padding.
    window : float, default=30.0
        Longest stretch that the network sees at once, in seconds; None for no limit. Longer
        recordings are cut into overlapping windows, and each frame is pooled once, from the
        window where it has more of its surroundings.
    hop : float, default=None
        From the beginning of one window to the next, in seconds; None is four fifths of `window`.
    batch_size : int, default=16
        Most recordings, or windows, that pass through the network together. A batch is also
        limited to 2 s of sound, padding included, for each of them, whatever their lengths.
        Results don't depend on it; a GPU is busy with some hundreds.
    sampling_rate : int, default=16000
        Rate of arrays that come without one, in Hz. What has another rate than the network's
        16000 Hz is resampled (soxr, HQ).
    channel : int, default=None
        Channel of recordings that have several, counted from 0; None averages them.
    device : str, default="auto"
        Where the network runs: "cpu", "cuda", "cuda:1" and so on; "auto" is a CUDA GPU where
        there is one, else the CPU.
    dtype : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of weights and arithmetic. Statistics over time and the output are float32.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder where embeddings are kept, by the content of the recording: each passes through
        the network once, whatever the fold, the candidate, the process or the day. All layers
        down to the deepest are kept, so that another choice of `layers` costs nothing. Before a
        search in several processes, fill it by one call of `transform`.
    on_error : {"raise", "nan"}, default="raise"
        Whether a recording that can't be used raises `RecordingError`, or gives a row of NaN
        and one warning that lists all of them.
    local_files_only : bool, default=False
        Whether to look for a hub's model on this machine alone.
    verbose : int, default=0
        1 shows a progress bar in seconds of audio.
    n_jobs : int, default=None
        Number of threads that read and decode. None means 1 unless in a
        `joblib.parallel_config` context; -1 means all processors.

    Attributes
    ----------
    n_features_in_ : int
        Number of samples of each waveform. Only where `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Only where `X` was a data frame of numbers in `fit`.

    See Also
    --------
    HubertEmbedder : The same for HuBERT.
    WhisperEmbedder : The same for Whisper's encoder.
    LayerSelector : Choose or combine layers inside cross-validation.
    EmbeddingStore : Where `memory` keeps embeddings, with a limit of its size.

    Notes
    -----
    **Exact batches.** A recording's embedding is the same alone, in any batch and in any order,
    and the one that transformers' own feature extractor and network give for it by itself:
    convolutions, their normalisation over time and the embedding of positions see one recording
    at a time, and attention does not see padding. In float32 the difference is below 1e-5 of the
    embedding's norm for each layer. In other libraries zero padding moves the features of
    networks with a group norm over time, such as this family's base models, by a quarter and
    more.

    The checkpoint's own preprocessing is honoured: where it says ``do_normalize``, each recording
    is normalised over its own samples; where it says nothing, too, as transformers does. A
    recording too short for one frame (400 samples) is padded with zeros on the right.

    Weights are loaded when the first recording passes through, once per process: clones share
    them, and pickles carry none. Missing or left-over weights raise an error.

    WavLM attends by PyTorch's fused attention with its gated relative position bias, which
    transformers computes in separate steps.

    References
    ----------
    S. Chen, C. Wang, Z. Chen, Y. Wu, S. Liu et al., "WavLM: Large-Scale Self-Supervised
    Pre-Training for Full Stack Speech Processing", IEEE Journal of Selected Topics in Signal
    Processing 16 (6), 2022. arXiv 2110.13900.

    Examples
    --------
    A small network of the same make, with random weights, saved as the hub's models are:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import WavLMEmbedder
    >>> from transformers import WavLMConfig, WavLMModel
    >>> small = WavLMConfig(
    ...     hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
    ...     conv_dim=[8] * 7, num_conv_pos_embedding_groups=2,
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> WavLMModel(small).save_pretrained(folder)
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> WavLMEmbedder(folder).fit_transform([tone, tone[:4000]]).shape
    (2, 24)
    >>> WavLMEmbedder(folder, layers="all").fit_transform([tone, tone[:4000]]).shape
    (2, 4, 24)
    >>> embedder = WavLMEmbedder(folder, layers=[1, 2], flatten=True)
    >>> embedder.get_feature_names_out()[[0, -1]]
    array(['wavlm_layer01_dim0000', 'wavlm_layer02_dim0023'], dtype=object)
    """

    _parameter_constraints: dict = {
        **RecordingTransformer._parameter_constraints,
        **SPEECH_CONSTRAINTS,
    }

    def __init__(
        self,
        model="microsoft/wavlm-base-plus",
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
        return rows_of_layers(self)
