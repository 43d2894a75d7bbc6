"""Evaluate log-mel statistics with linear and kernel classifiers on real corpora.

python benchmarks/linear_baseline.py --emodb path/to/emodb --ravdess path/to/ravdess
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

SEEDS = range(5)
C_VALUES = [0.001, 0.01, 0.1, 1, 10]


def classifiers():
    """Yield the classifiers, with the parameters for the nested search."""
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    kernel = make_pipeline(StandardScaler(), SVC())
    yield "logistic regression, C = 1", logistic, None
    yield "logistic regression, C chosen inside", logistic, {"logisticregression__C": C_VALUES}
    yield "SVM (RBF), C chosen inside", kernel, {"svc__C": [0.1, 1, 10, 100]}


def held_out(classifier, grid, X, y, folds, speakers):
    """Predict held-out speakers, with a nested search over parameters."""
    if grid is None:
        return cross_val_predict(classifier, X, y, groups=folds, cv=LeaveOneGroupOut(), n_jobs=-1)
    predicted = np.empty_like(y)
    for train, test in LeaveOneGroupOut().split(X, y, folds):
        search = GridSearchCV(
            classifier, grid, cv=GroupKFold(3), scoring="balanced_accuracy", n_jobs=-1
        )
        predicted[test] = search.fit(X[train], y[train], groups=speakers[train]).predict(X[test])
    return predicted


def at_random(classifier, grid, X, y, seed):
    """Predict by stratified cross-validation, in which folds share speakers."""
    if grid is not None:
        inner = StratifiedKFold(3, shuffle=True, random_state=seed)
        classifier = GridSearchCV(classifier, grid, cv=inner, scoring="balanced_accuracy")
    outer = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_predict(classifier, X, y, cv=outer, n_jobs=-1)


def report(name, corpus, folds):
    """Print the recalls on one corpus."""
    front_end = LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None)
    X, y, speakers = front_end.transform(corpus.recordings), corpus.target, corpus.groups
    print(f"{name}: {len(y)} recordings, {len(np.unique(folds))} folds of speakers held out")
    for title, classifier, grid in classifiers():
        predicted = held_out(classifier, grid, X, y, folds, speakers)
        recall = unweighted_average_recall(y, predicted)
        low, high = confidence_interval(
            unweighted_average_recall, y, predicted, groups=speakers, random_state=0
        )
        random = [
            unweighted_average_recall(y, at_random(classifier, grid, X, y, seed)) for seed in SEEDS
        ]
        print(
            f"  {title}: {recall:.3f} [{low:.3f}, {high:.3f}] speakers held out; "
            f"{np.mean(random):.3f} +- {np.std(random, ddof=1):.3f} random split",
            flush=True,
        )
        if grid is None:
            shares = pd.crosstab(y, predicted, normalize="index").round(2)
            print(shares.to_string(), flush=True)


def main():
    """Run the evaluation on the given corpora."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emodb", help="folder of Emo-DB")
    parser.add_argument("--ravdess", help="folder of RAVDESS")
    arguments = parser.parse_args()
    if arguments.emodb:
        corpus = load_emodb(arguments.emodb)
        report("Emo-DB", corpus, corpus.groups)
    if arguments.ravdess:
        corpus = load_ravdess(arguments.ravdess)
        report("RAVDESS", corpus, corpus.emobox_folds)


if __name__ == "__main__":
    main()
