"""
Which layer knows arousal, and which valence?
=============================================

De Oliveira, Prabhu and Gerkmann (Interspeech 2023) asked it of HuBERT: shallow layers matter
for arousal, deep ones for valence. Here the same question goes to the encoder of Whisper base,
on Emo-DB, with whole speakers held out::

    python examples/plot_layer_analysis.py --data path/to/emodb --model openai/whisper-base

It needs both. Without arguments it looks for them where ``SKLEARN_SER_DATA`` and
``SKLEARN_SER_WEIGHTS`` say, and where they are not it runs on synthetic voices and a small
network with random weights: then the curves show how it is done, and nothing else.
"""

import argparse
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import load_emodb, make_emotional_speech
from sklearn_ser.inspection import LayerProbeDisplay

HERE = Path(os.environ.get("SKLEARN_SER_DATA", "")) / "emodb"
MODEL = Path(os.environ.get("SKLEARN_SER_WEIGHTS", "")) / "whisper-base-encoder"

parser = argparse.ArgumentParser(description="Score of each layer on arousal and valence.")
parser.add_argument("--data", default=HERE if HERE.is_dir() else None, help="folder of Emo-DB")
parser.add_argument("--model", default=MODEL if MODEL.is_dir() else None, help="hub id or folder")
parser.add_argument("--memory", help="folder to keep embeddings in")
parser.add_argument("--output", default="layers.png", help="picture to save")
arguments = parser.parse_args()


def make_small_model():
    """Save a small Whisper with random weights, and return its folder."""
    import torch
    from transformers import WhisperConfig, WhisperModel

    torch.manual_seed(0)
    small = WhisperConfig(
        d_model=48,
        encoder_layers=4,
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
# Every layer in one pass
# -----------------------
#
# ``layers="all"`` gives each recording as many vectors as the network has layers, 0 being the
# input of the first block. The network sees each recording once.

is_real = arguments.data is not None and arguments.model is not None
if not is_real:
    print("synthetic voices, and a small network with random weights: the curves mean nothing")
    corpus = make_emotional_speech(n_speakers=5, n_sentences=2, random_state=0)
    model = make_small_model()
else:
    corpus = load_emodb(arguments.data)
    model = str(arguments.model)

embedder = WhisperEmbedder(model, layers="all", context="recording", memory=arguments.memory)
layers = embedder.fit_transform(corpus.recordings)
print(f"{layers.shape[0]} recordings, {layers.shape[1]} layers of {layers.shape[2]} dimensions")

# %%
# Arousal and valence from emotions
# ---------------------------------
#
# Emo-DB's actors played emotions, so that the dimensions are derived: high arousal is anger,
# fear and happiness; low is boredom, neutral and sadness. Disgust was played in both ways and
# is left out. Positive valence is happiness alone, negative anger, fear, disgust, sadness and
# boredom. As most of these are told from happiness by their arousal, the last question keeps
# that equal: happiness, or anger and fear?

QUESTIONS = {
    "arousal": (["anger", "fear", "happiness"], ["boredom", "neutral", "sadness"]),
    "valence": (["happiness"], ["anger", "fear", "disgust", "sadness", "boredom"]),
    "valence at high arousal": (["happiness"], ["anger", "fear"]),
}


def ask(question):
    """Return layers, answers and speakers of the recordings that the question is about."""
    high, low = QUESTIONS[question]
    concerned = np.isin(corpus.target, [*high, *low])
    answers = np.where(np.isin(corpus.target, high), "high", "low")
    return layers[concerned], answers[concerned], corpus.groups[concerned]


# %%
# A search over layers
# --------------------
#
# The layer is a parameter like any other. Balanced accuracy counts both answers the same,
# however many recordings have them; a layer's spread is that over the held-out speakers.

probe = make_pipeline(
    LayerSelector(), StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)
)
searches = {}
for question in QUESTIONS:
    X, answers, speakers = ask(question)
    searches[question] = GridSearchCV(
        probe,
        {"layerselector__layer": list(range(X.shape[1]))},
        cv=LeaveOneGroupOut(),
        scoring="balanced_accuracy",
    ).fit(X, answers, groups=speakers)
    means = searches[question].cv_results_["mean_test_score"]
    print(f"{question:25}", " ".join(f"{mean:.3f}" for mean in means))

display = LayerProbeDisplay.from_cv_results(searches)
display.ax_.set_title(f"{'Whisper' if is_real else 'Random network'}, speakers held out")
display.figure_.savefig(arguments.output, dpi=100)
plt.show()

# %%
# What the curves say, and what they can't
# ----------------------------------------
#
# Arousal is known from the first layer on, and hardly better anywhere else: it is in level,
# pitch and tempo, which the spectrogram shows already. Valence is not: it rises to the middle of
# the encoder, by some seventeen points where arousal is kept equal, and falls again towards the
# end, where the network has turned to the words that it was trained to write down. So far it
# agrees with what the paper found in HuBERT: arousal is shallow, valence needs depth.
#
# It says nothing about HuBERT itself. Whisper was trained on transcripts and not on masked
# units, and this one has six layers, not twenty-four. Nor are the corpora alike: in Emo-DB the
# same ten sentences are spoken with every emotion, so that words tell nothing of valence; in
# the podcasts of the paper they tell much, and deep layers know words. For HuBERT, run this with
# `HubertEmbedder`.
#
# The highest point of a curve is also too high for a new speaker, as it was picked by looking.
# A selector that picks inside each training fold, ``LayerSelector("best")``, is honest; the
# groups reach its inner folds by metadata routing:

X, answers, speakers = ask("valence at high arousal")
with config_context(enable_metadata_routing=True):
    nested = cross_validate(
        make_pipeline(
            LayerSelector("best", cv=LeaveOneGroupOut()),
            StandardScaler(),
            LogisticRegression(class_weight="balanced", max_iter=2000),
        ),
        X,
        answers,
        params={"groups": speakers},
        cv=LeaveOneGroupOut(),
        scoring="balanced_accuracy",
        return_estimator=True,
    )
chosen = [int(pipeline[0].best_layer_) for pipeline in nested["estimator"]]
print(f"layer chosen inside: {nested['test_score'].mean():.3f}; chosen {chosen}")
