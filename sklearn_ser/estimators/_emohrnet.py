"""EmoHRNet: a high-resolution network on log-mel spectrograms as a scikit-learn classifier."""

from numbers import Integral, Real

import numpy as np
from sklearn.callback import with_callbacks
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_ser._sklearn import Interval, StrOptions, fit_context
from sklearn_ser.export import Float32, OnnxMixin, OnnxStep, Probabilities
from sklearn_ser.nn import (
    VARIANTS,
    HRNet,
    ShiftAverage,
    add_noise,
    crop_spectrograms,
    mask_spectrograms,
    mix_up,
    warp_spectrograms,
)
from sklearn_ser.training import TorchClassifier, callback_data, encode_classes, smooth_labels

from ._spectrograms import check_spectrograms, moments


class EmoHRNetClassifier(OnnxMixin, TorchClassifier):
    """Classify emotions from log-mel spectrograms with a high-resolution network (EmoHRNet).

    The network has parallel branches at four resolutions, which exchange features after each
    stage. It is trained from scratch with the cross-entropy loss and Adam. Training spectrograms
    are augmented by shifts of the bands, changes of the speaking rate, mixup, cropping, masking,
    and optionally by noise.

    Parameters
    ----------
    variant : {"small-v1", "small-v2", "W18", "W32", "W48"}, default="small-v1"
        Published size of the network, from 2 to 66 million weights with the default head. The
        smallest is suitable for corpora of some hundred recordings, and for CPUs.
    width : int, default=None
        Number of channels of the branch of highest resolution. The other branches have 2, 4 and 8
        times as many. None uses the width of the variant.
    head_width : int, default=8
        Number of channels of the head's bottleneck on the branch of highest resolution. The
        classifier has 64 times as many inputs. The published value 32 was chosen for a thousand
        classes; it makes "small-v1" five times as large.
    crop : float, default=0.9
        Minimum fraction of the frames to keep in training. The window is drawn at random and
        shifted to a random position, and the rest is filled with silence. 1 disables cropping.
    n_frequency_masks : int, default=1
        Number of frequency masks (SpecAugment) for each recording. 0 disables them.
    frequency_mask_width : float, default=0.125
        Maximum width of a frequency mask, as a fraction of all bands.
    n_time_masks : int, default=1
        Number of time masks (SpecAugment) for each recording. 0 disables them.
    time_mask_width : float, default=0.1
        Maximum width of a time mask, as a fraction of all frames.
    mask_ramp : float, default=0.5
        Fraction of the training over which the widths of the masks increase linearly from zero.
    band_shift : float, default=0.03125
        Maximum shift of the bands of a recording in training, up or down, as a fraction of all
        bands. It resembles another pitch. The default is two of 64 bands. 0 disables shifts.
    time_stretch : float, default=0.05
        Maximum change of the duration of a recording in training, as a natural logarithm: 0.05
        makes it up to 5 % longer or shorter, by repeating frames or leaving some out. 0 disables
        changes.
    mixup : float, default=0.2
        Both parameters of the beta distribution from which the mixing weights of mixup are drawn.
        0 disables mixup.
    noise : float, default=0.0
        Probability of adding white noise to a recording in training, 15 to 60 dB below its
        maximum. It makes predictions more robust to noise. It is meant for spectrograms that are
        standardised by recording, or not at all (`normalize` of `LogMelSpectrogram`).
    label_smoothing : float, default=0.1
        Share of each label that is spread evenly over all classes.
    n_shifts : int, default=5
        Number of shifts in time, at most 20, over which the probabilities are averaged in
        prediction. They are a fortieth of the frames apart, and the rest is filled with silence.
        Each takes the time of one prediction. It can be changed after `fit`. 1 disables shifts,
        and spectrograms of fewer than forty frames are not shifted.
    max_epochs : int, default=100
        Maximum number of epochs.
    batch_size : int, default=16
        Number of recordings in a batch, in training and prediction. At least 2 because of batch
        normalisation; if 2 and the number of recordings is odd, one batch has 3. Small batches,
        and hence many steps, are beneficial for corpora of some hundred recordings.
    learning_rate : float, default=0.002
        Highest learning rate of Adam.
    weight_decay : float, default=0.05
        Decoupled weight decay, as in AdamW. 0 is plain Adam.
    schedule : {"cosine", None}, default="cosine"
        Learning rate schedule: "cosine" decreases the learning rate to zero over `max_epochs`;
        None keeps it constant.
    warmup : float, default=0.05
        Fraction of the training over which the learning rate increases linearly from zero.
    classes : array-like of shape (n_classes,), default=None
        Sorted names of the columns of `y`, if it is an array of shares. Other targets have names
        of their own. It is a parameter of the constructor, unlike that of scikit-learn's
        `partial_fit`, so that it reaches each `fit` in pipelines and searches.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes. "balanced" gives all classes the same total weight. With shares,
        the weight of a recording is the mean of the weights of its classes, and "balanced" is
        inversely proportional to the sums of shares.
    early_stopping : bool, default=False
        Whether to stop training when the unweighted average recall on held-out recordings no
        longer improves, and to keep the best weights. If `groups` is passed to `fit`, whole
        speakers are held out, else a stratified fraction of the recordings. With shares, the
        class of a recording is the most-voted one, here and in the recall.
    validation_fraction : float, default=0.1
        Fraction of the speakers or recordings to hold out. Only used if `early_stopping` is True.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops. Only used if
        `early_stopping` is True.
    device : str, default="auto"
        Device: "cpu", "cuda", "cuda:1" and so on. "auto" is a CUDA GPU if available, else the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Precision of matrix products and convolutions in training. Weights and predictions are
        always float32.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    random_state : int, RandomState instance or None, default=None
        Determines initialisation, shuffling and augmentation. Pass an int for reproducible results
        on the CPU of a machine.
    warm_start : bool, default=False
        Whether to continue training from the weights of the previous call to `fit`, for
        `max_epochs` more epochs, with a new optimiser and schedule. With `early_stopping`, the
        same speakers are held out, and the best weights of the new epochs are kept.
    verbose : int or "auto", default="auto"
        If positive, print a line for each epoch, with the time left. "auto" shows a progress bar in
        terminals and notebooks if training takes longer than half a minute. 0 shows nothing.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted. Columns of shares without votes are among them.
    state_ : dict of str to ndarray
        Weights and statistics of the network by name. The first prediction builds the network and
        makes the arrays read-only. To change the weights, assign other arrays.
    history_ : dict of str to list
        The training history, with one entry for each epoch: ``epoch``, ``learning_rate`` (of the
        last step), ``train_loss``, and with `early_stopping` ``valid_loss`` and ``valid_score``,
        NaN for epochs without it. ``pandas.DataFrame(history_)`` converts it to a table.
    n_iter_ : int
        Number of epochs, including those before a warm start.
    best_score_ : float or None
        With `early_stopping`, the recall of the kept weights on the held-out recordings, without
        shifts (`n_shifts`) and in the precision of the training (`dtype`).
    architecture_ : dict
        Number of classes, variant and widths of the network.
    mean_, scale_ : float
        Mean and standard deviation of the training spectrograms, those held out by
        `early_stopping` included, used to standardise the input.
    n_bands_ : int
        Number of bands of the training spectrograms; 1 for a table.
    n_features_in_ : int
        Number of columns of `X`. Only defined if `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Only defined if `X` was a DataFrame in `fit`.

    See Also
    --------
    LogMelSpectrogram : Computes the spectrograms.

    Notes
    -----
    *Sizes.* The network halves the resolution five times. Spectrograms are padded internally to
    multiples of 32: in time with the minimum of each band, which is silence on a logarithmic
    scale, and in frequency with the highest band.

    *Batches.* The sizes of the batches of an epoch differ by at most one recording. No batch has a
    single recording, for which batch normalisation is undefined, and no recording is dropped.

    *Few steps.* In prediction, batch normalisation uses moving averages over some ten training
    steps. After less than a hundred steps, or without a decreasing learning rate, these may lag
    behind the weights, so that predictions are poor although the loss is low. Remedies are more
    epochs, smaller batches or the schedule.

    *Weights.* The loss of a recording is multiplied by its weight, and recordings of weight zero
    are ignored. Weights are divided by their mean over all recordings, and the loss of a batch is
    divided by its number of recordings.

    *Precision.* "bfloat16" about halves the time of a step on processors that support it.
    "float16" is meant for GPUs; it scales the loss because of its small range.

    With metadata routing enabled, `groups` is requested by default;
    ``set_fit_request(groups=False)`` disables it.

    References
    ----------
    A. Muppidi, M. Radfar, "EmoHRNet: High-Resolution Neural Network Based Speech Emotion
    Recognition", ICASSP 2024, arXiv 2510.06072.

    J. Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", IEEE
    TPAMI 2020, arXiv 1908.07919.

    D. S. Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
    Recognition", Interspeech 2019, arXiv 1904.08779.

    H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk Minimization",
    ICLR 2018, arXiv 1710.09412.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser import EmoHRNetClassifier
    >>> rng = np.random.default_rng(0)
    >>> emotions = np.repeat(["anger", "sadness"], 16)
    >>> spectrograms = rng.normal(size=(32, 32, 32))
    >>> spectrograms[:16, 16:] += 2  # anger has more power at high frequencies
    >>> classifier = EmoHRNetClassifier(
    ...     width=2, head_width=2, max_epochs=10, batch_size=8, learning_rate=0.01, random_state=0
    ... )
    >>> classifier.fit(spectrograms, emotions).score(spectrograms, emotions) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **TorchClassifier._parameter_constraints,
        "variant": [StrOptions(set(VARIANTS))],
        "width": [Interval(Integral, 1, None, closed="left"), None],
        "head_width": [Interval(Integral, 1, None, closed="left")],
        "crop": [Interval(Real, 0, 1, closed="right")],
        "n_frequency_masks": [Interval(Integral, 0, None, closed="left")],
        "frequency_mask_width": [Interval(Real, 0, 1, closed="both")],
        "n_time_masks": [Interval(Integral, 0, None, closed="left")],
        "time_mask_width": [Interval(Real, 0, 1, closed="both")],
        "mask_ramp": [Interval(Real, 0, 1, closed="both")],
        "band_shift": [Interval(Real, 0, 1, closed="both")],
        "time_stretch": [Interval(Real, 0, 1, closed="both")],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "noise": [Interval(Real, 0, 1, closed="both")],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "n_shifts": [Interval(Integral, 1, 20, closed="both")],
        # Batch normalisation is undefined for a single recording.
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "verbose": ["verbose", StrOptions({"auto"})],
    }

    def __init__(
        self,
        variant="small-v1",
        *,
        width=None,
        head_width=8,
        crop=0.9,
        n_frequency_masks=1,
        frequency_mask_width=0.125,
        n_time_masks=1,
        time_mask_width=0.1,
        mask_ramp=0.5,
        band_shift=0.03125,
        time_stretch=0.05,
        mixup=0.2,
        noise=0.0,
        label_smoothing=0.1,
        n_shifts=5,
        max_epochs=100,
        batch_size=16,
        learning_rate=2e-3,
        weight_decay=5e-2,
        schedule="cosine",
        warmup=0.05,
        classes=None,
        class_weight=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        device="auto",
        dtype="float32",
        random_state=None,
        warm_start=False,
        verbose="auto",
    ):
        self.variant = variant
        self.width = width
        self.head_width = head_width
        self.crop = crop
        self.n_frequency_masks = n_frequency_masks
        self.frequency_mask_width = frequency_mask_width
        self.n_time_masks = n_time_masks
        self.time_mask_width = time_mask_width
        self.mask_ramp = mask_ramp
        self.band_shift = band_shift
        self.time_stretch = time_stretch
        self.mixup = mixup
        self.noise = noise
        self.label_smoothing = label_smoothing
        self.n_shifts = n_shifts
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.classes = classes
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None, groups=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_bands, n_frames) or (n_recordings, n_frames)
            Log spectrograms, as returned by `LogMelSpectrogram`, or one band of each recording.
            In prediction, three-dimensional spectrograms may have another number of frames.
        y : array-like of shape (n_recordings,) or (n_recordings, n_classes)
            Emotions, as strings or numbers, or soft labels: the shares of the emotions in the votes
            of annotators, or their numbers of votes, which are divided by their sum. The emotions
            are the columns of a data frame, or `classes` for other arrays.
        sample_weight : array-like of shape (n_recordings,), default=None
            Weights of the recordings. Only their ratios matter. Recordings of weight zero are
            ignored.
        groups : array-like of shape (n_recordings,), default=None
            Speaker of each recording. With ``early_stopping``, whole speakers are held out.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If `X` contains recordings instead of spectrograms, or NaN, if there are fewer than two
            classes, if shares have no names or a recording has none, or if training diverges.
        """
        self._reset()
        data = callback_data(X, y, sample_weight)
        spectrograms = check_spectrograms(self, X, y, reset=not self._is_warm_start)
        training_set, weights = encode_classes(self, spectrograms, y, sample_weight, groups)
        training_set = smooth_labels(training_set, self.label_smoothing)
        if not self._is_warm_start:
            self.n_bands_ = spectrograms.shape[1]
            self.mean_, self.scale_ = moments(spectrograms, weights)
        self._set_architecture(
            {
                "n_classes": len(self.classes_),
                "variant": self.variant,
                "width": self.width,
                "head_width": self.head_width,
            }
        )
        return self._train(spectrograms[:, np.newaxis], training_set, data)

    @property
    def _warmup(self):
        return self.warmup

    def _logits(self, X):
        return self._outputs(check_spectrograms(self, X, reset=False)[:, np.newaxis])

    def _fitted_module(self):
        return ShiftAverage(super()._fitted_module(), self.n_shifts)

    def _build_module(self):
        return HRNet(mean=self.mean_, scale=self.scale_, **self.architecture_)

    def _onnx_step(self):
        check_is_fitted(self, "state_")
        is_table = hasattr(self, "n_features_in_")
        shape: tuple = (self.n_features_in_,) if is_table else (self.n_bands_, None)
        image = (1, 1, *shape) if is_table else (1, self.n_bands_)
        module = nn.Sequential(
            nn.Unflatten(1, image), Float32(), self._module_copy(), Probabilities()
        )
        return OnnxStep(module, "spectrograms", shape, "probabilities", classes=self.classes_)

    def _augment(self, inputs, targets, progress, generator):
        spectrograms = inputs[:, 0]
        if self.noise:
            spectrograms = add_noise(spectrograms, generator, share=self.noise)
        if self.band_shift or self.time_stretch:
            spectrograms = warp_spectrograms(
                spectrograms,
                generator,
                band_shift=self.band_shift,
                time_stretch=self.time_stretch,
            )
        if self.mixup:
            spectrograms, targets = mix_up(spectrograms, targets, generator, alpha=self.mixup)
        if self.crop < 1:
            spectrograms = crop_spectrograms(spectrograms, generator, share=self.crop)
        width = min(1.0, progress / self.mask_ramp) if self.mask_ramp else 1.0
        spectrograms = mask_spectrograms(
            spectrograms,
            generator,
            n_frequency_masks=self.n_frequency_masks,
            frequency_mask_width=width * self.frequency_mask_width,
            n_time_masks=self.n_time_masks,
            time_mask_width=width * self.time_mask_width,
        )
        return spectrograms[:, None], targets

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
