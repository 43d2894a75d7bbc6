"""Different embedders in one union, one table and one search."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import CodecEmbedder, TextEmbedder, WhisperEmbedder, XVectorEmbedder
from sklearn_ser.backbones._codec import CodecBackbone
from sklearn_ser.backbones._wav2vec2_xvector import Wav2Vec2XVectorBackbone
from sklearn_ser.backbones._whisper import WhisperBackbone
from sklearn_ser.datasets import make_emotional_speech
from small_codecs import small_codec
from small_networks import small_network
from small_text_networks import small_text_network


def _embedders(memory=None):
    return {
        "speaker": XVectorEmbedder(small_network("wavlm-sv"), memory=memory),
        "codec": CodecEmbedder(small_codec("encodec"), memory=memory),
        "speech": WhisperEmbedder(small_network("whisper"), context="recording", memory=memory),
    }


@pytest.fixture(scope="module")
def corpus():
    return make_emotional_speech(
        n_speakers=4, n_sentences=1, emotions=["anger", "sadness"], random_state=0
    )


@pytest.fixture
def passes(monkeypatch):
    """Return the number of recordings encoded by each type of network."""
    counts = dict.fromkeys(["speaker", "codec", "speech"], 0)
    backbones = (Wav2Vec2XVectorBackbone, CodecBackbone, WhisperBackbone)
    for name, backbone in zip(counts, backbones, strict=True):

        def encode(self, waveforms, last_layer, name=name, original=backbone.encode):
            counts[name] += len(waveforms)
            return original(self, waveforms, last_layer)

        monkeypatch.setattr(backbone, "encode", encode)
    return counts


def test_a_union_keeps_the_blocks_apart_by_name(corpus):
    embedders = _embedders()
    union = FeatureUnion(list(embedders.items())).set_output(transform="pandas")
    table = union.fit_transform(corpus.recordings)
    blocks = table.columns.str.partition("__").get_level_values(0)
    assert list(dict.fromkeys(blocks)) == list(embedders)
    assert table.columns[0] == "speaker__wavlmsv_dim0000"
    assert table.columns[20] == "codec__encodec24_dim0000"
    assert table.columns[-1] == "speech__whisper_layer03_dim0031"
    for name, embedder in embedders.items():
        rows = embedder.fit_transform(corpus.recordings)
        np.testing.assert_array_equal(table.loc[:, blocks == name], rows)


@pytest.mark.slow
def test_search_over_embedders_embeds_each_recording_once_per_embedder(corpus, passes, tmp_path):
    embedders = _embedders(tmp_path)
    union = FeatureUnion([(name, embedders[name]) for name in ("speaker", "codec")])
    pipeline = Pipeline(
        [
            ("features", "passthrough"),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=1000)),
        ]
    )
    search = GridSearchCV(
        pipeline,
        {"features": [*embedders.values(), union], "classify__C": [0.1, 1]},
        cv=GroupKFold(4),
    )
    search.fit(corpus.recordings, corpus.target, groups=corpus.groups)
    assert passes == dict.fromkeys(embedders, len(corpus.recordings))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    search.fit(corpus.recordings, corpus.target, groups=corpus.groups)
    assert passes == dict.fromkeys(embedders, len(corpus.recordings))


def test_a_table_of_recordings_and_transcripts_becomes_one_table(corpus):
    table = pd.DataFrame({"recording": corpus.recordings[:2], "transcript": ["No.", "Oh yes!"]})
    voice, words = _embedders()["speaker"], TextEmbedder(small_text_network("bert"))
    both = make_column_transformer((voice, "recording"), (words, "transcript"))
    found = both.set_output(transform="pandas").fit_transform(table)
    np.testing.assert_array_equal(
        found,
        np.hstack([voice.transform(table["recording"]), words.transform(table["transcript"])]),
    )
    prefixes = found.columns.str.partition("__").get_level_values(0)
    assert list(dict.fromkeys(prefixes)) == ["xvectorembedder", "textembedder"]
