"""
How many recordings of a new speaker are enough?
================================================

:class:`~sklearn_ser.SpeakerNormalizer` adapts to a speaker by recordings without labels. Here
speakers that were not in the training set enrol with 1 to 21 recordings, and are then tested on
others. Shrinkage is compared with subtracting the plain mean. The voices are synthetic.
"""

# %%
# Recordings to enrol with, and recordings to test on
# ---------------------------------------------------
#
# Each speaker says five sentences in seven emotions. Two sentences are for the test, the other
# three for enrolment: no recording serves both.

from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelSpectrogram, SpeakerNormalizer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import paired_difference, unweighted_average_recall

corpus = make_emotional_speech(n_speakers=8, n_sentences=5, random_state=0)
y, speakers = corpus.target, corpus.groups
front_end = LogMelSpectrogram(n_mels=40, pooling="mean_std", duration=None, normalize=None)
X = front_end.fit_transform(corpus.recordings)
is_test = corpus.frame["sentence"].isin(["sentence00", "sentence01"]).to_numpy()
print(f"for each speaker {(~is_test).sum() // 8} to enrol with, {is_test.sum() // 8} to test on")

# %%
# Enrolment
# ---------
#
# Two of the eight speakers are held out at a time. With ``n_enrollment=0``, the normalizer uses
# enrolled recordings only. Which recordings are enrolled is drawn at random five times, regardless
# of their emotions. The plain mean is what `SpeakerNormalizer` shrinks: the mean of the enrolled
# recordings is replaced by the mean of the training set.

N_DRAWS = 5
N_ENROLLED = [1, 2, 3, 5, 10, 21]
classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
rng = np.random.default_rng(0)
rows, predictions = [], {}
for train, held_out in GroupKFold(4).split(X, y, speakers):
    test = held_out[is_test[held_out]]
    rows.extend([test] * N_DRAWS)
    unadapted = classifier.fit(X[train], y[train]).predict(X[test])
    predictions.setdefault(("no adaptation", 0), []).extend([unadapted] * N_DRAWS)

    normalizer = SpeakerNormalizer(n_enrollment=0)
    classifier.fit(normalizer.fit_transform(X[train], groups=speakers[train]), y[train])
    for _ in range(N_DRAWS):
        shuffled = rng.permutation(held_out[~is_test[held_out]])
        for n_enrolled in N_ENROLLED:
            adapted = deepcopy(normalizer)
            moved = X[test].copy()
            for speaker in np.unique(speakers[held_out]):
                enrolled = X[shuffled[speakers[shuffled] == speaker][:n_enrolled]]
                adapted.enroll(enrolled, speakers=[speaker] * n_enrolled)
                moved[speakers[test] == speaker] += X[train].mean(axis=0) - enrolled.mean(axis=0)
            shrunken = adapted.transform(X[test], groups=speakers[test])
            for method, features in {"SpeakerNormalizer": shrunken, "plain mean": moved}.items():
                predicted = classifier.predict(features)
                predictions.setdefault((method, n_enrolled), []).append(predicted)

# %%
# Recall over the number of enrolled recordings
# ---------------------------------------------
#
# The bands on the right are 95 % bootstrap intervals over speakers of the difference to no
# adaptation, for the same recordings.

rows = np.concatenate(rows)
predictions = {key: np.concatenate(values) for key, values in predictions.items()}
baseline = predictions.pop(("no adaptation", 0))
table = []
for (method, n_enrolled), predicted in predictions.items():
    recall = unweighted_average_recall(y[rows], predicted)
    gain = paired_difference(
        unweighted_average_recall,
        y[rows],
        predicted,
        baseline,
        groups=speakers[rows],
        n_resamples=200,
        random_state=0,
    )
    table.append((method, n_enrolled, recall, *gain))
table = pd.DataFrame(table, columns=["method", "enrolled", "recall", "gain", "low", "high"])
unadapted = unweighted_average_recall(y[rows], baseline)
print(f"no adaptation: {unadapted:.3f}")
print(table.round(3).sort_values(["method", "enrolled"]).to_string(index=False))

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for method, curve in table.groupby("method", sort=False):
    axes[0].plot("enrolled", "recall", data=curve, marker="o", label=method)
    axes[1].plot("enrolled", "gain", data=curve, marker="o", label=method)
    axes[1].fill_between("enrolled", "low", "high", data=curve, alpha=0.2)
axes[0].axhline(unadapted, color="grey", label="no adaptation")
axes[0].axhline(1 / 7, color="grey", linestyle=":", label="chance")
axes[0].set(ylabel="recall, speakers held out", ylim=(0, 1))
axes[0].legend(loc="lower right")
axes[1].axhline(0, color="grey")
axes[1].set_ylabel("gain over no adaptation")
for axis in axes:
    axis.set(xscale="log", xlabel="enrolled recordings of the speaker")
    axis.set_xticks(N_ENROLLED, N_ENROLLED)
    axis.minorticks_off()
plt.show()

# %%
# The mean of a single recording is mostly its emotion: subtracting it costs more than a quarter of
# the scale. `SpeakerNormalizer` trusts few recordings little, and loses little. From two recordings
# on, it is above no adaptation, but with these eight speakers no interval excludes zero. With all
# 21 recordings, in which each emotion is equally frequent, the plain mean is as good and gains
# significantly. A service with few recordings of a speaker should therefore shrink the mean, and
# one without any should train without the normalizer.
