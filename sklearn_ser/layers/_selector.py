"""A transformer that selects, concatenates, averages or weights the layers of a network."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn import get_config
from sklearn.base import TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import GroupKFold
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

import sklearn_ser.metrics  # noqa: F401 - registers the names of its scorers
from sklearn_ser._pickles import Estimator
from sklearn_ser._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_feature_names_in,
    fit_context,
)

from ._columns import as_layers, check_indices, combined_names, layer_names
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


class LayerSelector(TransformerMixin, Estimator):
    """Reduce the layers of a network to one vector per recording.

    The layers of a speech network encode different information, and the last layer is rarely the
    best for emotions. This transformer selects one layer or several, their mean, a weighted sum
    whose weights are learned with a linear head, or the layer with the best score in an inner
    cross-validation. As a step of a pipeline it is fitted on the training fold only, and a grid
    search over `layer` compares all layers.

    Parameters
    ----------
    layer : int, list of int or {"mean", "weighted", "best"}, default=-1
        Layer or combination of layers:

        - an index; negative indices count from the last layer;
        - a list of indices, whose layers are concatenated in this order;
        - "mean", the mean over the layers, which are not standardised;
        - "weighted", a weighted sum of the standardised layers. The weights sum to one and are
          learned together with a linear head;
        - "best", the layer with the highest mean score of `estimator` in a cross-validation.

        "weighted" and "best" need `y`. If `y` has several columns, such as arousal and valence,
        weights or a best layer are learned for each, and the outputs are concatenated.
    n_layers : int, default=None
        Number of layers if `X` is a table, whose columns are all dimensions of the first layer,
        then all of the second, and so on. None means one layer. If `X` has three axes, it must
        be None or the length of the second axis.
    estimator : estimator object, default=None
        With "best", estimator that is scored on each layer. None means `StandardScaler` followed
        by `LogisticRegression` for classes or `Ridge` for numbers.
    cv : int, cross-validation generator or iterable, default=None
        With "best", inner cross-validation. An int is the number of folds, which are stratified
        for classes and keep groups together if `groups` is passed to `fit`. None means five
        folds, or the number of groups if it is lower.
    scoring : str or callable, default=None
        With "best", scoring of the cross-validation. None means "balanced_accuracy" (unweighted
        average recall) for classes and "r2" for numbers.
    target_type : {"auto", "multiclass", "continuous"}, default="auto"
        Type of the columns of `y`: classes or numbers. "auto" treats a column as numbers if it
        contains floats that are not all integers. It determines the head of "weighted" and the
        defaults of "best".
    alpha : float, default=0.01
        With "weighted", strength of the L2 penalty on the head, relative to the mean loss over
        recordings, as in `SGDClassifier`; ``C`` of `LogisticRegression` is
        ``1 / (alpha * n_recordings)``.
    max_iter : int, default=1000
        With "weighted", maximum number of iterations of L-BFGS.
    tol : float, default=0.0001
        With "weighted", L-BFGS stops when the largest entry of the gradient is at most `tol`.
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
        Non-negative indices of the layers in the output; with "best" one for each target. None
        with "mean" and "weighted".
    layer_weights_ : ndarray of shape (n_layers,) or (n_targets, n_layers), or None
        With "weighted", weights of the layers. They are positive and sum to one.
    mean_, scale_ : ndarray of shape (n_layers, n_dims) or None
        With "weighted", mean and standard deviation by which the layers are standardised.
    n_iter_ : int
        Maximum number of iterations of L-BFGS over the targets; 1 without "weighted".
    layer_scores_ : ndarray of shape (n_layers, n_splits) or (n_targets, n_layers, n_splits), \
            or None
        With "best", score of each layer on each inner test fold.
    best_layer_ : int, list of int or None
        With "best", index of the layer with the highest mean score, the lowest in case of a tie;
        a list with one index for each target if `y` is 2-D.
    scoring_ : str, callable, list of these or None
        With "best", scoring that was used; a list with one for each target if `y` is 2-D.
    target_names_ : list of str or None
        With "weighted" and "best", names of the columns of `y` if it is 2-D.
    n_features_in_ : int
        Number of columns of `X`. Defined only if `X` was a table in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X`. Defined only if `X` was a data frame in `fit`.

    See Also
    --------
    sklearn_ser.inspection.LayerProbeDisplay : Plot the score of each layer.

    Notes
    -----
    With "weighted", the weights are the softmax of logits. Logits and head minimise the mean
    cross-entropy of a multinomial logistic head, or half the mean squared error of a linear head,
    plus ``alpha / 2`` times the squared norm of the coefficients. They are optimised together by
    L-BFGS, in float64 and from equal weights; a target of numbers is standardised first. The head
    is then discarded.

    Each dimension of each layer is standardised over the training recordings before the weighted
    sum, both in the optimisation and in the output. The layers of a network may differ in scale by
    orders of magnitude; without standardisation the weights would reflect these scales and could
    not be compared. In the penalty, a coefficient is multiplied by the standard deviation of its
    dimension in the sum. Otherwise the penalty would be larger for sums of dissimilar layers, whose
    variance is lower, and all weight would go to one layer. "mean" does not standardise, so that
    layers of large scale dominate it.

    `groups` are passed to the inner cross-validation by scikit-learn's metadata routing, as in
    `GridSearchCV`: with ``sklearn.set_config(enable_metadata_routing=True)``, groups passed to a
    pipeline or a search keep speakers apart in the inner folds too. They are requested by `cv` and
    not by `layer`, so that a search may compare layers with "best". If routing may be disabled,
    pass a `cv` that splits by groups, such as `GroupKFold`: it raises an error if groups are
    missing, while a number of folds does not.

    Rows of NaN, which embedders return for recordings that can't be used, are passed through by
    indices, lists and "mean"; "weighted" and "best" raise an error.

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
        """Learn weights or the best layer, or check the indices, as `layer` requires.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_layers, n_dims) or \
                (n_recordings, n_layers * n_dims)
            The layers of each recording.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets), default=None
            Classes or numbers. Required by "weighted" and "best" and ignored otherwise.
        **params : dict of str to array-like
            ``groups`` of shape (n_recordings,) for the splits of "best". With metadata routing
            enabled, also metadata requested by `estimator` and `scoring`.

        Returns
        -------
        self : object
            Fitted transformer.

        Raises
        ------
        ValueError
            If `layer` is out of range, if the number of columns of `X` is not a multiple of
            `n_layers`, or if `cv` splits by groups and none are passed.
        """
        self.__dict__.pop("n_layers_", None)  # a fit that fails leaves nothing to transform with
        layers = self._check_layers(X, y, reset=True)
        splitter_params, estimator_params = self._route(params)
        columns, self.target_names_ = split_targets(y, self) if self._requires_y else ([], None)
        if columns:
            check_consistent_length(layers, columns[0])
        self.layer_indices_ = self.best_layer_ = self.layer_scores_ = self.scoring_ = None
        self.layer_weights_ = self.mean_ = self.scale_ = None
        self.n_iter_ = 1
        if not isinstance(self.layer, str):
            self.layer_indices_ = check_indices(self.layer, layers.shape[1])
        elif self.layer == "weighted":
            self._learn_weights(layers, columns)
        elif self.layer == "best":
            self._score_layers(layers, columns, splitter_params, estimator_params)
        self.n_layers_, self.n_dims_ = layers.shape[1:]
        return self

    def transform(self, X):
        """Reduce the layers of each recording to one row.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_layers, n_dims) or \
                (n_recordings, n_layers * n_dims)
            The layers of each recording, with the same shape per recording as in `fit`.

        Returns
        -------
        X_out : ndarray of shape (n_recordings, n_dims_out)
            Output, of the dtype of `X` if it is float32 or float64. The number of columns is the
            number of dimensions of a layer, times the number of layers in a list or of columns of
            `y`.
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
        """Get the names of the columns of the output.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of `X`, layer by layer. None means `feature_names_in_`, or, if
            `X` had three axes, names such as "layer03_dim0012".

        Returns
        -------
        feature_names_out : ndarray of str objects
            Names of the selected columns; with "mean" and "weighted", this word replaces the
            number of the layer. If `y` was 2-D, the names of its columns are prefixes.
        """
        check_is_fitted(self)
        names = self._input_names(input_features)
        if self.layer_indices_ is not None:
            blocks = names[self.layer_indices_]
        elif self.layer_weights_ is None:
            blocks = combined_names(names, "mean")
        else:
            n_sets = len(np.atleast_2d(self.layer_weights_))
            blocks = np.tile(combined_names(names, "weighted"), (n_sets, 1))
        if self.target_names_ is not None:
            prefixes = np.array(self.target_names_, dtype=object)[:, np.newaxis]
            blocks = prefixes + "_" + blocks
        return blocks.ravel()

    def get_metadata_routing(self):
        """Get the metadata routing of `fit` to the estimator, the scorer and the splitter.

        Returns
        -------
        routing : MetadataRouter
            Requests of `estimator` and `scoring`, if they are not None, and of `cv`. Groups are
            requested by a `cv` that splits by groups, and by a number of folds or None.
        """
        router = self._estimator_router()
        if hasattr(self.cv, "split"):
            splitter = self.cv
        elif self.cv is None or isinstance(self.cv, Integral):
            splitter = GroupKFold()  # requests groups, which are used if passed
        else:
            return router
        mapping = MethodMapping().add(caller="fit", callee="split")
        return router.add(splitter=splitter, method_mapping=mapping)

    def _estimator_router(self):
        router = MetadataRouter(owner=self)
        if self.estimator is not None:
            mapping = MethodMapping().add(caller="fit", callee="fit")
            router.add(estimator=self.estimator, method_mapping=mapping)
        if self.scoring is not None:
            mapping = MethodMapping().add(caller="fit", callee="score")
            router.add(scorer=get_scorer(self.scoring), method_mapping=mapping)
        return router

    def _route(self, params):
        """Return the metadata for the splitter, and those for the estimator and the scorer."""
        params = {name: value for name, value in params.items() if value is not None}
        if not get_config()["enable_metadata_routing"]:
            if unknown := sorted(params.keys() - {"groups"}):
                raise TypeError(
                    f"LayerSelector.fit got {unknown}, but accepts only groups unless "
                    "sklearn.set_config(enable_metadata_routing=True) was called."
                )
            return params, {}
        routed = process_routing(self, "fit", **params)
        splitter_params = routed.get("splitter", {"split": {}})["split"]
        names = self._estimator_router().consumes("fit", params)
        return splitter_params, {name: params[name] for name in names}

    @property
    def _requires_y(self):
        return isinstance(self.layer, str) and self.layer in {"weighted", "best"}

    def _check_layers(self, X, y="no_validation", *, reset):
        """Validate `X`, and `y` if it is required, and return `X` with three axes."""
        array = check_array(
            X,
            dtype=[np.float64, np.float32],
            allow_nd=True,
            ensure_all_finite=False,  # checked below, after the feature names
            ensure_min_samples=2 if reset and self._requires_y else 1,
            estimator=self,
            input_name="X",
        )
        if reset:
            self.__dict__.pop("n_features_in_", None)
        validate_data(self, X, y, reset=reset, skip_check_array=True, ensure_2d=array.ndim == 2)
        name = type(self).__name__
        assert_all_finite(
            array, allow_nan=not self._requires_y, estimator_name=name, input_name="X"
        )
        if reset:
            return as_layers(array, self.n_layers, getattr(self, "feature_names_in_", ()))
        is_table = hasattr(self, "n_features_in_")
        fitted = (self.n_features_in_,) if is_table else (self.n_layers_, self.n_dims_)
        if array.shape[1:] != fitted:
            raise ValueError(
                f"X has shape {array.shape}, but in fit it had (n_recordings, "
                f"{', '.join(map(str, fitted))})."
            )
        return array.reshape(len(array), self.n_layers_, self.n_dims_)

    def _input_names(self, input_features):
        """Return the names of all dimensions of all layers, of shape (n_layers, n_dims)."""
        if hasattr(self, "n_features_in_"):
            names = check_feature_names_in(self, input_features)
        elif input_features is None:
            names = layer_names(self.n_layers_, self.n_dims_)
        else:
            names = np.asarray(input_features, dtype=object)
        if len(names) != self.n_layers_ * self.n_dims_:
            raise ValueError(
                f"input_features has length {len(names)}, but X had {self.n_layers_} layers of "
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
        self.layer_weights_ = self._squeeze_targets(np.array([found.weights for found in learned]))
        self.n_iter_ = max(1, *(found.n_iter for found in learned))
        if not all(found.converged for found in learned):
            warnings.warn(
                f"The weights of the layers did not converge in {self.n_iter_} iterations: "
                f"increase max_iter={self.max_iter}, alpha={self.alpha} or tol={self.tol}.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _score_layers(self, layers, columns, splitter_params, estimator_params):
        kinds = [kind_of_target(column, self.target_type) for column in columns]
        # An iterable of splits is used for all targets.
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
                splits=make_splits(cv, layers, column, kind, splitter_params),
                scoring=score,
                params=estimator_params,
                n_jobs=self.n_jobs,
            )
            for column, kind, score in zip(columns, kinds, scoring, strict=True)
        ]
        self.layer_indices_ = np.array([find_best_layer(target_scores) for target_scores in scores])
        self.scoring_ = self._squeeze_targets(scoring)
        self.layer_scores_ = self._squeeze_targets(np.array(scores))
        self.best_layer_ = self._squeeze_targets(self.layer_indices_.tolist())

    def _squeeze_targets(self, values):
        """Return the value of the only target if `y` is 1-D, or the values of all targets."""
        return values[0] if self.target_names_ is None else values

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_layers_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = not self._requires_y
        tags.target_tags.required = self._requires_y
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
