"""Latents of neural audio codecs as a scikit-learn transformer."""

from numbers import Integral

from sklearn_ser._sklearn import Interval, StrOptions
from sklearn_ser.backbones import find_codec, registered_codec
from sklearn_ser.store import as_store

from ._base import RecordingTransformer
from ._known_networks import recall_backbone
from ._pretrained import FRAME_CONSTRAINTS, PRETRAINED_CONSTRAINTS, resolve_recording_embedder


class CodecEmbedder(RecordingTransformer):
    """Quantised latents of a neural audio codec, pooled over time.

    Each recording is represented by the mean over time of its quantised latents, the input of
    the codec's decoder, or by other statistics of them. Code indices are categorical and are not
    averaged. The transformer is stateless: `transform` can be called without `fit`.

    Parameters
    ----------
    model : str or path, default="encodec_24khz"
        Name from the table below or given by `register_codec`, hub id, folder, or file.
    revision : str, default=None
        Branch, tag or commit of a model on the hub. If None, the cached version of the main
        branch is used; it is downloaded if there is none.
    representation : {"quantized", "latent"}, default="quantized"
        Whether to pool the latents after quantisation (the sum of codewords, which is the input
        of the decoder) or before it.
    n_quantizers : int, default=None
        Number of stages of the residual quantiser to sum, which sets the bitrate. If None, all
        stages are used.
    pooling : {"mean", "mean_std", "max"} or callable, default="mean"
        Statistics of the latents over time: mean, mean and standard deviation, or maximum; or a
        function that maps frames of shape (n_frames, n_dims) to a 1-D array. Padding is
        excluded. A function needs the frames of all computed stages in memory until the
        recording ends.
    window : float, default=30.0
        Maximum length of the network's input, in seconds; None for no limit. Longer recordings
        are split into overlapping windows. Each frame is pooled once, from the window in which
        it is farther from the edge. Ignored by Lyra and EnCodec for 48 kHz, which process
        recordings in frames of 20 ms and in segments of 1 s.
    hop : float, default=None
        Step between the starts of successive windows, in seconds. If None, ``0.8 * window``.
    batch_size : int, default=16
        Maximum number of recordings, or windows, to encode before their latents are pooled. Does
        not change the results: each is encoded separately.
    sampling_rate : int, default=16000
        Sampling rate of recordings that are passed as arrays without a rate, in Hz. Recordings
        are resampled to the rate of the codec (soxr, HQ).
    channel : int, default=None
        Index of the channel to use of multi-channel recordings. If None, channels are averaged.
    device : str, default="auto"
        Device of the network, such as "cpu", "cuda" or "cuda:1". With "auto", a CUDA GPU is used
        if available, otherwise the CPU. Lyra always runs on the CPU.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder or store that caches embeddings. Entries are found by the content of the
        recording, so each recording is encoded once across folds, candidates, processes and
        sessions. The latents and the sums of all stages are stored, so another `representation`
        or `n_quantizers` can reuse them. If None, nothing is cached.
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
    register_codec : Add a codec.
    WavLMEmbedder : Layers of a speech encoder.
    EmbeddingStore : Cache of embeddings with a limit on its size, for `memory`.

    Notes
    -----
    ================  ===========================  =======  ======  ======  ===========  ==========
    `model`           weights                      rate     frames  width   quantisers   extra
    ================  ===========================  =======  ======  ======  ===========  ==========
    "encodec_24khz"   facebook/encodec_24khz       24 kHz   75 /s   128     32
    "encodec_48khz"   facebook/encodec_48khz       48 kHz   150 /s  128     16
    "dac_16khz"       descript/dac_16khz           16 kHz   50 /s   1024    12
    "dac_24khz"       descript/dac_24khz           24 kHz   75 /s   1024    32
    "mimi"            kyutai/mimi                  24 kHz   12.5/s  512     32
    "snac"            hubertsiuzdak/snac_24khz     24 kHz   47 /s   768     3            ``snac``
    "soundstream"     haydenshively/SoundStream    16 kHz   80 /s   256     16
    a folder of Lyra  Lyra's ``model_coeffs``      16 kHz   50 /s   64      46           ``lyra``
    a file ``.th``    EnCodec's own, by name       24 kHz   75 /s   128     32           ``encodec``
    ================  ===========================  =======  ======  ======  ===========  ==========

    A hub id or folder can hold any EnCodec, DAC or Mimi of transformers, or SNAC. Checkpoints of
    the ``encodec`` package must keep their original names, ``encodec_24khz-*.th`` and
    ``encodec_48khz-*.th``; pass the file, or a folder with one of them. For a folder with the
    same name as a codec, write ``"./mimi"``.

    Bitrates of EnCodec correspond to numbers of quantisers: 1.5, 3, 6, 12 and 24 kbit/s at
    24 kHz use 2, 4, 8, 16 and 32; 3, 6, 12 and 24 kbit/s at 48 kHz use 2, 4, 8 and 16. For Lyra,
    3.2, 6 and 9.2 kbit/s use 16, 30 and 46.

    EnCodec for 24 kHz is the default because it was trained on speech among other audio, is
    published as safetensors, and only requires transformers. The best results of HYFuse are
    reported with "soundstream".

    **Exact batches.** Each recording is encoded separately by the modules of the codec's own
    library, so its embedding equals the library's and does not depend on other recordings.
    Padding would change the last frames of codecs with look-ahead (DAC, SNAC), and all frames of
    codecs that normalise over time (EnCodec for 48 kHz). The end of a recording is handled as in
    the library: DAC and Lyra pad the last frame with zeros; EnCodec for 48 kHz encodes a shorter
    last segment, as does transformers' model without its feature extractor, which would pad with
    zeros; SoundStream drops an incomplete last frame. Codes equal the library's, too. They may
    differ between processors if two codewords are equally near up to rounding.

    Weights are loaded when the first recording is encoded, once per process. Clones share them,
    and they are not pickled. Missing or unexpected weights raise an error. The precision is
    always float32, because codes change in half precision.

    The encoder of "soundstream" is a reimplementation for the checkpoint of the ``soundstream``
    package. Names and shapes of its weights are checked when they are loaded. Lyra's graphs are
    partly quantised to 8-bit integers, and XNNPACK, which runs them, may round differently on
    other types of processor.

    References
    ----------
    N. Zeghidour, A. Luebs, A. Omran, J. Skoglund, M. Tagliasacchi, "SoundStream: An End-to-End
    Neural Audio Codec", IEEE/ACM TASLP 30, 2021. arXiv 2107.03312.

    A. Défossez, J. Copet, G. Synnaeve, Y. Adi, "High Fidelity Neural Audio Compression", TMLR,
    2023. arXiv 2210.13438.

    R. Kumar, P. Seetharaman, A. Luebs, I. Kumar, K. Kumar, "High-Fidelity Audio Compression with
    Improved RVQGAN", NeurIPS 2023. arXiv 2306.06546.

    A. Défossez, L. Mazaré, M. Orsini, A. Royer, P. Pérez, H. Jégou, E. Grave, N. Zeghidour,
    "Moshi: a speech-text foundation model for real-time dialogue", 2024. arXiv 2410.00037.

    H. Siuzdak, F. Grötschla, L. A. Lanzendörfer, "SNAC: Multi-Scale Neural Audio Codec", 2024.
    arXiv 2410.14411.

    O. C. Phukan, Girish, M. M. Akhtar et al., "HYFuse: Aligning Heterogeneous Speech Pre-Trained
    Representations in Hyperbolic Space for Speech Emotion Recognition", Interspeech 2025.
    arXiv 2506.03403.

    Examples
    --------
    A small EnCodec with random weights, saved in the format of the hub:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import CodecEmbedder
    >>> from transformers import EncodecConfig, EncodecModel
    >>> folder = tempfile.mkdtemp()
    >>> small = EncodecConfig(num_filters=4, hidden_size=16, codebook_size=64)
    >>> EncodecModel(small).save_pretrained(folder)
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> CodecEmbedder(folder).fit_transform([tone, tone[:4000]]).shape
    (2, 16)
    >>> embedder = CodecEmbedder(folder, representation="latent", pooling="mean_std")
    >>> embedder.fit_transform([tone, tone[:4000]]).shape
    (2, 32)
    >>> embedder.get_feature_names_out()[:2]
    array(['encodec24_latent_mean_dim0000', 'encodec24_latent_mean_dim0001'],
          dtype=object)
    """

    _parameter_constraints: dict = {
        **RecordingTransformer._parameter_constraints,
        **PRETRAINED_CONSTRAINTS,
        **FRAME_CONSTRAINTS,
        "representation": [StrOptions({"quantized", "latent"})],
        "n_quantizers": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        model="encodec_24khz",
        *,
        revision=None,
        representation="quantized",
        n_quantizers=None,
        pooling="mean",
        window=30.0,
        hop=None,
        batch_size=16,
        sampling_rate=16000,
        channel=None,
        device="auto",
        memory=None,
        on_error="raise",
        local_files_only=False,
        verbose=0,
        n_jobs=None,
    ):
        self.model = model
        self.revision = revision
        self.representation = representation
        self.n_quantizers = n_quantizers
        self.pooling = pooling
        self.window = window
        self.hop = hop
        self.batch_size = batch_size
        self.sampling_rate = sampling_rate
        self.channel = channel
        self.device = device
        self.memory = memory
        self.on_error = on_error
        self.local_files_only = local_files_only
        self.verbose = verbose
        self.n_jobs = n_jobs

    def _load_backbone(self):
        where = {"revision": self.revision, "local_files_only": self.local_files_only}
        if registered_codec(self.model) is not None:
            from sklearn_ser.backbones import load_codec

            return load_codec(self.model, device=self.device, **where)
        return recall_backbone(
            find_codec(self.model, **where),
            as_store(self.memory),
            family="codec",
            device=self.device,
            dtype="float32",
        )

    def _resolve(self):
        return resolve_recording_embedder(
            self, self._choose_stage, pooling=self.pooling, window=self.window, hop=self.hop
        )

    def _choose_stage(self, backbone):
        """Return the layer to pool: 0 before quantisation, k after k stages."""
        n_stages = backbone.n_layers - 1
        n_quantizers = n_stages if self.n_quantizers is None else self.n_quantizers
        if n_quantizers > n_stages:
            raise ValueError(
                f"n_quantizers={n_quantizers} is more than the {n_stages} quantizers of "
                f"model={self.model!r}."
            )
        prefix = backbone.name
        if self.representation == "latent":
            prefix += "_latent"
        elif self.n_quantizers is not None:
            prefix += f"_q{n_quantizers:02d}"
        return {
            "layers": [0 if self.representation == "latent" else n_quantizers],
            "prefixes": [prefix],
            # With a cache, all stages are stored: they are cheap compared with the encoder.
            "last_layer": None if self.memory is None else n_stages,
        }
