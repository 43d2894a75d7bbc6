"""
Which layers are informative about arousal and valence?
=======================================================

De Oliveira, Prabhu and Gerkmann (Interspeech 2023) found for HuBERT that shallow layers are
informative about arousal, and deep layers about valence. Layers are analysed by a probe, a simple
model trained on each frozen layer, with whole speakers held out. First, an untrained network on
synthetic voices shows how this is done; then the results of Whisper base on Emo-DB are plotted.
"""

# %%
# Hidden states of all layers
# ---------------------------
#
# ``layers="all"`` returns one vector per layer for each recording, in one pass. Layer 0 is the
# input of the first block. The network here is a small Whisper with random weights, so that nothing
# is downloaded. For a pretrained one, replace ``folder`` by ``"openai/whisper-base"``.

import tempfile

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn import config_context
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from sklearn_ser import LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import emotion_dimensions, make_emotional_speech
from sklearn_ser.inspection import LayerProbeDisplay
from sklearn_ser.metrics import concordance_scorer

folder = tempfile.mkdtemp()
torch.manual_seed(0)
small = WhisperConfig(d_model=48, encoder_layers=4, encoder_attention_heads=2, encoder_ffn_dim=96)
WhisperEncoder(small).save_pretrained(folder)

corpus = make_emotional_speech(n_speakers=5, n_sentences=2, random_state=0)
embedder = WhisperEmbedder(folder, layers="all", context="recording")
layers = embedder.fit_transform(corpus.recordings)
print(f"{layers.shape[0]} recordings, {layers.shape[1]} layers of {layers.shape[2]} dimensions")

# %%
# Probing each layer
# ------------------
#
# Emotions have names, but no ratings of arousal and valence, so values of the names are used. The
# layer is a parameter of a grid search. The score is the mean concordance correlation coefficient
# (CCC) over five folds of whole speakers. It measures correlation as well as errors in mean and
# scale.

y = emotion_dimensions(corpus.target)
targets = {"arousal": y[:, 0], "valence": y[:, 1], "dominance": y[:, 2]}
folds = GroupKFold(5, shuffle=True, random_state=0)
probe = make_pipeline(LayerSelector(), StandardScaler(), Ridge(100))
searches = {
    name: GridSearchCV(
        probe,
        {"layerselector__layer": range(layers.shape[1])},
        cv=folds,
        scoring=concordance_scorer,
    ).fit(layers, target, groups=corpus.groups)
    for name, target in targets.items()
}
display = LayerProbeDisplay.from_cv_results(searches, score_name="CCC, speakers held out")
display.ax_.set_title("An untrained network on synthetic voices")
plt.show()

# %%
# A network with random weights is the control of such an analysis. Its layers are random functions
# of the spectrogram, which contains the arousal: level, pitch and tempo. A high score alone does
# not show that a network has learned anything about emotions. A gain from layer to layer does, and
# here there is none beyond a standard deviation.

# %%
# Learned layer weights
# ---------------------
#
# ``LayerSelector("weighted")`` computes a weighted sum of the standardised layers. Its weights are
# learned together with a linear head. It is compared with ``LayerSelector("best")``, which selects
# a layer by cross-validation within each training fold. The speakers are passed by metadata
# routing. Neither method uses the held-out speakers.

for method in ("best", "weighted"):
    selector = LayerSelector(
        method,
        estimator=make_pipeline(StandardScaler(), Ridge(100)),
        cv=GroupKFold(3),
        scoring=concordance_scorer,
    )
    with config_context(enable_metadata_routing=True):
        found = cross_validate(
            make_pipeline(selector, StandardScaler(), Ridge(100)),
            layers,
            targets["arousal"],
            params={"groups": corpus.groups},
            cv=folds,
            scoring=concordance_scorer,
        )
    print(f"arousal, {method} layer: {found['test_score'].mean():.3f}")

# %%
# Whisper base on Emo-DB
# ----------------------
#
# The same analysis of six pretrained layers on the 535 recordings of Emo-DB, by
# ``python benchmarks/layer_probe.py openai/whisper-base --emodb path/to/emodb``, which prints these
# figures. The control is the same network with random weights. Only happiness has positive valence,
# and most other emotions differ from it in arousal too; therefore, valence is also analysed for
# anger, fear and happiness only, all of which have high arousal.

TRAINED = {
    "arousal": [0.876, 0.910, 0.921, 0.921, 0.915, 0.905, 0.885],
    "valence": [0.431, 0.568, 0.633, 0.616, 0.583, 0.541, 0.537],
    "valence at high arousal": [0.417, 0.557, 0.689, 0.694, 0.639, 0.607, 0.530],
    "dominance": [0.709, 0.781, 0.808, 0.786, 0.786, 0.749, 0.749],
}
UNTRAINED = {
    "arousal": [0.713, 0.716, 0.711, 0.715, 0.707, 0.706, 0.708],
    "valence": [0.214, 0.218, 0.219, 0.214, 0.215, 0.204, 0.208],
    "valence at high arousal": [0.297, 0.244, 0.223, 0.198, 0.206, 0.195, 0.204],
    "dominance": [0.584, 0.601, 0.590, 0.586, 0.581, 0.577, 0.583],
}
WEIGHTS = {  # mean and standard deviation over the folds
    "arousal": (
        [0.213, 0.041, 0.198, 0.125, 0.108, 0.127, 0.188],
        [0.106, 0.034, 0.195, 0.084, 0.152, 0.095, 0.121],
    ),
    "valence at high arousal": (
        [0.179, 0.068, 0.139, 0.235, 0.068, 0.091, 0.221],
        [0.037, 0.065, 0.072, 0.061, 0.046, 0.039, 0.044],
    ),
}

figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
display = LayerProbeDisplay(
    layers={name: list(range(7)) for name in TRAINED},
    scores={name: np.array(scores)[:, np.newaxis] for name, scores in TRAINED.items()},
    score_name="CCC, speakers held out",
).plot(ax=axes[0], std_display_style=None)
colors = {}
for line, name in zip(display.lines_, TRAINED, strict=True):
    colors[name] = line.get_color()
    axes[0].plot(UNTRAINED[name], color=colors[name], linestyle=":", linewidth=1)
axes[0].set(title="Probes (dotted: random weights)", ylim=(0.1, 1.3))

for name, (means, deviations) in WEIGHTS.items():
    axes[1].errorbar(range(7), means, deviations, color=colors[name], capsize=3, label=name)
axes[1].axhline(1 / 7, color="grey", linestyle=":", label="equal weights")
axes[1].set(xlabel="Layer", ylabel="Weight", title="Learned weights")
axes[1].legend()
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
# informative about arousal, deeper ones about valence. With random weights, no layer is better than
# the first by more than .02.
#
# The learned weights are less informative. They are spread over the first, middle and last layers,
# and vary as much between folds as between layers, because layers are redundant. The weighted sum
# predicts about as well (valence at high arousal: .705) as the layer selected by nested
# cross-validation (.683). To find out which layers are informative, use probes rather than learned
# weights.
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
