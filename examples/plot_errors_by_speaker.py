"""
Whom does the classifier fail for?
==================================

An average recall hides the speakers and emotions on which a model fails. The errors are broken down
by speaker, by emotion and by sex, and it is tested whether the differences are more than chance.
The voices are synthetic.
"""

# %%
# Predictions for held-out speakers
# ---------------------------------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import confidence_interval, score_by_group, unweighted_average_recall

corpus = make_emotional_speech(n_speakers=12, n_sentences=3, random_state=0)
y, speakers = corpus.target, corpus.groups
front_end = LogMelSpectrogram(n_mels=40, pooling="mean_std", duration=None, normalize=None)
X = front_end.fit_transform(corpus.recordings)
classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
probabilities = cross_val_predict(
    classifier, X, y, groups=speakers, cv=LeaveOneGroupOut(), method="predict_proba"
)
predicted = np.unique(y)[probabilities.argmax(axis=1)]
recall = unweighted_average_recall(y, predicted)
low, high = confidence_interval(
    unweighted_average_recall, y, predicted, groups=speakers, random_state=0
)
print(f"recall of all speakers: {recall:.3f} [{low:.3f}, {high:.3f}]")

# %%
# Speakers and emotions
# ---------------------
#
# Each cell is the recall of three recordings. Speakers are sorted by their recall.

by_speaker = score_by_group(unweighted_average_recall, y, predicted, by=speakers).sort_values(
    "score"
)
correct = pd.DataFrame({"speaker": speakers, "emotion": y, "correct": predicted == y})
cells = correct.pivot_table(index="speaker", columns="emotion", values="correct")
cells = cells.loc[by_speaker.index]

figure, axes = plt.subplots(
    1, 2, figsize=(10, 4.5), sharey=True, width_ratios=(2, 1), layout="constrained"
)
image = axes[0].imshow(cells, cmap="Blues", vmin=0, vmax=1, aspect="auto")
axes[0].set_xticks(range(cells.shape[1]), cells.columns, rotation=45, ha="right")
axes[0].set_yticks(range(len(cells)), cells.index)
figure.colorbar(image, ax=axes[0], label="recall")
axes[1].barh(range(len(cells)), by_speaker["score"], alpha=0.6)
axes[1].axvline(recall, color="black", linewidth=1, label="all speakers")
axes[1].axvline(1 / 7, color="black", linestyle=":", label="chance")
axes[1].set(xlabel="recall, speaker held out", xlim=(0, 1.05))
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside upper right", ncols=2)
plt.show()

# %%
# More than chance?
# -----------------
#
# Some speakers have more errors than others by chance alone. If the speakers were all equally
# difficult, the errors of each emotion could be exchanged between them. The standard deviation of
# the speakers' recalls is compared with that of a thousand such exchanges.

rng = np.random.default_rng(0)
errors = (predicted != y).astype(float)
order = np.lexsort((np.arange(len(y)), y))  # rows by emotion
by_emotion = errors[order].reshape(7, 36)
speaker_by_emotion = speakers[order].reshape(7, 36)
names = np.unique(speakers)


def spread(exchanged):
    """Return the standard deviation over speakers of the share of errors."""
    return np.std([exchanged[speaker_by_emotion == name].mean() for name in names])


exchanged = np.array([spread(rng.permuted(by_emotion, axis=1)) for _ in range(1000)])
observed = spread(by_emotion)
p_value = (1 + (exchanged >= observed).sum()) / (1 + len(exchanged))
print(f"standard deviation over speakers: {observed:.3f}, by chance {exchanged.mean():.3f}")
print(f"p = {p_value:.3f}")

# %%
# The recalls of the speakers vary hardly more than those of twelve equally difficult ones would.
# With 21 recordings each, it would be wrong to call the first two of the picture difficult.

# %%
# Groups of speakers
# ------------------
#
# The intervals are over the speakers of each group, and wide with six speakers.

print(
    score_by_group(
        unweighted_average_recall,
        y,
        predicted,
        by=corpus.frame["sex"],
        groups=speakers,
        random_state=0,
    ).round(3)
)

# %%
# The worst errors
# ----------------
#
# The wrong predictions of the highest confidence are the ones to listen to first.

table = corpus.frame[["speaker", "sentence", "emotion"]].assign(
    predicted=predicted, confidence=probabilities.max(axis=1).round(2)
)
wrong = table[table["emotion"] != table["predicted"]]
print(wrong.sort_values("confidence", ascending=False).head(8).to_string(index=False))

pairs = wrong.groupby(["emotion", "predicted"]).size().sort_values(ascending=False)
figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
frequent = pairs.head(8)[::-1]
axis.barh([f"{emotion} → {taken_for}" for emotion, taken_for in frequent.index], frequent)
axis.set(xlabel="recordings", title=f"{len(wrong)} wrong predictions of {len(y)}")
plt.show()

# %%
# Neutral speech is confused with several emotions, and boredom with sadness. All recordings of
# anger and happiness are right.
