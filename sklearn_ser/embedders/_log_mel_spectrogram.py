"""Log-mel spectrograms as a scikit-learn transformer."""

from collections.abc import Callable
from numbers import Integral, Real

import numpy as np

from sklearn_ser._sklearn import Interval, StrOptions
from sklearn_ser.audio import (
    UnusableRecording,
    compute_rows,
    crop_and_pad,
    load_waveform,
    log_scale,
    mel_filterbank,
    mel_spectrogram,
    n_frames,
    sample_window,
)

from ._base import RecordingTransformer, ResolvedTransform


def _mean_absolute_difference(spectrogram, axis):
    if spectrogram.shape[axis] < 2:
        return np.zeros(len(spectrogram), dtype=spectrogram.dtype)
    return np.abs(np.diff(spectrogram, axis=axis)).mean(axis=axis)


_STATISTICS: dict[str, Callable] = {
    "mean": np.mean,
    "std": np.std,
    "max": np.max,
    "delta": _mean_absolute_difference,
}

# `pooling` -> statistics, in the order of the columns.
_POOLINGS = {
    "mean": ("mean",),
    "max": ("max",),
    "mean_std": ("mean", "std"),
    "mean_std_delta": ("mean", "std", "delta"),
}


class LogMelSpectrogram(RecordingTransformer):
    """Log-mel spectrogram of each recording, or its statistics over time.

    By default, the output has 128 mel bands and 188 frames for the middle three seconds of each
    recording, as input of a convolutional network. With `pooling`, a recording of any length is
    represented by one row of statistics, as input of any scikit-learn estimator.

    The transformer is stateless: `transform` can be called without `fit`.

    Parameters
    ----------
    sampling_rate : int, default=16000
        Sampling rate of the analysis, in Hz. Files and pairs are resampled to it (soxr, HQ);
        arrays without a rate are assumed to have it.
    n_fft : int, default=1024
        Length of the Fourier transform, in samples.
    win_length : int, default=None
        Length of the window, in samples, at most `n_fft`. If None, `n_fft`.
    hop_length : int, default=256
        Step between frames, in samples.
    window : str or tuple, default="hann"
        Window function, as in `scipy.signal.get_window`.
    center : bool, default=True
        If True, frame `t` is centred at sample ``t * hop_length``, and the recording is padded
        with zeros on both sides. If False, frame `t` starts at this sample.
    n_mels : int, default=128
        Number of mel bands.
    fmin : float, default=0.0
        Lower edge of the lowest band, in Hz.
    fmax : float, default=None
        Upper edge of the highest band, in Hz. If None, half the sampling rate.
    htk : bool, default=False
        Whether to use HTK's mel scale instead of Slaney's.
    norm : {"slaney", None}, default="slaney"
        If "slaney", mel filters have unit area; if None, unit height.
    power : float, default=2.0
        Exponent of the magnitude: 1 for amplitude, 2 for power.
    scale : {"db", "log", None}, default="db"
        Decibel relative to 1, natural logarithm, or no logarithm.
    amin : float, default=1e-10
        Floor of the power before the logarithm.
    top_db : float, default=80.0
        Dynamic range with ``scale="db"``, in dB: values more than `top_db` below the recording's
        maximum are clipped. If None, values are not clipped.
    normalize : {"recording", "band", None}, default="recording"
        Standardise each recording by the mean and standard deviation of its frames.
        "recording" computes them over all bands, which removes differences in level; "band"
        computes them for each band, which also removes the average spectrum of voice and
        microphone. Padding is excluded.
    duration : float, default=3.0
        Length to which each recording is cropped or padded, in seconds. None uses the whole
        recording, which requires `pooling`.
    crop : {"start", "center", "end"}, default="center"
        Part to keep of a recording longer than `duration`.
    pad : {"zeros", "repeat"}, default="zeros"
        How to extend a recording shorter than `duration`: by zeros, or by repeating it. Ignored
        with `pooling`, which does not pad.
    pooling : {"mean", "max", "mean_std", "mean_std_delta", None}, default=None
        Statistics of each band over time: mean, maximum, mean and standard deviation, or these
        two and the mean absolute difference between successive frames. If None, all frames are
        returned.
    channel : int, default=None
        Index of the channel to use of multi-channel recordings. If None, channels are averaged.
    on_error : {"raise", "nan"}, default="raise"
        What to do with unusable recordings. "raise" raises a `RecordingError`; "nan" returns
        rows of NaN and emits one warning that lists these recordings.
    n_jobs : int, default=None
        Number of threads that process recordings. None means 1 unless in a
        `joblib.parallel_config` context; -1 means all processors.

    Attributes
    ----------
    n_features_in_ : int
        Number of samples of each waveform. Defined only if `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Defined only if `X` was a data frame of numbers in `fit`.

    See Also
    --------
    sklearn_ser.datasets.load_recordings : Load paths, labels and speakers from a folder or table.

    Notes
    -----
    The output equals that of ``librosa.feature.melspectrogram`` and ``librosa.power_to_db`` up
    to float32 rounding.

    References
    ----------
    S. S. Stevens, J. Volkmann, E. B. Newman, "A scale for the measurement of the psychological
    magnitude pitch", Journal of the Acoustical Society of America 8 (3), 1937.

    M. Slaney, "Auditory Toolbox, version 2", Interval Research Corporation, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser import LogMelSpectrogram
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> LogMelSpectrogram().transform([tone, tone[:4000]]).shape
    (2, 128, 188)
    >>> pooled = LogMelSpectrogram(n_mels=40, pooling="mean_std", duration=None)
    >>> pooled.fit_transform([tone, tone[:4000]]).shape
    (2, 80)
    >>> pooled.get_feature_names_out()[[0, -1]]
    array(['logmel_mean_band00', 'logmel_std_band39'], dtype=object)
    """

    _parameter_constraints: dict = {
        **RecordingTransformer._parameter_constraints,
        "n_fft": [Interval(Integral, 2, None, closed="left")],
        "win_length": [Interval(Integral, 1, None, closed="left"), None],
        "hop_length": [Interval(Integral, 1, None, closed="left")],
        "window": [str, tuple],
        "center": ["boolean"],
        "n_mels": [Interval(Integral, 1, None, closed="left")],
        "fmin": [Interval(Real, 0, None, closed="left")],
        "fmax": [Interval(Real, 0, None, closed="neither"), None],
        "htk": ["boolean"],
        "norm": [StrOptions({"slaney"}), None],
        "power": [Interval(Real, 0, None, closed="neither")],
        "scale": [StrOptions({"db", "log"}), None],
        "amin": [Interval(Real, 0, None, closed="neither")],
        "top_db": [Interval(Real, 0, None, closed="left"), None],
        "normalize": [StrOptions({"recording", "band"}), None],
        "duration": [Interval(Real, 0, None, closed="neither"), None],
        "crop": [StrOptions({"start", "center", "end"})],
        "pad": [StrOptions({"zeros", "repeat"})],
        "pooling": [StrOptions(set(_POOLINGS)), None],
    }

    def __init__(
        self,
        *,
        sampling_rate=16000,
        n_fft=1024,
        win_length=None,
        hop_length=256,
        window="hann",
        center=True,
        n_mels=128,
        fmin=0.0,
        fmax=None,
        htk=False,
        norm="slaney",
        power=2.0,
        scale="db",
        amin=1e-10,
        top_db=80.0,
        normalize="recording",
        duration=3.0,
        crop="center",
        pad="zeros",
        pooling=None,
        channel=None,
        on_error="raise",
        n_jobs=None,
    ):
        self.sampling_rate = sampling_rate
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.window = window
        self.center = center
        self.n_mels = n_mels
        self.fmin = fmin
        self.fmax = fmax
        self.htk = htk
        self.norm = norm
        self.power = power
        self.scale = scale
        self.amin = amin
        self.top_db = top_db
        self.normalize = normalize
        self.duration = duration
        self.crop = crop
        self.pad = pad
        self.pooling = pooling
        self.channel = channel
        self.on_error = on_error
        self.n_jobs = n_jobs

    def _resolve(self):
        self._check_parameters()
        return ResolvedTransform(
            self._compute,
            None if self.pooling is None else self._name_columns,
            "Choose pooling='mean_std', or another pooling, for one row per recording",
        )

    def _check_parameters(self):
        nyquist = self.sampling_rate / 2
        fmax = nyquist if self.fmax is None else self.fmax
        if not self.fmin < fmax <= nyquist:
            raise ValueError(
                f"fmin={self.fmin} and fmax={self.fmax} must satisfy fmin < fmax <= {nyquist} Hz, "
                f"half the sampling_rate={self.sampling_rate}."
            )
        if self.win_length is not None and self.win_length > self.n_fft:
            raise ValueError(
                f"win_length={self.win_length} is longer than n_fft={self.n_fft}: lower "
                "win_length or raise n_fft."
            )
        sample_window(self.window, self.win_length or self.n_fft, self.n_fft)
        if self.duration is None and self.pooling is None:
            raise ValueError(
                "duration=None gives spectrograms of unequal length, which do not fit one array: "
                "set duration in seconds, or choose a pooling such as 'mean_std'."
            )
        if self.duration is not None and self._n_samples < 1:
            raise ValueError(
                f"duration={self.duration} s is less than one sample at "
                f"sampling_rate={self.sampling_rate} Hz."
            )

    @property
    def _n_samples(self):
        return round(self.duration * self.sampling_rate)

    def _name_columns(self):
        width = len(str(self.n_mels - 1))
        return [
            f"logmel_{statistic}_band{band:0{width}d}"
            for statistic in _POOLINGS[self.pooling]
            for band in range(self.n_mels)
        ]

    def _compute(self, recordings, report=None):
        row_shape: tuple[int, ...]
        if self.pooling is None:
            row_shape = (self.n_mels, self._count_frames(self._n_samples))
        else:
            row_shape = (self.n_mels * len(_POOLINGS[self.pooling]),)
        fmax = self.sampling_rate / 2 if self.fmax is None else self.fmax
        filters = mel_filterbank(
            self.sampling_rate, self.n_fft, self.n_mels, self.fmin, fmax, self.htk, self.norm
        )
        window = sample_window(self.window, self.win_length or self.n_fft, self.n_fft)
        return compute_rows(
            lambda recording: self._compute_one(recording, filters, window),
            recordings,
            row_shape,
            on_error=self.on_error,
            n_jobs=self.n_jobs,
            report=report,
        )

    def _compute_one(self, recording, filters, window):
        waveform = load_waveform(recording, sampling_rate=self.sampling_rate, channel=self.channel)
        length = len(waveform)
        if self.duration is not None:
            pad = self.pad if self.pooling is None else None
            waveform = crop_and_pad(waveform, self._n_samples, crop=self.crop, pad=pad)
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            spectrogram = mel_spectrogram(
                waveform,
                filters,
                window,
                hop_length=self.hop_length,
                center=self.center,
                power=self.power,
            )
        if not np.isfinite(spectrogram).all():
            raise UnusableRecording(
                f"its samples reach {np.abs(waveform).max():.2g}, too large for its spectrogram; "
                "scale them to [-1, 1]"
            )
        spectrogram = log_scale(
            spectrogram, scale=self.scale, power=self.power, amin=self.amin, top_db=self.top_db
        )
        if self.normalize is not None:
            n_valid = len(waveform) if self.pad == "repeat" else length
            spectrogram = _standardize(spectrogram, self._count_frames(n_valid), self.normalize)
        if self.pooling is None:
            return spectrogram
        statistics = (_STATISTICS[name] for name in _POOLINGS[self.pooling])
        return np.concatenate([statistic(spectrogram, axis=1) for statistic in statistics])

    def _count_frames(self, n_samples):
        return n_frames(n_samples, n_fft=self.n_fft, hop_length=self.hop_length, center=self.center)


def _standardize(spectrogram, n_valid_frames, normalize):
    """Standardise by the mean and standard deviation of the first `n_valid_frames` frames."""
    valid = spectrogram[:, :n_valid_frames]
    axis = None if normalize == "recording" else 1
    mean = valid.mean(axis=axis, keepdims=True)
    std = valid.std(axis=axis, keepdims=True)
    # Constant bands may have a standard deviation above 0 due to rounding.
    varies = std > 10 * np.finfo(spectrogram.dtype).eps * np.abs(mean)
    return (spectrogram - mean) / np.where(varies, std, 1)
