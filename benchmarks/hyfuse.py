"""HYFuse and all that it is compared with, on the same folds and seeds.

python benchmarks/hyfuse.py path/to/emodb --corpus emodb --whisper path/to/whisper-base-encoder \\
    --ge2e path/to/ge2e --lyra path/to/lyra-soundstream --memory cache --results emodb.jsonl

Every fold is a line of the file, written when it is done; what is there is not computed again.
With what is there, it prints recall and accuracy of each arm, mean and deviation over seeds, and
what hyperbolic fusion adds to each other arm, with an interval over speakers.
"""

import argparse
import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import CodecEmbedder, HyperbolicFusionClassifier, WhisperEmbedder, XVectorEmbedder
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

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
# Representations of each row of the table, in the order of ⊕.
INPUTS = ["ge2e", "lyra", "whisper", "ge2e+lyra", "whisper+lyra", "whisper+ge2e"]
# How they are classified: settings, and two candidates, which each fold chooses between inside.
CLASSIFIERS = {
    "linear": (None, {"classify__C": [0.01, 0.1]}),
    "concat": ({"fusion": "concat"}, {"classify__learning_rate": [3e-4, 1e-3]}),
    "mobius": ({"fusion": "mobius"}, {"classify__learning_rate": [3e-4, 1e-3]}),
}
# Five networks, whose probabilities are averaged, in a setting found on RAVDESS.
COMMITTEES = {
    "concat committee": {"fusion": "concat", "n_dims": 60, "batch_size": 64},
    "mobius committee": {"fusion": "mobius", "max_norm": None, "n_dims": 60, "batch_size": 64},
}
RIVALS = {"mobius": "concat", "mobius committee": "concat committee"}


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


def make_model(name, widths, seed, protocol, arguments):
    """Return a committee, or the search over the two candidates of a classifier."""
    make = partial(HyperbolicFusionClassifier, blocks=widths, branch=arguments.branch, device="cpu")
    if name in COMMITTEES:
        members = [
            (f"network{i}", make(random_state=5 * seed + i, **COMMITTEES[name])) for i in range(5)
        ]
        return make_pipeline(StandardScaler(), VotingClassifier(members, voting="soft"))
    settings, grid = CLASSIFIERS[name]
    if settings is None:
        classifier = LogisticRegression(max_iter=3000)
    else:
        classifier = make(random_state=seed, **settings)
    inner = StratifiedKFold(3) if protocol == "random" else GroupKFold(3)
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", classifier)])
    return GridSearchCV(pipeline, grid, cv=inner, scoring="balanced_accuracy")


def run(job, blocks, corpus, arguments):
    """Predict one fold, and append it to the file."""
    inputs, name, protocol, seed, fold = job
    rows = [blocks[block] for block in inputs.split("+")]
    X, y, speakers = np.hstack(rows), corpus.target, np.asarray(corpus.groups)
    train, test = list(PROTOCOLS[protocol](seed).split(X, y, speakers))[fold]
    model = make_model(name, [block.shape[1] for block in rows], seed, protocol, arguments)
    model.fit(X[train], y[train], **({} if name in COMMITTEES else {"groups": speakers[train]}))
    line = {
        "job": job,
        "rows": test.tolist(),
        "predicted": model.predict(X[test]).tolist(),
        "chosen": getattr(model, "best_params_", None),
    }
    with Path(arguments.results).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(path):
    """Return the lines that are there, by their jobs."""
    if not Path(path).exists():
        return {}
    lines = map(json.loads, Path(path).read_text().splitlines())
    return {tuple(line["job"]): line for line in lines}


def gather(lines, n_rows):
    """Return the predictions of each arm and protocol, of each seed whose folds are all there."""
    found = {}
    for (inputs, name, protocol, seed, _), line in lines.items():
        columns = found.setdefault((inputs, name, protocol), {})
        column = columns.setdefault(seed, np.full(n_rows, None))
        column[line["rows"]] = line["predicted"]
    arms = {}
    for arm, columns in found.items():
        whole = {seed: c for seed, c in columns.items() if not np.equal(c, None).any()}
        if whole:
            arms[arm] = {seed: whole[seed].astype(str) for seed in sorted(whole)}
    return arms


