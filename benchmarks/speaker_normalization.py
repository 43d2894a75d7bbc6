"""Compare representations with and without the level of each speaker, on new speakers.

python benchmarks/speaker_normalization.py --emodb path/to/emodb --ravdess path/to/ravdess \
    --whisper path/to/whisper-base-encoder --ge2e path/to/ge2e --lyra path/to/lyra-soundstream \
    --memory cache --results results.jsonl
"""

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import (
    CodecEmbedder,
    SpeakerNormalizer,
    WhisperEmbedder,
    XVectorEmbedder,
)
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, paired_difference, unweighted_average_recall

C_VALUES = [0.003, 0.01, 0.1]
# Numbers of enrolled recordings of a test speaker; None for all.
N_ENROLLMENTS = [0, 1, 5, 10, 20, None]
N_DRAWS = 3
N_LAYERS = 7  # of Whisper base
# The candidates for the layers of each input.
LAYERS = {
    "Whisper, one layer": [[layer] for layer in range(N_LAYERS)],
    "Whisper, three adjacent layers": [[n, n + 1, n + 2] for n in range(N_LAYERS - 2)],
    "Whisper, all layers": [list(range(N_LAYERS))],
    "GE2E, Lyra": [[0]],
}


def search(tables, y, speakers, *, adapted):
    """Return the position of the best of several tables, and the classifier with the best C."""
    steps = [
        ("standardize", StandardScaler()),
        ("classifier", LogisticRegression(class_weight="balanced", max_iter=1000)),
    ]
    if adapted:
        steps.insert(0, ("speaker", SpeakerNormalizer(speaker=0)))
    grid, cv = {"classifier__C": C_VALUES}, GroupKFold(5)
    searches = [
        GridSearchCV(Pipeline(steps), grid, cv=cv, scoring="unweighted_average_recall").fit(
            table if adapted else table[:, 1:], y, groups=speakers
        )
        for table in tables
    ]
    best = int(np.argmax([fitted.best_score_ for fitted in searches]))
    return best, searches[best]


def predict_enrolled(fitted, X, y, speakers):
    """Return the predictions by name of the arm, for each draw of the enrolled recordings."""
    predicted = {}
    for k in N_ENROLLMENTS:
        draws = []
        for seed in range(1 if k in {0, None} else N_DRAWS):
            order = np.random.default_rng(seed).permutation(len(X))
            draw = np.empty_like(y)
            draw[order] = _with(fitted, n_enrollment=k).predict(X[order])
            draws.append(draw)
        predicted["all" if k is None else str(k)] = draws
    for emotion in ("neutral", "anger", "happiness", "sadness"):
        chosen = y == emotion
        if set(speakers[chosen]) == set(speakers):
            enrolled = _with(fitted, n_enrollment=0)
            enrolled.named_steps["speaker"].enroll(X[chosen])
            predicted[emotion] = [enrolled.predict(X)]
    return predicted


def _with(fitted, **params):
    """Return a copy of a fitted pipeline whose normalizer has other parameters."""
    pipeline = copy.deepcopy(fitted)
    pipeline.named_steps["speaker"].set_params(**params)
    return pipeline


def evaluate(candidates, y, speakers, folds):
    """Return the predictions of all arms, and what was selected in each fold."""
    codes = pd.factorize(speakers)[0]
    tables = [np.column_stack([codes, X]) for X in candidates]
    predicted, selected = {}, []
    for train, test in LeaveOneGroupOut().split(codes, y, folds):
        parts = [table[train] for table in tables]
        strict_layer, strict = search(parts, y[train], speakers[train], adapted=False)
        layer, adapted = search(parts, y[train], speakers[train], adapted=True)
        arms = predict_enrolled(
            adapted.best_estimator_, tables[layer][test], y[test], speakers[test]
        )
        arms = {"strict": [strict.predict(tables[strict_layer][test, 1:])], **arms}
        for name, draws in arms.items():
            stored = predicted.setdefault(name, [np.full_like(y, "") for _ in draws])
            for rows, draw in zip(stored, draws, strict=True):
                rows[test] = draw
        selected.append([strict_layer, strict.best_params_, layer, adapted.best_params_])
    # An emotion that one speaker lacks cannot be enrolled for all.
    predicted = {name: draws for name, draws in predicted.items() if "" not in draws[0]}
    return {name: [draw.tolist() for draw in draws] for name, draws in predicted.items()}, selected


