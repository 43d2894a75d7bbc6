"""GE2E on real speech: whose voice it is (RAVDESS), and which emotion (Emo-DB, speakers held out).

python benchmarks/speaker_embeddings.py --model path/to/pretrained.pt \\
    --emodb path/to/emodb --ravdess path/to/ravdess

Any model of `XVectorEmbedder` can be named.
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import XVectorEmbedder
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

C_VALUES = [0.001, 0.01, 0.1, 1, 10, 100, 1000]


def equal_error_rate(vectors, speakers):
    """Return the rate at which pairs are wrongly accepted and wrongly refused, by their cosine."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(len(vectors), 1)
    accepted, found, _ = roc_curve(
        speakers[first] == speakers[second], (vectors[first] * vectors[second]).sum(axis=1)
    )
    nearest = np.argmin(np.abs(accepted - (1 - found)))
    return (accepted[nearest] + 1 - found[nearest]) / 2


def probe(vectors, y, speakers, *steps, **settings):
    """Predict speakers never heard; C is chosen on speakers held out once more."""
    predicted = np.empty_like(y)
    classifier = make_pipeline(*steps, LogisticRegression(max_iter=3000, **settings))
    for train, test in LeaveOneGroupOut().split(vectors, y, speakers):
        search = GridSearchCV(
            classifier,
            {"logisticregression__C": C_VALUES},
            cv=GroupKFold(3),
            scoring="balanced_accuracy",
        )
        search.fit(vectors[train], y[train], groups=speakers[train])
        predicted[test] = search.predict(vectors[test])
    return predicted


def main():
    """Print the equal error rate and the recalls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ge2e")
    parser.add_argument("--emodb", required=True)
    parser.add_argument("--ravdess", required=True)
    arguments = parser.parse_args()
    embedder = XVectorEmbedder(arguments.model)

    corpus = load_ravdess(arguments.ravdess)
    for name, rows in (
        ("neutral", np.flatnonzero(corpus.target == "neutral")),
        ("all emotions", np.arange(len(corpus.target))),
    ):
        vectors = embedder.transform([corpus.recordings[row] for row in rows])
        rate = equal_error_rate(vectors, np.asarray(corpus.groups)[rows])
        print(f"RAVDESS, {name}, {len(rows)} recordings: equal error rate {rate:.4f}", flush=True)

    corpus = load_emodb(arguments.emodb)
    vectors = embedder.transform(corpus.recordings)
    for title, steps, settings in (
        ("as they are", [], {}),
        ("as they are, emotions weighted alike", [], {"class_weight": "balanced"}),
        ("standardised", [StandardScaler()], {}),
        (
            "standardised, emotions weighted alike",
            [StandardScaler()],
            {"class_weight": "balanced"},
        ),
    ):
        predicted = probe(vectors, corpus.target, corpus.groups, *steps, **settings)
        recall = unweighted_average_recall(corpus.target, predicted)
        low, high = confidence_interval(
            unweighted_average_recall,
            corpus.target,
            predicted,
            groups=corpus.groups,
            random_state=0,
        )
        print(f"Emo-DB, vectors {title}: recall {recall:.3f} [{low:.3f}, {high:.3f}]", flush=True)


if __name__ == "__main__":
    main()
