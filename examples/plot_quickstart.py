"""
Quickstart: from recordings to emotions
=======================================

The input is a list of recordings instead of a table. Everything else works as in scikit-learn: a
pipeline is cross-validated with whole speakers held out.

Without arguments the script uses synthetic speech, so that no download is needed, and takes about
a minute on two cores. To use a corpus on disk::

    python examples/plot_quickstart.py --corpus emodb --data path/to/emodb
    python examples/plot_quickstart.py --corpus ravdess --data path/to/ravdess

On real recordings the linear classifier takes seconds. The network is trained once per fold, which
takes hours on a CPU; the remaining time is printed after each fold. ``--classifier linear`` skips
the network.
"""

import argparse
import time
from importlib.util import find_spec

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, classification_report
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import EmoHRNetClassifier, LogMelSpectrogram
from sklearn_ser.datasets import load_emodb, load_ravdess, make_emotional_speech
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

parser = argparse.ArgumentParser(description="Speaker-independent emotion recognition.")
parser.add_argument("--corpus", choices=["synthetic", "emodb", "ravdess"], default="synthetic")
parser.add_argument("--data", help="folder of the corpus")
parser.add_argument("--classifier", choices=["both", "linear"], default="both")
parser.add_argument("--epochs", type=int, help="maximum number of epochs of the network")
parser.add_argument("--output", default="confusion_matrix.png", help="figure to save")
parser.add_argument("--n-jobs", type=int, default=-1, help="number of folds to run in parallel")
arguments = parser.parse_args()
if arguments.corpus != "synthetic" and arguments.data is None:
    parser.error(f"--corpus {arguments.corpus} needs --data, the folder of the corpus")

# %%
# Recordings, emotions and speakers
# ---------------------------------
#
# Recordings are paths or arrays. The training and test sets must not share speakers. Each fold
# holds out two of the eight synthetic speakers, one speaker of Emo-DB, or one of the six groups of
# four actors that EmoBox published for RAVDESS.

if arguments.corpus == "emodb":
    corpus = load_emodb(arguments.data)
    held_out, splitter = corpus.groups, LeaveOneGroupOut()
elif arguments.corpus == "ravdess":
    corpus = load_ravdess(arguments.data)
    held_out, splitter = corpus.emobox_folds, LeaveOneGroupOut()
else:
    corpus = make_emotional_speech(random_state=0)
    held_out, splitter = corpus.groups, GroupKFold(n_splits=4)

print(f"{len(corpus.recordings)} recordings by {len(np.unique(corpus.groups))} speakers")

# %%
# Cross-validation
# ----------------
#
# `cross_val_predict` does the same in one line. The explicit loop prints the recall of each fold
# and the remaining time.


def fit_and_predict(pipeline, recordings, target, train, test):
    """Predict the emotions of one fold with a pipeline fitted on the other folds."""
    pipeline = clone(pipeline).fit([recordings[i] for i in train], target[train])
    return pipeline.predict([recordings[i] for i in test])


def predict_held_out(pipeline, n_jobs=1):
    """Predict the emotions of all recordings by cross-validation."""
    recordings, target = corpus.recordings, corpus.target
    folds = list(splitter.split(recordings, target, held_out))
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    predictions = parallel(
        delayed(fit_and_predict)(pipeline, recordings, target, train, test) for train, test in folds
    )
    predicted = np.empty_like(target)
    start = time.perf_counter()
    for done, (_, test) in enumerate(folds, start=1):
        predicted[test] = next(predictions)
        recall = unweighted_average_recall(target[test], predicted[test])
        left = (time.perf_counter() - start) / done * (len(folds) - done)
        print(
            f"  fold {done} of {len(folds)}: recall {recall:.3f} on "
            f"{' and '.join(map(str, np.unique(held_out[test])))}, about {left:.0f} s left",
            flush=True,
        )
    return predicted


def report(predicted):
    """Print the recall over all recordings, and its confidence interval over speakers."""
    recall = unweighted_average_recall(corpus.target, predicted)
    low, high = confidence_interval(
        unweighted_average_recall, corpus.target, predicted, groups=corpus.groups, random_state=0
    )
    result = f"recall, speakers held out: {recall:.3f} [{low:.3f}, {high:.3f}]"
    print(f"Unweighted average {result}", flush=True)
    return result


# %%
# A linear classifier
# -------------------
#
# The baseline uses statistics of the log-mel spectrogram over time: one row per recording,
# regardless of its length. The level is informative about emotions, so it is not normalised.

print("Logistic regression on statistics of the spectrogram (seconds):", flush=True)
predicted = predict_held_out(
    make_pipeline(
        LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
)
result = report(predicted)

# %%
# A network
# ---------
#
# A high-resolution network on log-mel spectrograms, trained from scratch. The synthetic recordings
# are few, short and clean: a small spectrogram, a narrow network and a high learning rate are
# sufficient, without frequency masks or mixup. For real recordings, larger spectrograms, a wider
# network, more epochs and all augmentations are used.

if arguments.corpus == "synthetic":
    front_end = LogMelSpectrogram(n_mels=32, hop_length=1024, duration=2.0, normalize=None)
    network = EmoHRNetClassifier(
        width=8,
        head_width=4,
        n_frequency_masks=0,
        mixup=0,
        max_epochs=arguments.epochs or 25,
        batch_size=32,
        learning_rate=0.006,
        random_state=0,
    )
    duration = "about a minute on two cores"
else:
    front_end = LogMelSpectrogram(n_mels=64, hop_length=512)
    network = EmoHRNetClassifier(
        head_width=8, max_epochs=arguments.epochs or 40, batch_size=16, random_state=0
    )
    duration = "hours on a CPU"

if arguments.classifier == "both":
    print(f"EmoHRNetClassifier, trained once for each fold ({duration}):", flush=True)
    predicted = predict_held_out(make_pipeline(front_end, network), arguments.n_jobs)
    result = report(predicted)

# %%
# Which emotions are confused
# ---------------------------

print(classification_report(corpus.target, predicted, digits=3, zero_division=0))
print(f"Recall by chance: {1 / len(corpus.target_names):.3f}")

if find_spec("matplotlib"):
    display = ConfusionMatrixDisplay.from_predictions(
        corpus.target,
        predicted,
        normalize="true",
        values_format=".2f",
        xticks_rotation=45,
        cmap="Blues",
        colorbar=False,
    )
    display.ax_.set_title(result.capitalize())
    display.figure_.set_size_inches(6.4, 5.6)
    display.figure_.tight_layout()
    display.figure_.savefig(arguments.output, dpi=120)
    print(f"Confusion matrix saved to {arguments.output}")
else:
    print("To plot the confusion matrix: pip install matplotlib")