def report(title, y, speakers, predicted):
    """Print the recall of each arm, and its difference to the strict protocol."""
    print(title, flush=True)
    for name, draws in predicted.items():
        n = len(draws)
        pooled = {"y_true": np.tile(y, n), "y_pred": np.concatenate(draws)}
        recall = unweighted_average_recall(**pooled)
        low, high = confidence_interval(
            unweighted_average_recall, **pooled, groups=np.tile(speakers, n), random_state=0
        )
        gain = paired_difference(
            unweighted_average_recall,
            **pooled,
            y_pred_baseline=np.tile(predicted["strict"][0], n),
            groups=np.tile(speakers, n),
            random_state=0,
        )
        print(
            f"  {name:9} {recall:.3f} [{low:.3f}, {high:.3f}]  "
            "{:+.3f} [{:+.3f}, {:+.3f}]".format(*gain),
            flush=True,
        )


def main():
    """Run the evaluation on the given corpora."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emodb", help="folder of Emo-DB")
    parser.add_argument("--ravdess", help="folder of RAVDESS")
    parser.add_argument("--whisper", help="folder of Whisper base or of its encoder")
    parser.add_argument("--ge2e", help="folder of GE2E")
    parser.add_argument("--lyra", help="folder of Lyra's SoundStream")
    parser.add_argument("--memory", help="folder for caching embeddings", required=True)
    parser.add_argument("--results", help="file of results, which are not computed again")
    parser.add_argument("--inputs", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    parser.add_argument("--protocols", nargs="+", help="some of the printed ones, by name")
    arguments = parser.parse_args()
    results = Path(arguments.results or "speaker_normalization.jsonl")
    known = {}
    if results.exists():
        entries = map(json.loads, results.read_text(encoding="utf-8").splitlines())
        known = {entry["title"]: entry["predicted"] for entry in entries}
    corpora = {}
    if arguments.emodb:
        corpus = load_emodb(arguments.emodb)
        corpora["Emo-DB, one speaker"] = corpus, corpus.groups
    if arguments.ravdess:
        corpus = load_ravdess(arguments.ravdess)
        corpora["RAVDESS, EmoBox's folds"] = corpus, corpus.emobox_folds
        corpora["RAVDESS, one actor"] = corpus, corpus.groups
    for inputs in arguments.inputs:
        for protocol in arguments.protocols or corpora:
            corpus, folds = corpora[protocol]
            title = f"{protocol}, {inputs}"
            if title not in known:
                X = embed(inputs, corpus, arguments)
                candidates = [X[:, layers].reshape(len(X), -1) for layers in LAYERS[inputs]]
                known[title], selected = evaluate(candidates, corpus.target, corpus.groups, folds)
                entry = {"title": title, "predicted": known[title], "selected": selected}
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
            report(title, corpus.target, corpus.groups, known[title])


def embed(inputs, corpus, arguments):
    """Return an array of shape (n_recordings, n_layers, n_dims)."""
    recordings, memory = corpus.recordings, arguments.memory
    if inputs.startswith("Whisper"):
        embedder = WhisperEmbedder(
            arguments.whisper, layers="all", context="recording", memory=memory
        )
        return embedder.fit_transform(recordings)
    speaker = XVectorEmbedder(arguments.ge2e, memory=memory).fit_transform(recordings)
    codec = CodecEmbedder(arguments.lyra, pooling="mean_std", memory=memory)
    return np.hstack([speaker, codec.fit_transform(recordings)])[:, np.newaxis]


if __name__ == "__main__":
    main()
