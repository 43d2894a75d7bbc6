"""
Fusion of representations, one of which may be missing
======================================================

HYFuse (Phukan et al., Interspeech 2025) fuses two kinds of representations on the Poincaré ball: a
discriminative one, such as a speaker embedding, and the latents of a codec. Here two tables of
log-mel statistics of synthetic voices take their place, so that nothing is downloaded. The fusion
is compared with logistic regression, also if one of the representations is missing for some
recordings.
"""

# %%
# Blocks of columns
# -----------------
#
# In a `FeatureUnion` with pandas output, column names start with the name of the transformer. The
# classifier finds the blocks by these prefixes. With pretrained networks, the union has the same
# form: ``("speaker", XVectorEmbedder())`` and ``("codec", CodecEmbedder())``.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import HyperbolicFusionClassifier, LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import paired_difference, unweighted_average_recall

corpus = make_emotional_speech(n_sentences=3, random_state=0)
y, speakers = corpus.target, corpus.groups
union = FeatureUnion(
    [
        ("level", LogMelSpectrogram(n_mels=20, pooling="mean_std_delta", normalize=None)),
        ("shape", LogMelSpectrogram(n_mels=40, pooling="mean_std")),
    ]
).set_output(transform="pandas")
features = union.fit_transform(corpus.recordings)
blocks = {name: features.columns.str.startswith(name) for name in ("level", "shape")}
print({name: int(columns.sum()) for name, columns in blocks.items()})

# %%
# Complete and missing representations
# ------------------------------------
#
# The rival of the fusion is a logistic regression on all columns. It is class-balanced, too, and
# replaces missing values by their means. NaN in all columns of a block is a missing block, such as
# ``on_error="nan"`` of the embedders gives for recordings that they cannot read. The fusion then
# classifies the recording by its other blocks. Both are trained on complete recordings. In the
# test, with two speakers held out at a time, blocks are complete or missing in half of the
# recordings.

models = {
    "logistic regression": make_pipeline(
        SimpleImputer(),
        StandardScaler(),
        LogisticRegression(C=0.01, class_weight="balanced", max_iter=3000),
    ),
    "hyperbolic fusion": HyperbolicFusionClassifier(),
}
rng = np.random.default_rng(0)
tests = {"complete": features}
for name, columns in blocks.items():
    tests[f"half without {name}"] = features.copy()
    lost = rng.permutation(len(features))[: len(features) // 2]
    tests[f"half without {name}"].iloc[lost, columns] = np.nan

predictions = {(model, test): np.empty_like(y) for model in models for test in tests}
for train, held_out in GroupKFold(4).split(features, y, speakers):
    for model, classifier in models.items():
        classifier.fit(features.iloc[train], y[train])
        for test, table in tests.items():
            predictions[model, test][held_out] = classifier.predict(table.iloc[held_out])

recalls = pd.DataFrame(
    {
        model: [unweighted_average_recall(y, predictions[model, test]) for test in tests]
        for model in models
    },
    index=tests,
)
print(recalls.round(3))

# %%
# Both depend on the same few speakers, so they are compared by the confidence interval of their
# difference, from a bootstrap over speakers.

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), width_ratios=(1.4, 1), layout="constrained")
recalls.plot.bar(ax=axes[0], rot=0, ylabel="recall, speakers held out", ylim=(0, 1.2))
axes[0].axhline(1 / len(corpus.target_names), color="grey", linestyle=":")
axes[0].legend(loc="upper center", ncols=2)
axes[0].set_title("Dotted: chance")
for position, test in enumerate(tests):
    difference, low, high = paired_difference(
        unweighted_average_recall,
        y,
        predictions["hyperbolic fusion", test],
        predictions["logistic regression", test],
        groups=speakers,
        n_resamples=300,
        random_state=0,
    )
    print(f"{test}: {difference:+.3f} [{low:+.3f}, {high:+.3f}]")
    axes[1].errorbar(
        difference, position, xerr=[[difference - low], [high - difference]], fmt="o", capsize=4
    )
axes[1].axvline(0, color="grey", linestyle=":")
axes[1].set(xlabel="recall of fusion − logistic regression", ylim=(2.5, -0.5))
axes[1].set_yticks(range(len(tests)), tests)
plt.show()

# %%
# On complete recordings, the fusion is about as accurate as logistic regression. If a block is
# missing in half of them, it is about four points more accurate, without "level" clearly so: its
# loss makes each block a classifier of its own. The benchmarks find the same for Whisper, GE2E and
# Lyra's SoundStream on Emo-DB and RAVDESS.
