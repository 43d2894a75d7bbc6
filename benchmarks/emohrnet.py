"""Evaluate EmoHRNet on a real corpus: recall, ablations, and robustness to noise.

It is compared with a linear classifier on statistics of the same spectrograms, on the same folds.

python benchmarks/emohrnet.py path/to/emodb --corpus emodb --protocol speakers --results runs.jsonl

Each fold is saved as a line of the results file. Existing lines are not computed again.
"""

import argparse
import contextlib
import json
import time
from functools import partial
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import EmoHRNetClassifier, LogMelSpectrogram, SpeakerNormalizer
from sklearn_ser.audio import load_waveform
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import confidence_interval, paired_difference, unweighted_average_recall

SAMPLING_RATE = 16000
CORPORA = {
    "emodb": (load_emodb, lambda corpus: corpus.groups),
    "ravdess": (load_ravdess, lambda corpus: corpus.emobox_folds),
}
METRICS = {
    "UAR": unweighted_average_recall,
    "accuracy": accuracy_score,
    "macro-F1": partial(f1_score, average="macro"),
}
# Parameters that `--without` sets.
ABLATIONS = {
    "spec_augment": {"n_frequency_masks": 0, "n_time_masks": 0},
    "warp": {"band_shift": 0, "time_stretch": 0},
    "mixup": {"mixup": 0},
    "label_smoothing": {"label_smoothing": 0},
    "crop": {"crop": 1},
    "noise": {"noise": 0},
    "shifts": {"n_shifts": 1},
    "schedule": {"schedule": None},
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder of the corpus")
    parser.add_argument("--corpus", choices=list(CORPORA), required=True)
    parser.add_argument("--protocol", choices=["random", "folds", "speakers"], default="speakers")
    parser.add_argument("--results", required=True, help="file of JSON lines to add to")
    parser.add_argument("--variant", default="small-v1")
    parser.add_argument("--width", type=int)
    parser.add_argument("--head-width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--size", default="128x192", help="bands x frames, multiples of 32")
    parser.add_argument("--duration", type=float, default=3.0, help="seconds")
    parser.add_argument("--normalize", choices=["recording", "band", "none"], default="recording")
    parser.add_argument(
        "--adapt", action="store_true", help="remove the mean spectrum of each speaker"
    )
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--weight-decay", type=float)
    parser.add_argument("--mixup", type=float)
    parser.add_argument("--noise", type=float, help="probability of noise in training")
    parser.add_argument(
        "--parameters", type=json.loads, default={}, help="others of EmoHRNetClassifier, as JSON"
    )
    parser.add_argument("--without", nargs="*", choices=list(ABLATIONS), default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, nargs="+", help="only these, to try things out")
    parser.add_argument("--snr", type=float, nargs="*", default=[], help="dB, of test noise")
    return parser.parse_args()


def front_end(arguments):
    """Return the transformer for the requested size of spectrograms."""
    n_bands, n_frames = map(int, arguments.size.split("x"))
    n_samples = round(arguments.duration * SAMPLING_RATE)
    return LogMelSpectrogram(
        n_mels=n_bands,
        duration=arguments.duration,
        hop_length=n_samples // (n_frames - 1),
        normalize=None if arguments.normalize == "none" else arguments.normalize,
    )


def classifier(arguments, seed):
    """Return the classifier for the arguments."""
    parameters = {
        "variant": arguments.variant,
        "width": arguments.width,
        "head_width": arguments.head_width,
        "max_epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "dtype": arguments.dtype,
        "device": arguments.device,
        "random_state": seed,
    }
    for name in ("learning_rate", "weight_decay", "mixup", "noise"):
        if getattr(arguments, name) is not None:
            parameters[name] = getattr(arguments, name)
    parameters |= arguments.parameters
    for ingredient in arguments.without:
        parameters |= ABLATIONS[ingredient]
    return EmoHRNetClassifier(**parameters)


def normalizer(arguments, **parameters):
    """Return the transformer that removes the level of speakers, or None."""
    return SpeakerNormalizer(**parameters) if arguments.adapt else None


def transform_all(normalizer, tables, groups, train, test):
    """Fit the normalizer, if any, to the training rows of the first table.

    Return these training rows, and the test rows of each table, transformed.
    """
    if normalizer is None:
        return tables[0][train], [table[test] for table in tables]
    training = normalizer.fit_transform(tables[0][train], groups=groups[train])
    return training, [normalizer.transform(table[test], groups=groups[test]) for table in tables]


def with_noise(recordings, snr):
    """Return the waveforms with independent white noise at a signal-to-noise ratio in dB."""
    noisy = []
    for number, recording in enumerate(recordings):
        waveform = load_waveform(recording, sampling_rate=SAMPLING_RATE)
        noise = np.random.default_rng(number).standard_normal(len(waveform))
        level = np.sqrt(np.mean(waveform**2)) * 10 ** (-snr / 20)
        noisy.append((waveform + level * noise).astype(np.float32))
    return noisy


def splits(arguments, corpus, seed):
    """Yield the number, training rows and test rows of each fold."""
    y = corpus.target
    if arguments.protocol == "speakers":
        folds = LeaveOneGroupOut().split(y, y, CORPORA[arguments.corpus][1](corpus))
    elif arguments.protocol == "folds":
        folds = StratifiedKFold(5, shuffle=True, random_state=0).split(y, y)
    else:
        folds = StratifiedShuffleSplit(1, test_size=0.2, random_state=seed).split(y, y)
    for number, (train, test) in enumerate(folds):
        if arguments.folds is None or number in arguments.folds:
            yield number, train, test


def settings_of(arguments):
    """Return the settings that identify lines of results of this run."""
    left_out = {"verbose", "device"}
    steps = {
        "spectrogram": front_end(arguments),
        "normalizer": normalizer(arguments, time_axis=-1),
        "classifier": classifier(arguments, None),
    }
    return {
        "version": version("sklearn_ser"),
        "corpus": arguments.corpus,
        "protocol": arguments.protocol,
        "snr": arguments.snr,
        **{
            step: {name: v for name, v in estimator.get_params().items() if name not in left_out}
            for step, estimator in steps.items()
            if estimator is not None
        },
    }


def read(path, settings):
    """Return the existing lines of this run, by seed and fold."""
    if not Path(path).exists():
        return {}
    lines = []
    for line in Path(path).read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # a part of a line, of a killed process
            lines.append(json.loads(line))
    return {(line["seed"], line["fold"]): line for line in lines if line["settings"] == settings}


def run_fold(arguments, seed, conditions, corpus, train, test):
    """Train on the clean training rows of one fold, and predict the test rows of all conditions."""
    training, tests = transform_all(
        normalizer(arguments, time_axis=-1),
        list(conditions.values()),
        corpus.groups,
        train,
        test,
    )
    start = time.perf_counter()
    fitted = classifier(arguments, seed).fit(training, corpus.target[train])
    minutes = (time.perf_counter() - start) / 60
    return {
        "minutes": minutes,
        "rows": test.tolist(),
        "classes": fitted.classes_.tolist(),
        "probabilities": {
            name: fitted.predict_proba(spectrograms).round(5).tolist()
            for name, spectrograms in zip(conditions, tests, strict=True)
        },
        "train_loss": fitted.history_["train_loss"],
    }


def predicted(line, condition):
    """Return the predictions of the network for the test rows of a fold."""
    return np.array(line["classes"])[np.argmax(line["probabilities"][condition], axis=1)]


def by_seed(lines):
    """Sort lines by seed."""
    return sorted(lines, key=itemgetter("seed"))


def vote(lines):
    """Average the probabilities of all seeds for each fold, as `VotingClassifier` does."""
    folds = {}
    for line in lines:
        folds.setdefault(line["fold"], []).append(line)
    return [
        {
            **of_fold[0],
            "seed": "vote",
            "minutes": sum(line["minutes"] for line in of_fold),
            "probabilities": {
                condition: np.mean([line["probabilities"][condition] for line in of_fold], axis=0)
                for condition in of_fold[0]["probabilities"]
            },
        }
        for of_fold in folds.values()
    ]


def add_linear(arguments, corpus, lines):
    """Add the predictions of a linear classifier to each fold."""
    statistics = front_end(arguments).set_params(pooling="mean_std_delta")
    X, y = statistics.transform(corpus.recordings), corpus.target
    for line in lines:
        train = np.setdiff1d(np.arange(len(y)), line["rows"])
        training, (test,) = transform_all(
            normalizer(arguments), [X], corpus.groups, train, line["rows"]
        )
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        line["linear"] = linear.fit(training, y[train]).predict(test)


def compare(y, speakers, network, linear):
    """Print the recall of the linear classifier, and the interval of the network's gain."""
    gain, low, high = paired_difference(
        unweighted_average_recall, y, network, linear, groups=speakers, random_state=0
    )
    print(
        f"linear: UAR {unweighted_average_recall(y, linear):.3f}; the network's is "
        f"{gain:+.3f} [{low:+.3f}, {high:+.3f}] beside it"
    )


def report(corpus, lines):
    """Print the results over all folds and seeds."""
    y, speakers = corpus.target, corpus.groups
    minutes = [line["minutes"] for line in lines]
    print(f"{len(lines)} folds, {sum(minutes):.1f} minutes, {np.median(minutes):.2f} each")
    for condition in lines[0]["probabilities"]:
        figures, all_rows, all_predicted = {}, [], []
        for seed, of_seed in groupby(by_seed(lines), key=itemgetter("seed")):
            of_seed = list(of_seed)
            by_fold = [
                unweighted_average_recall(y[line["rows"]], predicted(line, condition))
                for line in of_seed
            ]
            print(f"  {condition}, seed {seed}, by fold:", " ".join(f"{r:.3f}" for r in by_fold))
            rows = np.concatenate([line["rows"] for line in of_seed])
            classes = np.concatenate([predicted(line, condition) for line in of_seed])
            for name, metric in METRICS.items():
                figures.setdefault(name, []).append(metric(y[rows], classes))
            all_rows.append(rows)
            all_predicted.append(classes)
        rows, classes = np.concatenate(all_rows), np.concatenate(all_predicted)
        low, high = confidence_interval(
            unweighted_average_recall, y[rows], classes, groups=speakers[rows], random_state=0
        )
        for name, values in figures.items():
            spread = f" +- {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            interval = f" [{low:.3f}, {high:.3f}]" if name == "UAR" else ""
            print(f"{condition}: {name} {np.mean(values):.3f}{spread}{interval}")
        if condition == "clean":
            linear = np.concatenate([line["linear"] for line in by_seed(lines)])
            compare(y[rows], speakers[rows], classes, linear)
        labels = np.unique(y[rows])
        print(f"{condition}: rows are {', '.join(labels)}, columns what they are taken for")
        print(confusion_matrix(y[rows], classes, normalize="true").round(2))


def main():
    """Compute missing folds, then print all results."""
    arguments = parse()
    corpus = CORPORA[arguments.corpus][0](arguments.data)
    transformer = front_end(arguments)
    X, y = transformer.transform(corpus.recordings), corpus.target
    conditions = {"clean": X}
    for snr in arguments.snr:
        conditions[f"{snr:g} dB"] = transformer.transform(with_noise(corpus.recordings, snr))
    print(f"{arguments.corpus}: {len(y)} spectrograms of {X.shape[1]} x {X.shape[2]}", flush=True)
    settings = settings_of(arguments)
    done = read(arguments.results, settings)
    lines = []
    for seed in arguments.seeds:
        for number, train, test in splits(arguments, corpus, seed):
            line = done.get((seed, number))
            if line is None:
                result = run_fold(arguments, seed, conditions, corpus, train, test)
                line = {"settings": settings, "seed": seed, "fold": number, **result}
                with open(arguments.results, "a") as file:
                    print(json.dumps(line), file=file, flush=True)
            recall = unweighted_average_recall(y[test], predicted(line, "clean"))
            print(f"seed {seed}, fold {number}: {recall:.3f}", flush=True)
            lines.append(line)
    if len(np.unique(corpus.groups[np.concatenate([line["rows"] for line in lines])])) < 2:
        return  # an interval needs two speakers
    add_linear(arguments, corpus, lines)
    report(corpus, lines)
    if arguments.protocol != "random" and len(arguments.seeds) > 1:  # the same folds
        print(f"Mean probability of the {len(arguments.seeds)} seeds:")
        report(corpus, vote(lines))


if __name__ == "__main__":
    main()
