"""Metrics for arousal, valence, dominance and other continuous targets."""

import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_array, check_consistent_length

from sklearn_ser._sklearn import StrOptions, check_sample_weight, validate_params
from sklearn_ser._targets import check_numbers, scale_columns


@validate_params(
    {
        "y_true": ["array-like"],
        "y_pred": ["array-like"],
        "multioutput": [StrOptions({"raw_values", "uniform_average"}), "array-like"],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def concordance_correlation_coefficient(
    y_true, y_pred, *, multioutput="uniform_average", sample_weight=None
):
    """Compute the concordance correlation coefficient (CCC).

    It is twice the covariance, divided by the sum of both variances and the squared difference of
    the means. It equals Pearson's correlation, reduced by differences in mean and variance. It is
    the standard metric for arousal, valence and dominance. Compute it over pooled predictions
    rather than as a mean over folds: the targets of a single speaker may have little variance.

    Parameters
    ----------
    y_true : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True values.
    y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        Predicted values.
    multioutput : {"uniform_average", "raw_values"} or array-like of shape (n_targets,), \
            default="uniform_average"
        How to aggregate the targets: the mean over targets, one value for each target, or a
        weighted mean. ``[1, 0, 0]`` selects the first of three targets.
    sample_weight : array-like of shape (n_recordings,), default=None
        Sample weights.

    Returns
    -------
    coefficient : float or ndarray of shape (n_targets,)
        Coefficient from -1 to 1; 1 is perfect agreement. It is 0 if either true or predicted
        values are constant, since their covariance is 0. It is NaN, with a warning, if both are
        constant and equal, since both terms of the fraction are 0.

    Raises
    ------
    ValueError
        If the shapes differ, or if values are missing or not finite.

    See Also
    --------
    confidence_interval : Confidence interval over speakers.
    concordance_scorer : Scorer for the `scoring` parameter of searches, also
        ``scoring="concordance_correlation_coefficient"``.

    Notes
    -----
    Variances and covariance are divided by n (population estimates), as in Lin's paper.

    References
    ----------
    L. I.-K. Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility", Biometrics
    45(1), 1989.

    Examples
    --------
    >>> from sklearn_ser.metrics import concordance_correlation_coefficient
    >>> concordance_correlation_coefficient([0, 1, 2], [0, 1, 1])
    0.666...
    >>> arousal_and_valence = [[0.1, 0.5], [0.9, 0.4], [0.5, 0.6]]
    >>> predicted = [[0.2, 0.5], [0.8, 0.5], [0.5, 0.5]]
    >>> concordance_correlation_coefficient(
    ...     arousal_and_valence, predicted, multioutput="raw_values"
    ... ).round(3)
    array([0.96, 0.  ])
    """
    check_numbers(y_true, "y_true")
    check_numbers(y_pred, "y_pred")
    true, predicted = (
        check_array(
            values, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name=name
        )
        for name, values in (("y_true", y_true), ("y_pred", y_pred))
    )
    check_consistent_length(true, predicted, sample_weight)
    true, predicted = (values.reshape(len(values), -1) for values in (true, predicted))
    if true.shape != predicted.shape:
        raise ValueError(
            f"y_true has {true.shape[1]} targets and y_pred {predicted.shape[1]}; they must have "
            "the same number."
        )
    sample_weight = check_sample_weight(sample_weight, true, ensure_non_negative=True)
    coefficients = _coefficients(true, predicted, sample_weight)
    if isinstance(multioutput, str):
        if multioutput == "raw_values":
            return coefficients
        weights = np.ones(len(coefficients))
    else:
        weights = np.asarray(multioutput, dtype=np.float64)
        if weights.shape != coefficients.shape or (weights < 0).any() or not weights.any():
            raise ValueError(
                f"multioutput={multioutput!r} must have one weight for each of "
                f"{len(coefficients)} targets, none below zero and not all of them zero."
            )
    counted = weights != 0  # targets without weight may be undefined
    return float(np.average(coefficients[counted], weights=weights[counted]))


def _coefficients(true, predicted, weights):
    true, predicted = scale_columns(true, predicted)  # the coefficient does not depend on the unit
    # Subtract one recording: this avoids cancellation for large values, and constants become zero.
    reference = np.argmax(weights)
    difference = true[reference] - predicted[reference]
    true, predicted = true - true[reference], predicted - predicted[reference]
    true, predicted, (difference,) = scale_columns(true, predicted, difference[np.newaxis])

    def average(values):
        return np.average(values, axis=0, weights=weights)

    true_mean, predicted_mean = average(true), average(predicted)
    difference = difference + true_mean - predicted_mean
    true, predicted = true - true_mean, predicted - predicted_mean
    covariance = average(true * predicted)
    denominator = average(true**2) + average(predicted**2) + difference**2
    is_undefined = denominator == 0
    if is_undefined.any():
        warnings.warn(
            "The concordance correlation coefficient is not defined (NaN) if true and predicted "
            f"values are constant and equal: target {np.flatnonzero(is_undefined).tolist()}.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    with np.errstate(invalid="ignore"):
        return 2 * covariance / denominator
