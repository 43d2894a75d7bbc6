"""Evaluate HYFuse and its rivals on the same folds, also with missing and noisy representations.

python benchmarks/hyfuse.py path/to/emodb --corpus emodb --whisper path/to/whisper-base-encoder \\
    --ge2e path/to/ge2e --lyra path/to/lyra-soundstream --memory cache --results emodb.jsonl

Each fold is saved as a line of the results file. Existing lines are not computed again. The script
prints recall, log-loss and expected calibration error of each model, and the difference of
hyperbolic fusion to each rival, with a confidence interval over speakers.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import t as student_t
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import (
    CodecEmbedder,
    HyperbolicFusionClassifier,
    SpeakerNormalizer,
    WhisperEmbedder,
    XVectorEmbedder,
)
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import unweighted_average_recall

LOADERS = {"emodb": load_emodb, "ravdess": load_ravdess}
PROTOCOLS = {
    "speakers": lambda seed: GroupKFold(5, shuffle=True, random_state=seed),
    "random": lambda seed: StratifiedKFold(5, shuffle=True, random_state=seed),
    "one speaker": lambda seed: LeaveOneGroupOut(),
}
# Representations in each row of the table.
INPUTS = [
    "ge2e",
    "lyra",
    "whisper",
    "ge2e+lyra",
    "whisper+lyra",
    "whisper+ge2e",
    "whisper+ge2e+lyra",
]
PENALTIES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
SHAPES = [(0, 0), (0, 0.4), (0.2, 0.4), (0.5, 0.4)]  # curvature and block_loss
MODELS = ["logistic", "late", "mobius", "curvature 0", "searched"]
# The networks of the paper and variants that differ in one parameter, not class-balanced.
NETWORK = {"class_weight": None, "order": "given", "device": "cpu"}
NETWORKS = {
    "network, concat": {"fusion": "concat"},
    "network, mobius": {},
    "network, Euclidean sum": {"curvature": 0},
    "network, curvature 0.1": {"curvature": 0.1},
    "network, curvature learned": {"curvature": "learn"},
    "network, curvature learned for each": {"curvature": "learn_each"},
    "network, not clipped": {"max_norm": None},
    "network, clipped at 0.3": {"max_norm": 0.3},
    "network, sum": {"fusion": "sum"},
    "network, gyromidpoint": {"fusion": "gyromidpoint"},
    "network, hyperplanes": {"head": "mlr"},
    "network, weight decay 1": {"weight_decay": 1.0},
    "network, ten epochs": {"max_epochs": 10},
}
N_BINS = 10


class LateFusion(ClassifierMixin, BaseEstimator):
    """Average the logarithms of the probabilities of a logistic regression for each block.

    A block that is NaN is left out of the average.
    """

    def __init__(self, blocks, C=0.01):
        self.blocks, self.C = blocks, C

    def fit(self, X, y):
        """Fit a logistic regression to each block."""
        self.members_ = [
            make_pipeline(StandardScaler(), logistic(self.C)).fit(part, y)
            for part in self._split(X)
        ]
        self.classes_ = self.members_[0].classes_
        return self

    def predict_proba(self, X):
        """Compute the probability of each class."""
        total = np.zeros((len(X), len(self.classes_)))
        for member, part in zip(self.members_, self._split(X), strict=True):
            present = np.flatnonzero(~np.isnan(part[:, 0]))
            if len(present):
                total[present] += member.predict_log_proba(part[present])
        total /= sum(~np.isnan(part[:, :1]) for part in self._split(X))
        shares = np.exp(total - total.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X):
        """Predict the class of each recording."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _split(self, X):
        return np.split(X, np.cumsum(self.blocks)[:-1], axis=1)


def logistic(C=0.01):
    """Return a class-balanced logistic regression."""
    return LogisticRegression(C=C, class_weight="balanced", max_iter=3000)


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
    """Return a search over the settings of a model. Networks search only with `branch="mlp"`."""
    grid = {"C": PENALTIES}
    if name == "logistic":
        model = make_pipeline(SimpleImputer(), StandardScaler(), logistic())
        grid = {"logisticregression__C": PENALTIES}
    elif name == "late":
        model = LateFusion(widths)
    elif name in NETWORKS:
        settings = {**NETWORK, "branch": branch, "random_state": seed, **NETWORKS[name]}
        model = HyperbolicFusionClassifier(widths, **settings)
        is_searched = branch == "mlp" and name in ("network, concat", "network, mobius")
        grid = {"learning_rate": [3e-4, 1e-3] if is_searched else [1e-3]}
    else:
        model = HyperbolicFusionClassifier(widths)
        if name == "curvature 0":
            model.set_params(curvature=0)
        if name == "searched":
            grid = [grid | {"curvature": [c], "block_loss": [a]} for c, a in SHAPES]
    inner = StratifiedKFold(3) if protocol == "random" else GroupKFold(3)
    return GridSearchCV(model, grid, cv=inner, scoring="balanced_accuracy")


