"""HYFuse: representations of speech side by side, fused in hyperbolic space, as a classifier."""

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
    """Emotions from representations side by side, fused in hyperbolic space (HYFuse).

    Each block of columns, such as a speaker embedding and a codec's latents, goes through a branch
    of its own to a vector of one length, is taken to the Poincaré ball, and the points are fused
    there by Möbius addition. With ``curvature=0`` the same network works in Euclid's space, and
    with ``fusion="concat"`` it is the one that the authors compare with.

    Parameters
    ----------
    blocks : "auto", list or dict, default="auto"
        Which columns of `X` belong together. "auto" goes by the text before the first ``__`` of
        their names, as `FeatureUnion` and `ColumnTransformer` write it into data frames, or before
        the second where that is the same in all; without such names all columns are one block,
        with a warning. Or a list with, for each block, the
        number of its columns (``[512, 256]``), its slice, or the names of its columns; a dict of
        such entries names the blocks. Their order is the order of ⊕.
    fusion : {"mobius", "concat", "sum", "gyromidpoint"}, default="mobius"
        Möbius addition from left to right, which depends on the order; the vectors side by side,
        Euclid's whatever the curvature; their sum in the tangent space; or the midpoint of the
        points.
    curvature : float, "learn" or "learn_each", default=1.0
        Of a ball of curvature −c: c, 0 or more. 0 is Euclid. "learn" learns one, beginning at 1;
        "learn_each" one for each block.
    head : {"softmax", "mlr"}, default="softmax"
        A hidden layer and softmax in the tangent space; or hyperbolic multinomial logistic
        regression on the ball, whose points are moved by Riemannian Adam.
    branch : {"conv", "mlp"}, default="conv"
        Convolutions along the features of a block, as the authors have them; or linear layers,
        which take a small part of the time.
    branch_sizes : tuple of int, default=None
        Channels of the convolutions, or widths of the hidden layers. None is (64, 128), the
        authors' choice, or (256,).
    n_dims : int, default=120
        Dimensions of the ball.
    max_norm : float, default=1.0
        Longer vectors are shortened to this norm before they are taken to the ball. None lets them
        be.
    hidden_size : int, default=128
        Width of the hidden layer of the softmax head.
    dropout : float, default=0.3
        Share of that layer's units which are dropped in training.
    standardize : bool, default=True
        Whether to standardise each column by its mean and deviation in `fit`, over the recordings
        that `early_stopping` holds out as well.
    max_epochs : int, default=50
        Number of passes over the recordings, at most.
    batch_size : int, default=32
        Number of recordings of a training step.
    learning_rate : float, default=0.001
        Of Adam, at the beginning.
    weight_decay : float, default=0.0
        Decoupled from the gradients, as in AdamW; 0 is plain Adam. The points of
        ``head="mlr"`` are not decayed.
    schedule : {"cosine", None}, default=None
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
        Precision of the branches in training. Weights are kept, what is on the ball is computed,
        and predictions are made in float32.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, order and dropout. An int gives the same bits each time on the same
        machine's CPU.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last one, for `max_epochs` more, with a new
        optimiser and schedule. `early_stopping` holds the same speakers out, and keeps the best
        weights of the new epochs.
    verbose : int, default=0
        Whether to print a line for each epoch.

    Attributes
    ----------
    blocks_ : dict of str to ndarray of int
        The columns of each block, by its name, in the order of ⊕.
    n_blocks_ : int
        Number of blocks.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    curvature_ : float
        c of the ball on which the fused points lie.
    state_ : dict of str to ndarray
        Weights of the network by their names: all that was learned. The network is built from it
        once and kept; the arrays are read-only, and others that are put in their place are
        followed.
    history_ : dict of str to list
        The curve, one entry for each epoch: ``epoch``, ``learning_rate`` (of the last step),
        ``train_loss``, and with `early_stopping` ``valid_loss`` and ``valid_score``, NaN in epochs
        without it; ``pandas.DataFrame(history_)`` makes a table of it.
    n_iter_ : int
        Number of epochs, those before a warm start included.
    best_score_ : float or None
        With `early_stopping`, the recall on what was held out at the weights that were kept.
    architecture_ : dict
        Sizes and geometry of the network.
    mean_, scale_ : ndarray of shape (n_features,) or None
        Mean and deviation of the columns, if they are standardised.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Only where `X` was a data frame in `fit`.

    See Also
    --------
    XVectorEmbedder : Speaker embeddings, a block to be fused.
    CodecEmbedder : Latents of neural codecs, another.

    Notes
    -----
    A vector v at the origin is taken to the ball by exp₀(v) = tanh(√c‖v‖) v / (√c‖v‖), and back by
    its inverse log₀. Möbius addition is neither commutative nor associative: blocks are added from
    left to right.

    Features further than 1000 deviations from the mean count as 1000 deviations.

    With metadata routing enabled, `groups` are taken wherever they are passed;
    ``set_fit_request(groups=False)`` refuses them.

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
            Blocks of features side by side; see `blocks`.
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
            If the blocks don't fit the columns; if there are fewer than two classes; or if training
            diverges.
        """
        self._reset()
        data = callback_data(X, y, sample_weight)
        table, y = validate_data(self, X, y, dtype=_FLOATS, reset=not self._is_warm_start)
        training_set, weights = encode_classes(self, table, y, sample_weight, groups)
        names = getattr(self, "feature_names_in_", None)
        blocks = find_blocks(self.blocks, self.n_features_in_, names)
        if self._is_warm_start:
            self._refuse_other_inputs(blocks)
        else:
            self.blocks_, self.n_blocks_ = blocks, len(blocks)
            self.mean_, self.scale_ = self._moments(
                table[training_set.positions], weights[training_set.positions]
            )
        self._set_architecture(self._sizes())
        self._train(_Standardized(self, table)[:], training_set, data)
        with torch.no_grad():
            self.curvature_ = float(self._fitted_module().curvature())
        return self

    def transform(self, X):
        """Give the fused points.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            As in `fit`.

        Returns
        -------
        points : ndarray of shape (n_recordings, n_dims)
            On the Poincaré ball of curvature −`curvature_`: their norm times √`curvature_` is below
            1. With ``fusion="concat"`` they are vectors, and have `n_dims` for each block.
        """
        check_is_fitted(self, "state_")
        return self._outputs(self._inputs(X), "fuse")

    def distance_to_origin(self, X):
        """Compute how far the fused points are from the origin of the ball.

        Near the rim is more room between the classes, and where a training is free to move points
        out it moves those that are sure. Clipped vectors are nearly all as long as `max_norm`
        allows, and their distances tell little: look at how well it tells right from wrong on your
        data, beside the largest of `predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            As in `fit`.

        Returns
        -------
        distances : ndarray of shape (n_recordings,)
            Hyperbolic distances; twice the norm where the curvature is 0.
        """
        points = torch.from_numpy(self.transform(X))
        return poincare.distance_to_origin(points, self.curvature_).numpy()

    def _logits(self, X):
        return self._outputs(self._inputs(X))

    def _inputs(self, X):
        return _Standardized(self, validate_data(self, X, dtype=_FLOATS, reset=False))

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

    def _refuse_other_inputs(self, blocks):
        """Refuse, in a warm start, what the fitted network isn't made for."""
        same = [np.array_equal(blocks.get(name), known) for name, known in self.blocks_.items()]
        if list(blocks) != list(self.blocks_) or not all(same):
            widths = {name: len(columns) for name, columns in self.blocks_.items()}
            raise ValueError(
                "warm_start=True can't go on with other blocks than the network was trained with, "
                f"which were {widths}."
            )
        if self.standardize != (self.mean_ is not None):
            raise ValueError(
                f"warm_start=True can't go on with standardize={self.standardize}: the network was "
                f"trained with {not self.standardize}."
            )

    @property
    def _n_features_out(self):
        sizes = self.architecture_
        return sizes["n_dims"] * (self.n_blocks_ if sizes["fusion"] == "concat" else 1)

    def _sizes(self):
        return {
            "block_widths": [len(columns) for columns in self.blocks_.values()],
            "n_classes": len(self.classes_),
            "fusion": self.fusion,
            "curvature": self.curvature
            if isinstance(self.curvature, str)
            else float(self.curvature),
            "head": self.head,
            "branch": self.branch,
            "branch_sizes": self._sizes_of_branches(),
            "n_dims": int(self.n_dims),
            "max_norm": None if self.max_norm is None else float(self.max_norm),
            "hidden_size": int(self.hidden_size),
        }

    def _sizes_of_branches(self):
        """Return the sizes of the branches, as plain numbers."""
        if self.branch_sizes is None:
            return list(BRANCH_SIZES[self.branch])
        sizes = list(self.branch_sizes)
        is_count = Interval(Integral, 1, None, closed="left").is_satisfied_by
        if any(isinstance(size, bool) or not is_count(size) for size in sizes):
            raise ValueError(
                f"branch_sizes={self.branch_sizes!r} must hold whole numbers above zero, such as "
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


class _Standardized:
    """Rows of a table, standardised as they are asked for, their blocks in order.

    Parameters
    ----------
    estimator : HyperbolicFusionClassifier
        With `blocks_`, `mean_` and `scale_`.
    table : ndarray of shape (n_recordings, n_features)
        What it was given.
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
        # What overflows is clipped by the network.
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, dtype=np.float32)
