"""
A speaker embedding and a codec, fused in hyperbolic space
==========================================================

HYFuse (Phukan et al., Interspeech 2025) fuses two kinds of representations: a discriminative one,
such as a speaker embedding, and the latents of a codec, which is trained to compress speech. Here
GE2E and SoundStream are fused on Emo-DB, and compared with each alone, and with logistic
regression on both, also if one of them is missing for some recordings::

    python examples/plot_hyfuse.py --data path/to/emodb --ge2e path/to/ge2e \\
        --lyra path/to/lyra-soundstream

``--whisper`` adds a layer of Whisper's encoder. By default the corpus and the models are searched
in ``SKLEARN_SER_DATA`` and ``SKLEARN_SER_WEIGHTS``. If one of them or the extra ``lyra`` is
missing, the script uses synthetic speech and two tables of log-mel statistics. It then only shows
the procedure.
"""

import argparse
import os
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.impute import SimpleImputer
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


def find_folder(variable, name):
    """Return a folder below the path in an environment variable, or None if it does not exist."""
    folder = Path(os.environ.get(variable, "")) / name
    return folder if folder.is_dir() else None


data, weights = "SKLEARN_SER_DATA", "SKLEARN_SER_WEIGHTS"
parser = argparse.ArgumentParser(description="Fusion in hyperbolic space and logistic regression.")
parser.add_argument("--data", default=find_folder(data, "emodb"), help="folder of Emo-DB")
parser.add_argument("--ge2e", default=find_folder(weights, "ge2e"), help="folder of GE2E")
parser.add_argument(
    "--lyra", default=find_folder(weights, "lyra-soundstream"), help="folder of Lyra's SoundStream"
)
parser.add_argument("--whisper", help="hub id or folder; not used by default")
parser.add_argument("--memory", help="folder for caching embeddings")
parser.add_argument("--output", default="hyfuse.png", help="figure to save")
arguments = parser.parse_args()

# %%
# Blocks of columns
# -----------------
#
# In a `FeatureUnion` with pandas output, column names start with the name of the transformer. The
# classifier finds the blocks by these prefixes.

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
    print("synthetic speech and log-mel statistics: the figures are not meaningful")
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
# Single representations and pairs
# --------------------------------
#
# Folds of whole speakers measure the performance on unseen speakers. For comparison, random folds
# are shown, which share speakers and are common in the literature.


# The rival is class-balanced, too, and replaces missing values by their means.
logistic = make_pipeline(
    SimpleImputer(),
    StandardScaler(),
    LogisticRegression(C=0.01, class_weight="balanced", max_iter=3000),
)
fusion = HyperbolicFusionClassifier()
models = {(name,): {"logistic": logistic} for name in names}
for pair in combinations(names, 2):
    models[pair] = {"logistic": logistic, "mobius": fusion}
y, speakers = corpus.target, corpus.groups
protocols = {
    "speakers held out": GroupKFold(5, shuffle=True, random_state=0).split(features, y, speakers),
    "random split": StratifiedKFold(5, shuffle=True, random_state=0).split(features, y),
}
protocols = {protocol: list(folds) for protocol, folds in protocols.items()}


def columns_of(blocks):
    """Return the columns of some blocks."""
    return features[[column for column in features if column.split("__")[0] in blocks]]


predictions = {}
for blocks, classifiers in models.items():
    for name, classifier in classifiers.items():
        recalls = []
        for protocol, folds in protocols.items():
            predicted = cross_val_predict(classifier, columns_of(blocks), y, cv=folds)
            predictions[blocks, name, protocol] = predicted
            recalls.append(f"{protocol} {unweighted_average_recall(y, predicted):.3f}")
        print(f"{' + '.join(blocks):16} {name:8} {', '.join(recalls)}")

# %%
# Differences between models
# --------------------------
#
# All scores depend on the same few speakers, so they are compared by the confidence interval of
# their difference, from a bootstrap over speakers.


def difference(y, both):
    """Return the recall of the first column minus that of the second."""
    return unweighted_average_recall(y, both[:, 0]) - unweighted_average_recall(y, both[:, 1])


for pair in combinations(names, 2):
    fused = predictions[pair, "mobius", "speakers held out"]
    rivals = [(pair, "logistic"), *(((name,), "logistic") for name in pair)]
    for blocks, name in rivals:
        both = np.column_stack([fused, predictions[blocks, name, "speakers held out"]])
        low, high = confidence_interval(difference, y, both, groups=speakers, random_state=0)
        print(
            f"{' ⊕ '.join(pair):16} - {name} on {' + '.join(blocks):16} "
            f"{difference(y, both):+.3f} [{low:+.3f}, {high:+.3f}]"
        )

# %%
# Missing representations
# -----------------------
#
# NaN in all columns of a block is a missing block, such as ``on_error="nan"`` of the embedders
# gives for recordings that they cannot read. The recording is then classified by its other blocks.
# Here each block is missing in half of the test recordings, drawn at random.

pair = tuple(names[-2:])
X = columns_of(pair)
rng = np.random.default_rng(0)
for name in pair:
    gaps = X.copy()
    lost = rng.permutation(len(X))[: len(X) // 2]
    gaps.iloc[lost, [column.startswith(name) for column in X]] = np.nan
    recalls = []
    for model, classifier in {"logistic": logistic, "mobius": fusion}.items():
        predicted = np.empty_like(y)
        for train, test in protocols["speakers held out"]:
            classifier.fit(X.iloc[train], y[train])
            predicted[test] = classifier.predict(gaps.iloc[test])
        recalls.append(f"{model} {unweighted_average_recall(y, predicted):.3f}")
    print(f"half without {name}: {', '.join(recalls)}")

# %%
# Points on the Poincaré disk
# ---------------------------
#
# The points of recordings of held-out speakers, by multidimensional scaling of their hyperbolic
# distances. The regions show the predicted classes.

train, test = protocols["speakers held out"][0]
classifier = fusion.fit(X.iloc[train], y[train])
display = PoincareDiskDisplay.from_estimator(classifier, X.iloc[test], y[test], style="regions")
display.ax_.set_title(f"{' ⊕ '.join(pair)}, speakers held out")
display.figure_.savefig(arguments.output, dpi=100)
plt.show()

# %%
# The distance to the origin is no confidence measure
# ---------------------------------------------------
#
# The area under the ROC curve measures how well a value separates correct from wrong predictions;
# chance is one half. The largest probability is the better measure.

correct = classifier.predict(X.iloc[test]) == y[test]
measures = {
    "distance to the origin": classifier.distance_to_origin(X.iloc[test]),
    "largest probability": classifier.predict_proba(X.iloc[test]).max(axis=1),
}
for name, values in measures.items():
    if 0 < correct.sum() < len(correct):
        print(f"{name}: area under the curve {roc_auc_score(correct, values):.2f}")
