"""
What a network sees, and what its decision rests on
===================================================

A recording becomes a log-mel spectrogram, SpecAugment masks parts of it in training, and occlusion
shows which regions a trained network needs for its decision. The voices are synthetic.
"""

# %%
# Log-mel spectrograms
# --------------------
#
# Two of eight speakers are held out. The level is informative about emotions, so it is not
# normalised.

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.special import logit

from sklearn_ser import EmoHRNetClassifier, LogMelSpectrogram
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import unweighted_average_recall
from sklearn_ser.nn import mask_spectrograms

EMOTIONS = ["anger", "neutral", "sadness"]
corpus = make_emotional_speech(8, EMOTIONS, n_sentences=4, random_state=0)
y = corpus.target
log_mel = LogMelSpectrogram(n_mels=32, hop_length=640, duration=2.0, normalize=None)
X = log_mel.fit_transform(corpus.recordings)
is_test = np.isin(corpus.groups, ["speaker06", "speaker07"])
print(f"{len(X)} spectrograms of {X.shape[1]} bands and {X.shape[2]} frames")

# %%
# SpecAugment
# -----------
#
# In each epoch, a band of frequencies and a stretch of time of each training spectrogram are
# replaced by its mean. Their widths and positions are random.

row = np.flatnonzero(y == "anger")[0]
waveform = corpus.recordings[row]
copies = torch.from_numpy(X[[row, row]])
masked = mask_spectrograms(
    copies,
    torch.Generator().manual_seed(1),
    n_frequency_masks=1,
    frequency_mask_width=0.25,
    n_time_masks=1,
    time_mask_width=0.2,
)

figure, axes = plt.subplots(4, 1, figsize=(7, 7), sharex=True, layout="constrained")
axes[0].plot(np.arange(len(waveform)) / corpus.sampling_rate, waveform, linewidth=0.5)
axes[0].set(title="waveform, anger", xlim=(0, 2))
titles = ["log-mel spectrogram", "as masked in one epoch", "as masked in another"]
for axis, title, image in zip(axes[1:], titles, [X[row], *masked.numpy()], strict=True):
    picture = axis.imshow(
        image, origin="lower", aspect="auto", extent=(0, 2, 0, 32), cmap="magma", vmin=-60
    )
    axis.set(title=title, ylabel="mel band")
axes[-1].set_xlabel("time (s)")
figure.colorbar(picture, ax=axes[1:], label="dB")
plt.show()

# %%
# Training
# --------
#
# A narrow network, for ten epochs.

network = EmoHRNetClassifier(
    width=8,
    head_width=2,
    n_frequency_masks=1,
    n_time_masks=1,
    mixup=0,
    max_epochs=10,
    batch_size=32,
    learning_rate=0.006,
    n_shifts=1,
    random_state=0,
)
network.fit(X[~is_test], y[~is_test])
X_test, y_test = X[is_test], y[is_test]
recall = unweighted_average_recall(y_test, network.predict(X_test))
print(f"recall of two held-out speakers: {recall:.2f}, by chance {1 / 3:.2f}")

# %%
# Occlusion
# ---------
#
# Patches of four bands and 0.32 seconds are replaced by the mean of the spectrogram, one at a time,
# like a mask of SpecAugment. The relevance of a patch is the decrease of the log odds of the true
# emotion.

HEIGHT, WIDTH = 4, 8
GRID = (X.shape[1] // HEIGHT, -(-X.shape[2] // WIDTH))
N_PATCHES = GRID[0] * GRID[1]


def occlude(spectrogram, patches):
    """Return the spectrogram with the given patches replaced by its mean."""
    hidden = np.zeros(GRID, dtype=bool)
    hidden.flat[patches] = True
    cells = hidden.repeat(HEIGHT, axis=0).repeat(WIDTH, axis=1)[:, : spectrogram.shape[1]]
    return np.where(cells, spectrogram.mean(), spectrogram)


relevance = np.empty((len(X_test), N_PATCHES))
for number, emotion in enumerate(y_test):
    occluded = [occlude(X_test[number], patch) for patch in range(N_PATCHES)]
    probabilities = network.predict_proba(np.stack([X_test[number], *occluded]))
    log_odds = logit(probabilities[:, network.classes_ == emotion].ravel())
    relevance[number] = log_odds[0] - log_odds[1:]

# %%
# For each emotion, the mean spectrogram and the mean relevance of the held-out recordings:

figure, axes = plt.subplots(2, 3, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
means = {emotion: relevance[y_test == emotion].mean(axis=0) for emotion in EMOTIONS}
limit = max(np.abs(mean).max() for mean in means.values())
end = GRID[1] * WIDTH / X.shape[2] * 2  # the last patch exceeds the spectrogram
for (emotion, mean), (above, below) in zip(means.items(), axes.T, strict=True):
    shown = above.imshow(
        X_test[y_test == emotion].mean(axis=0),
        origin="lower",
        aspect="auto",
        extent=(0, 2, 0, 32),
        cmap="magma",
        vmin=-60,
        vmax=0,
    )
    image = below.imshow(
        mean.reshape(GRID),
        origin="lower",
        aspect="auto",
        extent=(0, end, 0, 32),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
    )
    above.set_title(emotion)
    below.set(xlabel="time (s)", xlim=(0, 2))
for axis in axes[:, 0]:
    axis.set_ylabel("mel band")
figure.colorbar(shown, ax=axes[0], label="dB")
figure.colorbar(image, ax=axes[1], label="relevance (log odds)")
plt.show()

# %%
# Anger rests on high bands, which are louder in it: hiding low bands even raises its odds. Neutral
# speech rests on low bands. In neutral speech and sadness, the silence at the end is relevant as
# well: it shows when the sentence ends, and so the tempo.

# %%
# Do the maps say what the network needs?
# ---------------------------------------
#
# Hiding the most relevant patches should then cost more than hiding as many at random, which is
# repeated three times. Relevance is measured with one hidden patch, and tested here with several.

rng = np.random.default_rng(0)
N_HIDDEN = [0, 2, 4, 8, 16]


def recall_without(orders):
    """Return the recall over the number of hidden patches, by order of each recording."""
    return [
        unweighted_average_recall(
            y_test,
            network.predict(
                np.stack([occlude(x, o[:n]) for x, o in zip(X_test, orders, strict=True)])
            ),
        )
        for n in N_HIDDEN
    ]


by_relevance = recall_without(np.argsort(-relevance, axis=1))
at_random = np.array(
    [recall_without([rng.permutation(N_PATCHES) for _ in X_test]) for _ in range(3)]
)
for n, relevant, random in zip(N_HIDDEN, by_relevance, at_random.mean(axis=0), strict=True):
    print(f"{n:2d} of {N_PATCHES} hidden: most relevant {relevant:.2f}, random {random:.2f}")

figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.plot(N_HIDDEN, by_relevance, marker="o", label="most relevant")
axis.errorbar(
    N_HIDDEN, at_random.mean(axis=0), at_random.std(axis=0), marker="o", capsize=3, label="random"
)
axis.axhline(1 / 3, color="grey", linestyle=":", label="chance")
axis.set(xlabel="hidden patches", ylabel="recall, speakers held out", ylim=(0, 1.05))
axis.legend()
plt.show()

# %%
# They do: hiding two of the most relevant patches costs more than hiding eight at random.
