"""A pipeline whose next step can't take three axes fails before anything is computed."""

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_ser import LayerSelector, LogMelSpectrogram, TextEmbedder, WavLMEmbedder
from sklearn_ser.embedders._encoding import WindowPooler
from small_networks import small_network
from small_text_networks import small_text_network


@pytest.fixture
def recordings():
    return list(np.random.default_rng(0).normal(0, 0.1, (6, 4000)).astype(np.float32))


@pytest.fixture
def y():
    return ["anger", "sadness"] * 3


def layers():
    return WavLMEmbedder(small_network("wavlm"), layers="all")


@pytest.mark.parametrize(
    "later",
    [[LogisticRegression()], ["passthrough", StandardScaler(), LogisticRegression()]],
    ids=["last", "middle"],
)
def test_the_error_comes_first_and_says_what_to_do(later, recordings, y, monkeypatch):
    monkeypatch.setattr(WindowPooler, "encode", lambda *_: pytest.fail("it was computed"))
    needs_table = type(later[-2 if len(later) > 1 else 0]).__name__
    with pytest.raises(ValueError, match=rf"{needs_table}, takes a table.*flatten=True") as error:
        make_pipeline(layers(), *later).fit(recordings, y)
    assert "WavLMEmbedder has three axes" in str(error.value)


def test_it_comes_from_spectrograms_and_transcripts(recordings, y):
    with pytest.raises(ValueError, match=r"LogMelSpectrogram has three axes.*pooling"):
        make_pipeline(LogMelSpectrogram(), LogisticRegression()).fit(recordings, y)
    text = TextEmbedder(small_text_network("bert"), layers="all")
    with pytest.raises(ValueError, match=r"TextEmbedder has three axes"):
        make_pipeline(text, LogisticRegression()).fit(["a", "b"] * 3, y)


def test_it_comes_with_a_memory_and_in_a_search(recordings, y, tmp_path):
    pipeline = make_pipeline(layers(), LogisticRegression(), memory=str(tmp_path))
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="LogisticRegression, takes a table"):
        search.fit(recordings, y)


@pytest.mark.parametrize(
    "later",
    [
        [LayerSelector(), LogisticRegression()],
        [FunctionTransformer(np.ravel, validate=False)],
        [FunctionTransformer(lambda X: X[:, 0]), LogisticRegression()],
        [VotingClassifier([("a", make_pipeline(LayerSelector(), LogisticRegression()))])],
        [
            GridSearchCV(
                make_pipeline(LayerSelector(), LogisticRegression()),
                {"layerselector__layer": [0, 1]},
                cv=2,
            )
        ],
    ],
    ids=["selector", "function", "first layer", "voting", "search"],
)
def test_steps_that_may_take_three_axes_are_let_through(later, recordings, y):
    make_pipeline(layers(), *later).fit(recordings, y)
