"""
Which layers are informative about arousal and valence?
=======================================================

De Oliveira, Prabhu and Gerkmann (Interspeech 2023) found for HuBERT that shallow layers are
informative about arousal, and deep layers about valence. This example analyses the encoder of
Whisper base on Emo-DB, with whole speakers held out, by a probe of each frozen layer and by
learned weights of all layers::

    python examples/plot_layer_analysis.py --data path/to/emodb --model openai/whisper-base

By default the corpus and the model are searched in ``SKLEARN_SER_DATA`` and
``SKLEARN_SER_WEIGHTS``. If one of them is missing, the script uses synthetic speech and a small
network with random weights. It then only shows the procedure.
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

DATA = Path(os.environ.get("SKLEARN_SER_DATA", "")) / "emodb"
MODEL = Path(os.environ.get("SKLEARN_SER_WEIGHTS", "")) / "whisper-base-encoder"

parser = argparse.ArgumentParser(description="Probe each layer for arousal, valence and dominance.")
parser.add_argument("--data", default=DATA if DATA.is_dir() else None, help="folder of Emo-DB")
parser.add_argument("--model", default=MODEL if MODEL.is_dir() else None, help="hub id or folder")
parser.add_argument("--memory", help="folder for caching embeddings")
parser.add_argument("--output", default="layers.png", help="figure to save")
arguments = parser.parse_args()


def make_small_model():
    """Save a small Whisper model with random weights, and return its folder."""
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
# Hidden states of all layers
# ---------------------------
#
# ``layers="all"`` returns one vector per layer for each recording, in one pass. Layer 0 is the
# input of the first block.

is_real = arguments.data is not None and arguments.model is not None
if not is_real:
    print("synthetic speech and a small random network: the curves are not meaningful")
    corpus = make_emotional_speech(n_speakers=5, n_sentences=2, random_state=0)
    model = make_small_model()
else:
    corpus = load_emodb(arguments.data)
    model = str(arguments.model)

embedder = WhisperEmbedder(model, layers="all", context="recording", memory=arguments.memory)
layers = embedder.fit_transform(corpus.recordings)
print(f"{layers.shape[0]} recordings, {layers.shape[1]} layers of {layers.shape[2]} dimensions")

# %%
# Arousal, valence and dominance of emotions
# ------------------------------------------
#
# Emo-DB has emotions but no ratings of arousal, valence and dominance, so values of the emotions'
# names are used. Only happiness has positive valence, and most other emotions differ from it in
# arousal too. Therefore, valence is also analysed for anger, fear and happiness only, all of which
# have high arousal.

y = emotion_dimensions(corpus.target)
everything, aroused = slice(None), np.isin(corpus.target, ["anger", "fear", "happiness"])
TARGETS = {
    "arousal": (everything, 0),
    "valence": (everything, 1),
    "valence at high arousal": (aroused, 1),
    "dominance": (everything, 2),
}


def select(name):
    """Return layers, targets and speakers of the recordings that a target is defined for."""
    rows, column = TARGETS[name]
    return layers[rows], y[rows, column], np.asarray(corpus.groups)[rows]


# %%
# Probing each layer
# ------------------
#
# Ridge regression on each frozen layer. The layer is a parameter of a grid search. The score is the
# mean concordance correlation coefficient over five folds of whole speakers. It measures
# correlation as well as errors in mean and scale.

folds = GroupKFold(5, shuffle=True, random_state=0)
probe = make_pipeline(LayerSelector(), StandardScaler(), Ridge(100))
searches = {}
for name in TARGETS:
    X, target, speakers = select(name)
    searches[name] = GridSearchCV(
        probe,
        {"layerselector__layer": list(range(X.shape[1]))},
        cv=folds,
        scoring=concordance_scorer,
    ).fit(X, target, groups=speakers)
    means = searches[name].cv_results_["mean_test_score"]
    print(f"probe of {name:25}", " ".join(f"{mean:.3f}" for mean in means))

# %%
# Learned layer weights
# ---------------------
#
# ``LayerSelector("weighted")`` computes a weighted sum of the standardised layers. The weights are
# learned together with a linear head. It is compared with ``LayerSelector("best")``, which selects
# a layer by cross-validation within each training fold. The speakers are passed by metadata
# routing. Neither method uses the held-out speakers.

network = "Whisper" if is_real else "Random network"
figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
display = LayerProbeDisplay.from_cv_results(
    searches, score_name="CCC, speakers held out", ax=axes[0], std_display_style=None
)
for number, name in enumerate(TARGETS):
    X, target, speakers = select(name)
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
                target,
                params={"groups": speakers},
                cv=folds,
                scoring=concordance_scorer,
                return_estimator=True,
            )
    scores = {layer: scored["test_score"].mean() for layer, scored in found.items()}
    chosen = sorted(int(pipeline[0].best_layer_) for pipeline in found["best"]["estimator"])
    weights = np.array([pipeline[0].layer_weights_ for pipeline in found["weighted"]["estimator"]])
    print(f"weights of {name:23}", " ".join(f"{mean:.3f}" for mean in weights.mean(axis=0)))
    print(
        f"nested selection for {name}: one layer {scores['best']:.3f} (layers {chosen}), "
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
        label=name,
    )

axes[0].set_title(f"{network}: probe of each layer")
axes[1].axhline(1 / layers.shape[1], color="grey", linestyle=":", label="equal weights")
axes[1].set(xlabel="Layer", ylabel="Weight", title=f"{network}: learned weights")
axes[1].legend()
figure.savefig(arguments.output, dpi=100)
plt.show()

# %%
# Interpretation
# --------------
#
# Arousal can be predicted from the first layer almost as well as from any other: it is reflected in
# level, pitch and tempo, which the spectrogram contains. Dominance behaves similarly. The score of
# valence increases up to the middle of the encoder, by a quarter of the scale at high arousal,
# and decreases towards the end, where the layers are specialised in the words that Whisper is
# trained to transcribe. This agrees with the results of the paper for HuBERT: shallow layers are
# informative about arousal, deeper ones about valence.
#
# The learned weights are less informative. They are spread over the first, middle and last layers,
# and vary as much between folds as between layers, because layers are redundant. The weighted sum
# predicts about as well as the layer selected by nested cross-validation. To find out which layers
# are informative, use probes rather than learned weights.
#
# The results do not carry over to HuBERT. Whisper is trained on transcripts, not on masked units,
# and this model has six layers instead of twenty-four. The corpora differ, too: in Emo-DB the same
# ten sentences are spoken in all emotions, so that words are not informative about valence. In the
# podcasts of the paper they are, and deep layers represent words. To analyse HuBERT, use
# `HubertEmbedder`; to use ratings of listeners, replace ``y`` by those of `load_msp_podcast` or
# `load_iemocap`.
#
# The maximum of a curve is optimistic for unseen speakers, because the layer is selected on the
# test folds. The scores of nested selection are unbiased.
