"""Latents of neural audio codecs as a scikit-learn transformer."""

from numbers import Integral

from sklearn_ser._sklearn import Interval, StrOptions

from ._base import RecordingTransformer
from ._pretrained import FRAME_CONSTRAINTS, PRETRAINED_CONSTRAINTS, rows_of_recordings


class CodecEmbedder(RecordingTransformer):
    """Quantised latents of a neural audio codec, pooled over time.

    Each recording becomes one row: the mean over its frames of the vectors that the codec's
    decoder would be given, or other statistics of them. Nothing is learned, so `transform` needs
    no `fit`. Numbers of codewords are names, not quantities, and are never averaged.

    Parameters
    ----------
    model : str or path, default="encodec_24khz"
        A name from the table below or of `register_codec`, a hub id, a folder, or a file.
    revision : str, default=None
        Branch, tag or commit of a model on the hub. None is its main branch, as it was when it
        was first downloaded.
    representation : {"quantized", "latent"}, default="quantized"
        Whether to pool the latents after quantisation, as the sums of codewords that the decoder
        takes, or before.
    n_quantizers : int, default=None
        How many stages of the quantiser to add up, and so the bitrate; None is all of them.
    pooling : {"mean", "mean_std", "max"} or callable, default="mean"
        What is kept of the frames: their mean, mean and standard deviation, or maximum; or a
        function from frames of shape (n_frames, n_dims) to a 1-D array, for which the frames of
        all stages down to the deepest are held until the recording ends. Only frames of the
        recording itself are pooled, never padding.
    window : float, default=30.0
        Longest stretch that the network sees at once, in seconds; None is no limit. Longer
        recordings are cut into overlapping windows, and each frame is pooled once, from the
        window where it has more of its surroundings. Lyra and EnCodec for 48 kHz cut by
        themselves, in frames of 20 ms and in seconds, and get no windows.
    hop : float, default=None
        From the beginning of one window to the next, in seconds; None is four fifths of `window`.
    batch_size : int, default=16
        Most recordings, or windows, that are at work together. Each passes through the codec
        alone; results don't depend on it.
    sampling_rate : int, default=16000
        Rate of arrays that come without one, in Hz. Recordings are resampled to the codec's own
        rate (soxr, HQ).
    channel : int, default=None
        Channel of recordings that have several, counted from 0; None averages them.
    device : str, default="auto"
        Where the network runs: "cpu", "cuda", "cuda:1" and so on; "auto" is a CUDA GPU where
        there is one, else the CPU. Lyra runs on the CPU whatever is chosen.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder where embeddings are kept, by the content of the recording: each passes through
        the codec once, whatever the fold, the candidate, the process or the day. The latents and
        the sums of all stages are kept, so that another `representation` or `n_quantizers` costs
        nothing.
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
    register_codec : Add a codec.
    WavLMEmbedder : Layers of a speech encoder.
    EmbeddingStore : Where `memory` keeps embeddings, with a limit of its size.

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

    A hub id or folder may hold any EnCodec, DAC or Mimi of transformers, or SNAC. Checkpoints of
    the ``encodec`` package keep the names that it gives them, ``encodec_24khz-*.th`` and
    ``encodec_48khz-*.th``; they are taken as a file, or as the folder in which one of them is.
    Where a folder is called as a codec is, write ``"./mimi"``.

    EnCodec's bitrates are numbers of quantisers: 1.5, 3, 6, 12 and 24 kbit/s at 24 kHz are 2, 4,
    8, 16 and 32 of them; 3, 6, 12 and 24 kbit/s at 48 kHz are 2, 4, 8 and 16. Lyra's 3.2, 6 and
    9.2 kbit/s are 16, 30 and 46.

    The default is EnCodec for 24 kHz: trained on speech among other sound, in safetensors, and
    run by transformers alone. HYFuse has its best figures with "soundstream".

    **Exact batches.** Each recording passes through the codec alone, by its library's own
    modules, so that its row is that of the library and can't depend on its neighbours. Padding
    would move the last frames of codecs that look ahead, as DAC and SNAC do, and all frames where
    a norm runs over time, as it does in EnCodec for 48 kHz. A recording ends as its library ends
    it: DAC and Lyra fill its last frame up with zeros; EnCodec for 48 kHz encodes its last
    segment as short as it is, as does transformers' model without its feature extractor, which
    would add zeros; SoundStream drops what is no whole frame. Codes are the library's,
    too; between processors they may differ where two codewords are equally near, to rounding.

    Weights are loaded when the first recording passes through, once per process: clones share
    them, and pickles carry none. Missing or left-over weights raise an error. There is no choice
    of precision, because codes flip in half of it.

    The encoder of "soundstream" is written for the checkpoint of the ``soundstream`` package by
    the names and shapes of its weights; these are checked when it is loaded. Lyra's graphs are
    partly in 8-bit integers, and XNNPACK, which runs them, may round otherwise on another kind of
    processor.

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
    A small EnCodec with random weights, saved as the hub's models are:

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
        from sklearn_ser.backbones import load_codec

        return load_codec(
            self.model,
            device=self.device,
            revision=self.revision,
            local_files_only=self.local_files_only,
        )

    def _resolve(self):
        return rows_of_recordings(
            self, self._choose_stage, pooling=self.pooling, window=self.window, hop=self.hop
        )

    def _choose_stage(self, backbone):
        """Choose the one layer: 0 before quantisation, k after k stages of it."""
        n_stages = backbone.n_layers - 1
        n_quantizers = n_stages if self.n_quantizers is None else self.n_quantizers
        if n_quantizers > n_stages:
            raise ValueError(
                f"n_quantizers={n_quantizers} is more than the {n_stages} that "
                f"model={self.model!r} has."
            )
        prefix = backbone.name
        if self.representation == "latent":
            prefix += "_latent"
        elif self.n_quantizers is not None:
            prefix += f"_q{n_quantizers:02d}"
        return {
            "layers": [0 if self.representation == "latent" else n_quantizers],
            "prefixes": [prefix],
            # All stages are kept where any is: they cost little compared with the encoder.
            "last_layer": None if self.memory is None else n_stages,
        }
