"""
Quickstart: from recordings to emotions
=======================================

The input is a list of recordings instead of a table. Everything else works as in scikit-learn: a
pipeline is cross-validated with whole speakers held out. The voices are synthetic, so that nothing
is downloaded.
"""

# %%
# Recordings, emotions and speakers
# ---------------------------------
#
# Recordings are paths or arrays. The loaders of corpora, such as
# :func:`~sklearn_ser.datasets.load_emodb`, and :func:`~sklearn_ser.datasets.load_recordings`, which
# reads a folder of your own, return the same attributes as this function.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import EmoHRNetClassifier, LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import confidence_interval, unweighted_average_recall

corpus = make_emotional_speech(random_state=0)
print(f"{len(corpus.recordings)} recordings by {len(np.unique(corpus.groups))} speakers")

# %%
# Here one speaker says the same sentence in three emotions. In anger, the voice is faster and
# louder, with more energy at high frequencies; in sadness, it is slower and softer.

log_mel = LogMelSpectrogram(n_mels=64, duration=2.0, normalize=None)
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), sharey=True, layout="constrained")
for axis, emotion in zip(axes, ["anger", "neutral", "sadness"], strict=True):
    row = np.flatnonzero(corpus.target == emotion)[0]
    (spectrogram,) = log_mel.fit_transform([corpus.recordings[row]])
    image = axis.imshow(spectrogram, origin="lower", aspect="auto", extent=(0, 2, 0, 64), vmin=-60)
    axis.set(title=emotion, xlabel="time (s)")
axes[0].set_ylabel("mel band")
figure.colorbar(image, ax=axes, label="dB")
plt.show()

# %%
# A linear classifier
# -------------------
#
# Statistics of the log-mel spectrogram over time are one row per recording, regardless of its
# length. The level is informative about emotions, so it is not normalised. Each fold holds out two
# of the eight speakers: training and test sets must not share speakers.

pipeline = make_pipeline(
    LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None),
    StandardScaler(),
    LogisticRegression(max_iter=1000),
)
folds = GroupKFold(n_splits=4)
predicted = cross_val_predict(
    pipeline, corpus.recordings, corpus.target, groups=corpus.groups, cv=folds
)

# %%
# The unweighted average recall is the mean of the recalls of the emotions, and its confidence
# interval is a bootstrap over speakers.

recall = unweighted_average_recall(corpus.target, predicted)
low, high = confidence_interval(
    unweighted_average_recall, corpus.target, predicted, groups=corpus.groups, random_state=0
)
print(f"Unweighted average recall, speakers held out: {recall:.3f} [{low:.3f}, {high:.3f}]")
print(f"Recall by chance: {1 / len(corpus.target_names):.3f}")

# %%
# The confusion matrix shows which emotions are mistaken for each other.

figure, axis = plt.subplots(figsize=(6, 5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    corpus.target,
    predicted,
    normalize="true",
    values_format=".2f",
    xticks_rotation=45,
    cmap="Blues",
    colorbar=False,
    ax=axis,
)
plt.show()

# %%
# A network
# ---------
#
# A high-resolution network, trained from scratch on small spectrograms, in the same pipeline. The
# synthetic recordings are few, short and clean: a narrow network and a high learning rate are
# sufficient, without frequency masks or mixup. For real recordings, use larger spectrograms and the
# defaults, which take hours on a CPU. The network is trained on six speakers and tested on the
# other two.

network = make_pipeline(
    LogMelSpectrogram(n_mels=32, hop_length=1024, duration=2.0, normalize=None),
    EmoHRNetClassifier(
        width=8,
        head_width=4,
        n_frequency_masks=0,
        mixup=0,
        max_epochs=25,
        batch_size=32,
        learning_rate=0.006,
        random_state=0,
    ),
)
recordings = np.asarray(corpus.recordings, dtype=object)
train, test = next(folds.split(recordings, corpus.target, corpus.groups))
network.fit(recordings[train], corpus.target[train])

for name, test_predictions in {
    "linear classifier": predicted[test],
    "network": network.predict(recordings[test]),
}.items():
    print(f"{name}: {unweighted_average_recall(corpus.target[test], test_predictions):.3f}")

history = network[-1].history_
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(history["epoch"], history["train_loss"])
axis.set(xlabel="epoch", ylabel="training loss")
plt.show()
