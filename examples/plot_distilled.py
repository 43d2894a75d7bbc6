"""
Arousal, valence and dominance from a small model
=================================================

De Oliveira, Prabhu and Gerkmann (Interspeech 2023) let small distilled encoders of speech and text
do what a large one does. Here the six layers of Whisper base teach two of their own, which then
learn arousal, valence and dominance on Emo-DB, with whole speakers held out::

    python examples/plot_distilled.py --data path/to/emodb --model path/to/whisper-base

It needs both. Without arguments it looks for them where ``SKLEARN_SER_DATA`` and
``SKLEARN_SER_WEIGHTS`` say, and where they are not it runs on synthetic voices and a small network
with random weights: then it shows how it is done, and nothing else.
"""

import argparse
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import DistilledRegressor, LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import circumplex, load_emodb, make_emotional_speech
from sklearn_ser.metrics import concordance_correlation_coefficient

HERE = Path(os.environ.get("SKLEARN_SER_DATA", "")) / "emodb"
MODEL = Path(os.environ.get("SKLEARN_SER_WEIGHTS", "")) / "whisper-base-encoder"

parser = argparse.ArgumentParser(description="A student beside its teacher.")
parser.add_argument("--data", default=HERE if HERE.is_dir() else None, help="folder of Emo-DB")
parser.add_argument("--model", default=MODEL if MODEL.is_dir() else None, help="hub id or folder")
parser.add_argument("--memory", help="folder to keep the teacher's embeddings in")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--output", default="distilled.png", help="picture to save")
arguments = parser.parse_args()


def make_small_model():
    """Save a small Whisper with random weights, and return its folder."""
    import torch
    from transformers import WhisperConfig, WhisperModel

    torch.manual_seed(0)
    small = WhisperConfig(
        d_model=48,
        encoder_layers=6,
        encoder_attention_heads=2,
        encoder_ffn_dim=96,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=96,
    )
    folder = tempfile.mkdtemp()
    WhisperModel(small).save_pretrained(folder)
    return folder


# %%
# Numbers for emotions
# --------------------
#
# Emo-DB's actors played emotions, and nobody rated how aroused they sound. The numbers are those of
# the emotions' names, the same for all recordings of an emotion.

is_real = arguments.data is not None and arguments.model is not None
if is_real:
    corpus, model = load_emodb(arguments.data), str(arguments.model)
else:
    print("synthetic voices, and a small network with random weights: the figures mean nothing")
    corpus = make_emotional_speech(n_speakers=5, n_sentences=2, random_state=0)
    model = make_small_model()

recordings, speakers = np.asarray(corpus.recordings, dtype=object), np.asarray(corpus.groups)
y, targets = circumplex(corpus.target), ["arousal", "valence", "dominance"]
train, test = next(GroupKFold(5, shuffle=True, random_state=0).split(y, groups=speakers))

# %%
# The teacher
# -----------
#
# A layer in the middle of the large encoder and ridge regression upon it. Which layer is best is
# a question for a search inside the training set; see the benchmarks.

teacher = make_pipeline(
    WhisperEmbedder(model, layers="all", context="recording", memory=arguments.memory),
    LayerSelector(3),
    StandardScaler(),
    Ridge(100),
).fit(recordings[train], y[train])

# %%
# The student
# -----------
#
# Two layers of the teacher's own. First they learn to predict what deeper ones make of the training
# recordings, without any labels; then the labels.

student = DistilledRegressor(
    teacher=model,
    teacher_layers=(2, 4, 6),
    student_from="teacher",
    student_layers=2,
    distillation_epochs=arguments.epochs,
    max_epochs=arguments.epochs,
    encoder_learning_rate=1e-4,
    random_state=0,
).fit(recordings[train], y[train])
share = student.n_parameters_ / student.teacher_n_parameters_
print(f"student: {student.n_parameters_} parameters, {share:.0%} of the teaching encoder's")
print("distillation:", *(f"{loss:.3f}" for loss in student.distillation_history_))

# %%
# Side by side
# ------------
#
# On speakers whom neither has heard.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
axes[0].plot(student.history_["epoch"], student.history_["train_loss"], marker="o")
axes[0].set(xlabel="epoch", ylabel="Σ (1 − CCC) in training")
for number, (name, regressor) in enumerate({"teacher": teacher, "student": student}.items()):
    found = concordance_correlation_coefficient(
        y[test], regressor.predict(recordings[test]), multioutput="raw_values"
    )
    print(f"{name:8}", " ".join(f"{t} {c:.3f}" for t, c in zip(targets, found, strict=True)))
    axes[1].bar(np.arange(3) + 0.35 * number, found, width=0.35, label=name)
axes[1].set_xticks(np.arange(3) + 0.175, targets)
axes[1].set(ylabel="CCC, speakers held out")
axes[1].legend()
figure.savefig(arguments.output, dpi=100)
plt.show()
