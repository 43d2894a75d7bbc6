"""Evaluate a speaker embedding and the latents of a codec, alone and concatenated.

python benchmarks/speaker_and_codec.py path/to/ge2e path/to/lyra-soundstream --memory cache \\
    --emodb path/to/emodb --ravdess path/to/ravdess

It prints the equal error rate of speaker verification (RAVDESS), and the recall of a linear
emotion classifier with held-out speakers (Emo-DB). Any model of `XVectorEmbedder` and
`CodecEmbedder` can be used.
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import CodecEmbedder, XVectorEmbedder
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

C_VALUES = [0.001, 0.01, 0.1, 1, 10, 100, 1000]


def equal_error_rate(vectors, speakers):
    """Return the equal error rate of speaker verification by cosine similarity."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(len(vectors), 1)
    accepted, found, _ = roc_curve(
        speakers[first] == speakers[second], (vectors[first] * vectors[second]).sum(axis=1)
    )
    nearest = np.argmin(np.abs(accepted - (1 - found)))
    return (accepted[nearest] + 1 - found[nearest]) / 2


def print_equal_error_rates(embedder, corpus):
    """Print the equal error rates on neutral recordings and on all recordings."""
    everything = np.arange(len(corpus.target))
    for name, rows in (
        ("neutral", everything[corpus.target == "neutral"]),
        ("all emotions", everything),
    ):
        vectors = embedder.transform([corpus.recordings[row] for row in rows])
        rate = equal_error_rate(vectors, np.asarray(corpus.groups)[rows])
        print(f"RAVDESS, {name}, {len(rows)} recordings: equal error rate {rate:.4f}", flush=True)


def probe(rows, y, speakers, scaler, class_weight):
    """Predict held-out speakers, with a nested search over C."""
    predicted = np.empty_like(y)
    classifier = LogisticRegression(max_iter=3000, class_weight=class_weight)
    pipeline = Pipeline([("scale", scaler), ("classify", classifier)])
    for train, test in LeaveOneGroupOut().split(rows, y, speakers):
        search = GridSearchCV(
            pipeline, {"classify__C": C_VALUES}, cv=GroupKFold(3), scoring="balanced_accuracy"
        )
        search.fit(rows.iloc[train], y[train], groups=speakers[train])
        predicted[test] = search.predict(rows.iloc[test])
    return predicted


def main():
    """Print the equal error rates and the recalls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("speaker", help="model of XVectorEmbedder")
    parser.add_argument("codec", help="model of CodecEmbedder")
    parser.add_argument("--emodb", required=True)
    parser.add_argument("--ravdess")
    parser.add_argument(
        "--n-quantizers",
        nargs="*",
        type=int,
        default=[],
        help="numbers of quantisers to evaluate in addition to all",
    )
    parser.add_argument("--memory", help="folder for caching embeddings")
    arguments = parser.parse_args()

    speaker = XVectorEmbedder(arguments.speaker, memory=arguments.memory)
    if arguments.ravdess:
        print_equal_error_rates(speaker, load_ravdess(arguments.ravdess))

    def codec(**settings):
        return CodecEmbedder(arguments.codec, memory=arguments.memory, **settings)

    deviating = {"pooling": "mean_std"}
    both = FeatureUnion([("speaker", speaker), ("codec", codec(**deviating))])
    candidates = [
        ("speaker, as it is", speaker, "passthrough"),
        ("speaker", speaker, StandardScaler()),
        ("codec, before quantisation, mean", codec(representation="latent"), StandardScaler()),
        ("codec, mean", codec(), StandardScaler()),
        (
            "codec, before quantisation, mean and deviation",
            codec(representation="latent", **deviating),
            StandardScaler(),
        ),
        ("codec, mean and deviation", codec(**deviating), StandardScaler()),
        *(
            (
                f"codec, {number} stages, mean and deviation",
                codec(n_quantizers=number, **deviating),
                StandardScaler(),
            )
            for number in arguments.n_quantizers
        ),
        ("speaker and codec", both, StandardScaler()),
    ]
    corpus = load_emodb(arguments.emodb)
    for name, embedder, scaler in candidates:
        rows = embedder.set_output(transform="pandas").fit_transform(corpus.recordings)
        for class_weight in ("balanced", None):
            predicted = probe(rows, corpus.target, corpus.groups, scaler, class_weight)
            recall = unweighted_average_recall(corpus.target, predicted)
            low, high = confidence_interval(
                unweighted_average_recall,
                corpus.target,
                predicted,
                groups=corpus.groups,
                random_state=0,
            )
            print(
                f"Emo-DB, {name} ({rows.shape[1]} columns), class_weight={class_weight!r}: "
                f"{recall:.3f} [{low:.3f}, {high:.3f}]",
                flush=True,
            )


if __name__ == "__main__":
    main()
