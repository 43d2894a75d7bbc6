"""Evaluate HYFuse and its baselines on the same folds and seeds.

python benchmarks/hyfuse.py path/to/emodb --corpus emodb --whisper path/to/whisper-base-encoder \\
    --ge2e path/to/ge2e --lyra path/to/lyra-soundstream --memory cache --results emodb.jsonl

Each fold is saved as a line of the results file. Existing lines are not computed again. The script
prints recall and accuracy of each model, with mean and standard deviation over seeds, and the
difference of hyperbolic fusion to each other model, with a confidence interval over speakers.
"""

import argparse
import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import t as student_t
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import CodecEmbedder, HyperbolicFusionClassifier, WhisperEmbedder, XVectorEmbedder
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import unweighted_average_recall

LOADERS = {"emodb": load_emodb, "ravdess": load_ravdess}
METRICS = {
    "UAR": unweighted_average_recall,
    "accuracy": accuracy_score,
    "macro-F1": partial(f1_score, average="macro"),
}
PROTOCOLS = {
    "speakers": lambda seed: GroupKFold(5, shuffle=True, random_state=seed),
    "random": lambda seed: StratifiedKFold(5, shuffle=True, random_state=seed),
    "one speaker": lambda seed: LeaveOneGroupOut(),
}
# Representations in each row of the table, in the order of ⊕.
INPUTS = ["ge2e", "lyra", "whisper", "ge2e+lyra", "whisper+lyra", "whisper+ge2e"]
# Classifiers: parameters, and two candidates for the nested search.
SEARCHES = {
    "linear": (None, {"classify__C": [0.01, 0.1]}),
    "concat": ({"fusion": "concat"}, {"classify__learning_rate": [3e-4, 1e-3]}),
    "mobius": ({"fusion": "mobius"}, {"classify__learning_rate": [3e-4, 1e-3]}),
}
# Variants of the network that differ in one parameter, without a search.
VARIANTS = {
    "as HYFuse has it": {},
    "concat, no search": {"fusion": "concat"},
    "Euclidean sum": {"curvature": 0},
    "curvature 0.1": {"curvature": 0.1},
    "curvature learned": {"curvature": "learn"},
    "curvature learned for each": {"curvature": "learn_each"},
    "not clipped": {"max_norm": None},
    "clipped at 0.3": {"max_norm": 0.3},
    "sum": {"fusion": "sum"},
    "gyromidpoint": {"fusion": "gyromidpoint"},
    "hyperplanes": {"head": "mlr"},
    "linear branches": {"branch_sizes": []},
    "weight decay 1": {"weight_decay": 1.0},
    "ten epochs": {"max_epochs": 10},
}
# Ensemble of five networks whose probabilities are averaged.
COMMITTEE = {"max_norm": None, "n_dims": 60, "batch_size": 64}


def embed(arguments, recordings):
    """Return the representations of all recordings."""
    embedders = {
        "whisper": WhisperEmbedder(
            arguments.whisper,
            layers=arguments.layers,
            flatten=True,
            context="recording",
            memory=arguments.memory,
        ),
        "ge2e": XVectorEmbedder(arguments.ge2e, memory=arguments.memory),
        "lyra": CodecEmbedder(arguments.lyra, pooling="mean_std", memory=arguments.memory),
    }
    return {name: embedder.fit_transform(recordings) for name, embedder in embedders.items()}


def make_model(name, widths, seed, protocol, branch):
    """Return a classifier, or a search over its two candidates."""
    make = partial(HyperbolicFusionClassifier, blocks=widths, branch=branch, device="cpu")
    if name == "committee":
        members = [(f"{i}", make(random_state=5 * seed + i, **COMMITTEE)) for i in range(5)]
        classifier = VotingClassifier(members, voting="soft")
    elif name in VARIANTS:
        classifier = make(random_state=seed, **VARIANTS[name])
    else:
        settings, grid = SEARCHES[name]
        linear = LogisticRegression(max_iter=3000)
        classifier = linear if settings is None else make(random_state=seed, **settings)
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", classifier)])
    if name not in SEARCHES:
        return pipeline
    inner = StratifiedKFold(3) if protocol == "random" else GroupKFold(3)
    return GridSearchCV(pipeline, grid, cv=inner, scoring="balanced_accuracy")


def run(job, blocks, corpus, arguments):
    """Predict one fold, and append it to the results file."""
    inputs, name, protocol, seed, fold = job
    rows = [blocks[block] for block in inputs.split("+")]
    X, y, speakers = np.hstack(rows), corpus.target, np.asarray(corpus.groups)
    train, test = list(PROTOCOLS[protocol](seed).split(X, y, speakers))[fold]
    widths = [block.shape[1] for block in rows]
    model = make_model(name, widths, seed, protocol, arguments.branch)
    model.fit(X[train], y[train], **({"groups": speakers[train]} if name in SEARCHES else {}))
    line = {
        "job": job,
        "settings": settings_of(arguments),
        "rows": test.tolist(),
        "predicted": model.predict(X[test]).tolist(),
        "chosen": getattr(model, "best_params_", None),
    }
    with Path(arguments.results).open("a") as file:
        file.write(json.dumps(line) + "\n")


def settings_of(arguments):
    """Return the settings that all lines of the results file share."""
    return {
        "corpus": arguments.corpus,
        "branch": arguments.branch,
        "layers": list(arguments.layers),
    }


