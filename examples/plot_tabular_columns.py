"""
Recordings beside columns of a table
====================================

Recordings are one column of a data frame, next to what else is known about them. A
:class:`~sklearn.compose.ColumnTransformer` puts features of the recordings and other columns
together, and permutation importances show what each column contributes. The voices are synthetic.
"""

# %%
# A table with recordings
# -----------------------
#
# The mean fundamental frequency (Hz) and the duration (s) are what programs for prosody compute.
# The sex is an ordinary category.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import (
    confidence_interval,
    paired_difference,
    unweighted_average_recall,
    unweighted_average_recall_scorer,
)

corpus = make_emotional_speech(n_speakers=10, n_sentences=3, random_state=0)
y, speakers = corpus.target, corpus.groups
table = corpus.frame[["sex", "f0", "duration"]].assign(recording=corpus.recordings)
print(table.drop(columns="recording").head(3).round(2))

# %%
# Recordings, columns, and both
# -----------------------------
#
# The features of a recording are its mean log-mel spectrum, which does not contain the duration. An
# embedder of a pretrained network would take its place. Two of the ten speakers are held out at a
# time.

embedding = make_pipeline(
    LogMelSpectrogram(n_mels=20, pooling="mean", duration=None), StandardScaler()
)
inputs = {
    "recordings": [(embedding, "recording")],
    "columns": [(OneHotEncoder(), ["sex"]), (StandardScaler(), ["f0", "duration"])],
}
inputs["both"] = inputs["recordings"] + inputs["columns"]
predictions, fitted = {}, {}
for name, steps in inputs.items():
    model = make_pipeline(make_column_transformer(*steps), LogisticRegression(max_iter=1000))
    fitted[name] = cross_validate(
        model,
        table,
        y,
        groups=speakers,
        cv=GroupKFold(5),
        scoring=unweighted_average_recall_scorer,
        return_estimator=True,
        return_indices=True,
    )
    predictions[name] = np.empty_like(y)
    for estimator, test in zip(
        fitted[name]["estimator"], fitted[name]["indices"]["test"], strict=True
    ):
        predictions[name][test] = estimator.predict(table.iloc[test])

# %%
# Permutation importance
# ----------------------
#
# The importance of a column is the loss of recall if its values are exchanged between the
# recordings of held-out speakers, here twice in each fold. It works on the table itself, so that
# the recordings are one column, regardless of the number of features computed from them.

importances = np.hstack(
    [
        permutation_importance(
            estimator,
            table.iloc[test],
            y[test],
            scoring=unweighted_average_recall_scorer,
            n_repeats=2,
            random_state=0,
        ).importances
        for estimator, test in zip(
            fitted["both"]["estimator"], fitted["both"]["indices"]["test"], strict=True
        )
    ]
)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for position, (name, predicted) in enumerate(predictions.items()):
    recall = unweighted_average_recall(y, predicted)
    low, high = confidence_interval(
        unweighted_average_recall, y, predicted, groups=speakers, n_resamples=200, random_state=0
    )
    print(f"{name}: {recall:.3f} [{low:.3f}, {high:.3f}]")
    axes[0].bar(
        name, recall, yerr=[[recall - low], [high - recall]], capsize=4, color=f"C{position}"
    )
axes[0].axhline(1 / 7, color="black", linestyle=":", label="chance")
axes[0].set(ylabel="recall, speakers held out", ylim=(0, 1))
axes[0].legend(loc="upper left")
order = importances.mean(axis=1).argsort()
axes[1].boxplot(importances[order].T, orientation="horizontal", tick_labels=table.columns[order])
axes[1].axvline(0, color="grey", linestyle=":")
axes[1].set(xlabel="loss of recall if exchanged", title="Both; ten permutations")
plt.show()

difference, low, high = paired_difference(
    unweighted_average_recall,
    y,
    predictions["both"],
    predictions["recordings"],
    groups=speakers,
    n_resamples=200,
    random_state=0,
)
print(f"both − recordings: {difference:+.3f} [{low:+.3f}, {high:+.3f}]")
print(pd.Series(importances.mean(axis=1), index=table.columns).round(3).to_string())

# %%
# The columns alone recognise little, but added to the recordings they make up for what a mean
# spectrum lacks, above all the duration. The gain depends on the features: statistics that already
# contain tempo and level leave less for columns to add.
