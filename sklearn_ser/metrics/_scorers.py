"""Scorers of the metrics, some of them also available by name."""

from sklearn.metrics import make_scorer

from sklearn_ser._sklearn import register_scorers

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

distribution_divergence_scorer = make_scorer(
    distribution_divergence, response_method="predict_proba", greater_is_better=False
)
"""Scorer for the negative mean Jensen-Shannon divergence.

For the other metrics, use ``make_scorer(distribution_f1_score, response_method="predict_proba")``.
"""

register_scorers(
    {
        "concordance_correlation_coefficient": concordance_scorer,
        "unweighted_average_recall": unweighted_average_recall_scorer,
    }
)
