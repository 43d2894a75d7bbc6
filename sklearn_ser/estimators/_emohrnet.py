"""EmoHRNet: the high-resolution network on log-mel spectrograms, as a scikit-learn classifier."""

from numbers import Integral, Real

import numpy as np
from sklearn.callback import with_callbacks

from sklearn_ser._sklearn import Interval, StrOptions, fit_context
from sklearn_ser.nn import (
    VARIANTS,
    HRNet,
    add_noise,
    crop_spectrograms,
    mask_spectrograms,
    mix_up,
)
from sklearn_ser.training import TorchClassifier, callback_data, encode_classes

from ._spectrograms import check_spectrograms, moments


class EmoHRNetClassifier(TorchClassifier):
    """Emotions from log-mel spectrograms by a high-resolution network.

    The network of EmoHRNet: parallel branches at four resolutions that exchange what they found
    after each stage, the finest kept to the end. It is trained from nothing, with cross-entropy and
    Adam, on spectrograms that are changed at random each time they are seen: cropped, mixed,
    masked and, if asked for, with noise.

    Parameters
    ----------
    variant : {"small-v1", "small-v2", "W18", "W32", "W48"}, default="small-v1"
        The published sizes, from 13 to 77 million weights. The smallest suits corpora of some
        hundred recordings, and a CPU.
    width : int, default=None
        Channels of the branch of highest resolution, in place of the variant's; the other branches
        have 2, 4 and 8 times as many.
    head_width : int, default=32
        Channels of the head's bottleneck on that branch; the classifier sees 64 times as many. 32
        is the published head, made for a thousand classes: the greater part of "small-v1".
    crop : float, default=0.9
        Share of the frames of which training sees a window, taken at random and moved to a random
        place, with silence around it; 1 shows all.
    n_frequency_masks : int, default=2
        Number of spans of bands that are blanked out in each recording (SpecAugment); 0 for none.
    frequency_mask_width : float, default=0.125
        Greatest width of such a span, as a share of all bands.
    n_time_masks : int, default=2
        Number of spans of frames that are blanked out in each recording; 0 for none.
    time_mask_width : float, default=0.2
        Greatest width of such a span, as a share of all frames.
    mixup : float, default=0.2
        Recordings are mixed with one another, in shares drawn from a beta distribution with both
        parameters equal to this; 0 leaves them pure.
    noise : float, default=0.0
        Probability that white noise is added to a recording, 15 to 60 dB below its loudest value.
        It helps with noisy recordings.
    max_epochs : int, default=50
        Number of passes over the recordings, at most.
    batch_size : int, default=16
        Number of recordings of a training step, and of a batch in prediction. At least 2, as
        training takes statistics over batches; with 2, one of an odd number gets 3. Corpora of
        some hundred recordings gain from the many steps that small batches make.
    learning_rate : float, default=0.001
        Of Adam, at the beginning.
    weight_decay : float, default=0.01
        Decoupled from the gradients, as in AdamW; 0 is plain Adam.
    schedule : {"cosine", None}, default="cosine"
        Whether the learning rate falls to zero along half a cosine over `max_epochs`, or stays.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; "balanced" gives all classes the same total weight.
    early_stopping : bool, default=False
        Whether to hold recordings out, to stop when their unweighted average recall rises no
        longer, and to keep the weights at its best. With `groups` in `fit`, whole speakers are held
        out; else a share of each class.
    validation_fraction : float, default=0.1
        With `early_stopping`, share of the speakers or recordings that are held out.
    n_iter_no_change : int, default=10
        With `early_stopping`, number of epochs without a better recall after which training ends.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1" and so on; "auto" is a CUDA GPU where there is
        one, else the CPU.
    dtype : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of the products in training. Weights are kept, and predictions made, in float32.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, order and augmentation. An int gives the same bits each time on the same
        machine's CPU.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last one, for `max_epochs` more, with a new
        optimiser and schedule. `early_stopping` holds the same speakers out, and keeps the best
        weights of the new epochs.
    verbose : int, default=0
        Whether to print a line for each epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    state_ : dict of str to ndarray
        Weights and statistics of the network by their names: all that was learned. The first
        prediction builds the network from it and keeps it; from then on the arrays are read-only,
        and others that are put in their place are followed.
    history_ : dict of str to list
        The curve, one entry for each epoch: ``epoch``, ``learning_rate`` (of the last step),
        ``train_loss``, and with `early_stopping` ``valid_loss`` and ``valid_score``, NaN in epochs
        without it; ``pandas.DataFrame(history_)`` makes a table of it.
    n_iter_ : int
        Number of epochs, those before a warm start included.
    best_score_ : float or None
        With `early_stopping`, the recall on what was held out at the weights that were kept.
    architecture_ : dict
        Classes, variant and widths of the network.
    mean_, scale_ : float
        Mean and deviation of the training spectrograms, by which the network standardises.
    n_bands_ : int
        Number of bands of the training spectrograms, 1 for a table.
    n_features_in_ : int
        Number of columns of `X`. Only where `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Only where `X` was a data frame in `fit`.

    See Also
    --------
    LogMelSpectrogram : Makes the spectrograms.

    Notes
    -----
    *Sizes.* The network halves the resolution five times. Spectrograms of any size are continued
    to multiples of 32 inside: in time with each recording's own smallest value, which is silence
    on a logarithmic scale, and in frequency with the highest band.

    *Batches.* The batches of an epoch are equal in size to one recording: no recording is left for
    a batch by itself, of which a batch norm knows no variance, and none is dropped.

    *Few steps.* In prediction a batch norm goes by statistics that follow the batches of training
    at a distance of some ten steps. After less than a hundred steps, or where the learning rate
    has not fallen, they may lag so far behind the weights that predictions are poor though the
    loss is low: take more epochs, smaller batches or the schedule.

    *Weights.* The loss of a recording is multiplied by its weight, and recordings of weight zero
    are left out. The loss of a batch is divided by the number of its recordings, the weights by
    their mean over all.

    *Precision.* "bfloat16" about halves the time of a step on processors with instructions for it.
    "float16" scales the loss, as its range is small, and is meant for GPUs.

    With metadata routing enabled, `groups` are taken wherever they are passed;
    ``set_fit_request(groups=False)`` refuses them.

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
    >>> spectrograms[:16, 16:] += 2  # anger has its power higher up
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
        "mixup": [Interval(Real, 0, None, closed="left")],
        "noise": [Interval(Real, 0, 1, closed="both")],
        # A batch norm knows no variance of a single recording.
        "batch_size": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        variant="small-v1",
        *,
        width=None,
        head_width=32,
        crop=0.9,
        n_frequency_masks=2,
        frequency_mask_width=0.125,
        n_time_masks=2,
        time_mask_width=0.2,
        mixup=0.2,
        noise=0.0,
        max_epochs=50,
        batch_size=16,
        learning_rate=1e-3,
        weight_decay=1e-2,
        schedule="cosine",
        class_weight=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        device="auto",
        dtype="float32",
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        self.variant = variant
        self.width = width
        self.head_width = head_width
        self.crop = crop
        self.n_frequency_masks = n_frequency_masks
        self.frequency_mask_width = frequency_mask_width
        self.n_time_masks = n_time_masks
        self.time_mask_width = time_mask_width
        self.mixup = mixup
        self.noise = noise
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
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
            Log spectrograms, as `LogMelSpectrogram` gives them; or one band of each recording. In
            prediction, spectrograms with three axes may have another number of frames.
        y : array-like of shape (n_recordings,)
            Emotions, as strings or numbers.
        sample_weight : array-like of shape (n_recordings,), default=None
            Weights of the recordings, in any unit; those of weight zero are left out.
        groups : array-like of shape (n_recordings,), default=None
            The speaker of each recording: with ``early_stopping``, whole speakers are held out.

        Returns
        -------
        self : object
            The classifier itself.

        Raises
        ------
        ValueError
            If `X` holds recordings in place of spectrograms, or NaN; if there are fewer than two
            classes; or if training diverges.
        """
        self._reset()
        data = callback_data(X, y, sample_weight)
        spectrograms = check_spectrograms(self, X, y, reset=not self._is_warm_start)
        training_set, weights = encode_classes(self, spectrograms, y, sample_weight, groups)
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

    def _logits(self, X):
        return self._outputs(check_spectrograms(self, X, reset=False)[:, np.newaxis])

    def _build_module(self):
        return HRNet(mean=self.mean_, scale=self.scale_, **self.architecture_)

    def _augment(self, inputs, targets, generator):
        spectrograms = inputs[:, 0]
        if self.noise:
            spectrograms = add_noise(spectrograms, generator, share=self.noise)
        if self.mixup:
            spectrograms, targets = mix_up(spectrograms, targets, generator, alpha=self.mixup)
        if self.crop < 1:
            spectrograms = crop_spectrograms(spectrograms, generator, share=self.crop)
        spectrograms = mask_spectrograms(
            spectrograms,
            generator,
            n_frequency_masks=self.n_frequency_masks,
            frequency_mask_width=self.frequency_mask_width,
            n_time_masks=self.n_time_masks,
            time_mask_width=self.time_mask_width,
        )
        return spectrograms[:, None], targets

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
