"""
Quickstart: from recordings to emotions
=======================================

A list of recordings goes in where a table usually goes. Everything else is scikit-learn:
a pipeline, cross-validated with whole speakers held out.

Without arguments the voices are synthetic, so that nothing needs to be downloaded. With a
corpus of real recordings on disk::

    python examples/plot_quickstart.py --corpus emodb --data path/to/emodb
    python examples/plot_quickstart.py --corpus ravdess --data path/to/ravdess

A network is trained for each speaker held out, which takes a minute or two on synthetic voices,
and on real ones as long as is said below. With ``--classifier linear`` it is a linear classifier
on statistics of the spectrogram, which takes seconds.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, classification_report
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import EmoHRNetClassifier, LogMelSpectrogram
from sklearn_ser.datasets import load_emodb, load_ravdess, make_emotional_speech
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

parser = argparse.ArgumentParser(description="Speaker-independent emotion recognition.")
parser.add_argument("--corpus", choices=["synthetic", "emodb", "ravdess"], default="synthetic")
parser.add_argument("--data", help="folder of the corpus")
parser.add_argument("--classifier", choices=["network", "linear"], default="network")
parser.add_argument("--epochs", type=int, help="passes of the network over the recordings")
parser.add_argument("--output", default="confusion_matrix.png", help="picture to save")
parser.add_argument("--n-jobs", type=int, default=-1, help="folds computed at the same time")
arguments = parser.parse_args()
if arguments.corpus != "synthetic" and arguments.data is None:
    parser.error(f"--corpus {arguments.corpus} needs --data, the folder of the corpus")

# %%
# Recordings, emotions and speakers
# ---------------------------------
#
# Recordings are paths or arrays. The speakers are as important as the emotions: what is
# learned from a speaker must never be tested on the same speaker. One speaker at a time is held
# out; of RAVDESS one of the six groups of four actors that EmoBox published.

if arguments.corpus == "emodb":
    corpus = load_emodb(arguments.data)
    held_out = corpus.groups
elif arguments.corpus == "ravdess":
    corpus = load_ravdess(arguments.data)
    held_out = corpus.emobox_folds
else:
    corpus = make_emotional_speech(random_state=0)
    held_out = corpus.groups

print(f"{len(corpus.recordings)} recordings by {len(np.unique(corpus.groups))} speakers")

# %%
# A pipeline
# ----------
#
# A network of high resolution on log-mel spectrograms, trained from nothing. The synthetic voices
# are few, short and clean: a small picture, a narrow network and a high learning rate do for them,
# no band is blanked out and no recording mixed with another. Real ones get a larger picture, more
# width, more epochs and all random changes.

if arguments.corpus == "synthetic":
    front_end = LogMelSpectrogram(n_mels=32, hop_length=1024, duration=2.0, normalize=None)
    network = EmoHRNetClassifier(
        width=8,
        head_width=4,
        n_frequency_masks=0,
        mixup=0,
        max_epochs=arguments.epochs or 20,
        batch_size=16,
        learning_rate=0.003,
        random_state=0,
    )
else:
    front_end = LogMelSpectrogram(n_mels=64, hop_length=512)
    network = EmoHRNetClassifier(
        head_width=8, max_epochs=arguments.epochs or 40, batch_size=16, random_state=0
    )

# %%
# The linear reference works on statistics over time, one row for each recording whatever its
# length. The level is part of the message, so it is not normalised away.

if arguments.classifier == "network":
    pipeline = make_pipeline(front_end, network)
else:
    pipeline = make_pipeline(
        LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
predicted = cross_val_predict(
    pipeline,
    corpus.recordings,
    corpus.target,
    groups=held_out,
    cv=LeaveOneGroupOut(),
    n_jobs=arguments.n_jobs,
)

# %%
# How good is it, and how sure is that?
# -------------------------------------
#
# The unweighted average recall is taken over the pooled predictions; its interval tells how far
# it would move with other speakers.

print(classification_report(corpus.target, predicted, digits=3, zero_division=0))
recall = unweighted_average_recall(corpus.target, predicted)
low, high = confidence_interval(
    unweighted_average_recall, corpus.target, predicted, groups=corpus.groups, random_state=0
)
print(f"Unweighted average recall, speakers held out: {recall:.3f} [{low:.3f}, {high:.3f}]")
print(f"Chance: {1 / len(corpus.target_names):.3f}")

# %%
# What is taken for what
# ----------------------

figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    corpus.target,
    predicted,
    normalize="true",
    values_format=".2f",
    xticks_rotation=45,
    cmap="Blues",
    colorbar=False,
    ax=axes,
)
axes.set_title(f"Recall {recall:.3f} [{low:.3f}, {high:.3f}], speakers held out")
figure.savefig(arguments.output, dpi=120)
print(f"Confusion matrix saved to {arguments.output}")
