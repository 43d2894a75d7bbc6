"""ConcordanceRegressor: any table of features, several targets, compared with ridge."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import make_regression
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import ConcordanceRegressor, LayerSelector, WhisperEmbedder
from sklearn_ser.datasets import emotion_dimensions, load_emodb
from sklearn_ser.metrics import concordance_correlation_coefficient, concordance_scorer


@pytest.fixture(scope="module")
def problem():
    X, y = make_regression(120, 8, n_targets=2, noise=5.0, random_state=0)
    names = [f"x{column}" for column in range(8)]
    return pd.DataFrame(X, columns=names), pd.DataFrame(y, columns=["arousal", "valence"])


def quick(**parameters):
    settings = {"hidden_size": 32, "max_epochs": 20, "dropout": 0.1, "random_state": 0}
    return ConcordanceRegressor(**settings | {"device": "cpu"} | parameters)


def same_bits(one, other):
    return all(np.array_equal(one.state_[name], other.state_[name]) for name in one.state_)


def test_it_learns_several_targets(problem):
    X, y = problem
    regressor = quick(max_epochs=60).fit(X, y)
    assert concordance_correlation_coefficient(y, regressor.predict(X)) > 0.9
    assert regressor.target_names_ == ["arousal", "valence"]
    assert list(regressor.feature_names_in_) == list(X.columns)
    assert regressor.predict(X).shape == (120, 2)
    assert quick(max_epochs=1).fit(X, y["arousal"]).predict(X).shape == (120,)
    nameless = pl.Series(y["arousal"].to_numpy())
    assert quick(max_epochs=1).fit(X, nameless).target_names_ == ["target0"]


def test_columns_are_scored_by_their_names(problem):
    X, y = problem
    regressor = quick().fit(X, y)
    score = regressor.score(X, y)
    assert score == pytest.approx(regressor.score(X, y[["valence", "arousal"]]))
    assert score == pytest.approx(regressor.score(X, y.to_numpy()))
    assert score > regressor.score(X, y.to_numpy()[:, ::-1])
    with pytest.raises(ValueError, match=r"1 targets, arousal, .* predicts 2: arousal, valence"):
        regressor.score(X, y["arousal"])


def test_inputs_and_targets_are_standardized(problem):
    X, y = (table.to_numpy() for table in problem)
    plain = quick().fit(X, y)
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(plain.mean_, scaler.mean_)
    np.testing.assert_allclose(plain.scale_, scaler.scale_)
    # Units and offsets make no difference, also where float32 has no digits left.
    other = quick().fit(1e3 * X + 1e9, 256 * y + 1024)
    predicted = (other.predict(1e3 * X + 1e9) - 1024) / 256
    np.testing.assert_allclose(predicted, plain.predict(X), rtol=1e-2, atol=0.05)


def test_constant_targets_and_features(problem):
    X, y = problem
    regressor = quick().fit(X.assign(x0=3.0), y.assign(dominance=0.1))
    predicted = regressor.predict(X)
    assert np.isfinite(predicted).all()
    assert (predicted[:, 2] == 0.1).all()


def test_weights_of_zero_leave_out(problem):
    X, y = problem
    weights = np.arange(len(X)) % 3
    some = quick().fit(X, y, sample_weight=weights > 0)
    assert same_bits(some, quick().fit(X[weights > 0], y[weights > 0]))
    weighted = quick().fit(X, y, sample_weight=weights)
    assert not same_bits(weighted, some)


def test_early_stopping_holds_out_whole_speakers(problem, monkeypatch):
    X, y = problem
    speakers = np.repeat(np.arange(10), 12)
    splits = []
    split = ConcordanceRegressor._split

    def watch(self, training_set, seed):
        splits.append(split(self, training_set, seed))
        return splits[-1]

    monkeypatch.setattr(ConcordanceRegressor, "_split", watch)
    regressor = quick(early_stopping=True, validation_fraction=0.3, max_epochs=60)
    regressor.fit(X, y, groups=speakers)
    training, validation = splits[0]
    assert not set(speakers[training]) & set(speakers[validation])
    assert regressor.best_score_ == max(regressor.history_["valid_score"])
    # Only the training set is used to standardise.
    mean = X.to_numpy()[training].mean(0)
    np.testing.assert_allclose(regressor.mean_, mean)
    np.testing.assert_allclose(regressor.target_mean_, y.to_numpy()[training].mean(0))


def test_a_warm_start_goes_on(problem):
    X, y = problem
    regressor = quick(warm_start=True, max_epochs=3).fit(X, y)
    scale = regressor.scale_
    assert regressor.fit(2 * X, y).n_iter_ == 6
    np.testing.assert_array_equal(regressor.scale_, scale)
    with pytest.raises(ValueError, match="can't continue with the targets"):
        regressor.fit(X, y["arousal"])
    assert regressor.predict(X).shape == (120, 2)


def test_it_is_searched_and_pickled(problem):
    X, y = problem
    grid = {"hidden_size": [8, 32]}
    search = GridSearchCV(quick(max_epochs=5), grid, scoring=concordance_scorer, cv=2).fit(X, y)
    loaded = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(loaded.predict(X), search.predict(X))


def test_missing_values_are_named(problem):
    X, y = problem
    with pytest.raises(ValueError, match="Input X contains NaN"):
        quick().fit(X.mask(X > 1), y)
    with pytest.raises(ValueError, match="y is missing for 1 of 120"):
        quick().fit(X, y.mask(y == y.max().max()))


@pytest.mark.slow
def test_on_real_embeddings_it_is_ahead_of_ridge(corpus_folder, weights_folder, tmp_path):
    corpus = load_emodb(corpus_folder("emodb"))
    rows = np.arange(0, len(corpus.recordings), 2)
    recordings, speakers = np.array(corpus.recordings)[rows], np.array(corpus.groups)[rows]
    y = emotion_dimensions(np.array(corpus.target)[rows])
    model = weights_folder("whisper-tiny.en-encoder")
    embedder = WhisperEmbedder(model, layers=[1, 2], context="recording", memory=tmp_path)

    def score(regressor):
        pipeline = make_pipeline(embedder, LayerSelector(1), StandardScaler(), regressor)
        cv = GroupKFold(2, shuffle=True, random_state=0)
        predicted = cross_val_predict(pipeline, recordings, y, groups=speakers, cv=cv)
        return concordance_correlation_coefficient(y, predicted, multioutput="raw_values")

    ours = score(ConcordanceRegressor(max_epochs=30, random_state=0))
    ridge = score(Ridge(100.0))
    assert ours.mean() > ridge.mean() + 0.02
    assert (ours > ridge - 0.01).all()
