"""Whole pipelines on real recordings and networks reach at least what is known of them."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import (
    CodecEmbedder,
    EmoHRNetClassifier,
    HyperbolicFusionClassifier,
    LogMelSpectrogram,
    WhisperEmbedder,
    XVectorEmbedder,
)
from sklearn_ser.datasets import load_emodb, load_ravdess
from sklearn_ser.metrics import unweighted_average_recall

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def take(corpus, rows):
    """Return the recordings, emotions and speakers of some rows of a corpus."""
    rows = np.flatnonzero(rows)
    return [corpus.recordings[row] for row in rows], corpus.target[rows], corpus.groups[rows]


def two_sentences(corpus):
    """Return the rows of two of Emo-DB's ten sentences."""
    return corpus.frame["sentence"].isin(["a01", "b02"])


def recall_of(pipeline, recordings, emotions, speakers, cv):
    predicted = cross_val_predict(pipeline, recordings, emotions, groups=speakers, cv=cv)
    return unweighted_average_recall(emotions, predicted)


@pytest.mark.parametrize(
    ("name", "load", "n_speakers", "floor"),
    [
        ("emodb", load_emodb, 10, 0.59),  # MFCC statistics with an SVM
        ("ravdess", load_ravdess, 3, 0.25),  # chance is .125
    ],
)
def test_statistics_of_spectrograms(corpus_folder, name, load, n_speakers, floor):
    corpus = load(corpus_folder(name))
    speakers = np.unique(corpus.groups)[:n_speakers]
    recordings, *labels = take(corpus, np.isin(corpus.groups, speakers))
    front_end = LogMelSpectrogram(pooling="mean_std_delta", duration=None, normalize=None)
    features = front_end.fit_transform(recordings)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    assert recall_of(classifier, features, *labels, LeaveOneGroupOut()) >= floor


def test_a_network_trained_from_scratch(corpus_folder):
    corpus = load_emodb(corpus_folder("emodb"))
    speakers = np.unique(corpus.groups)[:3]
    few = take(corpus, np.isin(corpus.groups, speakers) & two_sentences(corpus))
    pipeline = make_pipeline(
        LogMelSpectrogram(n_mels=64, hop_length=512),
        EmoHRNetClassifier(head_width=8, max_epochs=1, batch_size=16, random_state=0),
    )
    assert 0 < recall_of(pipeline, *few, LeaveOneGroupOut()) < 1


def test_a_training_beats_chance_quickly(corpus_folder):
    corpus = load_emodb(corpus_folder("emodb"))
    emotions = ["anger", "sadness", "neutral"]
    recordings, y, speakers = take(corpus, np.isin(corpus.target, emotions))
    held_out = np.isin(speakers, ["03", "08"])
    X = LogMelSpectrogram(n_mels=32, hop_length=1024).fit_transform(recordings)
    classifier = EmoHRNetClassifier(
        width=4, head_width=4, max_epochs=4, batch_size=16, learning_rate=5e-3, random_state=0
    )
    predicted = classifier.fit(X[~held_out], y[~held_out]).predict(X[held_out])
    assert unweighted_average_recall(y[held_out], predicted) >= 0.6


def test_fusion_of_a_speaker_embedding_and_a_codec(corpus_folder, weights_folder):
    pytest.importorskip("ai_edge_litert")
    corpus = load_emodb(corpus_folder("emodb"))
    recordings, emotions, speakers = take(corpus, two_sentences(corpus))
    union = FeatureUnion(
        [
            ("ge2e", XVectorEmbedder(str(weights_folder("ge2e")))),
            ("lyra", CodecEmbedder(str(weights_folder("lyra-soundstream")), pooling="mean_std")),
        ]
    ).set_output(transform="pandas")
    features = union.fit_transform(recordings)
    assert features.shape[1] == 384
    folds = GroupKFold(5, shuffle=True, random_state=0)
    recall = recall_of(HyperbolicFusionClassifier(), features, emotions, speakers, folds)
    assert recall >= 0.4  # chance is .143


def test_layers_of_whisper(corpus_folder, weights_folder):
    benchmark = runpy.run_path(str(ROOT / "benchmarks/layer_probe.py"))
    corpus = load_emodb(corpus_folder("emodb"))
    recordings, emotions, speakers = take(corpus, corpus.frame["sentence"] == "b02")
    model = str(weights_folder("whisper-base-encoder"))
    layers = WhisperEmbedder(model, layers="all", context="recording").fit_transform(recordings)
    assert layers.shape[1:] == (7, 512)
    curves = {}
    for name, rows, y in benchmark["targets_of"](emotions):
        curves[name] = benchmark["probe"](layers[rows], y, speakers[rows])
        one, _ = benchmark["select_inside"]("best", layers[rows], y, speakers[rows])
        weighted, selectors = benchmark["select_inside"](
            "weighted", layers[rows], y, speakers[rows]
        )
        assert min(one, weighted) > 0.1
        for selector in selectors:
            assert selector.layer_weights_.sum() == pytest.approx(1)
    # As the example says of all sentences: arousal is shallow, valence isn't.
    assert curves["arousal"].min() >= 0.7
    assert np.ptp(curves["arousal"]) <= 0.15
    assert curves["valence"].max() - curves["valence"][0] >= 0.1
