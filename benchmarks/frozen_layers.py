"""Evaluate layers of a frozen Whisper with a linear classifier, in nested cross-validation.

python benchmarks/frozen_layers.py path/to/whisper-base-encoder \
    --emodb path/to/emodb --ravdess path/to/ravdess --memory cache [--family ...] [--context ...] \
    [--actors]
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

C_VALUES = [0.01, 0.1, 1]


def _runs(length, n_layers):
    """Return all sequences of adjacent layers of a length."""
    return [list(range(first, first + length)) for first in range(n_layers - length + 1)]


# Candidates for the nested search, as a function of the number of layers, and the pooling.
FAMILIES = {
    "one layer": (lambda n: list(range(n)), "mean"),
    "one layer, mean and standard deviation": (lambda n: list(range(n)), "mean_std"),
    "three adjacent layers, joined": (lambda n: _runs(3, n), "mean"),
    "all layers, joined": (lambda n: [list(range(n))], "mean"),
    "mean of all layers": (lambda n: ["mean"], "mean"),
    "weighted": (lambda n: ["weighted"], "mean"),
}


def search(layers, cv, cache):
    """Return the search over layers and C."""
    pipeline = Pipeline(
        [
            ("layers", LayerSelector()),
            ("scale", StandardScaler()),
            ("classifier", LogisticRegression(max_iter=2000)),
        ],
        memory=cache
        if layers == ["weighted"]
        else None,  # the learned weights are the same for each C
    )
    grid = {"layers__layer": layers, "classifier__C": C_VALUES}
    return GridSearchCV(pipeline, grid, cv=cv, scoring="balanced_accuracy", n_jobs=-1)


def predict(X, y, layers, outer, inner, cache, groups):
    """Return the predictions of a nested search, and the selected parameters."""
    predicted, chosen = np.empty_like(y), []
    for train, test in outer:
        fitted = search(layers, inner, cache).fit(X[train], y[train], groups=groups[train])
        predicted[test] = fitted.predict(X[test])
        chosen.append((fitted.best_params_["layers__layer"], fitted.best_params_["classifier__C"]))
    return predicted, chosen


def _name(layers):
    return f"{layers[0]}-{layers[-1]}" if isinstance(layers, list) else str(layers)


def report(name, corpus, folds, inner, embedder, families, cache, at_random):
    """Print the recalls on one corpus."""
    y, speakers = corpus.target, corpus.groups
    print(f"{name}, context={embedder.context!r}: {len(y)} recordings", flush=True)
    for title in families:
        candidates, pooling = FAMILIES[title]
        X = embedder.set_params(pooling=pooling).fit_transform(corpus.recordings)
        layers = candidates(X.shape[1])
        outer = list(LeaveOneGroupOut().split(X, y, folds))
        predicted, chosen = predict(X, y, layers, outer, inner, cache, speakers)
        low, high = confidence_interval(
            unweighted_average_recall, y, predicted, groups=speakers, random_state=0
        )
        of_folds = [unweighted_average_recall(y[test], predicted[test]) for _, test in outer]
        print(
            f"  {title}: pooled UAR {unweighted_average_recall(y, predicted):.4f} "
            f"[{low:.3f}, {high:.3f}], mean over folds {np.mean(of_folds):.4f}, accuracy "
            f"{np.mean(predicted == y):.4f}; chosen "
            + " ".join(f"{_name(layer)}/{C:g}" for layer, C in chosen),
            flush=True,
        )
        if at_random:
            split = StratifiedKFold(10, shuffle=True, random_state=0)
            within = StratifiedKFold(5, shuffle=True, random_state=0)
            predicted, _ = predict(X, y, layers, split.split(X, y), within, cache, speakers)
            recall = unweighted_average_recall(y, predicted)
            print(f"    random split, ten folds, seed 0: {recall:.4f}", flush=True)


def main():
    """Run the evaluation on the given corpora."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of Whisper or of its encoder")
    parser.add_argument("--emodb", help="folder of Emo-DB")
    parser.add_argument("--ravdess", help="folder of RAVDESS")
    parser.add_argument("--memory", help="folder for caching embeddings", required=True)
    parser.add_argument("--family", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--context", choices=["30s", "recording"], default="30s")
    parser.add_argument("--random", action="store_true", help="evaluate random splits too")
    parser.add_argument(
        "--actors", action="store_true", help="leave one actor of RAVDESS out, not EmoBox's folds"
    )
    arguments = parser.parse_args()
    embedder = WhisperEmbedder(
        arguments.model, layers="all", context=arguments.context, memory=arguments.memory
    )
    settings = (embedder, arguments.family, f"{arguments.memory}/weighted", arguments.random)
    if arguments.emodb:
        corpus = load_emodb(arguments.emodb)
        report("Emo-DB", corpus, corpus.groups, LeaveOneGroupOut(), *settings)
    if arguments.ravdess:
        corpus = load_ravdess(arguments.ravdess)
        folds = corpus.groups if arguments.actors else corpus.emobox_folds
        report("RAVDESS", corpus, folds, GroupKFold(5), *settings)


if __name__ == "__main__":
    main()
