"""Scorers of the metrics, some of them also available by name."""

from sklearn.metrics import make_scorer

from sklearn_ser._sklearn import BaseScorer, register_scorers

from ._classification import unweighted_average_recall
from ._distributions import distribution_divergence
from ._regression import concordance_correlation_coefficient

concordance_scorer = make_scorer(concordance_correlation_coefficient)
"""Scorer for the mean coefficient over targets, by name "concordance_correlation_coefficient".

For the first of three targets, use ``make_scorer(concordance_correlation_coefficient,
multioutput=[1, 0, 0])``.
"""

unweighted_average_recall_scorer = make_scorer(unweighted_average_recall)
"""Scorer for the unweighted average recall, by name "unweighted_average_recall"."""


# The names of the columns of a data frame are compared with `classes_` of the classifier.
class _DivergenceScorer(BaseScorer):
    def _score(self, method_caller, estimator, X, y_true, **params):
        import pandas as pd  # imported where used, since importing it takes long

        probabilities = pd.DataFrame(estimator.predict_proba(X), columns=estimator.classes_)
        return self._sign * self._score_func(y_true, probabilities, **self._kwargs, **params)


distribution_divergence_scorer = _DivergenceScorer(distribution_divergence, -1, {}, "predict_proba")
"""Scorer for the negative mean Jensen-Shannon divergence from soft labels.

The columns of a data frame `y` must be named as `classes_` of the classifier, in any order, those
of an array must be in their order. For the other metrics, use
``make_scorer(distribution_f1_score, response_method="predict_proba")``.
"""

register_scorers(
    {
        "concordance_correlation_coefficient": concordance_scorer,
        "unweighted_average_recall": unweighted_average_recall_scorer,
    }
)
