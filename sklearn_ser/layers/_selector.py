"""Choose, join, average or weight the layers of a network, as a scikit-learn transformer."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import GroupKFold
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from sklearn_ser._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_feature_names_in,
    fit_context,
)

from ._columns import as_layers, check_indices, layer_names, names_of_combination
from ._scores import (
    DEFAULT_SCORING,
    default_estimator,
    find_best_layer,
    kind_of_target,
    make_splits,
    score_layers,
    split_targets,
)
from ._weights import correlations, learn_weights, standardization, weighted_sum


class LayerSelector(TransformerMixin, BaseEstimator):
    """Reduce the layers of a network to one vector per recording.

    The layers of a speech network carry different things, and the last is rarely the best for
    emotions. This transformer takes one layer or several, their mean, a weighted sum whose
    weights are learned with a linear head, or the layer that scores best in an inner
    cross-validation. As a step of a pipeline it learns from the training fold alone, and a
    grid search over `layer` compares them all.

    Parameters
    ----------
    layer : int, list of int or {"mean", "weighted", "best"}, default=-1
        What becomes of the layers:

        - an index, counted from 0, or from the end if it is negative;
        - a list of indices, whose layers are concatenated in its order;
        - "mean", the mean over layers as they are;
        - "weighted", the sum of the standardised layers under weights that are learned
          together with a linear head and sum to one;
        - "best", the layer of the highest mean score of `estimator` in a cross-validation.

        The last two need `y`. If it has several columns, such as arousal and valence, each has
        weights or a best layer of its own, and their outputs are concatenated.
    n_layers : int, default=None
        Number of layers in a table, whose columns hold all dimensions of the first layer, then
        all of the second, and so on. None takes a table for one layer. Where `X` has three
        axes, None or the length of the second.
    estimator : estimator object, default=None
        With "best", what is scored on each layer. None means `StandardScaler` and
        `LogisticRegression` for classes or `Ridge` for numbers.
    cv : int, cross-validation generator or iterable, default=None
        With "best", the inner cross-validation. An int is a number of folds, stratified for
        classes, and of whole groups where `fit` is given `groups`; None means five, or as many
        as there are groups if these are fewer.
    scoring : str or callable, default=None
        With "best", the score. None means "balanced_accuracy" for classes, the field's
        unweighted average recall, and "r2" for numbers.
    target_type : {"auto", "multiclass", "continuous"}, default="auto"
        What the columns of `y` hold: classes, or numbers. "auto" takes a column for numbers if
        it holds floats that aren't all whole. It decides about the head of "weighted" and the
        defaults of "best".
    alpha : float, default=0.01
        With "weighted", strength of the L2 penalty on the head, relative to the mean loss over
        recordings, as in `SGDClassifier`; ``C`` of `LogisticRegression` is
        ``1 / (alpha * n_recordings)``.
    max_iter : int, default=1000
        With "weighted", largest number of iterations of L-BFGS.
    tol : float, default=0.0001
        With "weighted", L-BFGS ends where no entry of the gradient is larger.
    n_jobs : int, default=None
        With "best", number of layers scored at the same time; with "weighted", number of
        columns of `y`. None means 1 unless in a `joblib.parallel_config` context; -1 means all
        processors.

    Attributes
    ----------
    n_layers_ : int
        Number of layers of `X`.
    n_dims_ : int
        Number of dimensions of each layer.
    layer_indices_ : ndarray of int or None
        Indices of the layers in the output, counted from 0; with "best" one for each target.
        None with "mean" and "weighted".
    layer_weights_ : ndarray of shape (n_layers,) or (n_targets, n_layers), or None
        With "weighted", the weights. They are positive and sum to one.
    mean_, scale_ : ndarray of shape (n_layers, n_dims) or None
        With "weighted", what is subtracted from the layers and what they are divided by.
    n_iter_ : int
        Number of iterations of L-BFGS, the largest over the targets; 1 where there are none.
    layer_scores_ : ndarray of shape (n_layers, n_splits) or (n_targets, n_layers, n_splits), \
            or None
        With "best", the score of each layer in each inner test fold.
    best_layer_ : int, list of int or None
        With "best", the layer of the highest mean score, the lowest of equals; a list of one for
        each target if `y` has columns.
    scoring_ : str, callable, list of these or None
        With "best", what was scored by; a list of one for each target if `y` has columns.
    target_names_ : list of str or None
        Names of the columns of `y`, with "weighted" and "best" and if `y` has two axes.
    n_features_in_ : int
        Number of columns of `X`. Only where `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Only where `X` was a data frame in `fit`.

    See Also
    --------
    sklearn_ser.inspection.LayerProbeDisplay : A picture of the score of each layer.

    Notes
    -----
    With "weighted", the weights are a softmax over free logits, and minimise the mean
    cross-entropy of a multinomial logistic head, or half the mean squared error of a linear
    one, plus ``alpha / 2`` times the squared norm of its coefficients. L-BFGS finds logits and
    head together, in float64 and from equal weights; a target of numbers is standardised first.
    The head is then let go.

    What is summed are the layers after each of their dimensions was brought to zero mean and
    unit variance over the training recordings, in the optimisation and in the output alike. The
    layers of a network may differ in scale by orders of magnitude, so that weights of the layers
    as they are would tell about their scales, and could not be compared. For the penalty, a
    coefficient counts in units of the standard deviation that its dimension has in the sum:
    otherwise it would weigh more on sums of layers that differ, as these have less variance, and
    draw all weight to one layer. "mean" learns nothing and takes the layers as they are, so that
    those of large scale prevail in it.

    `groups` reach the inner cross-validation by scikit-learn's metadata routing, as they reach
    `GridSearchCV`: with ``sklearn.set_config(enable_metadata_routing=True)``, groups passed to a
    pipeline or a search keep speakers apart in the inner folds too. `cv` asks for them, not
    `layer`, so that a search may compare layers with "best". Where routing may be off, give a
    `cv` that splits by groups, such as `GroupKFold`: it raises if none come, and a number of
    folds does not.

    Rows of NaN, which embedders give for recordings they can't use, pass through indices, lists
    and "mean"; "weighted" and "best" refuse them.

    References
    ----------
    D. de Oliveira, N. Raj Prabhu, T. Gerkmann, "Leveraging Semantic Information for Efficient
    Self-Supervised Emotion Recognition with Audio-Textual Distilled Models", Interspeech 2023,
    arXiv 2305.19184.

    S.-w. Yang et al., "SUPERB: Speech Processing Universal PERformance Benchmark", Interspeech
    2021, arXiv 2105.01051.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser import LayerSelector
    >>> rng = np.random.default_rng(0)
    >>> emotions = np.repeat(["anger", "fear"], 20)
    >>> layers = rng.normal(size=(40, 3, 4))
    >>> layers[:, 1, 0] += np.where(emotions == "anger", 2, -2)
    >>> LayerSelector(layer=[0, -1]).fit_transform(layers).shape
    (40, 8)
    >>> LayerSelector("best").fit(layers, emotions).best_layer_
    1
    >>> selector = LayerSelector("weighted").fit(layers, emotions)
    >>> selector.layer_weights_.argmax()
    np.int64(1)
    >>> selector.get_feature_names_out()
    array(['layerweighted_dim0', 'layerweighted_dim1', 'layerweighted_dim2',
           'layerweighted_dim3'], dtype=object)
    """

    _parameter_constraints: dict = {
        "layer": [
            Integral,
            list,
            tuple,
            range,
            np.ndarray,
            StrOptions({"mean", "weighted", "best"}),
        ],
        "n_layers": [Interval(Integral, 1, None, closed="left"), None],
        "estimator": [HasMethods("fit"), None],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "target_type": [StrOptions({"auto", "multiclass", "continuous"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        layer=-1,
        *,
        n_layers=None,
        estimator=None,
        cv=None,
        scoring=None,
        target_type="auto",
        alpha=0.01,
        max_iter=1000,
        tol=1e-4,
        n_jobs=None,
    ):
        self.layer = layer
        self.n_layers = n_layers
        self.estimator = estimator
        self.cv = cv
        self.scoring = scoring
        self.target_type = target_type
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **params):
        """Learn what `layer` asks for.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_layers, n_dims) or \
                (n_recordings, n_layers * n_dims)
            The layers of each recording.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets), default=None
            Classes or numbers; only for "weighted" and "best".
        **params : dict of str to array-like
            ``groups`` of shape (n_recordings,), which "best" keeps apart. With metadata routing
            enabled, also what `estimator` and `scoring` ask for.

        Returns
        -------
        self : object
            The transformer itself.

        Raises
        ------
        ValueError
            If `layer` is out of range, if the columns of `X` don't divide into `n_layers`, or if
            `cv` splits by groups and none came.
        """
        layers = self._check_layers(X, y, reset=True)
        of_splitter, of_estimator = self._route(params)
        columns, self.target_names_ = split_targets(y, self) if self._learns else ([], None)
        if columns:
            check_consistent_length(layers, columns[0])
        self.n_layers_, self.n_dims_ = layers.shape[1:]
        self.layer_indices_ = self.best_layer_ = self.layer_scores_ = self.scoring_ = None
        self.layer_weights_ = self.mean_ = self.scale_ = None
        self.n_iter_ = 1
        if not isinstance(self.layer, str):
            self.layer_indices_ = check_indices(self.layer, self.n_layers_)
        elif self.layer == "weighted":
            self._learn_weights(layers, columns)
        elif self.layer == "best":
            self._score_layers(layers, columns, of_splitter, of_estimator)
        return self

    def transform(self, X):
        """Reduce the layers of each recording to one row.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_layers, n_dims) or \
                (n_recordings, n_layers * n_dims)
            The layers of each recording, of the shape they had in `fit`.

        Returns
        -------
        X_out : ndarray of shape (n_recordings, n_dims_out)
            Of the dtype of `X` if that is float32 or float64. As many columns as a layer has
            dimensions, times the number of layers in a list, or of columns of `y`.
        """
        check_is_fitted(self)
        layers = self._check_layers(X, reset=False)
        if self.layer_weights_ is not None:
            weights = np.atleast_2d(self.layer_weights_)
            return weighted_sum(layers, weights, self.mean_, self.scale_)
        if self.layer_indices_ is not None:
            return layers[:, self.layer_indices_].reshape(len(layers), -1)
        return layers.mean(axis=1)

    def get_feature_names_out(self, input_features=None):
        """Name the columns of the output.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of `X`, layer by layer. None means `feature_names_in_`, or for
            an array with three axes names such as "layer03_dim0012".

        Returns
        -------
        feature_names_out : ndarray of str objects
            The names of the columns that were chosen; or with "mean" and "weighted" those names
            with this word in place of the number of the layer. Where `y` had several columns, the
            name of the column leads.
        """
        check_is_fitted(self)
        names = self._names_in(input_features)
        if self.layer_indices_ is not None:
            blocks = names[self.layer_indices_]
        elif self.layer_weights_ is None:
            blocks = names_of_combination(names, "mean")
        else:
            n_sets = len(np.atleast_2d(self.layer_weights_))
            blocks = np.tile(names_of_combination(names, "weighted"), (n_sets, 1))
        if self.target_names_ is not None:
            prefixes = np.array(self.target_names_, dtype=object)[:, np.newaxis]
            blocks = prefixes + "_" + blocks
        return blocks.ravel()

    def get_metadata_routing(self):
        """Tell which metadata `fit` hands to the estimator, the scorer and the splitter.

        Returns
        -------
        routing : MetadataRouter
            The requests of `estimator` and `scoring`, if they are given, and of `cv`. Groups
            are asked for by a `cv` that splits by groups, and by a number of folds or None.
        """
        router = self._router_of_estimator()
        if hasattr(self.cv, "split"):
            splitter = self.cv
        elif self.cv is None or isinstance(self.cv, Integral):
            splitter = GroupKFold()  # stands for what keeps groups apart if they come
        else:
            return router
        mapping = MethodMapping().add(caller="fit", callee="split")
        return router.add(splitter=splitter, method_mapping=mapping)

    def _router_of_estimator(self):
        router = MetadataRouter(owner=self)
        if self.estimator is not None:
            mapping = MethodMapping().add(caller="fit", callee="fit")
            router.add(estimator=self.estimator, method_mapping=mapping)
        if self.scoring is not None:
            mapping = MethodMapping().add(caller="fit", callee="score")
            router.add(scorer=get_scorer(self.scoring), method_mapping=mapping)
        return router

    def _route(self, params):
        """Return the metadata of the splitter, and those of the estimator and the scorer."""
        params = {name: value for name, value in params.items() if value is not None}
        if not get_config()["enable_metadata_routing"]:
            if unknown := sorted(params.keys() - {"groups"}):
                raise TypeError(
                    f"LayerSelector.fit got {unknown}, and takes nothing but groups unless "
                    "sklearn.set_config(enable_metadata_routing=True) was called."
                )
            return params, {}
        of_splitter = process_routing(self, "fit", **params).get("splitter", {"split": {}})["split"]
        of_estimator = self._router_of_estimator().consumes("fit", params)
        return of_splitter, {name: params[name] for name in of_estimator}

    @property
    def _learns(self):
        return isinstance(self.layer, str) and self.layer in {"weighted", "best"}

    def _check_layers(self, X, y="no_validation", *, reset):
        """Return `X` with three axes; check it, and in `fit` that `y` is there if needed."""
        array = check_array(
            X,
            dtype=[np.float64, np.float32],
            allow_nd=True,
            ensure_all_finite=False,  # below, after the names
            ensure_min_samples=2 if reset and self._learns else 1,
            estimator=self,
            input_name="X",
        )
        if reset:
            self.__dict__.pop("n_features_in_", None)
        validate_data(self, X, y, reset=reset, skip_check_array=True, ensure_2d=array.ndim == 2)
        name = type(self).__name__
        assert_all_finite(array, allow_nan=not self._learns, estimator_name=name, input_name="X")
        if reset:
            return as_layers(array, self.n_layers, getattr(self, "feature_names_in_", ()))
        is_table = hasattr(self, "n_features_in_")
        fitted = (self.n_features_in_,) if is_table else (self.n_layers_, self.n_dims_)
        if array.shape[1:] != fitted:
            raise ValueError(
                f"X has shape {array.shape}, and in fit it had (n_recordings, "
                f"{', '.join(map(str, fitted))})."
            )
        return array.reshape(len(array), self.n_layers_, self.n_dims_)

    def _names_in(self, input_features):
        """Return the names of all dimensions of all layers, in an array of these two axes."""
        if hasattr(self, "n_features_in_"):
            names = check_feature_names_in(self, input_features)
        elif input_features is None:
            names = layer_names(self.n_layers_, self.n_dims_)
        else:
            names = np.asarray(input_features, dtype=object)
        if len(names) != self.n_layers_ * self.n_dims_:
            raise ValueError(
                f"input_features has length {len(names)}, and X had {self.n_layers_} layers of "
                f"{self.n_dims_} dimensions."
            )
        return names.reshape(self.n_layers_, self.n_dims_)

    def _learn_weights(self, layers, columns):
        kinds = [kind_of_target(column, self.target_type) for column in columns]
        self.mean_, self.scale_ = standardization(layers)
        correlation = correlations(layers, self.mean_, self.scale_)
        learned = Parallel(n_jobs=self.n_jobs)(
            delayed(learn_weights)(
                layers,
                column,
                self.mean_,
                self.scale_,
                correlation,
                kind=kind,
                alpha=self.alpha,
                max_iter=self.max_iter,
                tol=self.tol,
            )
            for column, kind in zip(columns, kinds, strict=True)
        )
        self.layer_weights_ = self._one_or_all(np.array([found.weights for found in learned]))
        self.n_iter_ = max(1, *(found.n_iter for found in learned))
        if not all(found.converged for found in learned):
            warnings.warn(
                f"The weights of the layers did not converge in {self.n_iter_} iterations: raise "
                f"max_iter={self.max_iter}, alpha={self.alpha} or tol={self.tol}.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _score_layers(self, layers, columns, of_splitter, of_estimator):
        kinds = [kind_of_target(column, self.target_type) for column in columns]
        # An iterator of splits serves all targets.
        is_iterable = not (
            self.cv is None or isinstance(self.cv, Integral) or hasattr(self.cv, "split")
        )
        cv = list(self.cv) if is_iterable else self.cv
        scoring = [self.scoring or DEFAULT_SCORING[kind] for kind in kinds]
        scores = [
            score_layers(
                layers,
                column,
                self.estimator or default_estimator(kind),
                splits=make_splits(cv, layers, column, kind, of_splitter),
                scoring=score,
                params=of_estimator,
                n_jobs=self.n_jobs,
            )
            for column, kind, score in zip(columns, kinds, scoring, strict=True)
        ]
        self.layer_indices_ = np.array([find_best_layer(of_target) for of_target in scores])
        self.scoring_ = self._one_or_all(scoring)
        self.layer_scores_ = self._one_or_all(np.array(scores))
        self.best_layer_ = self._one_or_all(self.layer_indices_.tolist())

    def _one_or_all(self, of_targets):
        """Return what belongs to the only target, or where `y` had two axes all of it."""
        return of_targets[0] if self.target_names_ is None else of_targets

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = not self._learns
        tags.target_tags.required = self._learns
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
