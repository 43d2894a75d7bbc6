"""
Calibrated probabilities, and predictions withheld
==================================================

A confident wrong answer is worse than none. The probabilities of a classifier are calibrated on
held-out speakers, and then serve to withhold uncertain predictions. The voices are synthetic.
"""

# %%
# An overconfident classifier
# ---------------------------
#
# A logistic regression with a weak penalty separates the training recordings and is nearly sure of
# each prediction. Two of ten speakers are held out at a time.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import confidence_interval

corpus = make_emotional_speech(n_speakers=10, n_sentences=3, random_state=0)
y, speakers = corpus.target, corpus.groups
front_end = LogMelSpectrogram(n_mels=40, pooling="mean_std", duration=None, normalize=None)
X = front_end.fit_transform(corpus.recordings)
classifier = make_pipeline(StandardScaler(), LogisticRegression(C=100, max_iter=2000))

# %%
# Temperature scaling divides the logits by one number, which is fitted on predictions for speakers
# that are held out within the training set. Random inner folds would show how sure the classifier
# may be of known speakers.

emotions = np.unique(y)
models = ["uncalibrated", "calibrated"]
probabilities = {name: np.empty((len(y), len(emotions))) for name in models}
for train, test in GroupKFold(5).split(X, y, speakers):
    inner = list(GroupKFold(4).split(X[train], y[train], speakers[train]))
    calibrated = CalibratedClassifierCV(classifier, method="temperature", cv=inner, ensemble=False)
    for name, model in zip(models, (classifier, calibrated), strict=True):
        probabilities[name][test] = model.fit(X[train], y[train]).predict_proba(X[test])

# %%
# Reliability
# -----------
#
# The confidence of a prediction is its largest probability. If it is calibrated, predictions of
# confidence .8 are right in four of five cases.

predicted = {name: emotions[values.argmax(axis=1)] for name, values in probabilities.items()}
confidence = {name: values.max(axis=1) for name, values in probabilities.items()}
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name in models:
    CalibrationDisplay.from_predictions(
        predicted[name] == y,
        confidence[name],
        n_bins=5,
        strategy="quantile",
        name=name,
        ax=axes[0],
    )
axes[0].set(
    xlabel="confidence", ylabel="accuracy, speakers held out", xlim=(0.4, 1.02), ylim=(0.4, 1.02)
)
axes[1].hist(confidence.values(), bins=np.linspace(0.2, 1, 17), label=list(confidence))
axes[1].set(xlabel="confidence", ylabel="recordings")
axes[1].legend(loc="upper left")
plt.show()

# %%
# The mean confidence minus the accuracy is positive for an overconfident classifier. The intervals
# are a bootstrap over speakers.


def overconfidence(correct, confidence):
    """Return the mean confidence minus the accuracy."""
    return confidence.mean() - correct.mean()


for name in models:
    correct = predicted[name] == y
    excess = overconfidence(correct, confidence[name])
    low, high = confidence_interval(
        overconfidence, correct, confidence[name], groups=speakers, random_state=0
    )
    print(f"{name}: accuracy {correct.mean():.3f}, confidence {confidence[name].mean():.3f}")
    print(f"    overconfidence {excess:+.3f} [{low:+.3f}, {high:+.3f}]")

# %%
# The uncalibrated classifier is significantly overconfident, the calibrated one is not. Temperature
# scaling does not change which emotion is predicted. If anything, it is too cautious here: the
# classifiers that it is fitted on have fewer speakers to learn from.

# %%
# Withholding uncertain predictions
# ---------------------------------
#
# A recording is answered if its confidence reaches a threshold. The intervals are a bootstrap over
# speakers. Answering as many recordings at random has the accuracy of answering all of them.

sure = confidence["calibrated"]
table = []
for threshold in (0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
    answered = sure >= threshold
    truth = y[answered], predicted["calibrated"][answered]
    interval = confidence_interval(
        accuracy_score, *truth, groups=speakers[answered], n_resamples=300, random_state=0
    )
    table.append(
        (threshold, answered.mean(), sure[answered].mean(), accuracy_score(*truth), *interval)
    )
columns = ["threshold", "answered", "confidence", "accuracy", "low", "high"]
table = pd.DataFrame(table, columns=columns)
print(table.round(3).to_string(index=False))

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
axis.plot(table["answered"], table["accuracy"], marker="o", label="most confident")
axis.fill_between(table["answered"], table["low"], table["high"], alpha=0.2)
axis.plot(table["answered"], table["confidence"], marker=".", color="C1", label="mean confidence")
axis.axhline(table["accuracy"][0], color="grey", linestyle=":", label="at random")
for row in table[table["threshold"].isin([0.5, 0.7, 0.8, 0.9])].itertuples():
    axis.annotate(
        f"≥ {row.threshold}", (row.answered, row.accuracy), (0, 8), textcoords="offset points"
    )
axis.set(xlabel="share of recordings answered", ylabel="accuracy, speakers held out")
axis.legend(loc="lower left")
plt.show()

# %%
# Withheld predictions are wrong more often than answered ones. The accuracy is no less than the
# mean confidence, so that a threshold can be chosen from the confidence alone, without labels. This
# holds for speakers like those of the training set; noise or another microphone need recordings of
# their own to calibrate on.
