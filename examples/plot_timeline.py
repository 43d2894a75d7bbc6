"""
Emotions over the time of a conversation
========================================

A classifier of utterances is applied to overlapping segments of a longer recording. The
conversation here is made of synthetic speech, so that the emotion of each turn is known. Its two
speakers are not in the training set.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.audio import cut_into_segments
from sklearn_ser.datasets import make_emotional_speech

EMOTIONS = ["anger", "neutral", "sadness"]

# %%
# Training on utterances
# ----------------------

corpus = make_emotional_speech(8, EMOTIONS, n_sentences=5, random_state=0)
is_caller = np.isin(corpus.groups, ["speaker06", "speaker07"])
training = [r for r, held_out in zip(corpus.recordings, is_caller, strict=True) if not held_out]
classifier = make_pipeline(
    LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None),
    StandardScaler(),
    LogisticRegression(C=0.01, max_iter=1000),
).fit(training, corpus.target[~is_caller])

# %%
# A conversation
# --------------
#
# The speakers take turns of two utterances: neutral at first, then the caller gets angry, and
# the other one sad.

TURNS = [("06", "neutral"), ("07", "neutral"), ("06", "anger"), ("07", "sadness")] * 2
pause = np.zeros(corpus.sampling_rate // 4, dtype=np.float32)
samples, turns, time = [], [], 0.0
for number, (speaker, emotion) in enumerate(TURNS):
    is_turn = (corpus.groups == f"speaker{speaker}") & (corpus.target == emotion)
    chosen = np.flatnonzero(is_turn)[2 * (number // 4) :][:2]
    spoken = np.concatenate([part for row in chosen for part in (corpus.recordings[row], pause)])
    duration = len(spoken) / corpus.sampling_rate
    turns.append({"speaker": speaker, "emotion": emotion, "start": time, "end": time + duration})
    samples.append(spoken)
    time += duration

call = Path(tempfile.mkdtemp()) / "call.wav"
soundfile.write(call, np.concatenate(samples), corpus.sampling_rate)

# %%
# Predictions over time
# ---------------------
#
# :func:`~sklearn_ser.audio.cut_into_segments` returns a data frame of segments, which is valid
# input of the pipeline. Only the samples of each segment are decoded.

segments = cut_into_segments([call], duration=2.0, hop=0.5, min_duration=1.0)
probabilities = pd.DataFrame(classifier.predict_proba(segments), columns=classifier.classes_)
timeline = segments[["start", "end"]].join(probabilities.round(2))
print(timeline.head().to_string(index=False))

figure, axis = plt.subplots(figsize=(9, 3.5), layout="constrained")
centers = (segments["start"] + segments["end"]) / 2
axis.stackplot(centers, probabilities.T, labels=classifier.classes_, alpha=0.6)
for turn in turns:
    axis.axvline(turn["start"], color="black", linewidth=0.8)
    middle = (turn["start"] + turn["end"]) / 2
    axis.text(middle, 1.03, f"{turn['speaker']}: {turn['emotion']}", ha="center", fontsize=8)
axis.set(xlabel="time (s)", ylabel="probability", xlim=(0, time), ylim=(0, 1))
figure.legend(loc="outside lower center", ncols=3)
plt.show()

# %%
# Turns that are known, such as those of a diarisation, are a data frame of the same kind.

turns = pd.DataFrame(turns).assign(path=str(call))
turns["predicted"] = classifier.predict(turns[["path", "start", "end"]])
print(turns[["start", "end", "speaker", "emotion", "predicted"]].round(1).to_string(index=False))
print(f"{(turns['predicted'] == turns['emotion']).sum()} of {len(turns)} turns are right")
