"""Fine-tuning of an encoder on emotions, compared with a linear probe on its best layer.

python benchmarks/fine_tuning.py path/to/emodb --corpus emodb --memory cache \\
    --model path/to/whisper-base-encoder --results emodb.jsonl

Whole speakers are held out. The probe chooses its layer and its penalty on speakers within the
training set. Each fold of each arm is a line of the file; lines that exist are not computed again.
`--limit 40` takes so many recordings, to try it.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoConfig

from sklearn_ser import DistilledClassifier, HubertEmbedder, LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, paired_difference, unweighted_average_recall

CORPORA = {"emodb": load_emodb, "ravdess": load_ravdess}
PROBE = "probe on the best layer"
# Name of an arm -> what differs from training the whole encoder.
FINE_TUNED: dict[str, dict] = {
    "head on the frozen encoder": {"n_trainable_layers": 0},
    "last two layers": {"n_trainable_layers": 2},
    "all layers": {},
    "all layers, lower ones more slowly": {"layer_decay": 0.7},
    "adapters of rank 8": {"lora_rank": 8, "encoder_learning_rate": 1e-3},
}
# Not part of the settings by which lines of the file are found.
NO_SETTINGS = {"data", "memory", "results", "arms", "folds"}


def load(arguments):
    """Return recordings, emotions and speakers, or some of them."""
    corpus = CORPORA[arguments.corpus](arguments.data)
    y, speakers = np.asarray(corpus.target), np.asarray(corpus.groups)
    rows = np.arange(len(y))
    if arguments.limit:
        rows = np.linspace(0, len(y) - 1, arguments.limit).astype(int)
    return [corpus.recordings[row] for row in rows], y[rows], speakers[rows]


def make_probe(arguments):
    """Return the search over layers and penalties of a linear classifier."""
    settings = {"layers": "all", "memory": arguments.memory}
    if AutoConfig.from_pretrained(arguments.model).model_type == "whisper":
        embedder = WhisperEmbedder(arguments.model, context="recording", **settings)
    else:
        embedder = HubertEmbedder(arguments.model, **settings)
    pipeline = make_pipeline(
        embedder, LayerSelector(), StandardScaler(), LogisticRegression(max_iter=2000)
    )
    grid = {
        "layerselector__layer": list(range(embedder._load_backbone().n_layers)),
        "logisticregression__C": [0.01, 0.1, 1.0],
    }
    return GridSearchCV(pipeline, grid, cv=GroupKFold(3), scoring="balanced_accuracy")


def make_classifier(arm, arguments):
    """Return the classifier of an arm."""
    if arm == PROBE:
        return make_probe(arguments)
    settings = {
        "max_epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "learning_rate": arguments.learning_rate,
        "encoder_learning_rate": arguments.encoder_learning_rate,
        "max_duration": arguments.max_duration,
        "dtype": arguments.dtype,
        "n_jobs": 2,
        "random_state": arguments.seed,
    }
    return DistilledClassifier(arguments.model, **settings | FINE_TUNED[arm])


def evaluate(arm, X, y, speakers, split, arguments):
    """Return the predictions of an arm for a fold, and what they took."""
    train, test = split
    start = time.time()
    classifier = make_classifier(arm, arguments)
    classifier.fit([X[row] for row in train], y[train], groups=speakers[train])
    return {
        "rows": test.tolist(),
        "predicted": classifier.predict([X[row] for row in test]).tolist(),
        "n_trained": getattr(classifier, "n_trainable_parameters_", None),
        "chosen": getattr(classifier, "best_params_", None),
        "seconds": round(time.time() - start, 1),
    }


def read(path, settings):
    """Return the lines of these settings by arm and fold, without one that was cut off."""
    lines = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if line["settings"] == settings:
            lines[line["arm"], line["fold"]] = line
    return lines


def report(lines, y, speakers):
    """Print the recalls on the folds of all arms, and the differences from that of the probe."""
    arms = dict.fromkeys(arm for arm, _ in lines)
    folds = sorted({fold for _, fold in lines})
    folds = [fold for fold in folds if all((arm, fold) in lines for arm in arms)]
    if not folds:
        return
    own = {arm: [lines[arm, fold] for fold in folds] for arm in arms}
    predictions = {arm: np.concatenate([one["predicted"] for one in own[arm]]) for arm in arms}
    rows = np.concatenate([lines[next(iter(arms)), fold]["rows"] for fold in folds])
    print(f"folds {folds}, {len(rows)} recordings")
    y, settings = y[rows], {"groups": speakers[rows], "random_state": 0}
    for arm, predicted in predictions.items():
        recall = unweighted_average_recall(y, predicted)
        low, high = confidence_interval(unweighted_average_recall, y, predicted, **settings)
        print(f"{arm}: {recall:.3f} [{low:.3f}, {high:.3f}]", end="")
        if arm != PROBE and PROBE in arms:
            difference, low, high = paired_difference(
                unweighted_average_recall, y, predicted, predictions[PROBE], **settings
            )
            print(f", {difference:+.3f} [{low:+.3f}, {high:+.3f}]", end="")
        seconds = sum(one["seconds"] for one in own[arm])
        print(f"; {own[arm][0]['n_trained']} weights, {seconds:.0f} s")


def main():
    """Compute what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of the corpus")
    parser.add_argument("--corpus", choices=list(CORPORA), required=True)
    parser.add_argument("--model", required=True, help="hub id or folder of an encoder")
    parser.add_argument("--results", type=Path, required=True, help="file of JSON lines to add to")
    parser.add_argument("--memory", help="folder for caching embeddings")
    parser.add_argument("--arms", nargs="+", default=[PROBE, *FINE_TUNED])
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--encoder-learning-rate", type=float, default=5e-5)
    parser.add_argument("--max-duration", type=float, default=5.0)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="number of recordings, to try it")
    arguments = parser.parse_args()
    settings = {name: v for name, v in vars(arguments).items() if name not in NO_SETTINGS}
    X, y, speakers = load(arguments)
    splits = list(GroupKFold(5, shuffle=True, random_state=0).split(X, y, speakers))
    lines = read(arguments.results, settings)
    for fold in arguments.folds:
        for arm in arguments.arms:
            if (arm, fold) in lines:
                continue
            found = evaluate(arm, X, y, speakers, splits[fold], arguments)
            line = {"settings": settings, "arm": arm, "fold": fold, **found}
            lines[arm, fold] = line
            with arguments.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{arm}, fold {fold}: {found['seconds']:.0f} s", flush=True)
    report(lines, y, speakers)


if __name__ == "__main__":
    main()
