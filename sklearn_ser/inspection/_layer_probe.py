"""A picture of the score of each layer."""

from collections.abc import Mapping

import numpy as np

from ._drawing import COLORS, MARKERS, new_axes
from ._search_results import (
    find_metrics,
    find_parameter,
    find_selector,
    name_of_metric,
    other_parameters,
    results_of,
    scores_of_layers,
)

# With seven colours and five markers they repeat after 140 lines.
_STROKES = ("-", "--", "-.", ":")
# So many lines leave room for the legend among them, and their bands for each other.
_FEW = 3


class LayerProbeDisplay:
    """Score of each layer of a network, with its spread over folds.

    One line for each target, emotion, metric or network tells where in a network it is to be
    found. Create it by `from_cv_results` from a search over the `layer` of a `LayerSelector`, or
    by `from_estimator` from a fitted ``LayerSelector("best")``; the parameters are stored as
    attributes.

    Parameters
    ----------
    layers : dict of str to list of int, tuple or str
        The layers of each line by its name: indices; and tuples, words such as "mean" or negative
        numbers, which have no place on the axis and are drawn beside the line.
    scores : dict of str to ndarray of shape (n_layers, n_splits)
        Test scores of each line, by the same names.
    score_name : str, default=None
        Label of the vertical axis. None means "Score".

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure with the axes.
    lines_ : list of matplotlib Line2D
        The mean scores of the layers, a line for each name.
    fill_between_ : list of matplotlib PolyCollection
        The bands, where the spread is drawn by "fill_between".
    errorbar_ : list of matplotlib ErrorbarContainer
        The bars of what is drawn beside the lines, and where the spread is drawn by "errorbar"
        those of the lines.
    best_layers_ : dict of str to int or None
        The layer of the highest mean score on each line, the lowest of equals, which is marked.

    See Also
    --------
    sklearn_ser.LayerSelector : Chooses layers, and holds these scores with "best".
    sklearn.model_selection.ValidationCurveDisplay : The same for any parameter.

    Notes
    -----
    The highest of many cross-validated scores is too high as an estimate of what that layer
    reaches on new speakers. Nested cross-validation tells that: of the search, or of a
    pipeline with ``LayerSelector("best")``.

    References
    ----------
    D. de Oliveira, N. Raj Prabhu, T. Gerkmann, "Leveraging Semantic Information for Efficient
    Self-Supervised Emotion Recognition with Audio-Textual Distilled Models", Interspeech 2023,
    arXiv 2305.19184.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser import LayerSelector
    >>> from sklearn_ser.inspection import LayerProbeDisplay
    >>> rng = np.random.default_rng(0)
    >>> layers = rng.normal(size=(60, 4, 3))
    >>> arousal_and_valence = np.stack([layers[:, 0, 0], layers[:, 2, 1]], axis=1)
    >>> selector = LayerSelector("best").fit(layers, arousal_and_valence)
    >>> display = LayerProbeDisplay.from_estimator(selector, name=["arousal", "valence"])
    >>> display.best_layers_
    {'arousal': 0, 'valence': 2}
    """

    def __init__(self, *, layers, scores, score_name=None):
        self.layers = layers
        self.scores = scores
        self.score_name = score_name

    @classmethod
    def from_cv_results(
        cls,
        cv_results,
        *,
        param=None,
        metric=None,
        name=None,
        score_name=None,
        ax=None,
        negate_score=False,
        std_display_style="fill_between",
        line_kw=None,
    ):
        """Draw the test scores of a search over layers.

        Where the search was over other parameters too, the best candidate of each layer is
        drawn, by its mean score, and the label of the vertical axis says so.

        Parameters
        ----------
        cv_results : dict, fitted search, or dict of str to either
            What `GridSearchCV` holds as `cv_results_`, or itself; or several by the names of
            their lines, such as one for each target.
        param : str, default=None
            The searched parameter, such as "layerselector__layer". None finds it, if there is
            one alone.
        metric : str or list of str, default=None
            The metrics to draw, each a line, where the search has several, such as the recall
            of each emotion. None draws them all.
        name : str or list of str, default=None
            Names of the lines in place of those of the metrics or of `cv_results`.
        score_name : str, default=None
            Label of the vertical axis. None makes one of the metric, if that is one.
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.
        negate_score : bool, default=False
            Whether to draw the scores with the other sign, as errors. The best layer is still
            the one of the highest score.
        std_display_style : {"fill_between", "errorbar", None}, default="fill_between"
            How to draw one standard deviation of the scores over folds to either side.
        line_kw : dict, default=None
            Arguments for matplotlib's `plot` of every line.

        Returns
        -------
        display : LayerProbeDisplay
            The picture and what it shows.
        """
        several = isinstance(cv_results, Mapping) and "params" not in cv_results
        sources = cv_results if several else {None: cv_results}
        lines: dict = {}
        metrics: set = set()
        others: set = set()
        for source_name, source in sources.items():
            results = results_of(source)
            searched = find_parameter(results, param)
            drawn = find_metrics(results, metric)
            metrics.update(name_of_metric(source, each) for each in drawn)
            others.update(other_parameters(results, searched))
            for each in drawn:
                parts = [source_name] if source_name is not None else []
                if len(drawn) > 1 or not parts:
                    parts.append(name_of_metric(source, each).replace("_", " "))
                lines[" ".join(map(str, parts))] = scores_of_layers(results, searched, each)
        if score_name is None:
            score_name = _label(metrics, negate_score)
            score_name += f", best over {', '.join(sorted(others))}" if others else ""
        return cls._from_lines(lines, name, score_name).plot(
            ax=ax,
            negate_score=negate_score,
            std_display_style=std_display_style,
            line_kw=line_kw,
        )

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        name=None,
        score_name=None,
        ax=None,
        negate_score=False,
        std_display_style="fill_between",
        line_kw=None,
    ):
        """Draw the scores of the inner cross-validation of a fitted ``LayerSelector("best")``.

        Parameters
        ----------
        estimator : LayerSelector, Pipeline, or dict of str to these
            What was fitted, or a pipeline with it among its steps; or several by the names of
            their lines.
        name : str or list of str, default=None
            Names of the lines in place of those of the targets or of `estimator`.
        score_name : str, default=None
            Label of the vertical axis. None makes one of the selector's score.
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.
        negate_score : bool, default=False
            Whether to draw the scores with the other sign, as errors. The best layer is still
            the one of the highest score.
        std_display_style : {"fill_between", "errorbar", None}, default="fill_between"
            How to draw one standard deviation of the scores over folds to either side.
        line_kw : dict, default=None
            Arguments for matplotlib's `plot` of every line.

        Returns
        -------
        display : LayerProbeDisplay
            The picture and what it shows.
        """
        sources = estimator if isinstance(estimator, Mapping) else {None: estimator}
        lines: dict = {}
        metrics: set = set()
        for source_name, source in sources.items():
            selector = find_selector(source)
            targets = selector.target_names_
            scores = selector.layer_scores_ if targets else [selector.layer_scores_]
            metrics.update(selector.scoring_ if targets else [selector.scoring_])
            for target, of_target in zip(targets or [None], scores, strict=True):
                parts = [str(part) for part in (source_name, target) if part is not None]
                line = (list(range(selector.n_layers_)), of_target)
                lines[" ".join(parts) or _label({selector.scoring_}, False, capitalize=False)] = (
                    line
                )
        score_name = score_name or _label(metrics, negate_score)
        return cls._from_lines(lines, name, score_name).plot(
            ax=ax,
            negate_score=negate_score,
            std_display_style=std_display_style,
            line_kw=line_kw,
        )

    @classmethod
    def _from_lines(cls, lines, names, score_name):
        if names is not None:
            names = [names] if isinstance(names, str) else list(names)
            if len(names) != len(lines):
                raise ValueError(f"name={names} has not one for each line of {list(lines)}.")
            lines = dict(zip(names, lines.values(), strict=True))
        return cls(
            layers={name: layers for name, (layers, _) in lines.items()},
            scores={name: np.asarray(scores) for name, (_, scores) in lines.items()},
            score_name=score_name,
        )

    def plot(
        self,
        ax=None,
        *,
        score_name=None,
        negate_score=False,
        std_display_style="fill_between",
        line_kw=None,
    ):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.
        score_name : str, default=None
            Label of the vertical axis. None means the one of the display.
        negate_score : bool, default=False
            Whether to draw the scores with the other sign, as errors. The best layer is still
            the one of the highest score.
        std_display_style : {"fill_between", "errorbar", None}, default="fill_between"
            How to draw one standard deviation of the scores over folds to either side.
        line_kw : dict, default=None
            Arguments for matplotlib's `plot` of every line.

        Returns
        -------
        display : LayerProbeDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if std_display_style not in {"fill_between", "errorbar", None}:
            raise ValueError(
                f"std_display_style={std_display_style!r}; it may be 'fill_between', 'errorbar' "
                "or None."
            )
        outside = ax is None and len(self.layers) > _FEW
        self.ax_ = new_axes(self, 8 if outside else 6.4) if ax is None else ax
        self.figure_ = self.ax_.figure
        self.lines_, self.fill_between_, self.errorbar_, self.best_layers_ = [], [], [], {}
        beside = _places_beside(self.layers)
        for number, (name, layers) in enumerate(self.layers.items()):
            scores = -self.scores[name] if negate_score else self.scores[name]
            is_index = np.array([_is_index(layer) for layer in layers])
            places = np.array([layer for layer in layers if _is_index(layer)])
            style = {**_style(number), **(line_kw or {})}
            best = self._best(places, self.scores[name][is_index])
            self.best_layers_[name] = best
            label = name if best is None else f"{name}: best at layer {best}"
            self._plot_line(places, scores[is_index], {"label": label, **style}, std_display_style)
            shift = 0.12 * (number - (len(self.layers) - 1) / 2)
            others = np.array([beside[layer] for layer in layers if layer in beside])
            self._plot_beside(others + shift, scores[~is_index], style, std_display_style)
            self._mark(best, scores[layers.index(best)] if best is not None else None, number)
        self._label_axes(score_name, beside)
        self._add_legend(std_display_style, outside=outside)
        return self

    @staticmethod
    def _best(places, scores):
        means = scores.mean(axis=1) if len(places) else np.array([])
        return None if np.isnan(means).all() else int(places[np.nanargmax(means)])

    def _plot_line(self, places, scores, style, std_display_style):
        if not len(places):
            scores = np.empty((0, 1))
        means, deviations = scores.mean(axis=1), scores.std(axis=1)
        (line,) = self.ax_.plot(places, means, **style)
        self.lines_.append(line)
        if std_display_style == "fill_between":
            low, high = means - deviations, means + deviations
            alpha = 0.15 if len(self.layers) <= _FEW else 0.07
            band = self.ax_.fill_between(
                places, low, high, color=line.get_color(), alpha=alpha, lw=0
            )
            self.fill_between_.append(band)
        elif std_display_style == "errorbar":
            self._plot_bars(places, means, deviations, line)

    def _plot_beside(self, places, scores, style, std_display_style):
        if len(places):
            style = {**style, "linestyle": "none", "label": None}
            (points,) = self.ax_.plot(places, scores.mean(axis=1), **style)
            if std_display_style is not None:
                self._plot_bars(places, scores.mean(axis=1), scores.std(axis=1), points)

    def _plot_bars(self, places, means, deviations, line):
        bars = self.ax_.errorbar(
            places, means, deviations, fmt="none", ecolor=line.get_color(), capsize=3, lw=1
        )
        self.errorbar_.append(bars)

    def _mark(self, best, scores, number):
        """Mark the best layer by a ring around its marker."""
        if best is not None:
            color = self.lines_[-1].get_color()
            self.ax_.plot(
                best,
                scores.mean(),
                marker="o",
                markersize=14,
                markerfacecolor="none",
                markeredgecolor=color,
                markeredgewidth=1.5,
                zorder=4 + number,
            )

    def _label_axes(self, score_name, beside):
        layers = [layer for layers in self.layers.values() for layer in layers]
        shown = _thin(sorted({layer for layer in layers if _is_index(layer)}))
        names = [
            ", ".join(map(str, layer)) if isinstance(layer, tuple) else str(layer)
            for layer in beside
        ]
        self.ax_.set_xticks([*shown, *beside.values()], [*map(str, shown), *names])
        for text in self.ax_.get_xticklabels()[len(shown) :]:
            text.set(rotation=45, ha="right", rotation_mode="anchor")
        self.ax_.set_xlabel("Layer")
        self.ax_.set_ylabel(score_name or self.score_name or "Score")

    def _add_legend(self, std_display_style, *, outside):
        counts = sorted({scores.shape[1] for scores in self.scores.values()})
        spread = f"± 1 standard deviation\nover {' or '.join(map(str, counts))} folds"
        titles = {"fill_between": f"Band: {spread}", "errorbar": f"Bar: {spread}", None: None}
        self.ax_.legend(
            title=titles[std_display_style],
            title_fontsize="small",
            fontsize="small",
            handlelength=3.5,
            **({"loc": "center left", "bbox_to_anchor": (1, 0.5)} if outside else {}),
        )


