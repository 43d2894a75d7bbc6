"""Arousal, valence and dominance from a table of features."""

from numbers import Integral, Real

import numpy as np
from sklearn.callback import with_callbacks
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from sklearn_ser._sklearn import Interval, fit_context
from sklearn_ser.export import Affine, Float32, OnnxMixin, OnnxStep
from sklearn_ser.nn import make_head
from sklearn_ser.training import TorchRegressor, callback_data, encode_targets


class ConcordanceRegressor(OnnxMixin, TorchRegressor):
    """Multilayer perceptron trained to maximise the concordance correlation coefficient.

    A multi-output regressor of arousal, valence and dominance, or any other targets, on a table of
    features such as embeddings. Its loss is one minus the concordance correlation coefficient
    (CCC), summed over targets. Inputs are standardised.

    Parameters
    ----------
    hidden_size : int, default=1024
        Width of the hidden layer.
    dropout : float, default=0.5
        Dropout rate before and after the hidden layer.
    max_epochs : int, default=100
        Maximum number of epochs.
    batch_size : int, default=32
        Number of recordings of a batch; at least 2, as the concordance is that of a batch.
    learning_rate : float, default=0.001
        Highest learning rate of AdamW, after a warm-up over a tenth of the steps.
    weight_decay : float, default=0.01
        Decoupled weight decay of AdamW.
    schedule : {"cosine", None}, default="cosine"
        "cosine" decays the learning rate to zero along half a cosine over `max_epochs`; None keeps
        it constant after the warm-up.
    early_stopping : bool, default=False
        Whether to hold out a validation set, to stop when its CCC does not improve, and to keep the
        weights of the best epoch. If `groups` are passed to `fit`, whole speakers are held out.
    validation_fraction : float, default=0.1
        Fraction of the recordings, or of the speakers, to hold out with `early_stopping`.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which `early_stopping` stops.
    device : str, default="auto"
        Device to compute on, such as "cpu" or "cuda:1". "auto" is a CUDA GPU if there is one, else
        the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Precision of autocast in training. Weights are kept, and predictions made, in float32.
        "auto" is bfloat16 if this device is measured to multiply matrices at least 1.5 times as
        fast with it, else float32; results then depend on the machine.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the order of the recordings and dropout.
    warm_start : bool, default=False
        If True, `fit` continues from the weights of the previous call, for `max_epochs` more.
    verbose : int, default=0
        If nonzero, a line is printed for each epoch, with the time left.

    Attributes
    ----------
    target_names_ : list of str
        Names of the columns of `y`; "target0" and so on if they have none.
    target_mean_, target_scale_ : ndarray of shape (n_targets,)
        Mean and standard deviation of the targets. A constant target is predicted as its constant.
    mean_, scale_ : ndarray of shape (n_features,)
        Mean and standard deviation of the features, of the training set.
    state_ : dict of str to ndarray
        Weights by name. The arrays are read-only once the estimator has predicted.
    architecture_ : dict
        Arguments of the network.
    history_ : dict of str to list
        Learning curve, one entry per epoch: ``epoch``, ``learning_rate`` in the last step,
        ``train_loss``, and with `early_stopping` ``valid_loss`` and ``valid_score``.
    n_iter_ : int
        Number of epochs, including those before a warm start.
    best_score_ : float or None
        With `early_stopping`, the mean CCC on the validation set in the best epoch.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features. Defined only if `X` has feature names that are all strings.

    See Also
    --------
    DistilledRegressor : Trains the encoder as well.
    LayerSelector : Selects the layer of an encoder, to be searched together.
    sklearn_ser.metrics.concordance_scorer : Scorer for searches.

    Notes
    -----
    The CCC of a batch is weighted by `sample_weight`, with population moments. Targets are
    standardised, which does not change the CCC.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_regression
    >>> from sklearn_ser import ConcordanceRegressor
    >>> from sklearn_ser.metrics import concordance_correlation_coefficient
    >>> X, y = make_regression(200, 10, n_targets=3, random_state=0)
    >>> regressor = ConcordanceRegressor(hidden_size=64, max_epochs=50, random_state=0).fit(X, y)
    >>> concordance_correlation_coefficient(y, regressor.predict(X)) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **TorchRegressor._parameter_constraints,
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        *,
        hidden_size=1024,
        dropout=0.5,
        max_epochs=100,
        batch_size=32,
        learning_rate=1e-3,
        weight_decay=0.01,
        schedule="cosine",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        device="auto",
        dtype="float32",
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
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
        X : array-like of shape (n_samples, n_features)
            Features, such as embeddings.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets, in any units.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. Samples of weight zero are ignored.
        groups : array-like of shape (n_samples,), default=None
            Speakers. With `early_stopping`, whole speakers are held out.

        Returns
        -------
        self : object
            Fitted regressor.

        Raises
        ------
        ValueError
            If values are missing, or training diverges.
        """
        self._reset()
        data = callback_data(X, y, sample_weight)
        table = validate_data(self, X, dtype=np.float64, reset=not self._is_warm_start)
        training_set, plan = encode_targets(self, y, sample_weight, groups, n_recordings=len(table))
        self._set_architecture(
            {
                "n_features": table.shape[1],
                "n_outputs": len(self.target_names_),
                "hidden_size": int(self.hidden_size),
            }
        )
        if not self._is_warm_start:
            scaler = StandardScaler().fit(table[plan.training])
            self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        return self._train(self._standardize_features(table), training_set, data, plan=plan)

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, in the units and with the number of axes of `y`.
        """
        check_is_fitted(self, "state_")
        table = validate_data(self, X, dtype=np.float64, reset=False)
        return self._scale_back(self._outputs(self._standardize_features(table)))

    def _standardize_features(self, table):
        return ((table - self.mean_) / self.scale_).astype(np.float32)

    def _build_module(self):
        return make_head(**self.architecture_, dropout=self.dropout)

    def _onnx_step(self):
        check_is_fitted(self, "state_")
        module = nn.Sequential(
            Affine.standardize(self.mean_, self.scale_),
            Float32(),
            self._module_copy(),
            Affine(self.target_scale_, self.target_mean_),
            *([] if self._has_target_axis else [nn.Flatten(0)]),
        )
        shape = (self.n_features_in_,)
        return OnnxStep(module, "features", shape, "predictions", targets=self.target_names_)
