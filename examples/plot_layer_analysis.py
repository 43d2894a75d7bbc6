"""
Which layer knows arousal, and which valence?
=============================================

De Oliveira, Prabhu and Gerkmann (Interspeech 2023) asked it of HuBERT: shallow layers matter
for arousal, deep ones for valence. Here the same question goes to the encoder of Whisper base,
on Emo-DB, with whole speakers held out, by a probe of each frozen layer and by the weights that
a sum of all layers learns::

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
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import emotion_dimensions, load_emodb, make_emotional_speech
from sklearn_ser.inspection import LayerProbeDisplay
from sklearn_ser.metrics import concordance_scorer

HERE = Path(os.environ.get("SKLEARN_SER_DATA", "")) / "emodb"
MODEL = Path(os.environ.get("SKLEARN_SER_WEIGHTS", "")) / "whisper-base-encoder"

parser = argparse.ArgumentParser(
    description="What each layer knows of arousal, valence and dominance."
)
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
# Arousal, valence and dominance from emotions
# --------------------------------------------
#
# Emo-DB's actors played emotions, and nobody rated how aroused or pleased they sound: the numbers
# are those of the emotions' names. Positive valence is happiness alone, and most other emotions
# are told from it by their arousal. So a last question keeps that equal: the valence of anger,
# fear and happiness, all three of high arousal.

y = emotion_dimensions(corpus.target)
everything, aroused = slice(None), np.isin(corpus.target, ["anger", "fear", "happiness"])
QUESTIONS = {
    "arousal": (everything, 0),
    "valence": (everything, 1),
    "valence at high arousal": (aroused, 1),
    "dominance": (everything, 2),
}


def ask(question):
    """Return layers, answers and speakers of the recordings that the question is about."""
    concerned, column = QUESTIONS[question]
    return layers[concerned], y[concerned, column], np.asarray(corpus.groups)[concerned]


# %%
# A probe of each layer
# ---------------------
#
# Ridge regression on each frozen layer. The layer is a parameter like any other, and the score the
# concordance correlation coefficient, which a wrong mean or spread lowers as well as noise; a
# layer's score is the mean over five folds of whole speakers.

folds = GroupKFold(5, shuffle=True, random_state=0)
probe = make_pipeline(LayerSelector(), StandardScaler(), Ridge(100))
searches = {}
for question in QUESTIONS:
    X, answers, speakers = ask(question)
    searches[question] = GridSearchCV(
        probe,
        {"layerselector__layer": list(range(X.shape[1]))},
        cv=folds,
        scoring=concordance_scorer,
    ).fit(X, answers, groups=speakers)
    means = searches[question].cv_results_["mean_test_score"]
    print(f"probe of {question:25}", " ".join(f"{mean:.3f}" for mean in means))

# %%
# Learned weights
# ---------------
#
# ``LayerSelector("weighted")`` sums the standardised layers under weights that are learned with a
# linear head, as fine-tuning on frozen layers does. Two ways to choose layers without looking at
# the held-out speaker stand side by side: these weights, and ``LayerSelector("best")``, a
# cross-validation inside each training fold, which the speakers reach by metadata routing.

name = "Whisper" if is_real else "Random network"
figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
display = LayerProbeDisplay.from_cv_results(
    searches, score_name="CCC, speakers held out", ax=axes[0], std_display_style=None
)
for number, question in enumerate(QUESTIONS):
    X, answers, speakers = ask(question)
    found = {}
    for layer in ("best", "weighted"):
        selector = LayerSelector(
            layer,
            estimator=make_pipeline(StandardScaler(), Ridge(100)),
            cv=GroupKFold(3),
            scoring=concordance_scorer,
        )
        with config_context(enable_metadata_routing=True):
            found[layer] = cross_validate(
                make_pipeline(selector, StandardScaler(), Ridge(100)),
                X,
                answers,
                params={"groups": speakers},
                cv=folds,
                scoring=concordance_scorer,
                return_estimator=True,
            )
    scores = {layer: scored["test_score"].mean() for layer, scored in found.items()}
    chosen = sorted(int(pipeline[0].best_layer_) for pipeline in found["best"]["estimator"])
    weights = np.array([pipeline[0].layer_weights_ for pipeline in found["weighted"]["estimator"]])
    print(f"weights of {question:23}", " ".join(f"{mean:.3f}" for mean in weights.mean(axis=0)))
    print(
        f"chosen inside for {question}: one layer {scores['best']:.3f} (layers {chosen}), "
        f"weighted sum {scores['weighted']:.3f}"
    )
    line = display.lines_[number]
    axes[1].errorbar(
        np.arange(weights.shape[1]) + 0.06 * (number - 1.5),
        weights.mean(axis=0),
        weights.std(axis=0),
        color=line.get_color(),
        linestyle=line.get_linestyle(),
        marker=line.get_marker(),
        elinewidth=0.8,
        capsize=2,
        label=question,
    )

axes[0].set_title(f"{name}: probe of each layer")
axes[1].axhline(1 / layers.shape[1], color="grey", linestyle=":", label="all layers alike")
axes[1].set(xlabel="Layer", ylabel="Weight in the sum", title=f"{name}: learned weights")
axes[1].legend()
figure.savefig(arguments.output, dpi=100)
plt.show()

# %%
# What the curves say, and what they can't
# ----------------------------------------
#
# Arousal is known from the first layer on, and hardly better anywhere else: it is in level,
# pitch and tempo, which the spectrogram shows already. Dominance is close to it. Valence is not:
# it rises to the middle of the encoder, by a quarter of the scale where arousal is kept equal, and
# falls again towards the end, where the network has turned to the words that it was trained to
# write down. So far it agrees with what the paper found in HuBERT: arousal is shallow, valence
# needs depth.
#
# The learned weights say less. They lie on both ends and in the middle alike, and differ from fold
# to fold by as much as from each other: layers hold much of the same, and many sums of them serve.
# The sum predicts about as well as the one layer that was chosen inside. To learn which layer knows
# what, probe the layers; do not read the weights.
#
# Nor does any of it tell about HuBERT itself. Whisper was trained on transcripts and not on masked
# units, and this one has six layers, not twenty-four. The corpora are not alike either: in Emo-DB
# the same ten sentences are spoken with every emotion, so that words tell nothing of valence; in
# the podcasts of the paper they tell much, and deep layers know words. For HuBERT, run this with
# `HubertEmbedder`, and for ratings of listeners put those of `load_msp_podcast` or `load_iemocap`
# in place of ``y``.
#
# The highest point of a curve is also too high for a new speaker, as it was picked by looking. The
# figures of what was chosen inside are honest.