def _style(number):
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": _STROKES[number % len(_STROKES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
    }


def _places_beside(layers_of):
    """Return the places of what is no index, to the right of the highest index."""
    layers = [layer for layers in layers_of.values() for layer in layers]
    highest = max((layer for layer in layers if _is_index(layer)), default=-2)
    beside = dict.fromkeys(layer for layer in layers if not _is_index(layer))
    return {layer: highest + 2 + place for place, layer in enumerate(beside)}


def _is_index(layer):
    """Tell whether a layer has a place on the axis, which one counted from the end has not."""
    return isinstance(layer, int) and layer >= 0


def _thin(indices):
    """Leave out ticks, evenly, until their labels have room."""
    step = 1 + len(indices) // 20
    return indices[::step]


def _label(metrics, negate_score, capitalize=True):
    """Make a label of the only metric, as scikit-learn's displays do."""
    names = {name if isinstance(name, str) else getattr(name, "__name__", "") for name in metrics}
    (name,) = names if len(names) == 1 else ("score",)
    if name.startswith("neg_"):
        name = name[4:] if negate_score else f"negative_{name[4:]}"
    elif negate_score:
        name = f"negative_{name}"
    name = (name or "score").replace("_", " ")
    return name[0].upper() + name[1:] if capitalize else name
