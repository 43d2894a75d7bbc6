"""Probe the layers of Whisper for arousal, valence and dominance, trained and untrained.

python benchmarks/layer_probe.py path/to/whisper-base --emodb path/to/emodb [--memory cache]

Prints the concordance of a ridge regression on each layer on held-out speakers of Emo-DB, for the
checkpoint and for the same network with random weights; and for the checkpoint, learned layer
weights, and the concordance if the layer is selected or weighted within each training fold.
"""

import argparse
import tempfile

import numpy as np
from sklearn import config_context
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import emotion_dimensions, load_emodb
from sklearn_ser.metrics import concordance_scorer

FOLDS = GroupKFold(5, shuffle=True, random_state=0)
# Only happiness has positive valence, and most other emotions differ from it in arousal too.
HIGH_AROUSAL = ["anger", "fear", "happiness"]


def save_untrained(model):
    """Save a Whisper with random weights and the settings of a checkpoint; return its folder."""
    import torch
    from transformers import AutoFeatureExtractor, WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    folder = tempfile.mkdtemp()
    torch.manual_seed(0)
    WhisperEncoder(WhisperConfig.from_pretrained(model)).save_pretrained(folder)
    AutoFeatureExtractor.from_pretrained(model).save_pretrained(folder)
    return folder


def targets_of(emotions):
    """Yield the names of the targets, the rows that they are defined for, and their values."""
    dimensions = emotion_dimensions(emotions)
    everything = np.arange(len(emotions))
    yield "arousal", everything, dimensions[:, 0]
    yield "valence", everything, dimensions[:, 1]
    aroused = np.flatnonzero(np.isin(emotions, HIGH_AROUSAL))
    yield "valence at high arousal", aroused, dimensions[aroused, 1]
    yield "dominance", everything, dimensions[:, 2]


def probe(layers, y, speakers):
    """Return the mean concordance of each layer over the folds."""
    pipeline = make_pipeline(LayerSelector(), StandardScaler(), Ridge(100))
    grid = {"layerselector__layer": list(range(layers.shape[1]))}
    search = GridSearchCV(pipeline, grid, cv=FOLDS, scoring=concordance_scorer)
    return search.fit(layers, y, groups=speakers).cv_results_["mean_test_score"]


def select_inside(layer, X, y, speakers):
    """Return the concordance with layers selected inside each training fold, and the selectors."""
    regressor = make_pipeline(StandardScaler(), Ridge(100))
    selector = LayerSelector(
        layer, estimator=regressor, cv=GroupKFold(3), scoring=concordance_scorer
    )
    with config_context(enable_metadata_routing=True):
        found = cross_validate(
            make_pipeline(selector, regressor),
            X,
            y,
            params={"groups": speakers},
            cv=FOLDS,
            scoring=concordance_scorer,
            return_estimator=True,
        )
    return found["test_score"].mean(), [pipeline[0] for pipeline in found["estimator"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="hub id or folder of a Whisper")
    parser.add_argument("--emodb", required=True, help="folder of Emo-DB")
    parser.add_argument("--memory", help="folder for caching embeddings")
    arguments = parser.parse_args()

    corpus = load_emodb(arguments.emodb)
    networks = {"trained": arguments.model, "untrained": save_untrained(arguments.model)}
    for network, model in networks.items():
        embedder = WhisperEmbedder(
            model, layers="all", context="recording", memory=arguments.memory
        )
        layers = embedder.fit_transform(corpus.recordings)
        print(f"{network}: {len(layers)} recordings, layers 0 to {layers.shape[1] - 1}")
        for name, rows, y in targets_of(corpus.target):
            X, speakers = layers[rows], corpus.groups[rows]
            scores = probe(X, y, speakers)
            print(f"  {name:23}", " ".join(f"{score:.3f}" for score in scores), flush=True)
            if network == "trained":
                one, selected = select_inside("best", X, y, speakers)
                chosen = sorted(int(selector.best_layer_) for selector in selected)
                weighted, selected = select_inside("weighted", X, y, speakers)
                weights = np.array([selector.layer_weights_ for selector in selected])
                print("    weights            ", *(f"{w:.3f}" for w in weights.mean(axis=0)))
                print("    standard deviation ", *(f"{w:.3f}" for w in weights.std(axis=0)))
                print(f"    one layer selected inside: {one:.3f} (layers {chosen})")
                print(f"    weighted sum: {weighted:.3f}", flush=True)


if __name__ == "__main__":
    main()
