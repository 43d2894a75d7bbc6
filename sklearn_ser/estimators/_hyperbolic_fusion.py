"""HYFuse: a classifier that fuses representations of speech in hyperbolic space."""

import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import with_callbacks
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from sklearn_ser._sklearn import Interval, StrOptions, fit_context
from sklearn_ser.audio import are_recordings
from sklearn_ser.export import Affine, Float32, OnnxMixin, OnnxStep, Probabilities, Select
from sklearn_ser.nn import (
    BRANCH_SIZES,
    FUSIONS,
    HyperbolicFusionNetwork,
    poincare,
)
from sklearn_ser.training import (
    CombinedOptimizer,
    TorchClassifier,
    as_arrays,
    callback_data,
    encode_classes,
)

from ._blocks import check_missing, find_blocks
from ._linear_fusion import LinearTraining, held_out_recall, make_block


class HyperbolicFusionClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, OnnxMixin, TorchClassifier
):
    """Classify emotions by fusing representations in hyperbolic space (HYFuse).

    A branch maps each block of columns, such as a speaker embedding or the latents of a codec, to
    a vector of common size. The vectors are mapped to the Poincaré ball and fused there by Möbius
    addition. With ``curvature=0`` the same model works in Euclidean space.

    By default the branches are linear, and the logits are log₀ of the fused point. This extends
    logistic regression, to which it is equal with ``curvature=0`` and ``block_loss=0``. The
    network of the paper has ``branch="conv"``, and its baseline also ``fusion="concat"``.

    A block that is all NaN in a row is missing: the row is classified by its other blocks.

    Parameters
    ----------
    blocks : "auto", list or dict, default="auto"
        The blocks of columns of `X`. "auto" uses the prefix before the first ``__`` of the column
        names, as set by `FeatureUnion` and `ColumnTransformer` in data frames. If this prefix is
        the same for all columns, the prefix before the second ``__`` is used. Without such names
        all columns form one block, with a warning. A list contains, for each block, its number of
        columns (``[512, 256]``), its slice, or the names of its columns. A dict of such entries
        also names the blocks.
    branch : {"linear", "mlp", "conv"}, default="linear"
        Linear maps, fitted by L-BFGS on all recordings; linear layers with ReLU between them; or
        convolutions along the features of a block, as in the paper. The latter two are networks,
        trained in batches by Adam. Only they use `branch_sizes` to `dropout`, `max_epochs`,
        `learning_rate`, `weight_decay`, `schedule`, `dtype` and early stopping.
    fusion : {"mobius", "concat", "sum", "gyromidpoint"}, default="mobius"
        Fusion of the blocks: Möbius addition from left to right, which depends on the order;
        concatenation, which is Euclidean regardless of the curvature; the sum in the tangent
        space; or the midpoint of the points. With linear branches, "concat" and "sum" do not depend
        on the curvature.
    order : {"auto", "given"}, default="auto"
        Order of ⊕. "auto" puts the blocks with the best `block_scores_` first, since blocks to
        the left have more influence. "given" is the order of `blocks`. Only used if `fusion` is
        "mobius".
    curvature : float, "learn", "learn_each" or "auto", default="auto"
        Non-negative c of the ball of curvature −c. 0 is Euclidean space. With linear branches it
        is relative to the mean squared norm s² of the vectors, c = curvature / (1 + s²), so that
        points stay away from the boundary, whatever the features and `C`. "auto" is 0.2 for
        linear branches and 1, as in the paper, for others. "learn" learns one curvature,
        initialised to 1, and "learn_each" one for each block; linear branches have neither.
    C : float, default=0.01
        Inverse of the strength of the L2 penalty of linear branches, as in `LogisticRegression`,
        and of the ridge regressions of `block_scores_`. Networks only use it for the latter.
    block_loss : float, default=0.4
        Weight a of the mean cross-entropy of the classifiers that use one block alone, beside that
        of all blocks with weight one. The larger it is, the better are predictions for rows with
        missing blocks, and the less do the blocks complement each other. Only used if `branch` is
        "linear".
    tol : float, default=0.0001
        Tolerance of L-BFGS: the largest entry of the gradient of the mean loss at convergence.
        Only used if `branch` is "linear".
    max_iter : int, default=1000
        Maximum number of iterations of L-BFGS. Only used if `branch` is "linear".
    head : {"softmax", "mlr"}, default="softmax"
        A hidden layer and softmax in the tangent space, or hyperbolic multinomial logistic
        regression on the ball, whose points are optimised by Riemannian Adam. Linear branches
        have a softmax without hidden layer.
    branch_sizes : tuple of int, default=None
        Numbers of channels of the convolutions, or widths of the hidden layers. None is (64, 128)
        for convolutions, as in the paper, and (256,) for linear layers.
    n_dims : int, default=120
        Number of dimensions of the ball. Linear branches have one for each class.
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
    class_weight : dict, "balanced" or None, default="balanced"
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
        Precision of the branches in training. Weights, operations on the ball and predictions are
        always float32.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    random_state : int, RandomState instance or None, default=None
        Determines initialisation, shuffling and dropout of networks. Pass an int for reproducible
        results on the CPU of a machine. Linear branches are deterministic.
    warm_start : bool, default=False
        Whether to continue training from the weights of the previous call to `fit`, for
        `max_epochs` more epochs, with a new optimiser and schedule, or with linear branches until
        convergence. With `early_stopping`, the
        same speakers are held out, and the best weights of the new epochs are kept.
    verbose : int, default=0
        If positive, print a line for each epoch, with the time left, or after the last iteration of
        L-BFGS.

    Attributes
    ----------
    blocks_ : dict of str to ndarray of int
        The columns of each block by its name, in the order of ⊕.
    n_blocks_ : int
        Number of blocks.
    block_scores_ : dict of str to float or None
        With ``order="auto"``, unweighted average recall of a ridge regression on each block alone,
        with one recording held out at a time, or one speaker if `groups` is passed to `fit`. None
        if the order does not matter.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted. Columns of shares without votes are among them.
    curvature_ : float
        c of the ball of the fused points.
    state_ : dict of str to ndarray
        Weights of the network by name. The network is built once, and the arrays are read-only.
        To change the weights, assign other arrays.
    history_ : dict of str to list
        The training history, with one entry for each epoch, or iteration of L-BFGS: ``epoch``,
        ``train_loss``; in networks also ``learning_rate`` (of the last step), and with
        `early_stopping` ``valid_loss`` and ``valid_score``, NaN for epochs without it.
        ``pandas.DataFrame(history_)`` converts it to a table.
    n_iter_ : int
        Number of epochs, or iterations of L-BFGS, including those before a warm start.
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

    With linear branches, z_b = W_b x_b, c = curvature / (1 + mean ‖z_b‖²) and the logits are
    log₀(exp₀(z_1) ⊕ exp₀(z_2) ⊕ …) + b. The loss is

    C Σ_i w_i {CE(all blocks) + a mean_b CE(z_b + b)} / (1 + a) + Σ_b ‖W_b‖² / 2,

    with the weights w_i of recordings and classes, and a the `block_loss`. For two classes the
    penalty is doubled, so that the model extends `LogisticRegression` there too. L-BFGS starts
    from zero, in the principal axes of the blocks, scaled by the curvature of the loss.

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
    >>> classifier = HyperbolicFusionClassifier(blocks={"speaker": 12, "codec": 8})
    >>> classifier.fit(np.hstack([speaker, codec]), emotions).n_blocks_
    2
    >>> list(classifier.blocks_)  # the codec distinguishes these emotions better
    ['codec', 'speaker']
    >>> classifier.transform(np.hstack([speaker, codec])).shape
    (60, 2)
    """

    _parameter_constraints: dict = {
        **TorchClassifier._parameter_constraints,
        "blocks": [StrOptions({"auto"}), list, tuple, dict],
        "branch": [StrOptions(set(BRANCH_SIZES))],
        "fusion": [StrOptions(set(FUSIONS))],
        "order": [StrOptions({"auto", "given"})],
        "curvature": [
            Interval(Real, 0, None, closed="left"),
            StrOptions({"auto", "learn", "learn_each"}),
        ],
        "C": [Interval(Real, 0, None, closed="neither")],
        "block_loss": [Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "head": [StrOptions({"softmax", "mlr"})],
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
        branch="linear",
        fusion="mobius",
        order="auto",
        curvature="auto",
        C=0.01,
        block_loss=0.4,
        tol=1e-4,
        max_iter=1000,
        head="softmax",
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
        class_weight="balanced",
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
        self.branch = branch
        self.fusion = fusion
        self.order = order
        self.curvature = curvature
        self.C = C
        self.block_loss = block_loss
        self.tol = tol
        self.max_iter = max_iter
        self.head = head
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
        """Train the classifier.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            Concatenated blocks of features; see `blocks`. NaN in all columns of a block is a
            missing block.
        y : array-like of shape (n_recordings,) or (n_recordings, n_classes)
            Emotions, as strings or numbers, or soft labels: the shares of the emotions in the votes
            of annotators, or their numbers of votes, which are divided by their sum. The emotions
            are the columns of a data frame, or `classes` for other arrays.
        sample_weight : array-like of shape (n_recordings,), default=None
            Weights of the recordings. With linear branches they multiply `C`, as in
            `LogisticRegression`; in networks only their ratios matter. Recordings of weight zero
            are ignored.
        groups : array-like of shape (n_recordings,), default=None
            Speaker of each recording. Whole speakers are held out by `early_stopping` and for
            `block_scores_`.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If `X` has recordings, three axes, or NaN in a part of a block, if the blocks do not
            match the columns, if there are fewer than two classes, if shares have no names or a
            recording has none, or if training diverges.
        """
        self._reset()
        data = callback_data(X, y, sample_weight)
        table = self._check_table(X, reset=not self._is_warm_start)
        training_set, weights = encode_classes(self, table, y, sample_weight, groups)
        names = getattr(self, "feature_names_in_", None)
        blocks = find_blocks(self.blocks, self.n_features_in_, names)
        present = check_missing(table, blocks)
        self._check_not_lost(present, training_set)
        if self._is_warm_start:
            self._check_warm_start(blocks)
        else:
            self.blocks_, self.n_blocks_ = blocks, len(blocks)
            self.mean_, self.scale_ = self._moments(
                table[training_set.positions], weights[training_set.positions]
            )
        is_scored = self.order == "auto" and self.fusion == "mobius" and self.n_blocks_ > 1
        prepared = {}
        if self.branch == "linear" or is_scored:
            prepared = self._prepare_blocks(table, training_set)
        if not self._is_warm_start:
            self._sort_blocks(prepared, present, training_set, is_scored)
        self._set_architecture(self._network_config())
        if self.branch == "linear":
            self._train_linear(prepared, present, training_set, data)
        else:
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
            block. Linear branches have one dimension for each class.
        """
        check_is_fitted(self, "state_")
        return self._outputs(self._inputs(X), "fuse")

    def distance_to_origin(self, X):
        """Compute the hyperbolic distances of the fused points to the origin of the ball.

        The distance is no measure of confidence: on Emo-DB and RAVDESS it separates correct from
        wrong predictions less well than the maximum of `predict_proba`.

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
        table = self._check_table(X, reset=False)
        check_missing(table, self.blocks_)
        return _StandardizedRows(self, table)

    def _check_table(self, X, *, reset):
        """Validate `X`, in which NaN is allowed."""
        name = type(self).__name__
        if are_recordings(X):
            raise ValueError(
                f"{name} expects a table of features, but X contains recordings: put embedders "
                f"before it, as in make_pipeline(make_union(WavLMEmbedder(layers=[6], flatten=True)"
                f", XVectorEmbedder()).set_output(transform='pandas'), {name}())."
            )
        if len(getattr(X, "shape", ())) == 3:
            raise ValueError(
                f"{name} expects a table of features, but X has shape {X.shape}: put "
                "LayerSelector after the embedder that returns all layers, or set flatten=True."
            )
        return validate_data(self, X, dtype=_FLOATS, ensure_all_finite="allow-nan", reset=reset)

    def _check_not_lost(self, present, training_set):
        """Check that each block is present in a recording to train on."""
        rows = training_set.positions[training_set.targets[training_set.positions].any(axis=1)]
        for name, has_block in present.items():
            if not has_block[rows].any():
                raise ValueError(
                    f"X contains NaN in block {name!r} of all recordings to train on: leave the "
                    "block out."
                )

    def _prepare_blocks(self, table, training_set):
        """Return each block of the recordings to train on, in coordinates for L-BFGS."""
        rows = training_set.positions
        weights = training_set.targets[rows].sum(axis=1, dtype=np.float64)
        features = _StandardizedRows(self, table)[rows]
        ends = np.cumsum([len(columns) for columns in self.blocks_.values()])[:-1]
        penalty = self._penalty(training_set)
        return {
            name: make_block(part, weights / weights.sum(), penalty)
            for name, part in zip(self.blocks_, np.split(features, ends, axis=1), strict=True)
        }

    def _penalty(self, training_set):
        """Return the L2 penalty beside the mean of the loss."""
        of_classes = 2 if len(self.classes_) == 2 else 1
        return of_classes / self.C / training_set.total_weight

    def _sort_blocks(self, prepared, present, training_set, is_scored):
        """Sort the blocks by their scores, in descending order."""
        self.block_scores_ = None
        if not is_scored:
            return
        self.block_scores_ = {}
        targets = training_set.targets[training_set.positions]
        targets = targets / targets.sum(dtype=np.float64)
        for name, block in prepared.items():
            kept = present[name][training_set.positions] & targets.any(axis=1)
            self.block_scores_[name] = held_out_recall(
                block._replace(values=block.values[kept]),
                targets[kept],
                training_set.strata[kept],
                None if training_set.groups is None else training_set.groups[kept],
            )
        names = sorted(self.blocks_, key=self.block_scores_.__getitem__, reverse=True)
        self.blocks_ = {name: self.blocks_[name] for name in names}

    def _train_linear(self, prepared, present, training_set, data):
        """Fit linear branches by L-BFGS."""
        root = self._init_callback_context(max_subtasks=0)
        root.call_on_fit_task_begin(estimator=self, **data)
        network = self._build_module().double()
        before = self.n_iter_ if self._is_warm_start else 0
        if before:
            self._load_state(network)
        rows = training_set.positions
        targets = training_set.targets[rows].astype(np.float64)
        training = LinearTraining(
            network,
            [prepared[name] for name in self.blocks_],
            np.stack([present[name][rows] for name in self.blocks_], axis=1),
            targets / targets.sum(),
            self.block_loss,
        )
        losses = training.minimize(self.tol, self.max_iter)
        n_iter = before + len(losses)
        state = as_arrays(network.float())
        self._check_finite(n_iter, losses, *state.values())
        if self.verbose:
            print(f"L-BFGS: {len(losses)} iterations, train_loss {losses[-1]:.4g}")
        self.state_, self.n_iter_, self.best_score_ = state, n_iter, None
        history = self.history_ if before else {"epoch": [], "train_loss": []}
        self.history_ = {
            "epoch": [*history["epoch"], *range(before + 1, n_iter + 1)],
            "train_loss": [*history["train_loss"], *losses],
        }
        root.call_on_fit_task_end(
            estimator=self, reconstruction_attributes={"state_": state}, **data
        )

    def _moments(self, table, weights):
        if not self.standardize:
            return None, None
        table = table.astype(np.float64)
        largest = np.nanmax(np.abs(table), axis=0)
        unit = np.where(largest > _LARGEST, largest, 1.0)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            scaler = StandardScaler().fit(table / unit, sample_weight=weights)
        return scaler.mean_ * unit, scaler.scale_ * unit

    def _check_warm_start(self, blocks):
        """Check that blocks and standardisation are those of the fitted network."""
        same = [np.array_equal(blocks.get(name), known) for name, known in self.blocks_.items()]
        names = sorted(blocks) if self.block_scores_ else list(blocks)
        fitted = sorted(self.blocks_) if self.block_scores_ else list(self.blocks_)
        if names != fitted or not all(same):
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
            "curvature": self._check_curvature(),
            "head": self.head,
            "branch": self.branch,
            "branch_sizes": self._check_branch_sizes(),
            "n_dims": len(self.classes_) if self.branch == "linear" else int(self.n_dims),
            "max_norm": None if self.max_norm is None else float(self.max_norm),
            "hidden_size": int(self.hidden_size),
        }

    def _check_curvature(self):
        """Return the curvature of the network, after a check that linear branches permit it."""
        is_linear = self.branch == "linear"
        for parameter, is_permitted in (
            ("head", self.head == "softmax"),
            ("curvature", self.curvature not in ("learn", "learn_each")),
        ):
            if is_linear and not is_permitted:
                raise ValueError(
                    f"{parameter}={getattr(self, parameter)!r} needs a network: set branch='mlp' "
                    "or branch='conv'."
                )
        if self.curvature == "auto":
            return 0.2 if is_linear else 1.0
        return self.curvature if isinstance(self.curvature, str) else float(self.curvature)

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

    def _onnx_step(self):
        check_is_fitted(self, "state_")
        is_scaled = self.mean_ is not None
        module = nn.Sequential(
            *([Affine.standardize(self.mean_, self.scale_)] if is_scaled else []),
            Select(np.concatenate(list(self.blocks_.values()))),
            Float32(),
            self._module_copy(),
            Probabilities(),
        )
        shape = (self.n_features_in_,)
        return OnnxStep(module, "features", shape, "probabilities", classes=self.classes_)

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
