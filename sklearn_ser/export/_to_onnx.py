"""Write a fitted estimator as an ONNX file."""

from sklearn_ser._extras import import_extra

from ._graph import add_labels, add_metadata, trace, write


class OnnxMixin:
    """Method `to_onnx` for an estimator with a method `_onnx_step`, which returns an `OnnxStep`."""

    def to_onnx(self, path):
        """Write the fitted estimator as an ONNX file.

        It is the same as `sklearn_ser.to_onnx`, which describes inputs and outputs.

        Parameters
        ----------
        path : str or path-like
            File to write. An existing file is replaced.

        Raises
        ------
        ImportError
            If the packages of the extra "onnx" are not installed.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        to_onnx(self, path)


def to_onnx(estimator, path):
    """Write a fitted estimator or pipeline as an ONNX file.

    The file contains all that is fitted: standardisation, selected layers, network, softmax and
    classes. It is run by onnxruntime or other runtimes, without this package and PyTorch.

    Parameters
    ----------
    estimator : estimator object
        One of these, or a pipeline of them:

        - `EmoHRNetClassifier`, `HyperbolicFusionClassifier`, `ConcordanceRegressor`,
          `LayerSelector`;
        - scikit-learn's `StandardScaler`, `RobustScaler`, `MinMaxScaler`, `MaxAbsScaler`;
        - its `LogisticRegression`, `LinearDiscriminantAnalysis`, `LinearSVC`, `LinearRegression`,
          `Ridge`, `Lasso`, `ElasticNet`, `LinearSVR`, and those with cross-validation, such as
          `RidgeCV`.

        If a pipeline begins with an embedder, pass the other steps, ``pipeline[1:]``.
    path : str or path-like
        File to write. It appears, or replaces an existing file, only when it is complete.

    Raises
    ------
    ImportError
        If the packages of the extra "onnx" are not installed.
    TypeError
        If a step cannot be exported.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    sklearn.pipeline.Pipeline : Slices, such as ``pipeline[1:]``, share the fitted steps.

    Notes
    -----
    *Operators.* The graph uses version 18 of the ONNX operator set, without custom operators.

    *Input.* There is one input, in float32, with any number of recordings along the first axis:
    ``features`` of shape (n_recordings, n_features), with the columns in the order of `fit`;
    ``layers`` of shape (n_recordings, n_layers, n_dims) if `LayerSelector` was fitted on three
    axes; or ``spectrograms`` of shape (n_recordings, n_bands, n_frames), with any number of frames,
    or of shape (n_recordings, n_frames) if `EmoHRNetClassifier` was fitted on a table.

    *Output.* Classifiers have ``probabilities`` of shape (n_recordings, n_classes), or ``scores``
    as `decision_function` returns them if they have no probabilities; and ``labels`` of shape
    (n_recordings,), of the type of the classes. Regressors have ``predictions``, of the shape that
    `predict` returns. A pipeline of transformers has ``transformed``. Numbers are float32.

    *Metadata.* The model has, as JSON, ``classes`` in the order of the columns, the names of the
    ``targets`` of `ConcordanceRegressor`, and ``feature_names`` if the estimator was fitted on a
    data frame.

    *Time.* `EmoHRNetClassifier` takes up to a minute on a CPU, other models some seconds.

    *Precision.* Networks are computed in float32; standardisation and scikit-learn's estimators in
    float64. Results differ from those of `predict_proba` and `predict` by rounding errors.

    *Validation.* A graph cannot raise errors about values: NaN in the input leads to NaN in the
    output. A block of `HyperbolicFusionClassifier` with NaN in some or all of its columns is
    missing, and the row is classified by the other blocks; if all are missing, the result is
    arbitrary.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_ser import to_onnx
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> pipeline = pipeline.fit(*load_iris(return_X_y=True))
    >>> to_onnx(pipeline, "iris.onnx")  # doctest: +SKIP
    """
    from ._steps import convert

    step = convert(estimator)
    for package in ("onnx", "onnxscript"):
        import_extra(package, extra="onnx", needed_for="to_onnx")
    model = trace(step)
    if step.classes is not None:
        add_labels(model, step.classes)
    names = getattr(estimator, "feature_names_in_", None)
    add_metadata(
        model,
        classes=None if step.classes is None else step.classes.tolist(),
        targets=step.targets,
        feature_names=None if names is None else names.tolist(),
    )
    write(model, path)
