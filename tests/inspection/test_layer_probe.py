"""LayerProbeDisplay: plotted values, best layers, labels and errors."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LayerSelector
from sklearn_ser.inspection import LayerProbeDisplay

N, N_LAYERS = 60, 4
LAYER = "layerselector__layer"


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def layers():
    return np.random.default_rng(0).normal(size=(N, N_LAYERS, 3))


@pytest.fixture
def emotions(layers):
    emotions = np.array(["anger", "fear", "joy"])[np.arange(N) % 3]
    layers[:, 2] += 2 * (emotions[:, np.newaxis] == ["anger", "fear", "joy"])
    return emotions


@pytest.fixture
def dimensions(layers):
    noise = np.random.default_rng(1).normal(scale=0.1, size=(N, 2))
    return pd.DataFrame({"arousal": layers[:, 0, 1], "valence": layers[:, 3, 2]}) + noise


def _search(grid, X, y, **options):
    pipeline = make_pipeline(LayerSelector(), StandardScaler(), LogisticRegression())
    return GridSearchCV(pipeline, grid, **options).fit(X, y)


def _results(scores, **params):
    """Return `cv_results_` of candidates with given scores, (n_candidates, n_splits)."""
    names = list(params)
    candidates = [
        dict(zip(names, values, strict=True)) for values in zip(*params.values(), strict=True)
    ]
    scores = np.asarray(scores, dtype=float)
    return {
        "params": candidates,
        **{f"split{split}_test_score": column for split, column in enumerate(scores.T)},
    }


def _band(collection):
    """Return the lower and upper edge of a band at each position."""
    corners = collection.get_paths()[0].vertices
    positions = np.unique(corners[:, 0])
    edges = [corners[corners[:, 0] == position, 1] for position in positions]
    return np.array([[edge.min(), edge.max()] for edge in edges])


@pytest.mark.parametrize("as_results", [True, False])
def test_scores_of_a_search(layers, emotions, as_results):
    search = _search({LAYER: range(N_LAYERS)}, layers, emotions)
    results = search.cv_results_
    display = LayerProbeDisplay.from_cv_results(results if as_results else search)
    (line,) = display.lines_
    np.testing.assert_array_equal(line.get_xdata(), range(N_LAYERS))
    np.testing.assert_allclose(line.get_ydata(), results["mean_test_score"], atol=1e-15)
    mean, std = results["mean_test_score"], results["std_test_score"]
    expected = np.column_stack([mean - std, mean + std])
    np.testing.assert_allclose(_band(display.fill_between_[0]), expected, atol=1e-15)
    assert display.best_layers_ == {"score": 2}
    assert display.ax_.get_xlabel() == "Layer"
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["0", "1", "2", "3"]
    assert display.figure_ is display.ax_.figure


def test_layers_are_drawn_in_order():
    results = _results([[3, 3], [1, 1], [2, 2]], layer=[3, 1, 2])
    (line,) = LayerProbeDisplay.from_cv_results(results).lines_
    np.testing.assert_array_equal(line.get_xydata(), [[1, 1], [2, 2], [3, 3]])


def test_the_best_layer_is_marked_and_in_the_legend():
    display = LayerProbeDisplay.from_cv_results(_results([[0, 2], [3, 5], [4, 4]], layer=[4, 5, 6]))
    assert display.best_layers_ == {"score": 5}, "the lowest in case of a tie"
    ring = display.ax_.lines[-1]
    np.testing.assert_array_equal(ring.get_xydata(), [[5, 4]])
    assert ring.get_markerfacecolor() == "none"
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["score: best at layer 5"]
    assert legend.get_title().get_text() == "Band: ± 1 standard deviation\nover 2 folds"


def test_the_best_candidate_of_each_layer_is_drawn():
    results = _results(
        [[0.1, 0.3], [0.5, 0.5], [0.4, 0.2], [0.6, 0.0], [np.nan, 1.0]],
        clf__layer=[0, 0, 1, 1, 0],
        clf__C=[1, 10, 1, 10, 100],
        clf__penalty=["l2"] * 5,
    )
    display = LayerProbeDisplay.from_cv_results(results)
    np.testing.assert_allclose(display.scores["score"], [[0.5, 0.5], [0.4, 0.2]])
    assert display.ax_.get_ylabel() == "Score, best over clf__C"


def test_each_metric_is_a_line(layers, emotions):
    scoring = {
        emotion: make_scorer(recall_score, labels=[emotion], average="macro")
        for emotion in ("anger", "fear", "joy")
    }
    search = _search({LAYER: range(N_LAYERS)}, layers, emotions, scoring=scoring, refit=False)
    display = LayerProbeDisplay.from_cv_results(search)
    assert list(display.scores) == ["anger", "fear", "joy"]
    for line, emotion in zip(display.lines_, scoring, strict=True):
        expected = search.cv_results_[f"mean_test_{emotion}"]
        np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-15)
    some = LayerProbeDisplay.from_cv_results(search, metric=["joy", "fear"])
    assert list(some.scores) == ["joy", "fear"]
    assert list(LayerProbeDisplay.from_cv_results(search, metric="fear").scores) == ["fear"]
    with pytest.raises(ValueError, match=r"metric=\['sadness'\] was not scored.*'anger'"):
        LayerProbeDisplay.from_cv_results(search, metric="sadness")


def test_each_search_is_a_line(layers, dimensions):
    pipeline = make_pipeline(LayerSelector(), Ridge())
    searches = {
        name: GridSearchCV(pipeline, {LAYER: range(N_LAYERS)}, scoring="r2").fit(layers, target)
        for name, target in dimensions.items()
    }
    display = LayerProbeDisplay.from_cv_results(searches)
    assert display.best_layers_ == {"arousal": 0, "valence": 3}
    assert display.ax_.get_ylabel() == "R2"
    for line, search in zip(display.lines_, searches.values(), strict=True):
        np.testing.assert_allclose(
            line.get_ydata(), search.cv_results_["mean_test_score"], atol=1e-15
        )


def test_searches_may_have_different_layers_and_folds():
    searches = {
        "whisper": _results([[1, 1], [2, 2]], layer=[0, 1]),
        "wavlm": _results([[1, 1, 1], [2, 2, 2], [1, 2, 3]], layer=[0, 1, 2]),
    }
    display = LayerProbeDisplay.from_cv_results(searches)
    assert [len(line.get_xdata()) for line in display.lines_] == [2, 3]
    assert "over 2 or 3 folds" in display.ax_.get_legend().get_title().get_text()


def test_lines_differ_without_colour():
    results = _results([[1, 1], [2, 2]], layer=[0, 1])
    display = LayerProbeDisplay.from_cv_results({f"line{number}": results for number in range(8)})
    styles = {(line.get_linestyle(), line.get_marker()) for line in display.lines_}
    assert len(styles) == 8
    assert len({line.get_color() for line in display.lines_}) == 7


def test_the_legend_of_many_lines_is_outside():
    results = _results([[1, 1], [2, 2]], layer=[0, 1])
    for n_lines, outside in ((3, False), (4, True)):
        lines = {f"line{number}": results for number in range(n_lines)}
        display = LayerProbeDisplay.from_cv_results(lines)
        display.figure_.canvas.draw()
        left = display.ax_.get_legend().get_window_extent().x0
        assert (left >= display.ax_.get_window_extent().x1) == outside


def test_combinations_are_drawn_to_the_right_of_the_line():
    results = _results(
        [[1, 3], [2, 2], [4, 6], [3, 3], [0, 1]], layer=["mean", 1, [0, 1], np.int64(0), "weighted"]
    )
    display = LayerProbeDisplay.from_cv_results(results)
    np.testing.assert_array_equal(display.lines_[0].get_xydata(), [[0, 3], [1, 2]])
    points = display.ax_.lines[1]
    assert points.get_linestyle() == "None"
    np.testing.assert_array_equal(points.get_xydata(), [[3, 5], [4, 2], [5, 0.5]])
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert ticks == ["0", "1", "0, 1", "mean", "weighted"]
    assert display.best_layers_ == {"score": 0}
    (bars,) = display.errorbar_
    np.testing.assert_array_equal(bars[2][0].get_segments()[0], [[3, 4], [3, 6]])


def test_combinations_only_have_no_best_layer():
    display = LayerProbeDisplay.from_cv_results(_results([[1, 1], [2, 2]], layer=["best", "mean"]))
    assert display.best_layers_ == {"score": None}
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["score"]


def test_a_layer_without_score_leaves_a_gap():
    results = _results([[1, 1], [np.nan, 2], [3, 3]], layer=[0, 1, 2])
    display = LayerProbeDisplay.from_cv_results(results)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), [1, np.nan, 3])
    assert display.best_layers_ == {"score": 2}


def test_ticks_of_many_layers_are_thinned():
    results = _results(np.zeros((49, 2)), layer=list(range(49)))
    ticks = LayerProbeDisplay.from_cv_results(results).ax_.get_xticks()
    np.testing.assert_array_equal(ticks, range(0, 49, 3))


def test_scores_of_a_fitted_selector(layers, emotions):
    selector = LayerSelector("best").fit(layers, emotions)
    for fitted in (selector, make_pipeline(make_pipeline(selector), LogisticRegression())):
        display = LayerProbeDisplay.from_estimator(fitted)
        (line,) = display.lines_
        np.testing.assert_array_equal(line.get_ydata(), selector.layer_scores_.mean(axis=1))
        assert display.best_layers_ == {"balanced accuracy": selector.best_layer_}
        assert display.ax_.get_ylabel() == "Balanced accuracy"


def test_each_target_of_a_selector_is_a_line(layers, dimensions):
    selector = LayerSelector("best").fit(layers, dimensions)
    display = LayerProbeDisplay.from_estimator(selector)
    assert display.best_layers_ == {"arousal": 0, "valence": 3}
    for line, scores in zip(display.lines_, selector.layer_scores_, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), scores.mean(axis=1))
    assert display.ax_.get_ylabel() == "R2"
    renamed = LayerProbeDisplay.from_estimator(selector, name=["a", "v"])
    assert renamed.best_layers_ == {"a": 0, "v": 3}
    two = LayerProbeDisplay.from_estimator({"one": selector, "two": selector})
    assert list(two.scores) == ["one arousal", "one valence", "two arousal", "two valence"]


def test_label_for_targets_with_different_scoring(layers, dimensions, emotions):
    targets = dimensions.assign(emotion=emotions)
    display = LayerProbeDisplay.from_estimator(LayerSelector("best").fit(layers, targets))
    assert display.ax_.get_ylabel() == "Score"


def test_negate_score(layers, dimensions):
    selector = LayerSelector("best", scoring="neg_mean_squared_error")
    selector.fit(layers, dimensions["arousal"])
    display = LayerProbeDisplay.from_estimator(selector, negate_score=True)
    assert display.ax_.get_ylabel() == "Mean squared error"
    heights = display.lines_[0].get_ydata()
    np.testing.assert_array_equal(heights, -selector.layer_scores_.mean(axis=1))
    assert heights.argmin() == selector.best_layer_ == next(iter(display.best_layers_.values()))
    np.testing.assert_array_equal(display.ax_.lines[-1].get_ydata(), heights.min())
    other = LayerProbeDisplay.from_estimator(selector)
    assert other.ax_.get_ylabel() == "Negative mean squared error"


def test_std_display_style():
    display = LayerProbeDisplay.from_cv_results(_results([[1, 3], [2, 2]], layer=[0, 1]))
    fig, ax = plt.subplots()
    display.plot(ax, std_display_style="errorbar", score_name="Recall", line_kw={"color": "red"})
    assert display.ax_ is ax
    assert display.figure_ is fig
    assert display.fill_between_ == []
    np.testing.assert_array_equal(display.errorbar_[0][2][0].get_segments()[0], [[0, 1], [0, 3]])
    assert ax.get_ylabel() == "Recall"
    assert display.lines_[0].get_color() == "red"
    assert ax.get_legend().get_title().get_text().startswith("Bar: ± 1")
    display.plot(std_display_style=None)
    assert display.ax_ is not ax
    assert display.fill_between_ == display.errorbar_ == []
    assert not display.ax_.collections
    with pytest.raises(ValueError, match="std_display_style='band'"):
        display.plot(std_display_style="band")


def test_the_parameter_is_inferred_or_given():
    results = _results([[1, 1], [2, 2]], a__layer=[0, 1], b__layer=[1, 0], n_layers=[2, 2])
    with pytest.raises(ValueError, match=r"search is over \['a__layer', 'b__layer'\].*param"):
        LayerProbeDisplay.from_cv_results(results)
    (line,) = LayerProbeDisplay.from_cv_results(results, param="b__layer").lines_
    np.testing.assert_array_equal(line.get_ydata(), [2, 1])
    with pytest.raises(ValueError, match="c__layer is not one of the parameters searched over"):
        LayerProbeDisplay.from_cv_results(results, param="c__layer")
    with pytest.raises(ValueError, match="The parameter layer is not one of"):
        LayerProbeDisplay.from_cv_results(_results([[1, 1]], C=[1]))


def test_objects_without_scores_raise(layers, emotions):
    with pytest.raises(ValueError, match="Got LayerSelector, but a fitted search"):
        LayerProbeDisplay.from_cv_results(LayerSelector())
    weighted = make_pipeline(LayerSelector("weighted"), LogisticRegression())
    for other in (weighted.fit(layers, emotions), LayerSelector("best"), LogisticRegression()):
        with pytest.raises(ValueError, match=r"contains 0 fitted LayerSelector\('best'\)"):
            LayerProbeDisplay.from_estimator(other)
    with pytest.raises(ValueError, match=r"name=\['a', 'b'\] needs one name for each line"):
        LayerProbeDisplay.from_cv_results(_results([[1, 1]], layer=[0]), name=["a", "b"])


def test_a_halving_search_raises(layers, emotions):
    pipeline = make_pipeline(LayerSelector(), LogisticRegression())
    search = HalvingGridSearchCV(pipeline, {LAYER: range(N_LAYERS)}, cv=2, random_state=0)
    with pytest.raises(ValueError, match="different numbers of recordings"):
        LayerProbeDisplay.from_cv_results(search.fit(layers, emotions))


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install -c constraints\.txt '\.\[plot\]'"):
        LayerProbeDisplay.from_cv_results(_results([[1, 1]], layer=[0]))
