"""
A speaker embedding and a codec, fused in hyperbolic space
==========================================================

HYFuse (Phukan et al., Interspeech 2025) joins two representations that have little in common:
one that was learned to tell something about speech, such as a speaker embedding, and the
latents of a codec, which was learned to compress it. Here GE2E and SoundStream are joined on
Emo-DB, and compared with each alone, with a linear classifier on both, and with the same network
without the ball::

    python examples/plot_hyfuse.py --data path/to/emodb --ge2e path/to/ge2e \\
        --lyra path/to/lyra-soundstream

With ``--whisper`` a layer of Whisper's encoder stands beside them. Without arguments it looks for
all that where ``SKLEARN_SER_DATA`` and ``SKLEARN_SER_WEIGHTS`` say. Where it is not, or the codec's
runtime of the extra ``lyra`` is not, it runs on synthetic voices and two tables of log-mel
statistics: then it shows how it is done, and nothing else.
"""

import argparse
import os
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import (
    CodecEmbedder,
    HyperbolicFusionClassifier,
    LogMelSpectrogram,
    WhisperEmbedder,
    XVectorEmbedder,
)
from sklearn_ser.datasets import load_emodb, make_emotional_speech
from sklearn_ser.inspection import PoincareDiskDisplay
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall


def where(variable, name):
    """Return a folder if it is where a variable says."""
    folder = Path(os.environ.get(variable, "")) / name
    return folder if folder.is_dir() else None


data, weights = "SKLEARN_SER_DATA", "SKLEARN_SER_WEIGHTS"
parser = argparse.ArgumentParser(description="Fusion in hyperbolic space, and what it adds.")
parser.add_argument("--data", default=where(data, "emodb"), help="folder of Emo-DB")
parser.add_argument("--ge2e", default=where(weights, "ge2e"), help="folder of GE2E")
parser.add_argument(
    "--lyra", default=where(weights, "lyra-soundstream"), help="folder of Lyra's SoundStream"
)
parser.add_argument("--whisper", help="hub id or folder; none if not given")
parser.add_argument("--memory", help="folder to keep embeddings in")
parser.add_argument("--epochs", type=int, default=50)
parser.add_argument("--output", default="hyfuse.png", help="picture to save")
arguments = parser.parse_args()

# %%
# Blocks of columns
# -----------------
#
# In a `FeatureUnion` with pandas output the name of each column begins with the part of the
# union that it comes from. That is how the classifier knows the blocks.

has_codec = find_spec("ai_edge_litert") is not None
is_real = all([arguments.data, arguments.ge2e, arguments.lyra, has_codec])
if is_real:
    corpus = load_emodb(arguments.data)
    memory = arguments.memory
    parts = [
        ("ge2e", XVectorEmbedder(str(arguments.ge2e), memory=memory)),
        ("lyra", CodecEmbedder(str(arguments.lyra), pooling="mean_std", memory=memory)),
    ]
    if arguments.whisper:
        whisper = WhisperEmbedder(
            str(arguments.whisper), layers=3, context="recording", memory=memory
        )
        parts.insert(0, ("whisper", whisper))
else:
    print("synthetic voices and log-mel statistics: the figures mean nothing")
    corpus = make_emotional_speech(n_speakers=5, n_sentences=2, random_state=0)
    parts = [
        ("bands", LogMelSpectrogram(n_mels=40, pooling="mean_std")),
        ("change", LogMelSpectrogram(n_mels=20, pooling="mean_std_delta", normalize=None)),
    ]

union = FeatureUnion(parts).set_output(transform="pandas")
features = union.fit_transform(corpus.recordings)
names = list(dict.fromkeys(column.split("__")[0] for column in features))
print(f"{len(features)} recordings, {features.shape[1]} columns of {', '.join(names)}")

# %%
# Each alone, and two by two
# --------------------------
#
# Folds of whole speakers say what a new speaker gets. Folds that split the recordings of a
# speaker, as much of the field prints them, say something else, and stand beside.


def make_network(fusion):
    """Return the classifier, with branches of linear layers: convolutions take far longer."""
    return HyperbolicFusionClassifier(
        fusion=fusion, branch="mlp", max_epochs=arguments.epochs, random_state=0
    )


# The penalty that searches inside the folds choose most often here.
linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000))
arms = {(name,): {"linear": linear, "network": make_network("mobius")} for name in names}
for pair in combinations(names, 2):
    arms[pair] = {
        "linear": linear,
        "concat": make_network("concat"),
        "mobius": make_network("mobius"),
    }
y, speakers = corpus.target, corpus.groups
protocols = {
    "speakers held out": GroupKFold(5, shuffle=True, random_state=0).split(features, y, speakers),
    "random split": StratifiedKFold(5, shuffle=True, random_state=0).split(features, y),
}
protocols = {protocol: list(folds) for protocol, folds in protocols.items()}


def columns_of(blocks):
    """Return the part of the table that comes from these blocks."""
    return features[[column for column in features if column.split("__")[0] in blocks]]


predictions = {}
for blocks, classifiers in arms.items():
    for name, classifier in classifiers.items():
        recalls = []
        for protocol, folds in protocols.items():
            predicted = cross_val_predict(classifier, columns_of(blocks), y, cv=folds)
            predictions[blocks, name, protocol] = predicted
            recalls.append(f"{protocol} {unweighted_average_recall(y, predicted):.3f}")
        print(f"{' + '.join(blocks):16} {name:8} {', '.join(recalls)}")

# %%
# What the fusion adds
# --------------------
#
# Two figures side by side say little: both depend on the same few speakers. The interval is that
# of the difference, over speakers drawn anew.


def difference(y, both):
    """Return how much higher the first column's recall is than the second's."""
    return unweighted_average_recall(y, both[:, 0]) - unweighted_average_recall(y, both[:, 1])


for pair in combinations(names, 2):
    fused = predictions[pair, "mobius", "speakers held out"]
    rivals = [(pair, "concat"), (pair, "linear"), *(((name,), "linear") for name in pair)]
    for blocks, name in rivals:
        both = np.column_stack([fused, predictions[blocks, name, "speakers held out"]])
        low, high = confidence_interval(difference, y, both, groups=speakers, random_state=0)
        print(
            f"{' ⊕ '.join(pair):16} - {name} on {' + '.join(blocks):16} "
            f"{difference(y, both):+.3f} [{low:+.3f}, {high:+.3f}]"
        )

# %%
# On the disk
# -----------
#
# The points of recordings by speakers whom the network never heard, where their hyperbolic
# distances are kept as well as two dimensions allow. The regions are the classes predicted nearby.

pair = tuple(names[-2:])
X = columns_of(pair)
heard, new = protocols["speakers held out"][0]
classifier = make_network("mobius").fit(X.iloc[heard], y[heard])
display = PoincareDiskDisplay.from_estimator(classifier, X.iloc[new], y[new], style="regions")
display.ax_.set_title(f"{' ⊕ '.join(pair)}, speakers held out")
display.figure_.savefig(arguments.output, dpi=100)
plt.show()

# %%
# Is what lies far out sure?
# --------------------------
#
# In the idea of the ball it is: there is more room near the rim. The area under the curve of right
# against wrong says how well a number tells the two apart; one half is chance.

right = classifier.predict(X.iloc[new]) == y[new]
numbers = {
    "distance to the origin": classifier.distance_to_origin(X.iloc[new]),
    "largest probability": classifier.predict_proba(X.iloc[new]).max(axis=1),
}
for name, values in numbers.items():
    if 0 < right.sum() < len(right):
        print(f"{name}: area under the curve {roc_auc_score(right, values):.2f}")
