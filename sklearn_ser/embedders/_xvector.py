"""Networks that tell speakers apart as a scikit-learn transformer."""

from ._base import RecordingTransformer
from ._pretrained import (
    FRAME_CONSTRAINTS,
    PRECISION_CONSTRAINTS,
    PRETRAINED_CONSTRAINTS,
    find_backbone,
    rows_of_recordings,
)


class XVectorEmbedder(RecordingTransformer):
    """One vector for a recording, from a frozen network that was trained to tell speakers apart.

    Such vectors hold the voice and how it is used: beside the speaker, pitch, vocal effort and
    tempo, and with these emotion. Nothing is learned, so `transform` needs no `fit`.

    Parameters
    ----------
    model : str or path, default="speechbrain/spkrec-xvect-voxceleb"
        A hub id, a folder, or a word:

        - an x-vector or ECAPA-TDNN of SpeechBrain, such as
          ``"speechbrain/spkrec-xvect-voxceleb"`` (512 numbers) and
          ``"speechbrain/spkrec-ecapa-voxceleb"`` (192), or a folder with ``hyperparams.yaml``
          and ``embedding_model.ckpt``; runs on SpeechBrain, which
          the extra ``speechbrain`` installs;
        - WavLM, or another of the wav2vec 2.0 family, with transformers' x-vector head, such as
          ``"microsoft/wavlm-base-plus-sv"`` (512), or a folder of it;
        - GE2E (256): the file ``pretrained.pt`` of the package Resemblyzer, or its folder;
          ``"ge2e"`` takes it from that package where it is installed
          (``pip install --no-deps Resemblyzer``; none of its code is run).
    revision : str, default=None
        Branch, tag or commit of a model on the hub. None is its main branch, as it was when it
        was first downloaded.
    window : float, default=30.0
        Longest stretch that the network sees at once, in seconds; None for no limit. A longer
        recording is cut into windows of this length, as few as cover it and evenly spread, and
        its vector is the mean of theirs. GE2E takes no notice: its own procedure cuts every
        recording into parts of 1.6 s.
    batch_size : int, default=16
        Most recordings, or windows, in a batch, which is also limited to 2 s of sound for each of
        them. Results don't depend on it.
    sampling_rate : int, default=16000
        Rate of arrays that come without one, in Hz. What has another rate than the network's
        16000 Hz is resampled (soxr, HQ).
    channel : int, default=None
        Channel of recordings that have several, counted from 0; None averages them.
    device : str, default="auto"
        Where the network runs: "cpu", "cuda", "cuda:1" and so on; "auto" is a CUDA GPU where
        there is one, else the CPU.
    dtype : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of the network's arithmetic. Statistics over time and the output are float32.
        GE2E loses more by it than others: its vectors move by 7 % in bfloat16.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder where embeddings are kept, by the content of the recording: each passes through
        the network once, whatever the fold, the candidate, the process or the day.
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
    WavLMEmbedder : Layers of WavLM, whose frames are averaged.
    LayerSelector : Choose or combine layers inside cross-validation.
    EmbeddingStore : Where `memory` keeps embeddings, with a limit of its size.

    Notes
    -----
    **Exact batches.** A recording's vector is the same alone, in any batch and in any order, in
    float32 to below 1e-5 of its norm. That of SpeechBrain's networks is the one that
    ``EncoderClassifier.encode_batch(normalize=False)`` gives for the recording alone, but for
    the noise of up to 9e-5 that its ``StatisticsPooling`` adds to the x-vector's means; in a
    batch, SpeechBrain reflects the padding where it should reflect the recording. That of WavLM
    is what transformers gives for the recording alone as ``embeddings``.

    **GE2E** is the published procedure: recordings below -30 dBFS are made as loud, others stay
    as they are; a mel spectrogram in 40 bands is cut into parts of 1.6 s, about 1.3 of which
    begin in a second; the vectors of the parts, none below zero and each of length 1, are
    averaged, and the mean is scaled to length 1. Silence is not cut out, as Resemblyzer's function
    ``preprocess_wav`` does with a voice activity detector before that.

    **Short recordings** are padded with zeros to what a network needs: 40 ms for ECAPA-TDNN,
    30 ms for the x-vector, 0.33 s for WavLM; GE2E pads to 1.6 s.

    A ``hyperparams.yaml`` can make SpeechBrain build any object. Here it is never evaluated:
    plain values are read from it, and two networks are known. Weights are loaded when the first
    recording passes through, once per process: clones share them, and pickles carry none.
    Missing or left-over weights raise an error.

    References
    ----------
    D. Snyder, D. Garcia-Romero, G. Sell, D. Povey, S. Khudanpur, "X-Vectors: Robust DNN
    Embeddings for Speaker Recognition", ICASSP 2018.

    B. Desplanques, J. Thienpondt, K. Demuynck, "ECAPA-TDNN: Emphasized Channel Attention,
    Propagation and Aggregation in TDNN Based Speaker Verification", Interspeech 2020.
    arXiv 2005.07143.

    L. Wan, Q. Wang, A. Papir, I. Lopez Moreno, "Generalized End-to-End Loss for Speaker
    Verification", ICASSP 2018. arXiv 1710.10467.

    S. Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech
    Processing", IEEE Journal of Selected Topics in Signal Processing 16(6), 2022.
    arXiv 2110.13900.

    Examples
    --------
    A small network of the same make as ``"microsoft/wavlm-base-plus-sv"``, with random weights,
    saved as the hub's models are:

    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_ser import XVectorEmbedder
    >>> from transformers import WavLMConfig, WavLMForXVector
    >>> small = WavLMConfig(
    ...     hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    ...     conv_dim=[8] * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    ...     tdnn_dim=[16] * 5, xvector_output_dim=12,
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> WavLMForXVector(small).save_pretrained(folder)
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> embedder = XVectorEmbedder(folder)
    >>> embedder.fit_transform([tone, tone[:8000]]).shape
    (2, 12)
    >>> embedder.get_feature_names_out()[0]
    'wavlmsv_dim0000'
    """

    _parameter_constraints: dict = {
        **RecordingTransformer._parameter_constraints,
        **PRETRAINED_CONSTRAINTS,
        **PRECISION_CONSTRAINTS,
        "window": FRAME_CONSTRAINTS["window"],
    }

    def __init__(
        self,
        model="speechbrain/spkrec-xvect-voxceleb",
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

    def _load_backbone(self):
        return find_backbone(self, "speaker")

    def _resolve(self):
        return rows_of_recordings(self, _choose_vector, window=self.window)


def _choose_vector(backbone):
    return {"layers": [0], "prefixes": [backbone.name]}
