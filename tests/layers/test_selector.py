"""LayerSelector: output, feature names and routing of groups."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector

N, N_LAYERS, N_DIMS = 80, 4, 3
COMBINATIONS = ["mean", "weighted", "best"]


@pytest.fixture
def layers():
    return np.random.default_rng(0).normal(size=(N, N_LAYERS, N_DIMS))


@pytest.fixture
def speakers():
    return np.repeat([f"speaker{number}" for number in range(8)], N // 8)


@pytest.fixture
def emotions(layers):
    """Return classes that are encoded in the first dimension of layer 2."""
    emotions = np.array(["anger", "fear"])[np.arange(N) % 2]
    layers[:, 2, 0] += np.where(emotions == "anger", 2, -2)
    return emotions


@pytest.fixture
def dimensions(layers):
    """Return arousal, encoded in layer 0, and valence, encoded in layer 3."""
    noise = np.random.default_rng(1).normal(scale=0.1, size=(N, 2))
    return pd.DataFrame({"arousal": layers[:, 0, 1], "valence": layers[:, 3, 2]}) + noise


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def _table(layers):
    """Return a table with the columns and names of an embedder with `flatten=True`."""
    columns = [f"wavlm_layer{i:02d}_dim{j:04d}" for i in range(N_LAYERS) for j in range(N_DIMS)]
    return pd.DataFrame(layers.reshape(N, -1), columns=columns, index=range(100, 100 + N))


class SplitterSpy(GroupKFold):
    """Record the groups of every split."""

    splits = []

    def split(self, X, y=None, groups=None):
        for train, test in super().split(X, y, groups):
            self.splits.append((set(groups), set(groups[train]), set(groups[test])))
            yield train, test


# Indices and lists


@pytest.mark.parametrize("layer", [0, 2, -1, -N_LAYERS, np.int64(3), np.int32(-2)])
def test_an_index_selects_the_layer(layers, layer):
    selector = LayerSelector(layer)
    np.testing.assert_array_equal(selector.fit_transform(layers), layers[:, layer])
    assert selector.layer_indices_.tolist() == [layer % N_LAYERS]


@pytest.mark.parametrize("layer", [[2, 0], (2, 0), np.array([-2, 0]), [np.int64(2), 0]])
def test_layers_of_a_list_are_concatenated_in_its_order(layers, layer):
    expected = np.hstack([layers[:, 2], layers[:, 0]])
    np.testing.assert_array_equal(LayerSelector(layer).fit_transform(layers), expected)


def test_a_range_is_a_list(layers):
    expected = np.hstack([layers[:, 1], layers[:, 2]])
    np.testing.assert_array_equal(LayerSelector(range(1, 3)).fit_transform(layers), expected)


def test_a_table_is_layer_major(layers, emotions):
    table = layers.reshape(N, -1)
    for layer in [1, [3, 0], *COMBINATIONS]:
        expected = LayerSelector(layer).fit(layers, emotions).transform(layers)
        selector = LayerSelector(layer, n_layers=N_LAYERS).fit(table, emotions)
        np.testing.assert_array_equal(selector.transform(table), expected)
        assert (selector.n_layers_, selector.n_dims_) == (N_LAYERS, N_DIMS)
        assert selector.n_features_in_ == N_LAYERS * N_DIMS


@pytest.mark.parametrize("layer", [-1, 0, "mean"])
def test_a_table_without_n_layers_is_one_layer(layers, layer):
    table = layers.reshape(N, -1)
    np.testing.assert_array_equal(LayerSelector(layer).fit_transform(table), table)


def test_the_mean_is_not_standardised(layers):
    expected = sum(layers[:, index] for index in range(N_LAYERS)) / N_LAYERS
    np.testing.assert_allclose(LayerSelector("mean").fit_transform(layers), expected, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", [1, [0, 1], *COMBINATIONS])
def test_dtypes_are_kept(layers, emotions, dtype, layer):
    selector = LayerSelector(layer).fit(layers.astype(dtype), emotions)
    assert selector.transform(layers.astype(dtype)).dtype == dtype
    expected = selector.transform(layers)
    np.testing.assert_allclose(selector.transform(layers.astype(dtype)), expected, atol=1e-6)


def test_the_output_is_a_copy(layers):
    for layer in (0, [0, 1], "mean"):
        kept = layers.copy()
        for given in (layers, layers.reshape(N, -1)):
            LayerSelector(layer, n_layers=N_LAYERS).fit_transform(given)[:] = 0
        table = layers[:, 0].copy()
        LayerSelector().fit_transform(table)[:] = 0
        np.testing.assert_array_equal(layers, kept)
        np.testing.assert_array_equal(table, kept[:, 0])


# Best


def test_best_finds_the_layer_of_the_emotions(layers, emotions):
    selector = LayerSelector("best").fit(layers, emotions)
    assert selector.best_layer_ == 2
    assert type(selector.best_layer_) is int
    np.testing.assert_array_equal(selector.transform(layers), layers[:, 2])
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    for index in range(N_LAYERS):
        expected = cross_val_score(probe, layers[:, index], emotions, scoring="balanced_accuracy")
        np.testing.assert_array_equal(selector.layer_scores_[index], expected)
    assert selector.layer_scores_.shape == (N_LAYERS, 5)
    assert selector.scoring_ == "balanced_accuracy"


def test_best_finds_a_layer_for_each_target(layers, dimensions):
    selector = LayerSelector("best").fit(layers, dimensions)
    assert selector.best_layer_ == [0, 3]
    assert selector.target_names_ == ["arousal", "valence"]
    assert selector.scoring_ == ["r2", "r2"]
    expected = np.hstack([layers[:, 0], layers[:, 3]])
    np.testing.assert_array_equal(selector.transform(layers), expected)
    for number, name in enumerate(dimensions):
        alone = LayerSelector("best").fit(layers, dimensions[name])
        np.testing.assert_array_equal(selector.layer_scores_[number], alone.layer_scores_)
        probe = make_pipeline(StandardScaler(), Ridge())
        expected = cross_val_score(probe, layers[:, 1], dimensions[name])
        np.testing.assert_array_equal(alone.layer_scores_[1], expected)


def test_estimator_cv_and_scoring_are_used(layers, emotions):
    probe = LogisticRegression(C=0.1)
    folds = StratifiedKFold(3, shuffle=True, random_state=1)
    selector = LayerSelector("best", estimator=probe, cv=folds, scoring="neg_log_loss")
    selector.fit(layers, emotions)
    expected = cross_val_score(probe, layers[:, 3], emotions, cv=folds, scoring="neg_log_loss")
    np.testing.assert_array_equal(selector.layer_scores_[3], expected)
    assert selector.scoring_ == "neg_log_loss"
    assert not hasattr(probe, "coef_"), "the user's estimator was fitted"


@pytest.mark.slow
def test_scores_do_not_depend_on_the_number_of_jobs(layers, emotions):
    one, two = (
        LayerSelector("best", n_jobs=n_jobs).fit(layers, emotions).layer_scores_
        for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_all_layers_are_scored_on_the_same_folds(layers, emotions):
    layers[:] = layers[:, :1]
    cv = ShuffleSplit(3, random_state=np.random.RandomState(0))
    scores = LayerSelector("best", cv=cv).fit(layers, emotions).layer_scores_
    np.testing.assert_array_equal(scores, np.tile(scores[0], (N_LAYERS, 1)))


def test_folds_from_an_iterator_are_used_for_every_target(layers, dimensions):
    folds = list(KFold(4).split(layers))
    once = LayerSelector("best", cv=iter(folds)).fit(layers, dimensions)
    again = LayerSelector("best", cv=folds).fit(layers, dimensions)
    np.testing.assert_array_equal(once.layer_scores_, again.layer_scores_)


def test_best_without_groups_warns_unless_cv_is_a_splitter(layers, emotions, recwarn):
    with pytest.warns(UserWarning, match=r"scores layers on recordings.*groups=speakers"):
        LayerSelector("best").fit(layers, emotions)
    recwarn.clear()
    LayerSelector("best", cv=StratifiedKFold(2)).fit(layers, emotions)
    LayerSelector("best").fit(layers, emotions, groups=np.arange(len(emotions)) % 5)
    assert not recwarn.list


def test_ties_give_the_lowest_layer(layers, emotions):
    layers[:, 1] = layers[:, 2]
    assert LayerSelector("best").fit(layers, emotions).best_layer_ == 1


def test_nan_scores_are_ignored(layers, dimensions):
    def score(estimator, X, y):
        predicted = estimator.predict(X)
        return np.nan if np.ptp(predicted) == 0 else np.corrcoef(predicted, y)[0, 1]

    layers[:, 1] = 0
    arousal = dimensions["arousal"]
    selector = LayerSelector("best", scoring=score).fit(layers, arousal)
    assert np.isnan(selector.layer_scores_[1]).all()
    assert selector.best_layer_ == 0
    layers[:] = 0
    with pytest.raises(ValueError, match="The scores of all layers are NaN"):
        selector.fit(layers, arousal)


# Weighted


def test_weights_are_highest_for_the_layer_of_the_emotions(layers, emotions):
    layers[:, 0] *= 1e4
    selector = LayerSelector("weighted").fit(layers, emotions)
    assert selector.layer_weights_.shape == (N_LAYERS,)
    assert selector.layer_weights_.sum() == pytest.approx(1, abs=1e-15)
    assert selector.layer_weights_[2] > 0.8
    standardized = StandardScaler().fit_transform(layers.reshape(N, -1)).reshape(layers.shape)
    expected = np.tensordot(standardized, selector.layer_weights_, axes=(1, 0))
    np.testing.assert_allclose(selector.transform(layers), expected, atol=1e-12)


def test_the_scale_of_a_layer_does_not_matter(layers, emotions):
    first = LayerSelector("weighted", tol=1e-8).fit(layers, emotions)
    scaled = layers * np.array([1e-3, 1, 1e4, 10])[:, np.newaxis]
    second = LayerSelector("weighted", tol=1e-8).fit(scaled, emotions)
    np.testing.assert_allclose(first.layer_weights_, second.layer_weights_, atol=1e-6)
    np.testing.assert_allclose(first.transform(layers), second.transform(scaled), atol=1e-5)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_each_target_has_its_own_weights(layers, dimensions, emotions, n_jobs):
    targets = dimensions.assign(emotion=emotions)
    selector = LayerSelector("weighted", n_jobs=n_jobs).fit(layers, targets)
    assert selector.layer_weights_.argmax(axis=1).tolist() == [0, 3, 2]
    sums = selector.transform(layers)
    assert sums.shape == (N, 3 * N_DIMS)
    for number, name in enumerate(targets):
        alone = LayerSelector("weighted").fit(layers, targets[name])
        np.testing.assert_array_equal(selector.layer_weights_[number], alone.layer_weights_)
        np.testing.assert_allclose(
            sums[:, number * N_DIMS : (number + 1) * N_DIMS], alone.transform(layers), atol=1e-14
        )


def test_the_unit_of_a_number_does_not_matter(layers, dimensions):
    first = LayerSelector("weighted").fit(layers, dimensions)
    second = LayerSelector("weighted").fit(layers, 100 * dimensions + 3)
    np.testing.assert_allclose(first.layer_weights_, second.layer_weights_, atol=1e-6)


def test_integers_are_classes_by_default(layers):
    ratings = np.clip(np.round(2 * layers[:, 1, 0] + 4), 1, 7)
    np.testing.assert_array_equal(ratings, ratings.astype(int))
    auto, continuous = (
        LayerSelector("best", target_type=target_type, cv=3).fit(layers, ratings)
        for target_type in ("auto", "continuous")
    )
    assert (auto.scoring_, continuous.scoring_) == ("balanced_accuracy", "r2")
    learned = LayerSelector("weighted", target_type="continuous").fit(layers, ratings)
    same = LayerSelector("weighted").fit(layers, ratings + 0.5)
    np.testing.assert_allclose(learned.layer_weights_, same.layer_weights_, atol=1e-12)
    assert learned.layer_weights_[1] > 0.9


def test_too_few_iterations_warn(layers, emotions):
    with pytest.warns(ConvergenceWarning, match=r"did not converge in 2 iterations.*max_iter=2"):
        LayerSelector("weighted", max_iter=2).fit(layers, emotions)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["weighted", "best"])
def test_only_the_training_rows_are_learned_from(layers, emotions, layer):
    pipeline = make_pipeline(LayerSelector(layer, cv=2), LogisticRegression())
    folds = KFold(4, shuffle=True, random_state=0)
    result = cross_validate(
        pipeline, layers, emotions, cv=folds, return_estimator=True, return_indices=True
    )
    for fitted, train in zip(result["estimator"], result["indices"]["train"], strict=True):
        alone = LayerSelector(layer, cv=2).fit(layers[train], emotions[train])
        np.testing.assert_array_equal(fitted[0].transform(layers), alone.transform(layers))


# Every fit sets every attribute


def test_a_fit_that_fails_leaves_nothing_to_transform_with(layers, emotions):
    selector = LayerSelector(0).fit(layers)
    for wrong in (LayerSelector(99), selector.set_params(layer=99)):
        with pytest.raises(ValueError, match="99"):
            wrong.fit(layers)
        with pytest.raises(NotFittedError):
            wrong.transform(layers)
        with pytest.raises(NotFittedError):
            wrong.get_feature_names_out()
    assert selector.set_params(layer=1).fit(layers).transform(layers).shape == layers[:, 1].shape


def test_a_second_fit_resets_all_attributes(layers, emotions, dimensions):
    selector = LayerSelector("weighted").fit(layers, dimensions)
    assert selector.n_iter_ > 1
    assert selector.best_layer_ is selector.layer_scores_ is selector.layer_indices_ is None
    selector.set_params(layer="best").fit(layers, emotions)
    assert selector.layer_weights_ is selector.mean_ is selector.scale_ is None
    assert selector.target_names_ is None
    assert selector.n_iter_ == 1
    selector.set_params(layer=[0, 1], n_layers=N_LAYERS).fit(_table(layers))
    assert selector.best_layer_ is selector.layer_scores_ is selector.scoring_ is None
    assert selector.n_features_in_ == N_LAYERS * N_DIMS
    selector.fit(layers)
    assert not hasattr(selector, "n_features_in_")
    assert not hasattr(selector, "feature_names_in_")


@pytest.mark.parametrize("layer", [2, [0, 1], *COMBINATIONS])
def test_clones_and_pickles(layers, emotions, layer):
    selector = LayerSelector(layer).fit(layers, emotions)
    expected = selector.transform(layers)
    opened = pickle.loads(pickle.dumps(selector))
    np.testing.assert_array_equal(opened.transform(layers), expected)
    copied = clone(selector)
    assert not hasattr(copied, "n_layers_")
    np.testing.assert_array_equal(copied.fit(layers, emotions).transform(layers), expected)


# Names


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (-1, [f"wavlm_layer03_dim000{number}" for number in range(3)]),
        (
            [2, 0],
            [f"wavlm_layer0{layer}_dim000{number}" for layer in (2, 0) for number in range(3)],
        ),
        ("mean", [f"wavlm_layermean_dim000{number}" for number in range(3)]),
        ("weighted", [f"wavlm_layerweighted_dim000{number}" for number in range(3)]),
        ("best", [f"wavlm_layer02_dim000{number}" for number in range(3)]),
    ],
)
def test_names_of_a_data_frame(layers, emotions, layer, expected):
    selector = LayerSelector(layer, n_layers=N_LAYERS).fit(_table(layers), emotions)
    assert selector.get_feature_names_out().tolist() == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (-1, ["layer3_dim0", "layer3_dim1", "layer3_dim2"]),
        ([2, 0], [f"layer{layer}_dim{number}" for layer in (2, 0) for number in range(3)]),
        ("mean", ["layermean_dim0", "layermean_dim1", "layermean_dim2"]),
        ("weighted", ["layerweighted_dim0", "layerweighted_dim1", "layerweighted_dim2"]),
    ],
)
def test_names_without_feature_names_in(layers, emotions, layer, expected):
    selector = LayerSelector(layer).fit(layers, emotions)
    assert selector.get_feature_names_out().tolist() == expected
    given = [f"hubert_layer{i}_d{j}" for i in range(N_LAYERS) for j in range(N_DIMS)]
    renamed = [name.replace("layer", "hubert_layer").replace("dim", "d") for name in expected]
    assert selector.get_feature_names_out(given).tolist() == renamed
    with pytest.raises(ValueError, match="input_features has length 1, but X had 4 layers of 3"):
        selector.get_feature_names_out(["one"])


def test_numbers_in_names_are_padded_to_the_largest():
    selector = LayerSelector([3, 12]).fit(np.zeros((1, 13, 1024), dtype=np.float32))
    assert selector.get_feature_names_out()[[12, -1]].tolist() == [
        "layer03_dim0012",
        "layer12_dim1023",
    ]


def test_a_table_without_names_is_named_as_scikit_learn_does(layers):
    selector = LayerSelector(1, n_layers=N_LAYERS).fit(layers.reshape(N, -1))
    assert selector.get_feature_names_out().tolist() == ["x3", "x4", "x5"]
    selector.set_params(layer="mean").fit(layers.reshape(N, -1))
    assert selector.get_feature_names_out().tolist() == [f"layermean_dim{i}" for i in range(3)]


@pytest.mark.parametrize("layer", ["weighted", "best"])
def test_names_of_several_targets_are_prefixes(layers, dimensions, layer):
    names = LayerSelector(layer).fit(layers, dimensions).get_feature_names_out().tolist()
    word = {"weighted": ("weighted", "weighted"), "best": ("0", "3")}[layer]
    assert names[0] == f"arousal_layer{word[0]}_dim0"
    assert names[-1] == f"valence_layer{word[1]}_dim2"
    assert len(set(names)) == 2 * N_DIMS
    unnamed = LayerSelector(layer).fit(layers, dimensions.to_numpy())
    assert unnamed.get_feature_names_out()[0].startswith("target0_layer")


@pytest.mark.parametrize("layer", [2, [0, 1], *COMBINATIONS])
@pytest.mark.parametrize("three_axes", [True, False])
def test_set_output(layers, dimensions, layer, three_axes):
    X = layers if three_axes else _table(layers)
    selector = LayerSelector(layer, n_layers=N_LAYERS).fit(X, dimensions)
    expected = selector.transform(X)
    for kind, frame in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        found = selector.set_output(transform=kind).transform(X)
        assert isinstance(found, frame)
        np.testing.assert_array_equal(found.to_numpy(), expected)
        assert list(found.columns) == selector.get_feature_names_out().tolist()
    if not three_axes:
        pandas = selector.set_output(transform="pandas").transform(X)
        assert pandas.index.tolist() == list(range(100, 100 + N))


def test_columns_of_two_networks(layers):
    table = _table(layers)
    both = table.join(table.rename(columns=lambda name: name.replace("wavlm", "hubert")))
    each = {"wavlm": LayerSelector(1, n_layers=4), "hubert": LayerSelector("mean", n_layers=4)}
    transformer = ColumnTransformer(
        [(name, selector, [c for c in both if name in c]) for name, selector in each.items()],
        verbose_feature_names_out=False,
    )
    found = transformer.set_output(transform="pandas").fit_transform(both)
    assert found.columns[0] == "wavlm_layer01_dim0000"
    assert found.columns[3] == "hubert_layermean_dim0000"
    np.testing.assert_array_equal(found.iloc[:, :3], layers[:, 1])


def test_a_union_of_layers(layers):
    union = FeatureUnion([("low", LayerSelector(0)), ("mean", LayerSelector("mean"))])
    expected = np.hstack([layers[:, 0], layers.mean(axis=1)])
    np.testing.assert_array_equal(union.fit_transform(layers), expected)
    assert union.get_feature_names_out()[0] == "low__layer0_dim0"


# Errors


@pytest.mark.parametrize("layer", [4, -5, [0, 4], 13])
def test_an_index_out_of_range_raises(layers, layer):
    with pytest.raises(ValueError, match=r"out of range: X has 4 layer\(s\).*from -4 to 3\.$"):
        LayerSelector(layer).fit(layers)


def test_a_table_of_several_layers_without_n_layers_raises(layers):
    with pytest.raises(ValueError, match=r"has 1 layer\(s\).*from -1 to 0\. .*needs n_layers"):
        LayerSelector(3).fit(layers.reshape(N, -1))
    with pytest.raises(ValueError, match=r"columns of X name 4 layers.*pass n_layers=4"):
        LayerSelector().fit(_table(layers))


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ([], ValueError, r"layer=\[\] names no layer"),
        ([0, 0], ValueError, "names a layer twice"),
        ([3, -1], ValueError, "names a layer twice"),
        ([0, 1.5], TypeError, "got 1.5"),
        (["mean"], TypeError, "got 'mean'"),
        ([True, False], TypeError, "got True"),
        (True, TypeError, "got True"),
        (1.0, ValueError, "The 'layer' parameter"),
        ("last", ValueError, "The 'layer' parameter"),
    ],
)
def test_invalid_layers_raise(layers, layer, error, message):
    with pytest.raises(error, match=message):
        LayerSelector(layer).fit(layers)


def test_a_wrong_number_of_columns_raises(layers):
    with pytest.raises(ValueError, match="X has 12 columns, which is not a multiple of n_layers=5"):
        LayerSelector(n_layers=5).fit(layers.reshape(N, -1))


def test_a_second_axis_that_contradicts_n_layers_raises(layers):
    with pytest.raises(ValueError, match=r"n_layers=5, but X of shape \(80, 4, 3\) has 4"):
        LayerSelector(n_layers=5).fit(layers)


@pytest.mark.parametrize("shape", [(5, 2, 3, 4), (5, 0, 3), (5, 2, 0)])
def test_other_shapes_raise(shape):
    with pytest.raises(ValueError, match=r"must be \(n_recordings, n_layers, n_dims\)"):
        LayerSelector().fit(np.zeros(shape))


def test_another_shape_in_transform_raises(layers):
    selector = LayerSelector().fit(layers)
    for other in (layers[:, :3], layers[:, :, :2], layers.reshape(N, -1), layers[:, 0]):
        with pytest.raises(ValueError, match=r"in fit it had \(n_recordings, 4, 3\)"):
            selector.transform(other)
    selector = LayerSelector(n_layers=N_LAYERS).fit(layers.reshape(N, -1))
    with pytest.raises(ValueError, match=r"in fit it had \(n_recordings, 12\)"):
        selector.transform(layers)
    with pytest.raises(ValueError, match="X has 9 features, but LayerSelector is expecting 12"):
        selector.transform(layers.reshape(N, -1)[:, :9])


@pytest.mark.parametrize("layer", [1, [0, 1], "mean"])
def test_rows_of_nan_pass(layers, layer):
    expected = LayerSelector(layer).fit_transform(layers)
    layers[3] = expected[3] = np.nan
    np.testing.assert_array_equal(LayerSelector(layer).fit_transform(layers), expected)
    layers[3] = np.inf
    with pytest.raises(ValueError, match="contains infinity"):
        LayerSelector(layer).fit(layers)


@pytest.mark.parametrize("layer", ["weighted", "best"])
def test_learning_from_nan_raises(layers, emotions, layer):
    selector = LayerSelector(layer).fit(layers, emotions)
    layers[3] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        selector.transform(layers)
    with pytest.raises(ValueError, match="contains NaN"):
        selector.fit(layers, emotions)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["weighted", "best"])
def test_targets_may_come_in_any_table(layers, dimensions, emotions, layer):
    targets = dimensions.assign(emotion=emotions)
    expected = LayerSelector(layer).fit(layers, targets)
    assert expected.target_names_ == ["arousal", "valence", "emotion"]
    for given in (
        pl.DataFrame(targets.to_dict("list")),
        targets.astype(object),
        targets.to_numpy(),
    ):
        found = LayerSelector(layer).fit(layers, given)
        np.testing.assert_array_equal(found.transform(layers), expected.transform(layers))
    names = ["anger", "fear"]
    for given in (pd.Series(emotions, dtype="category"), pl.Series(emotions), list(emotions)):
        found = LayerSelector(layer).fit(layers, given)
        alone = LayerSelector(layer).fit(layers, np.array(names)[np.arange(N) % 2])
        np.testing.assert_array_equal(found.transform(layers), alone.transform(layers))


@pytest.mark.parametrize("layer", ["weighted", "best"])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (["anger"] * N, "y has one class, anger"),
        (["anger"] * (N - 1), "inconsistent numbers of samples"),
        ([[["anger"]]] * N, "Found array with dim 3"),
        ([np.nan] * N, "y is missing for"),
    ],
)
def test_invalid_targets_raise(layers, layer, y, message):
    with pytest.raises(ValueError, match=message):
        LayerSelector(layer).fit(layers, y)


def test_a_target_type_that_contradicts_y_raises(layers, emotions, dimensions):
    with pytest.raises(ValueError, match="target_type='continuous', but y has dtype <U5"):
        LayerSelector("weighted", target_type="continuous").fit(layers, emotions)
    with pytest.raises(ValueError, match="y is continuous, but target_type='multiclass'"):
        LayerSelector("weighted", target_type="multiclass").fit(layers, dimensions)


# Searches and groups


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_over_layers_finds_the_layer_of_the_emotions(layers, emotions, n_jobs):
    pipeline = make_pipeline(LayerSelector(), StandardScaler(), LogisticRegression())
    grid = {"layerselector__layer": [*range(N_LAYERS), np.int64(0), [0, 1], "mean"]}
    search = GridSearchCV(pipeline, grid, n_jobs=n_jobs).fit(layers, emotions)
    assert search.best_params_ == {"layerselector__layer": 2}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.slow
def test_groups_given_to_fit_are_kept_apart(layers, emotions, speakers):
    by_hand = list(LeaveOneGroupOut().split(layers, emotions, speakers))
    expected = LayerSelector("best", cv=by_hand).fit(layers, emotions).layer_scores_
    selector = LayerSelector("best", cv=LeaveOneGroupOut())
    selector.fit(layers, emotions, groups=speakers)
    np.testing.assert_array_equal(selector.layer_scores_, expected)
    found = LayerSelector("best", cv=LeaveOneGroupOut()).fit_transform(
        layers, emotions, groups=speakers
    )
    np.testing.assert_array_equal(found, layers[:, 2])


@pytest.mark.parametrize(("cv", "n_splits"), [(None, 5), (4, 4)])
@pytest.mark.parametrize("kind", ["classes", "continuous"])
def test_a_number_of_folds_keeps_groups_whole(
    layers, emotions, dimensions, speakers, cv, n_splits, kind
):
    codes = np.unique(speakers, return_inverse=True)[1]
    layers[:, :, -1] = codes[:, np.newaxis]  # so that the scorer gets the speakers
    tested = []

    def score(estimator, X, y):
        tested.append(frozenset(X[:, -1]))
        return 0.0

    y = emotions if kind == "classes" else dimensions["arousal"]
    selector = LayerSelector("best", cv=cv, scoring=score).fit(layers, y, groups=speakers)
    assert selector.layer_scores_.shape == (N_LAYERS, n_splits)
    folds = tested[:n_splits]
    assert sorted(code for fold in folds for code in fold) == list(range(8))
    assert tested == folds * N_LAYERS


def test_number_of_folds_with_fewer_than_five_groups(layers, emotions):
    selector = LayerSelector("best").fit(layers, emotions, groups=np.arange(N) // 30)
    assert selector.layer_scores_.shape == (N_LAYERS, 3)
    for cv, groups in ((4, np.arange(N) // 30), (None, np.zeros(N))):
        with pytest.raises(ValueError, match=r"groups has \d groups, too few for \d folds"):
            LayerSelector("best", cv=cv).fit(layers, emotions, groups=groups)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LayerSelector("best").fit(layers, emotions, groups=[0, 1])


@pytest.mark.parametrize("enabled", [True, False])
def test_missing_groups_raise(layers, emotions, enabled):
    with (
        sklearn.config_context(enable_metadata_routing=enabled),
        pytest.raises(ValueError, match=r"cv=LeaveOneGroupOut\(\) splits by groups, but no groups"),
    ):
        LayerSelector("best", cv=LeaveOneGroupOut()).fit(layers, emotions)


def test_other_metadata_raise(layers, emotions, routing):
    with pytest.raises(TypeError, match="unexpected argument"):
        LayerSelector("best").fit(layers, emotions, speakers=emotions)
    with (
        sklearn.config_context(enable_metadata_routing=False),
        pytest.raises(TypeError, match=r"got \['speakers'\], but accepts only groups"),
    ):
        LayerSelector("best").fit(layers, emotions, speakers=emotions)


@pytest.fixture
def spy(monkeypatch):
    monkeypatch.setattr(SplitterSpy, "splits", [])
    return SplitterSpy(3)


def test_groups_are_kept_apart_inside_a_pipeline(layers, emotions, speakers, routing, spy):
    pipeline = make_pipeline(LayerSelector("best", cv=spy), LogisticRegression())
    pipeline.fit(layers, emotions, groups=speakers)
    assert len(spy.splits) == 3
    assert all(not train & test for _, train, test in spy.splits)
    assert pipeline[0].best_layer_ == 2


@pytest.mark.slow
def test_groups_are_kept_apart_in_nested_folds(layers, emotions, speakers, routing, spy):
    pipeline = make_pipeline(LayerSelector("best", cv=spy), LogisticRegression())
    result = cross_validate(
        pipeline,
        layers,
        emotions,
        params={"groups": speakers},
        cv=GroupKFold(4),
        error_score="raise",
        return_indices=True,
    )
    assert len(spy.splits) == 4 * 3
    outer = [set(speakers[train]) for train in result["indices"]["train"]]
    for number, (given, train, test) in enumerate(spy.splits):
        assert given == outer[number // 3], "a held-out speaker was seen inside"
        assert not train & test
        assert train | test == given


@pytest.mark.slow
@pytest.mark.parametrize("cv", [None, 3])
def test_a_number_of_folds_is_given_groups_in_nested_folds(layers, emotions, speakers, routing, cv):
    pipeline = make_pipeline(LayerSelector("best", cv=cv), LogisticRegression())
    result = cross_validate(
        pipeline,
        layers,
        emotions,
        params={"groups": speakers},
        cv=GroupKFold(4),
        return_estimator=True,
        return_indices=True,
    )
    for fitted, train in zip(result["estimator"], result["indices"]["train"], strict=True):
        alone = LayerSelector("best", cv=cv)
        alone.fit(layers[train], emotions[train], groups=speakers[train])
        np.testing.assert_array_equal(fitted[0].layer_scores_, alone.layer_scores_)


@pytest.mark.slow
def test_a_search_may_compare_layers_with_best(layers, emotions, speakers, routing, spy):
    pipeline = make_pipeline(LayerSelector(cv=spy), LogisticRegression())
    grid = {"layerselector__layer": [0, "weighted", "best"]}
    search = GridSearchCV(pipeline, grid, cv=GroupKFold(2), error_score="raise")
    search.fit(layers, emotions, groups=speakers)
    assert len(spy.splits) in {2 * 3, 3 * 3}  # one more if the refit is on "best"
    assert all(not train & test for _, train, test in spy.splits)
    assert search.best_params_["layerselector__layer"] in {"weighted", "best"}


def test_the_routing_does_not_depend_on_the_layer():
    for layer in (-1, "best"):
        routing = LayerSelector(layer, cv=LeaveOneGroupOut()).get_metadata_routing()
        assert routing.consumes("fit", ["groups"]) == {"groups"}
    assert not LayerSelector(cv=KFold(3)).get_metadata_routing().consumes("fit", ["groups"])
    assert not LayerSelector(cv=[]).get_metadata_routing().consumes("fit", ["groups"])


def test_metadata_are_passed_to_the_estimator_and_the_scorer(layers, emotions, speakers, routing):
    weight = np.random.default_rng(5).random(N)
    probe = LogisticRegression().set_fit_request(sample_weight=True)
    scorer = get_scorer("accuracy").set_score_request(sample_weight="test_weight")
    params = {"groups": speakers, "sample_weight": weight, "test_weight": weight[::-1]}
    selector = LayerSelector("best", estimator=probe, scoring=scorer, cv=GroupKFold(3))
    selector.fit(layers, emotions, **params)
    expected = cross_validate(
        probe, layers[:, 1], emotions, cv=GroupKFold(3), scoring=scorer, params=params
    )["test_score"]
    np.testing.assert_array_equal(selector.layer_scores_[1], expected)
    unset = LayerSelector("best", estimator=LogisticRegression())
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        unset.fit(layers, emotions, sample_weight=weight)


@pytest.mark.parametrize("layer", [2, "weighted", "best"])
def test_metadata_for_other_steps_are_accepted(layers, emotions, speakers, routing, layer):
    head = LogisticRegression().set_fit_request(sample_weight=True)
    pipeline = make_pipeline(LayerSelector(layer), head)
    pipeline.fit(layers, emotions, sample_weight=np.ones(N), groups=speakers)
    expected = make_pipeline(LayerSelector(layer), LogisticRegression())
    expected.fit(layers, emotions, groups=speakers)
    np.testing.assert_array_equal(pipeline.predict(layers), expected.predict(layers))


def test_an_alias_for_groups_is_followed(layers, emotions, speakers, routing):
    cv = GroupKFold(3).set_split_request(groups="speaker")
    selector = LayerSelector("best", cv=cv).fit(layers, emotions, speaker=speakers)
    expected = LayerSelector("best", cv=GroupKFold(3)).fit(layers, emotions, groups=speakers)
    np.testing.assert_array_equal(selector.layer_scores_, expected.layer_scores_)