def difference(y, both):
    """Return how much more recall the left half of the columns has than the right, on average."""
    recalls = [unweighted_average_recall(y, column) for column in both.T]
    left, right = np.split(np.array(recalls), 2)
    return (left - right).mean()


def report(arms, corpus):
    """Print the tables of all protocols."""
    y, speakers = corpus.target, np.asarray(corpus.groups)
    for protocol in PROTOCOLS:
        of_protocol = {arm[:2]: columns for arm, columns in arms.items() if arm[2] == protocol}
        for arm, columns in sorted(of_protocol.items()):
            figures = []
            for metric, function in METRICS.items():
                values = [function(y, column) for column in columns.values()]
                figures.append(f"{metric} {np.mean(values):.3f} ± {np.std(values):.3f}")
            print(f"{protocol}: {arm[0]}, {arm[1]}, {len(columns)} seeds: {', '.join(figures)}")
        for inputs, (ours, concat) in itertools.product(INPUTS[3:], RIVALS.items()):
            hyperbolic = of_protocol.get((inputs, ours))
            rivals = [(inputs, concat), (inputs, "linear")]
            rivals += [
                (block, name) for block in inputs.split("+") for name in ("mobius", "linear")
            ]
            for rival in rivals:
                if hyperbolic is None or rival not in of_protocol:
                    continue
                seeds = sorted(set(hyperbolic) & set(of_protocol[rival]))
                both = np.column_stack(
                    [hyperbolic[seed] for seed in seeds]
                    + [of_protocol[rival][seed] for seed in seeds]
                )
                low, high = confidence_interval(
                    difference, y, both, groups=speakers, random_state=0
                )
                print(
                    f"{protocol}: {inputs}, {ours}, beside {', '.join(rival)}: "
                    f"{difference(y, both):+.3f} [{low:+.3f}, {high:+.3f}]"
                )


def main():
    """Compute what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of the corpus")
    parser.add_argument("--corpus", choices=list(LOADERS), required=True)
    parser.add_argument("--results", required=True, help="file of JSON lines to add to")
    for name in ("whisper", "ge2e", "lyra"):
        parser.add_argument(f"--{name}", required=True, help="folder of the network")
    parser.add_argument("--layers", nargs="+", type=int, default=[3], help="of Whisper")
    parser.add_argument("--memory", help="folder to keep embeddings in")
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=INPUTS)
    parser.add_argument("--classifiers", nargs="+", default=[*CLASSIFIERS, *COMMITTEES])
    parser.add_argument(
        "--protocols", nargs="+", choices=list(PROTOCOLS), default=["speakers", "random"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--branch", choices=["mlp", "conv"], default="mlp")
    parser.add_argument("--jobs", type=int, default=-1, help="processes")
    arguments = parser.parse_args()
    corpus = LOADERS[arguments.corpus](arguments.data)
    done = read(arguments.results)
    groups = np.asarray(corpus.groups)
    jobs = [
        (inputs, name, protocol, seed, fold)
        for protocol in arguments.protocols
        for seed in arguments.seeds
        for inputs in arguments.inputs
        for name in arguments.classifiers
        # Of one representation alone there is nothing to concatenate.
        if "+" in inputs or name in ("linear", "mobius")
        for fold in range(PROTOCOLS[protocol](seed).get_n_splits(groups, groups, groups))
    ]
    missing = [job for job in jobs if job not in done]
    if missing:
        blocks = embed(arguments, corpus.recordings)
        Parallel(arguments.jobs)(delayed(run)(job, blocks, corpus, arguments) for job in missing)
    report(gather(read(arguments.results), len(corpus.target)), corpus)


if __name__ == "__main__":
    main()
