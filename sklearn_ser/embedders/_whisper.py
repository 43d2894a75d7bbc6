"""Layers of Whisper's encoder as a scikit-learn transformer."""

from sklearn_ser._sklearn import StrOptions

from ._base import RecordingTransformer
from ._pretrained import SPEECH_CONSTRAINTS, find_backbone, rows_of_layers


class WhisperEmbedder(RecordingTransformer):
    """Layers of the frozen encoder of Whisper, pooled over time.

    Each recording becomes one row for each layer asked for: the mean of the encoder's frames, or
    other statistics of them. Nothing is learned, so `transform` needs no `fit`.

    Parameters
    ----------
    model : str or path, default="openai/whisper-base"
        A hub id, or a folder in which there are ``config.json`` and the weights, of the whole
        model or of its encoder alone.
    revision : str, default=None
        Branch, tag or commit of a model on the hub. None is its main branch, as it was when it
        was first downloaded.
    layers : {"last", "all"}, int or list of int, default="last"
        Hidden states to return, counted as transformers does: 0 is the input of the first block,
        1 the output of the first block, and so on; negative numbers count from the last.
        The last layer is after the network's final norm. The network stops at the deepest layer
        asked for.
    flatten : bool, default=False
        With several layers, whether they lie side by side in one row, the first layer first, or
        have an axis of their own.
    pooling : {"mean", "mean_std", "max"} or callable, default="mean"
        What is kept of each layer's frames: their mean, mean and standard deviation, or maximum;
        or a function from frames of shape (n_frames, n_dims) to a 1-D array. Only frames of the
        recording itself are pooled, never padding.
    context : {"30s", "recording"}, default="30s"
        Whether silence follows the recording up to thirty seconds, as in Whisper's training, or
        the network sees the recording alone, its table of positions cut to length. The frames
        pooled are the recording's own either way.
    window : float, default=30.0
        Longest stretch that the network sees at once, in seconds, at most 30. Longer recordings
        are cut into overlapping windows, and each frame is pooled once, from the window where it
        has more of its surroundings.
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
    WavLMEmbedder : The same for WavLM.
    HubertEmbedder : The same for HuBERT.
    LayerSelector : Choose or combine layers inside cross-validation.
    EmbeddingStore : Where `memory` keeps embeddings, with a limit of its size.

    Notes
    -----
    **Context.** Whisper was trained on thirty seconds, mostly followed by silence, and
    ``context="30s"`` gives it these; it is the default because it is what the published network
    is, and what other code computes. ``context="recording"`` costs a fraction of the time on
    utterances of a few seconds, and recognised emotions as well where both were measured.

    **Exact batches.** A recording's embedding is the same alone, in any batch and in any order,
    in float32 to below 1e-5 of its norm for each layer. With ``context="30s"`` it is the one that
    transformers' feature extractor and encoder give, averaged over the recording's own frames.
    With ``context="recording"`` it is the one of an encoder whose table of positions ends with
    the recording; transformers' encoder ignores attention masks.

    Weights are loaded when the first recording passes through, once per process: clones share
    them, and pickles carry none. Missing or left-over weights raise an error.

    References
    ----------
    A. Radford, J. W. Kim, T. Xu, G. Brockman, C. McLeavey, I. Sutskever, "Robust Speech
    Recognition via Large-Scale Weak Supervision", ICML 2023. arXiv 2212.04356.

    Examples
    --------
    A small encoder of the same make, with random weights, saved as the hub's models are:

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
        return rows_of_layers(self)
