"""Speaker embeddings as a scikit-learn transformer."""

from ._base import RecordingTransformer
from ._pretrained import (
    FRAME_CONSTRAINTS,
    PRECISION_CONSTRAINTS,
    PRETRAINED_CONSTRAINTS,
    choose_vector,
    find_backbone,
    resolve_recording_embedder,
)


class XVectorEmbedder(RecordingTransformer):
    """Speaker embeddings from a frozen network trained for speaker verification.

    Speaker embeddings encode the speaker, and also pitch, vocal effort and tempo, which carry
    emotion. The transformer is stateless: `transform` can be called without `fit`.

    Parameters
    ----------
    model : str or path, default="speechbrain/spkrec-xvect-voxceleb"
        Hub id, folder, file, or the name "ge2e". The supported networks are:

        - the x-vector and ECAPA-TDNN of SpeechBrain, such as
          ``"speechbrain/spkrec-xvect-voxceleb"`` (512 dimensions) and
          ``"speechbrain/spkrec-ecapa-voxceleb"`` (192), or a folder with ``hyperparams.yaml``
          and ``embedding_model.ckpt``; requires SpeechBrain, installed by the extra
          ``speechbrain``;
        - WavLM and other networks of the wav2vec 2.0 family with transformers' x-vector head,
          such as ``"microsoft/wavlm-base-plus-sv"`` (512);
        - GE2E (256): the file ``pretrained.pt`` of the package Resemblyzer, or its folder;
          ``"ge2e"`` finds the file in the installed package
          (``pip install --no-deps Resemblyzer``; its code is not run).
    revision : str, default=None
        Branch, tag or commit of a model on the hub. If None, the cached version of the main
        branch is used; it is downloaded if there is none.
    window : float, default=30.0
        Maximum length of the network's input, in seconds; None for no limit. A longer recording
        is covered by as few evenly spaced windows of this length as possible, and their
        embeddings are averaged. Ignored by GE2E, which splits every recording into parts of
        1.6 s.
    batch_size : int, default=16
        Maximum number of recordings, or windows, in a batch. A batch is also limited to
        ``2 * batch_size`` seconds of audio. Does not change the results.
    sampling_rate : int, default=16000
        Sampling rate of recordings that are passed as arrays without a rate, in Hz. Recordings
        are resampled to the network's 16000 Hz (soxr, HQ).
    channel : int, default=None
        Index of the channel to use of multi-channel recordings. If None, channels are averaged.
    device : str, default="auto"
        Device of the network, such as "cpu", "cuda" or "cuda:1". With "auto", a CUDA GPU is used
        if available, otherwise the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Precision of the network's arithmetic. Statistics over time and the output are float32.
        GE2E is most sensitive to it: its embeddings change by 7 % in bfloat16.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    memory : str, path, `EmbeddingStore` or `joblib.Memory`, default=None
        Folder or store that caches embeddings. Entries are found by the content of the
        recording, so each recording is embedded once across folds, candidates, processes and
        sessions. If None, nothing is cached.
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
    WavLMEmbedder : Layers of WavLM, averaged over time.
    LayerSelector : Select or combine layers inside cross-validation.
    EmbeddingStore : Cache of embeddings with a limit on its size, for `memory`.

    Notes
    -----
    **Exact batches.** The embedding of a recording does not depend on the other recordings in
    its batch, nor on their order; in float32 the relative difference is below 1e-5. For
    SpeechBrain's networks it equals ``EncoderClassifier.encode_batch(normalize=False)`` for the
    recording alone, except for the noise of up to 9e-5 that ``StatisticsPooling`` adds to the
    means of the x-vector. In a batch, SpeechBrain's convolutions reflect the padding instead of
    the recording. For WavLM it equals ``embeddings`` of transformers for the recording alone.

    **GE2E** follows the published procedure. Recordings below -30 dBFS are amplified to this
    level. A mel spectrogram of 40 bands is split into parts of 1.6 s, about 1.3 per second. The
    non-negative embeddings of the parts, each of unit length, are averaged, and the mean is
    scaled to unit length. Silence is not removed; Resemblyzer's ``preprocess_wav`` does that
    beforehand with a voice activity detector.

    **Short recordings** are padded with zeros to the minimum length of the network: 40 ms for
    ECAPA-TDNN, 30 ms for the x-vector, 0.33 s for WavLM and 1.6 s for GE2E.

    SpeechBrain builds any object that ``hyperparams.yaml`` names. Here this file is not
    evaluated: plain values are read from it, and only two network classes are supported. Weights
    are loaded when the first recording is embedded, once per process. Clones share them, and
    they are not pickled. Missing or unexpected weights raise an error.

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
    A small version of ``"microsoft/wavlm-base-plus-sv"`` with random weights, saved in the format
    of the hub:

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
        return resolve_recording_embedder(self, choose_vector, window=self.window)
