"""HYFuse: a classifier that fuses representations of speech in hyperbolic space."""

import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import with_callbacks
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_ser._sklearn import Interval, StrOptions, fit_context
from sklearn_ser.nn import (
    BRANCH_SIZES,
    FUSIONS,
    HyperbolicFusionNetwork,
    poincare,
)
from sklearn_ser.training import CombinedOptimizer, TorchClassifier, callback_data, encode_classes

from ._blocks import find_blocks


class HyperbolicFusionClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, TorchClassifier
):
    """Classify emotions by fusing representations in hyperbolic space (HYFuse).

    A branch maps each block of columns, such as a speaker embedding or the latents of a codec, to
    a vector of common size. The vectors are mapped to the Poincaré ball and fused there by Möbius
    addition. With ``curvature=0`` the same network works in Euclidean space, and
    ``fusion="concat"`` is the baseline of the paper.

    Parameters
    ----------
    blocks : "auto", list or dict, default="auto"
        The blocks of columns of `X`. "auto" uses the prefix before the first ``__`` of the column
        names, as set by `FeatureUnion` and `ColumnTransformer` in data frames. If this prefix is
        the same for all columns, the prefix before the second ``__`` is used. Without such names
        all columns form one block, with a warning. A list contains, for each block, its number of
        columns (``[512, 256]``), its slice, or the names of its columns. A dict of such entries
        also names the blocks. The order of the blocks is the order of ⊕.
    fusion : {"mobius", "concat", "sum", "gyromidpoint"}, default="mobius"
        Fusion of the blocks: Möbius addition from left to right, which depends on the order;
        concatenation, which is Euclidean regardless of the curvature; the sum in the tangent
        space; or the midpoint of the points.
    curvature : float, "learn" or "learn_each", default=1.0
        Non-negative c of the ball of curvature −c. 0 is Euclidean space. "learn" learns one
        curvature, initialised to 1. "learn_each" learns one for each block.
    head : {"softmax", "mlr"}, default="softmax"
        A hidden layer and softmax in the tangent space, or hyperbolic multinomial logistic
        regression on the ball, whose points are optimised by Riemannian Adam.
    branch : {"conv", "mlp"}, default="conv"
        Convolutions along the features of a block, as in the paper, or linear layers, which are
        much faster.
    branch_sizes : tuple of int, default=None
        Numbers of channels of the convolutions, or widths of the hidden layers. None is (64, 128)
        for convolutions, as in the paper, and (256,) for linear layers.
    n_dims : int, default=120
        Number of dimensions of the ball.
    max_norm : float, default=1.0
        Vectors are clipped to this norm before they are mapped to the ball. If None, they are not
        clipped.
    hidden_size : int, default=128
        Width of the hidden layer of the softmax head.
    dropout : float, default=0.3
        Dropout probability of this layer.
    standardize : bool, default=True
        Whether to standardise each column by its mean and standard deviation in `fit`, including
        the recordings held out by `early_stopping`.
    max_epochs : int, default=50
        Maximum number of epochs.
    batch_size : int, default=32
        Number of recordings in a batch.
    learning_rate : float, default=0.001
        Initial learning rate of Adam.
    weight_decay : float, default=0.0
        Decoupled weight decay, as in AdamW. 0 is plain Adam. It is not applied to the points of
        ``head="mlr"``.
    schedule : {"cosine", None}, default=None
        Learning rate schedule: "cosine" decreases the learning rate to zero over `max_epochs`;
        None keeps it constant.
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
    dtype : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of the branches in training. Weights, operations on the ball and predictions are
        always float32.
    random_state : int, RandomState instance or None, default=None
        Determines initialisation, shuffling and dropout. Pass an int for reproducible results on
        the CPU of a machine.
    warm_start : bool, default=False
        Whether to continue training from the weights of the previous call to `fit`, for
        `max_epochs` more epochs, with a new optimiser and schedule. With `early_stopping`, the
        same speakers are held out, and the best weights of the new epochs are kept.
    verbose : int, default=0
        If positive, print a line for each epoch.

    Attributes
    ----------
    blocks_ : dict of str to ndarray of int
        The columns of each block by its name, in the order of ⊕.
    n_blocks_ : int
        Number of blocks.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted. Columns of shares without votes are among them.
    curvature_ : float
        c of the ball of the fused points.
    state_ : dict of str to ndarray
        Weights of the network by name. The network is built once, and the arrays are read-only.
        To change the weights, assign other arrays.
    history_ : dict of str to list
        The training history, with one entry for each epoch: ``epoch``, ``learning_rate`` (of the
        last step), ``train_loss``, and with `early_stopping` ``valid_loss`` and ``valid_score``,
        NaN for epochs without it. ``pandas.DataFrame(history_)`` converts it to a table.
    n_iter_ : int
        Number of epochs, including those before a warm start.
    best_score_ : float or None
        With `early_stopping`, the recall of the kept weights on the held-out recordings.
    architecture_ : dict
        Sizes and geometry of the network.
    mean_, scale_ : ndarray of shape (n_features,) or None
        Means and standard deviations of the columns, or None if `standardize` is False.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Only defined if `X` was a DataFrame in `fit`.

    See Also
    --------
    XVectorEmbedder : Speaker embeddings.
    CodecEmbedder : Latents of neural codecs.

    Notes
    -----
    A tangent vector v at the origin is mapped to the ball by exp₀(v) = tanh(√c‖v‖) v / (√c‖v‖).
    Its inverse is log₀. Möbius addition is neither commutative nor associative: blocks are added
    from left to right.

    Standardised features are clipped to ±1000.

    With metadata routing enabled, `groups` is requested by default;
    ``set_fit_request(groups=False)`` disables it.

    References
    ----------
    O. C. Phukan, Girish, M. M. Akhtar et al., "HYFuse: Aligning Heterogeneous Speech Pre-Trained
    Representations in Hyperbolic Space for Speech Emotion Recognition", Interspeech 2025, arXiv
    2506.03403.

    O.-E. Ganea, G. Bécigneul, T. Hofmann, "Hyperbolic Neural Networks", NeurIPS 2018, arXiv
    1805.09112.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser import HyperbolicFusionClassifier
    >>> rng = np.random.default_rng(0)
    >>> emotions = np.repeat(["anger", "sadness"], 30)
    >>> speaker, codec = rng.normal(size=(60, 12)), rng.normal(size=(60, 8))
    >>> codec[:30] += 1
    >>> classifier = HyperbolicFusionClassifier(blocks=[12, 8], branch="mlp", random_state=0)
    >>> classifier.fit(np.hstack([speaker, codec]), emotions).n_blocks_
    2
    >>> classifier.transform(np.hstack([speaker, codec])).shape
    (60, 120)
    """

    _parameter_constraints: dict = {
        **TorchClassifier._parameter_constraints,
        "blocks": [StrOptions({"auto"}), list, tuple, dict],
        "fusion": [StrOptions(set(FUSIONS))],
        "curvature": [
            Interval(Real, 0, None, closed="left"),
            StrOptions({"learn", "learn_each"}),
        ],
        "head": [StrOptions({"softmax", "mlr"})],
        "branch": [StrOptions({"conv", "mlp"})],
        "branch_sizes": ["array-like", None],
        "n_dims": [Interval(Integral, 1, None, closed="left")],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "standardize": ["boolean"],
    }

    def __init__(
        self,
        blocks="auto",
        *,
        fusion="mobius",
        curvature=1.0,
        head="softmax",
        branch="conv",
        branch_sizes=None,
        n_dims=120,
        max_norm=1.0,
        hidden_size=128,
        dropout=0.3,
        standardize=True,
        max_epochs=50,
        batch_size=32,
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule=None,
        classes=None,
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
        self.blocks = blocks
        self.fusion = fusion
        self.curvature = curvature
        self.head = head
        self.branch = branch
        self.branch_sizes = branch_sizes
        self.n_dims = n_dims
        self.max_norm = max_norm
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.standardize = standardize
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
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
        X : array-like of shape (n_recordings, n_features)
            Concatenated blocks of features; see `blocks`.
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
            If the blocks do not match the columns, if there are fewer than two classes, if shares
            have no names or a recording has none, or if training diverges.
        """
        self._reset()
        data = callback_data(X, y, sample_weight)
        table = validate_data(self, X, dtype=_FLOATS, reset=not self._is_warm_start)
        training_set, weights = encode_classes(self, table, y, sample_weight, groups)
        names = getattr(self, "feature_names_in_", None)
        blocks = find_blocks(self.blocks, self.n_features_in_, names)
        if self._is_warm_start:
            self._check_warm_start(blocks)
        else:
            self.blocks_, self.n_blocks_ = blocks, len(blocks)
            self.mean_, self.scale_ = self._moments(
                table[training_set.positions], weights[training_set.positions]
            )
        self._set_architecture(self._network_config())
        self._train(_StandardizedRows(self, table)[:], training_set, data)
        with torch.no_grad():
            self.curvature_ = float(self._fitted_module().curvature())
        return self

    def transform(self, X):
        """Compute the fused points.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            Concatenated blocks of features, as in `fit`.

        Returns
        -------
        points : ndarray of shape (n_recordings, n_dims)
            Points on the Poincaré ball of curvature −`curvature_`: their norm times √`curvature_`
            is below 1. With ``fusion="concat"`` they are Euclidean vectors of `n_dims` for each
            block.
        """
        check_is_fitted(self, "state_")
        return self._outputs(self._inputs(X), "fuse")

    def distance_to_origin(self, X):
        """Compute the hyperbolic distances of the fused points to the origin of the ball.

        Confident points tend to move towards the boundary, where classes are easier to separate.
        With clipping, however, nearly all vectors have the norm `max_norm`, so their distances
        are hardly informative. To use the distance as a confidence measure, compare on your data
        how well it separates correct from wrong predictions with the maximum of `predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            Concatenated blocks of features, as in `fit`.

        Returns
        -------
        distances : ndarray of shape (n_recordings,)
            Hyperbolic distances; twice the norm if the curvature is 0.
        """
        points = torch.from_numpy(self.transform(X))
        return poincare.distance_to_origin(points, self.curvature_).numpy()

    def _logits(self, X):
        return self._outputs(self._inputs(X))

    def _inputs(self, X):
        return _StandardizedRows(self, validate_data(self, X, dtype=_FLOATS, reset=False))

    def _moments(self, table, weights):
        if not self.standardize:
            return None, None
        table = table.astype(np.float64)
        largest = np.abs(table).max(axis=0)
        unit = np.where(largest > _LARGEST, largest, 1.0)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            scaler = StandardScaler().fit(table / unit, sample_weight=weights)
        return scaler.mean_ * unit, scaler.scale_ * unit

    def _check_warm_start(self, blocks):
        """Check that blocks and standardisation are those of the fitted network."""
        same = [np.array_equal(blocks.get(name), known) for name, known in self.blocks_.items()]
        if list(blocks) != list(self.blocks_) or not all(same):
            widths = {name: len(columns) for name, columns in self.blocks_.items()}
            raise ValueError(
                "warm_start=True cannot continue with other blocks. The network was trained with "
                f"blocks of {widths} columns."
            )
        if self.standardize != (self.mean_ is not None):
            raise ValueError(
                f"warm_start=True cannot continue with standardize={self.standardize}. The network "
                f"was trained with standardize={not self.standardize}."
            )

    @property
    def _n_features_out(self):
        config = self.architecture_
        return config["n_dims"] * (self.n_blocks_ if config["fusion"] == "concat" else 1)

    def _network_config(self):
        return {
            "block_widths": [len(columns) for columns in self.blocks_.values()],
            "n_classes": len(self.classes_),
            "fusion": self.fusion,
            "curvature": self.curvature
            if isinstance(self.curvature, str)
            else float(self.curvature),
            "head": self.head,
            "branch": self.branch,
            "branch_sizes": self._check_branch_sizes(),
            "n_dims": int(self.n_dims),
            "max_norm": None if self.max_norm is None else float(self.max_norm),
            "hidden_size": int(self.hidden_size),
        }

    def _check_branch_sizes(self):
        """Return the sizes of the branches as a list of int."""
        if self.branch_sizes is None:
            return list(BRANCH_SIZES[self.branch])
        sizes = list(self.branch_sizes)
        is_count = Interval(Integral, 1, None, closed="left").is_satisfied_by
        if any(isinstance(size, bool) or not is_count(size) for size in sizes):
            raise ValueError(
                f"branch_sizes={self.branch_sizes!r} must contain positive integers, such as "
                f"{BRANCH_SIZES[self.branch]}."
            )
        return [int(size) for size in sizes]

    def _build_module(self):
        return HyperbolicFusionNetwork(dropout=self.dropout, **self.architecture_)

    def _optimizer(self, module):
        flat, *on_ball = module.parameter_groups()
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        adam = torch.optim.AdamW([flat], fused=True, **settings)
        if not on_ball:
            return adam
        from geoopt.optim import RiemannianAdam

        return CombinedOptimizer(adam, RiemannianAdam(on_ball, **settings))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


_FLOATS = (np.float64, np.float32)
# Squares of larger values may overflow.
_LARGEST = 1e100


class _StandardizedRows:
    """Rows of a table that are standardised on access, with the columns in the order of the blocks.

    Parameters
    ----------
    estimator : HyperbolicFusionClassifier
        Classifier with `blocks_`, `mean_` and `scale_`.
    table : ndarray of shape (n_recordings, n_features)
        The validated `X`.
    """

    def __init__(self, estimator, table):
        self.estimator, self.table = estimator, table
        order = np.concatenate(list(estimator.blocks_.values()))
        self.order = None if (np.diff(order, prepend=-1) == 1).all() else order

    def __len__(self):
        return len(self.table)

    def __getitem__(self, rows):
        values = self.table[rows]
        if self.estimator.mean_ is not None:
            values = (values - self.estimator.mean_) / self.estimator.scale_
        if self.order is not None:
            values = values[:, self.order]
        # The network clips infinite values.
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, dtype=np.float32)