def change_blocks(X, widths, names, rng):
    """Yield the test set unchanged, and with each block missing or noisy in half of the rows."""
    yield "complete", X
    if len(widths) == 1:
        return
    ends = np.cumsum(widths)
    for name, width, end in zip(names, widths, ends, strict=True):
        rows = rng.permutation(len(X))[: len(X) // 2]
        columns = slice(end - width, end)
        part = X[rows, columns]
        for change, values in (
            ("missing", np.nan),
            ("noisy", part + rng.normal(size=part.shape) * X[:, columns].std(axis=0)),
        ):
            changed = X.copy()
            changed[rows, columns] = values
            yield f"{name} {change}", changed


def run(job, blocks, corpus, arguments):
    """Predict one fold, and append it to the results file."""
    inputs, name, protocol, seed, fold = job
    names = inputs.split("+")
    widths = [blocks[block].shape[1] for block in names]
    X = np.hstack([blocks[block] for block in names]).astype(np.float64)
    y, speakers = np.asarray(corpus.target), np.asarray(corpus.groups)
    train, test = list(PROTOCOLS[protocol](seed).split(X, y, speakers))[fold]
    rng = np.random.default_rng([seed, fold])
    if arguments.train_speakers:
        drawn = rng.permutation(np.unique(speakers[train]))[: arguments.train_speakers]
        train = train[np.isin(speakers[train], drawn)]
    if arguments.normalize:
        normalizer = SpeakerNormalizer()
        X[train] = normalizer.fit_transform(X[train], groups=speakers[train])
        X[test] = normalizer.transform(X[test], groups=speakers[test])
    model = make_model(name, widths, seed, protocol, arguments.branch)
    model.fit(X[train], y[train], groups=speakers[train])
    line = {
        "job": job,
        "settings": settings_of(arguments),
        "rows": test.tolist(),
        "chosen": model.best_params_,
        "predicted": {},
    }
    for condition, rows in change_blocks(X[test], widths, names, rng):
        shares = model.predict_proba(rows)
        line["predicted"][condition] = model.classes_[shares.argmax(axis=1)].tolist()
        if condition == "complete":
            line["largest"] = shares.max(axis=1).round(4).tolist()
            is_true = model.classes_ == y[test][:, np.newaxis]
            line["true"] = shares[is_true].round(6).tolist()
    with Path(arguments.results).open("a") as file:
        file.write(json.dumps(line) + "\n")


def settings_of(arguments):
    """Return the settings that all lines of the results file share."""
    return {
        "corpus": arguments.corpus,
        "branch": arguments.branch,
        "layers": list(arguments.layers),
        "normalize": arguments.normalize,
        "train_speakers": arguments.train_speakers,
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
    """Return the predictions of each model, protocol and condition, for seeds with all folds."""
    found = {}
    for (inputs, name, protocol, seed, _), line in lines.items():
        for condition, predicted in line["predicted"].items():
            columns = found.setdefault((protocol, inputs, condition, name), {})
            columns.setdefault(seed, np.full(n_rows, None))[line["rows"]] = predicted
    arms = {}
    for arm, columns in found.items():
        whole = {s: column for s, column in columns.items() if not np.equal(column, None).any()}
        if whole:
            arms[arm] = {seed: whole[seed].astype(str) for seed in sorted(whole)}
    return arms


def calibrate(lines, y):
    """Return the log-loss and the expected calibration error of each model and protocol."""
    pooled = {}
    for (inputs, name, protocol, *_), line in lines.items():
        right = np.asarray(line["predicted"]["complete"]) == y[line["rows"]]
        columns = np.column_stack([line["true"], line["largest"], right])
        pooled.setdefault((protocol, inputs, name), []).append(columns)
    figures = {}
    for arm, parts in pooled.items():
        true, largest, right = np.concatenate(parts).T
        bins = np.minimum((largest * N_BINS).astype(int), N_BINS - 1)
        gaps = np.bincount(bins, right - largest, minlength=N_BINS)
        figures[arm] = -np.log(np.maximum(true, 1e-6)).mean(), np.abs(gaps).sum() / len(true)
    return figures


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


def report(lines, corpus):
    """Print the tables for all protocols."""
    y, speakers = np.asarray(corpus.target), np.asarray(corpus.groups)
    arms, calibration = gather(lines, len(y)), calibrate(lines, y)
    for arm, columns in sorted(arms.items()):
        protocol, inputs, condition, name = arm
        values = [unweighted_average_recall(y, column) for column in columns.values()]
        figures = f"UAR {np.mean(values):.3f} ± {np.std(values):.3f}"
        if condition == "complete":
            figures += ", log-loss {:.3f}, ECE {:.3f}".format(*calibration[protocol, inputs, name])
        print(f"{', '.join(arm)}, {len(columns)} seeds: {figures}")
    for (protocol, inputs, condition, name), ours in sorted(arms.items()):
        if "+" not in inputs or name in ("logistic", "late", "network, concat"):
            continue
        rivals = [(inputs, condition, rival) for rival in ("logistic", "late", "curvature 0")]
        if condition == "complete":
            rivals += [(block, condition, "logistic") for block in inputs.split("+")]
        if name in NETWORKS:
            rivals += [(inputs, condition, "network, concat")]
        for rival in rivals:
            if (protocol, *rival) in arms and rival[2] != name:
                difference, low, high = compare(y, speakers, ours, arms[protocol, *rival])
                print(
                    f"{protocol}: {inputs}, {condition}, {name}, beside {rival[0]} {rival[2]}: "
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
    parser.add_argument("--models", nargs="+", choices=[*MODELS, *NETWORKS], default=MODELS)
    parser.add_argument("--protocols", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--branch", choices=["mlp", "conv"], default="mlp", help="of the networks")
    parser.add_argument("--normalize", action="store_true", help="subtract the speaker's mean")
    parser.add_argument("--train-speakers", type=int, help="train on this many speakers")
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
        # A single representation has nothing to fuse.
        for name in arguments.models
        if "+" in inputs or name in ("logistic", "network, mobius")
        for fold in range(PROTOCOLS[protocol](seed).get_n_splits(groups, groups, groups))
    ]
    missing = [job for job in jobs if job not in done]
    if missing:
        blocks = embed(arguments, corpus.recordings)
        Parallel(arguments.jobs)(delayed(run)(job, blocks, corpus, arguments) for job in missing)
    report(read(arguments), corpus)


if __name__ == "__main__":
    main()
