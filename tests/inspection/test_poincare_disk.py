"""PoincareDiskDisplay: plotted points, preservation of distances, and errors."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import HyperbolicFusionClassifier
from sklearn_ser.inspection import PoincareDiskDisplay

N, N_FEATURES = 60, 10
EMOTIONS = np.array(["anger", "fear", "joy"])[np.arange(N) % 3]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def X():
    X = np.random.default_rng(0).normal(size=(N, N_FEATURES))
    X[:, :3] += 2 * (EMOTIONS[:, np.newaxis] == ["anger", "fear", "joy"])
    return X


@pytest.fixture(scope="module")
def classifier(X):
    return _fit(X)


def _fit(X, y=EMOTIONS, **parameters):
    settings = {"branch": "mlp", "max_epochs": 8, "random_state": 0, "device": "cpu"} | parameters
    return HyperbolicFusionClassifier([N_FEATURES - 4, 4], **settings).fit(X, y)


def _distances(x, y, c=1.0):
    """Return hyperbolic distances by the textbook formula; twice Euclidean ones for c = 0."""
    if c == 0:
        return 2 * cdist(x, y)
    gaps = np.outer(1 - c * (x**2).sum(1), 1 - c * (y**2).sum(1))
    return np.arccosh(1 + 2 * c * cdist(x, y, "sqeuclidean") / gaps) / np.sqrt(c)


def _pairs(points, c=1.0):
    """Return the distances between all pairs of points, including the origin."""
    points = np.vstack([np.zeros((1, points.shape[1])), points]).astype(float)
    return _distances(points, points, c)[np.triu_indices(len(points), 1)]


def _offsets(collections):
    return np.concatenate([collection.get_offsets() for collection in collections.values()])


@pytest.mark.parametrize(
    "parameters",
    [
        {"curvature": 1.0},
        {"curvature": 0.3},
        {"curvature": 4.0, "head": "mlr"},
        {"curvature": "learn"},
        {"curvature": 0},
        {"n_dims": 1},
    ],
)
def test_two_dimensional_points_keep_their_distances(X, parameters):
    classifier = _fit(X, **({"n_dims": 2} | parameters))
    display = PoincareDiskDisplay.from_estimator(classifier, X)
    c = display.curvature
    assert c == classifier.curvature_
    on_disk, fused = _pairs(display.points, c), _pairs(classifier.transform(X), c)
    np.testing.assert_allclose(on_disk, fused, rtol=1e-3, atol=1e-3)
    assert display.stress < 1e-3
    assert display.correlation > 0.999


@pytest.mark.parametrize("c", [0.3, 1.0])
def test_stress_and_correlation(X, c):
    classifier = _fit(X, curvature=c)
    display = PoincareDiskDisplay.from_estimator(classifier, X)
    on_disk, fused = _pairs(display.points, c), _pairs(classifier.transform(X), c)
    stress = np.sqrt(((on_disk - fused) ** 2).sum() / (fused**2).sum())
    assert display.stress == pytest.approx(stress, rel=1e-4)
    assert 0 < display.stress < 0.25
    assert display.correlation == pytest.approx(spearmanr(on_disk, fused).statistic, abs=1e-4)
    text = display.ax_.get_xlabel()
    assert f"stress {stress:.2f}, rank correlation of distances {display.correlation:.2f}" == text


def test_the_points_of_each_class_are_drawn_on_the_unit_disk(X):
    display = PoincareDiskDisplay.from_estimator(_fit(X, curvature=0.3), X, EMOTIONS)
    assert list(display.points_) == ["anger", "fear", "joy"]
    for emotion, drawn in display.points_.items():
        expected = np.sqrt(0.3) * display.points[emotion == EMOTIONS]
        np.testing.assert_allclose(drawn.get_offsets(), expected)
    assert (np.linalg.norm(_offsets(display.points_), axis=1) < 1).all()
    assert display.rim_.get_radius() == 1
    assert display.rim_ in display.ax_.patches
    np.testing.assert_array_equal(display.origin_.get_xydata(), [[0, 0]])
    assert display.ax_.get_aspect() == 1
    assert not len(display.ax_.get_xticks())
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["anger", "fear", "joy"]


def test_distances_to_the_origin_are_preserved(X, classifier):
    display = PoincareDiskDisplay.from_estimator(classifier, X)
    from_centre = 2 * np.arctanh(np.linalg.norm(display.points, axis=1))
    distances = classifier.distance_to_origin(X)
    assert np.abs(from_centre / distances - 1).mean() < 0.1
    assert np.linalg.norm(classifier.transform(X).mean(axis=0)) > 0.05, (
        "the midpoint is not the origin"
    )


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{"curvature": 0}, {"fusion": "concat"}])
def test_the_euclidean_plane_has_no_boundary(X, parameters):
    classifier = _fit(X, **parameters)
    for style in ("geodesics", "regions"):
        display = PoincareDiskDisplay.from_estimator(classifier, X, style=style)
        assert display.curvature == 0
        assert display.rim_ is None
        assert not display.ax_.patches
        np.testing.assert_array_equal(_offsets(display.points_).shape, (N, 2))
    display.plot()
    for emotion, lines in display.geodesics_.items():
        for line in lines.get_segments():
            straight = np.linspace(line[0], line[-1], len(line))
            np.testing.assert_allclose(line, straight, atol=1e-9)
            np.testing.assert_allclose(line[0], display.midpoints_[emotion].get_offsets()[0])


def test_geodesics_are_shortest_paths_from_the_midpoint(X, classifier):
    display = PoincareDiskDisplay.from_estimator(classifier, X, EMOTIONS, style="geodesics")
    assert list(display.geodesics_) == list(display.points_)
    for emotion, lines in display.geodesics_.items():
        points = display.points_[emotion].get_offsets()
        (midpoint,) = display.midpoints_[emotion].get_offsets()
        assert len(lines.get_segments()) == len(points)
        for line, point in zip(lines.get_segments(), points, strict=True):
            np.testing.assert_allclose(line[[0, -1]], [midpoint, point], atol=1e-9)
            length = np.diagonal(_distances(line[:-1], line[1:])).sum()
            assert length == pytest.approx(_distances(line[:1], line[-1:]).item(), rel=1e-6)
    assert not display.regions_


def test_the_midpoint_of_two_points_is_equidistant():
    points = np.array([[0.5, 0.1], [-0.2, 0.8], [0.1, 0.2]])
    display = PoincareDiskDisplay(points=points, labels=["a", "a", "b"]).plot(style="geodesics")
    midpoint = display.midpoints_["a"].get_offsets()
    first, second = _distances(midpoint, points[:2])[0]
    assert first == pytest.approx(second)
    assert first + second == pytest.approx(_distances(points[:1], points[1:2]).item())


def test_regions_follow_the_nearest_points():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.6, 0.6, size=(40, 2))
    predictions = np.array(["left", "right", "mixed"])[(points[:, 0] > 0).astype(int)]
    predictions[:5] = "mixed"
    for n_neighbors in (1, 7):
        display = PoincareDiskDisplay(points=points, labels=predictions)
        display.plot(style="regions", n_neighbors=n_neighbors)
        places = rng.uniform(-0.7, 0.7, size=(300, 2))
        distances = _distances(places, points)
        nearest = predictions[np.argsort(distances, axis=1)[:, :n_neighbors]]
        votes = np.stack([(nearest == name).sum(1) for name in sorted(set(predictions))], axis=1)
        expected = np.array(sorted(set(predictions)))[votes.argmax(1)]
        is_within = {
            name: np.array([path.contains_points(places) for path in region.get_paths()]).any(0)
            for name, region in display.regions_.items()
        }
        found = [[name for name in is_within if is_within[name][place]] for place in range(300)]
        hits = [names == [name] for names, name in zip(found, expected, strict=True)]
        assert np.mean(hits) > 0.95, "except for locations at a border"


@pytest.mark.slow
def test_regions_follow_the_predictions(X, classifier):
    wrong = np.roll(EMOTIONS, 1)
    right, other = (
        PoincareDiskDisplay.from_estimator(classifier, X, y, style="regions")
        for y in (EMOTIONS, wrong)
    )
    assert (other.labels == wrong).all()
    assert list(right.regions_) == list(other.regions_) == ["anger", "fear", "joy"]
    for emotion, region in right.regions_.items():
        expected = region.get_paths()[0].vertices
        np.testing.assert_array_equal(other.regions_[emotion].get_paths()[0].vertices, expected)
    assert not right.geodesics_
    assert not right.midpoints_
    assert all(region.get_clip_path() is not None for region in right.regions_.values())


def test_predicted_classes_are_the_default_labels(X, classifier):
    display = PoincareDiskDisplay.from_estimator(classifier, X)
    np.testing.assert_array_equal(display.labels, classifier.predict(X))


def test_a_class_without_points_is_in_the_legend(X, classifier):
    true = np.where(EMOTIONS == "fear", "anger", EMOTIONS)
    display = PoincareDiskDisplay.from_estimator(classifier, X, true, style="geodesics")
    assert list(display.points_) == ["anger", "fear", "joy"]
    assert list(display.geodesics_) == ["anger", "joy"]


@pytest.mark.parametrize("n_classes", [2, 12])
def test_classes_differ_without_colour(n_classes):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.6, 0.6, size=(5 * n_classes, 2))
    labels = np.repeat(np.arange(n_classes), 5)
    display = PoincareDiskDisplay(points=points, labels=labels).plot(style="regions", n_neighbors=1)
    assert list(display.points_) == list(range(n_classes))
    styles = {
        (tuple(drawn.get_facecolor()[0]), drawn.get_paths()[0].vertices.tobytes())
        for drawn in display.points_.values()
    }
    assert len(styles) == n_classes
    regions = {
        (tuple(region.get_facecolor()[0]), region.hatches[0])
        for region in display.regions_.values()
    }
    assert len(regions) == n_classes


def test_a_pipeline_transforms_once(X, classifier):
    class Counter(TransformerMixin, BaseEstimator):
        n_calls = 0

        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def transform(self, X):
            Counter.n_calls += 1
            return X

    pipeline = make_pipeline(
        Counter().fit(X), "passthrough", make_pipeline(StandardScaler().fit(X), classifier)
    )
    display = PoincareDiskDisplay.from_estimator(pipeline, X, EMOTIONS)
    assert Counter.n_calls == 1
    expected = PoincareDiskDisplay.from_estimator(classifier, StandardScaler().fit_transform(X))
    np.testing.assert_allclose(display.points, expected.points, atol=1e-6)


def test_a_search_and_data_frames(X):
    frame = pd.DataFrame(X, columns=[f"a__{i}" if i < 6 else f"b__{i}" for i in range(N_FEATURES)])
    classifier = HyperbolicFusionClassifier(branch="mlp", random_state=0, device="cpu")
    classifier.set_output(transform="pandas")
    search = GridSearchCV(classifier, {"max_epochs": [1]}, cv=2).fit(frame, EMOTIONS)
    display = PoincareDiskDisplay.from_estimator(search, frame, pd.Series(EMOTIONS))
    np.testing.assert_array_equal(display.labels, EMOTIONS)


def test_a_pipeline_that_ends_in_a_search(X):
    search = GridSearchCV(
        HyperbolicFusionClassifier([N_FEATURES], branch="mlp", max_epochs=1, random_state=0),
        {"n_dims": [4]},
        cv=2,
    )
    pipeline = make_pipeline(StandardScaler(), search).fit(X, EMOTIONS)
    assert len(PoincareDiskDisplay.from_estimator(pipeline, X).points) == len(X)


def test_aliases_in_scatter_kw(X, classifier):
    display = PoincareDiskDisplay.from_estimator(classifier, X, scatter_kw={"lw": 2, "ec": "red"})
    assert next(iter(display.points_.values())).get_linewidths()[0] == 2
    PoincareDiskDisplay.from_estimator(classifier, X, scatter_kw={"c": "red"})


def test_many_recordings_are_subsampled_by_class(X, classifier):
    display = PoincareDiskDisplay.from_estimator(classifier, X, EMOTIONS, max_points=30)
    assert len(display.points) == 30
    assert dict(zip(*np.unique(display.labels, return_counts=True), strict=True)) == {
        "anger": 10,
        "fear": 10,
        "joy": 10,
    }
    assert display.ax_.get_xlabel().endswith(", 30 of 60 recordings")
    same = PoincareDiskDisplay.from_estimator(classifier, X, EMOTIONS, max_points=30)
    np.testing.assert_array_equal(display.points, same.points)
    all_of_them = PoincareDiskDisplay.from_estimator(classifier, X, EMOTIONS, max_points=N)
    assert len(all_of_them.points) == N
    assert "recordings" not in all_of_them.ax_.get_xlabel()


def test_plotting_again(X, classifier):
    first = PoincareDiskDisplay.from_estimator(classifier, X, EMOTIONS)
    again = PoincareDiskDisplay(
        points=first.points.tolist(),
        labels=first.labels.tolist(),
        predictions=first.predictions.tolist(),
        stress=first.stress,
        correlation=first.correlation,
    )
    fig, ax = plt.subplots()
    again.plot(ax, style=None, scatter_kw={"s": 5, "edgecolors": "red"})
    assert again.ax_ is ax
    assert again.figure_ is fig
    np.testing.assert_array_equal(_offsets(again.points_), _offsets(first.points_))
    assert again.points_["joy"].get_sizes() == [5]
    assert ax.get_xlabel() == first.ax_.get_xlabel()
    assert again.geodesics_ == again.midpoints_ == again.regions_ == {}
    bare = PoincareDiskDisplay(points=first.points, labels=first.labels).plot()
    assert bare.ax_.get_xlabel() == ""


def test_invalid_input_raises(X, classifier):
    draw = PoincareDiskDisplay.from_estimator
    with pytest.raises(NotFittedError, match=r"estimator=Hyperbolic.* isn't fitted: call its fit"):
        draw(make_pipeline(HyperbolicFusionClassifier()), X)
    for other in (
        LogisticRegression().fit(X, EMOTIONS),
        make_pipeline(classifier, StandardScaler()),
    ):
        with pytest.raises(ValueError, match=r"is not a HyperbolicFusionClassifier.*pass a fitted"):
            draw(other, X)
    with pytest.raises(NotFittedError, match="estimator=GridSearchCV isn't fitted"):
        draw(GridSearchCV(HyperbolicFusionClassifier(), {"n_dims": [2]}), X)
    with pytest.raises(ValueError, match="the estimator predicts classes such as"):
        draw(classifier, X, np.arange(60) % 3)
    with pytest.raises(
        ValueError, match="y has no class for 1 recordings, the first at position 4"
    ):
        draw(classifier, X, [None if i == 4 else name for i, name in enumerate(EMOTIONS)])
    with pytest.raises(ValueError, match=r"max_points=10\.5; it must be an integer"):
        draw(classifier, X, max_points=10.5)
    with pytest.raises(ValueError, match="y has 59 classes for 60 recordings of X: pass one for"):
        draw(classifier, X, EMOTIONS[1:])
    with pytest.raises(ValueError, match=r"The recordings of X have 2 distinct .*: pass more"):
        draw(classifier, X[[0, 1, 0, 1]])
    assert len(draw(classifier, X[:3]).points) == 3
    with pytest.raises(ValueError, match="max_points=2; it must be an integer, 3 or more"):
        draw(classifier, X, max_points=2)
    with pytest.raises(ValueError, match="n_neighbors=0; it must be 1 or more"):
        draw(classifier, X, n_neighbors=0)
    with pytest.raises(
        ValueError, match="style='region'; it must be 'geodesics', 'regions' or None"
    ):
        draw(classifier, X, style="region")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(
        ImportError, match=r"PoincareDiskDisplay.* pip install -c constraints\.txt '\.\[plot\]'"
    ):
        PoincareDiskDisplay(points=np.eye(2) / 2, labels=["a", "b"]).plot()
