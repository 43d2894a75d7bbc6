"""Conversion of estimators and pipelines to torch modules."""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeCV,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_ser.layers import LayerSelector

from ._modules import (
    Affine,
    Linear,
    OnnxStep,
    Probabilities,
    Scores,
    Select,
    WeightedSum,
)


def convert(estimator):
    """Convert a fitted estimator or pipeline.

    Parameters
    ----------
    estimator : estimator object
        An estimator with a method `_onnx_step`, one of `_CONVERTERS`, or a pipeline of these.

    Returns
    -------
    step : OnnxStep

    Raises
    ------
    TypeError
        If a step cannot be exported.
    """
    check_is_fitted(estimator)
    if isinstance(estimator, Pipeline):
        return _convert_pipeline(estimator)
    if hasattr(estimator, "_onnx_step"):
        return estimator._onnx_step()
    for types, converter in _CONVERTERS.items():
        if isinstance(estimator, types):
            return converter(estimator)
    raise TypeError(
        f"to_onnx cannot export {type(estimator).__name__}. It exports EmoHRNetClassifier, "
        "HyperbolicFusionClassifier, ConcordanceRegressor, LayerSelector, and scikit-learn's "
        f"{', '.join(sorted(_supported_names()))}, alone and in pipelines. If it is a step that "
        "computes features from recordings, export the steps after it, as in "
        "to_onnx(pipeline[1:], path)."
    )


def _supported_names():
    return {kind.__name__ for types in _CONVERTERS for kind in types} - {"LayerSelector"}


def _convert_pipeline(pipeline):
    estimators = [step for _, step in pipeline.steps if step not in (None, "passthrough")]
    steps = [convert(estimator) for estimator in estimators]
    for estimator, step in zip(estimators[:-1], steps[:-1], strict=True):
        if step.output_name != "transformed":
            raise TypeError(
                f"to_onnx exports {type(estimator).__name__} for predictions: it cannot be "
                "followed by other steps."
            )
    return steps[-1]._replace(
        module=nn.Sequential(*(step.module for step in steps)),
        input_name=steps[0].input_name,
        input_shape=steps[0].input_shape,
    )


def _layer_selector(selector):
    shape = selector.n_layers_, selector.n_dims_
    is_table = hasattr(selector, "n_features_in_")
    steps: list[nn.Module] = [nn.Unflatten(1, shape)] if is_table else []
    if selector.layer_indices_ is not None:
        steps.append(Select(selector.layer_indices_))
    elif selector.layer_weights_ is not None:
        steps.append(Affine.standardize(selector.mean_, selector.scale_))
        steps.append(WeightedSum(np.atleast_2d(selector.layer_weights_)))
    else:
        steps.append(WeightedSum(np.full((1, selector.n_layers_), 1 / selector.n_layers_)))
    module = nn.Sequential(*steps)
    return _table(selector, module) if is_table else OnnxStep(module, "layers", shape)


def _table(estimator, module, **output):
    """Return the step of an estimator whose input is a table."""
    return OnnxStep(module, "features", (estimator.n_features_in_,), **output)


def _standard_scaler(scaler):
    mean = scaler.mean_ if scaler.with_mean else 0
    return _table(scaler, Affine.standardize(mean, _or(scaler.scale_, 1)))


def _robust_scaler(scaler):
    return _table(scaler, Affine.standardize(_or(scaler.center_, 0), _or(scaler.scale_, 1)))


def _max_abs_scaler(scaler):
    return _clipped(scaler, Affine.standardize(0, scaler.scale_), (-1, 1))


def _min_max_scaler(scaler):
    return _clipped(scaler, Affine(scaler.scale_, scaler.min_), scaler.feature_range)


def _clipped(scaler, module, limits):
    return _table(scaler, nn.Sequential(module, nn.Hardtanh(*limits)) if scaler.clip else module)


def _or(values, default):
    return default if values is None else values


def _probabilistic_classifier(classifier):
    return _linear_classifier(classifier, "probabilities", Probabilities())


def _scoring_classifier(classifier):
    return _linear_classifier(classifier, "scores", Scores())


def _linear_classifier(classifier, output_name, output):
    coef = classifier.coef_
    scores = Linear(coef, classifier.intercept_, squeeze=len(coef) == 1)
    module = nn.Sequential(scores, output)
    return _table(classifier, module, output_name=output_name, classes=classifier.classes_)


def _linear_regressor(regressor):
    coef = regressor.coef_
    outputs = Linear(np.atleast_2d(coef), regressor.intercept_, squeeze=coef.ndim == 1)
    return _table(regressor, outputs, output_name="predictions")


# Subclasses, such as LogisticRegressionCV and Lasso, predict as their base classes do.
_CONVERTERS = {
    (LayerSelector,): _layer_selector,
    (StandardScaler,): _standard_scaler,
    (RobustScaler,): _robust_scaler,
    (MaxAbsScaler,): _max_abs_scaler,
    (MinMaxScaler,): _min_max_scaler,
    (LogisticRegression, LinearDiscriminantAnalysis): _probabilistic_classifier,
    (LinearSVC,): _scoring_classifier,
    (
        LinearRegression,
        Ridge,
        RidgeCV,
        ElasticNet,
        ElasticNetCV,
        LassoCV,
        LinearSVR,
    ): _linear_regressor,
}
