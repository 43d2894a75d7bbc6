"""A linear classifier on a codec's latents: whole speakers held out, C chosen on others.

python benchmarks/codec_probe.py path/to/lyra-soundstream --emodb path/to/emodb --memory cache
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import CodecEmbedder
from sklearn_ser.datasets import load_emodb
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

C_VALUES = [0.01, 0.03, 0.1, 0.3, 1]


def predict(X, y, speakers, class_weight):
    """Predict each speaker from the others; C is chosen on whole speakers among these."""
    predicted, chosen = np.empty_like(y), []
    classifier = LogisticRegression(max_iter=3000, class_weight=class_weight)
    pipeline = make_pipeline(StandardScaler(), classifier)
    for train, test in LeaveOneGroupOut().split(X, y, speakers):
        search = GridSearchCV(
            pipeline,
            {"logisticregression__C": C_VALUES},
            cv=GroupKFold(3),
            scoring="balanced_accuracy",
        )
        search.fit(X[train], y[train], groups=speakers[train])
        predicted[test] = search.predict(X[test])
        chosen.append(search.best_params_["logisticregression__C"])
    return predicted, chosen


def main():
    """Print the recalls of the representations, with emotions weighted alike and as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="codec: a name, folder, file or hub id")
    parser.add_argument("--emodb", required=True, help="folder of Emo-DB")
    parser.add_argument("--memory", help="folder to keep embeddings in")
    parser.add_argument("--pooling", nargs="+", default=["mean", "mean_std"])
    parser.add_argument(
        "--n-quantizers", nargs="+", type=int, default=[], help="beside all of them"
    )
    arguments = parser.parse_args()
    corpus = load_emodb(arguments.emodb)
    y, speakers = corpus.target, corpus.groups
    for pooling in arguments.pooling:
        embedder = CodecEmbedder(arguments.model, pooling=pooling, memory=arguments.memory)
        settings = [{"representation": "latent"}, {}]
        settings += [{"n_quantizers": number} for number in arguments.n_quantizers]
        for setting in settings:
            embedder.set_params(representation="quantized", n_quantizers=None)
            X = embedder.set_params(**setting).fit_transform(corpus.recordings)
            for class_weight in ("balanced", None):
                predicted, chosen = predict(X, y, speakers, class_weight)
                low, high = confidence_interval(
                    unweighted_average_recall, y, predicted, groups=speakers, random_state=0
                )
                print(
                    f"pooling={pooling!r} {setting or 'quantized, all stages'}, "
                    f"class_weight={class_weight!r}: pooled UAR "
                    f"{unweighted_average_recall(y, predicted):.4f} [{low:.3f}, {high:.3f}]; "
                    + " ".join(f"{C:g}" for C in chosen),
                    flush=True,
                )


if __name__ == "__main__":
    main()
