"""
More speakers, or more recordings of each?
==========================================

A learning curve over the number of training speakers shows whether further speakers would help. A
second curve has the same numbers of recordings, of all speakers at once. The voices are synthetic.
"""

# %%
# A corpus of twelve speakers
# ---------------------------
#
# Each speaker says three sentences in seven emotions. The features are statistics of the log-mel
# spectrogram over time.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LearningCurveDisplay, LeaveOneGroupOut, learning_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import unweighted_average_recall_scorer

corpus = make_emotional_speech(n_speakers=12, n_sentences=3, random_state=0)
y, speakers = corpus.target, corpus.groups
front_end = LogMelSpectrogram(n_mels=40, pooling="mean_std", duration=None, normalize=None)
X = front_end.fit_transform(corpus.recordings)
n_recordings = len(X) // 12
print(f"{n_recordings} recordings of each of 12 speakers")

# %%
# Two orders of the training set
# ------------------------------
#
# :func:`~sklearn.model_selection.learning_curve` takes the first recordings of each training set.
# Splits in which the speakers follow one another add whole speakers; shuffled splits add recordings
# of all eleven speakers. Each speaker is held out once.

rng = np.random.default_rng(0)
orders = {"whole speakers": [], "recordings of all speakers": []}
for train, test in LeaveOneGroupOut().split(X, y, speakers):
    speaker_order = rng.permutation(np.unique(speakers[train]))
    by_speaker = [train[speakers[train] == speaker] for speaker in speaker_order]
    orders["whole speakers"].append((np.concatenate(by_speaker), test))
    orders["recordings of all speakers"].append((rng.permutation(train), test))

n_speakers = np.array([1, 2, 3, 5, 8, 11])
classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
scores = {}
for order, splits in orders.items():
    _, *scores[order] = learning_curve(
        classifier,
        X,
        y,
        cv=splits,
        train_sizes=n_speakers * n_recordings,
        scoring=unweighted_average_recall_scorer,
    )

# %%
# The curves
# ----------
#
# The bands are one standard deviation over the held-out speakers.

figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
for order, (train_scores, test_scores) in scores.items():
    display = LearningCurveDisplay(
        train_sizes=n_speakers * n_recordings,
        train_scores=train_scores,
        test_scores=test_scores,
        score_name="recall of a held-out speaker",
    ).plot(ax=axis, score_type="test", line_kw={"marker": "o"}, fill_between_kw={"alpha": 0.2})
    display.lines_[0].set_label(order)
axis.axhline(1 / 7, color="grey", linestyle=":", label="chance")
axis.set(xlabel="training recordings", ylim=(0, 1))
axis.legend(loc="lower right")
top = axis.secondary_xaxis(
    "top", functions=(lambda n: n / n_recordings, lambda n: n * n_recordings)
)
top.set_xticks(n_speakers)
top.set_xlabel("training speakers, if they are whole")
plt.show()

# %%
# The difference of both curves at each number of recordings, and the gain from one number of
# speakers to the next, with 95 % bootstrap intervals over the held-out speakers:


def mean_and_interval(values):
    """Return the mean of the values of all held-out speakers and its interval, as text."""
    interval = bootstrap((values,), np.mean, n_resamples=1000, rng=0, method="percentile")
    low, high = interval.confidence_interval
    return f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


whole, mixed = (test_scores for _, test_scores in scores.values())
table = pd.DataFrame(
    {
        "recordings": n_speakers * n_recordings,
        "whole speakers": whole.mean(axis=1).round(3),
        "all speakers": mixed.mean(axis=1).round(3),
        "all − whole": [mean_and_interval(row) for row in mixed - whole],
        "gain of whole": ["", *(mean_and_interval(row) for row in np.diff(whole, axis=0))],
    },
    index=pd.Index(n_speakers, name="speakers"),
)
print(table.to_string())

# %%
# As many recordings as one speaker has are clearly better from all speakers than from one: so few
# recordings should be of several people. Up to three speakers, the difference is about .1 and at
# the edge of its interval; from five on, there is none to be seen.
# The curve of whole speakers still rises at its end, so a twelfth speaker would probably help.