def read(arguments):
    """Return the existing lines, by job."""
    path = Path(arguments.results)
    lines = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:  # incomplete line of an interrupted run
            continue
        if line["settings"] != settings_of(arguments):
            raise SystemExit(f"{path} holds results of {line['settings']}: name another file")
        lines[tuple(line["job"])] = line
    return lines


def gather(lines, n_rows):
    """Return the predictions of each model and protocol for all seeds with complete folds."""
    found = {}
    for (inputs, name, protocol, seed, _), line in lines.items():
        columns = found.setdefault((protocol, inputs, name), {})
        column = columns.setdefault(seed, np.full(n_rows, None))
        column[line["rows"]] = line["predicted"]
    arms = {}
    for arm, columns in found.items():
        whole = {seed: c for seed, c in columns.items() if not np.equal(c, None).any()}
        if whole:
            arms[arm] = {seed: whole[seed].astype(str) for seed in sorted(whole)}
    return arms


def count_right(y, speakers, predicted):
    """Return the number of correct predictions by speaker and class, (n_speakers, n_classes)."""
    cells = np.unique(speakers, return_inverse=True)[1], np.unique(y, return_inverse=True)[1]
    right = np.zeros((cells[0].max() + 1, cells[1].max() + 1))
    np.add.at(right, cells, y == predicted)
    return right


def compare(y, speakers, ours, theirs):
    """Return the difference in recall between two models, and a confidence interval over speakers.

    The interval is that of Student's t for the jackknife over speakers, because with ten speakers
    bootstrap percentiles are too narrow.
    """
    seeds = sorted(set(ours) & set(theirs))
    gained = np.mean(
        [count_right(y, speakers, ours[s]) - count_right(y, speakers, theirs[s]) for s in seeds],
        axis=0,
    )
    spoken = count_right(y, speakers, y)

    def recall(kept):
        n_spoken = spoken[kept].sum(0)
        return np.mean(gained[kept].sum(0)[n_spoken > 0] / n_spoken[n_spoken > 0])

    n = len(spoken)
    whole = recall(np.ones(n, bool))
    pseudo = np.array([n * whole - (n - 1) * recall(np.arange(n) != k) for k in range(n)])
    reach = student_t.ppf(0.975, n - 1) * pseudo.std(ddof=1) / np.sqrt(n)
    return whole, pseudo.mean() - reach, pseudo.mean() + reach


def report(arms, corpus):
    """Print the tables for all protocols."""
    y, speakers = corpus.target, np.asarray(corpus.groups)
    for arm, columns in sorted(arms.items()):
        figures = []
        for metric, function in METRICS.items():
            values = [function(y, column) for column in columns.values()]
            figures.append(f"{metric} {np.mean(values):.3f} ± {np.std(values):.3f}")
        print(f"{', '.join(arm)}, {len(columns)} seeds: {', '.join(figures)}")
    for (protocol, inputs, name), ours in sorted(arms.items()):
        if "+" not in inputs or name in ("linear", "concat", "concat, no search"):
            continue
        rivals = [(inputs, "concat"), (inputs, "concat, no search"), (inputs, "linear")]
        rivals += itertools.product(inputs.split("+"), dict.fromkeys([name, "linear"]))
        for rival in rivals:
            if (protocol, *rival) in arms:
                difference, low, high = compare(y, speakers, ours, arms[protocol, *rival])
                print(
                    f"{protocol}: {inputs}, {name}, beside {', '.join(rival)}: "
                    f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
                )


def main():
    """Compute missing folds, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of the corpus")
    parser.add_argument("--corpus", choices=list(LOADERS), required=True)
    parser.add_argument("--results", required=True, help="file of JSON lines to add to")
    for name in ("whisper", "ge2e", "lyra"):
        parser.add_argument(f"--{name}", required=True, help="folder of the network")
    parser.add_argument("--layers", nargs="+", type=int, default=[3], help="of Whisper")
    parser.add_argument("--memory", help="folder to keep embeddings in")
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=INPUTS)
    parser.add_argument(
        "--classifiers",
        nargs="+",
        choices=[*SEARCHES, *VARIANTS, "committee"],
        default=list(SEARCHES),
    )
    parser.add_argument(
        "--protocols", nargs="+", choices=list(PROTOCOLS), default=["speakers", "random"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--branch", choices=["mlp", "conv"], default="mlp")
    parser.add_argument("--jobs", type=int, default=-1, help="processes")
    arguments = parser.parse_args()
    corpus = LOADERS[arguments.corpus](arguments.data)
    done = read(arguments)
    groups = np.asarray(corpus.groups)
    jobs = [
        (inputs, name, protocol, seed, fold)
        for protocol in arguments.protocols
        for seed in arguments.seeds
        for inputs in arguments.inputs
        for name in arguments.classifiers
        # A single representation has no concatenation.
        if "+" in inputs or not name.startswith("concat")
        for fold in range(PROTOCOLS[protocol](seed).get_n_splits(groups, groups, groups))
    ]
    missing = [job for job in jobs if job not in done]
    if missing:
        blocks = embed(arguments, corpus.recordings)
        Parallel(arguments.jobs)(delayed(run)(job, blocks, corpus, arguments) for job in missing)
    report(gather(read(arguments), len(corpus.target)), corpus)


if __name__ == "__main__":
    main()
