"""Plot the score of each layer of a network."""

from collections.abc import Mapping

import numpy as np

from ._drawing import COLORS, MARKERS, new_axes
from ._search_results import (
    collect_layer_scores,
    find_metrics,
    find_parameter,
    find_selector,
    get_cv_results,
    metric_name,
    other_parameters,
)

# Combinations with seven colours and five markers repeat after 140 lines.
_LINESTYLES = ("-", "--", "-.", ":")
# With more lines, the legend is drawn outside of the axes, and bands are more transparent.
_MAX_LINES_WITH_LEGEND_INSIDE = 3


class LayerProbeDisplay:
    """Scores of the layers of a network, with their standard deviation over folds.

    The plot has one line for each target, emotion, metric or network. Use `from_cv_results` to
    create it from a search over the `layer` of a `LayerSelector`, or `from_estimator` to create it
    from a fitted ``LayerSelector("best")``. The parameters are stored as attributes.

    Parameters
    ----------
    layers : dict of str to list of int, tuple or str
        Layers of each line, by the name of the line: indices, or tuples, words such as "mean" or
        negative numbers, which are drawn to the right of the line.
    scores : dict of str to ndarray of shape (n_layers, n_splits)
        Test scores of each line, by the name of the line.
    score_name : str, default=None
        Label of the vertical axis. None means "Score".

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    lines_ : list of matplotlib Line2D
        Line of the mean scores for each name.
    fill_between_ : list of matplotlib PolyCollection
        Bands of the standard deviation, with ``std_display_style="fill_between"``.
    errorbar_ : list of matplotlib ErrorbarContainer
        Error bars of the layers to the right of the lines, and, with
        ``std_display_style="errorbar"``, of the lines.
    best_layers_ : dict of str to int or None
        Index of the layer with the highest mean score on each line, the lowest in case of a tie. It
        is marked in the plot.

    See Also
    --------
    sklearn_ser.LayerSelector : Selects layers, and computes these scores with "best".
    sklearn.model_selection.ValidationCurveDisplay : Validation curve for any parameter.

    Notes
    -----
    The highest of many cross-validated scores is an optimistic estimate of the score of this layer
    on new speakers. Use nested cross-validation of the search, or of a pipeline with
    ``LayerSelector("best")``, for an unbiased estimate.

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
        """Plot the test scores of a search over layers.

        If the search is over other parameters too, the candidate with the highest mean score is
        plotted for each layer, and the label of the vertical axis names these parameters.

        Parameters
        ----------
        cv_results : dict, fitted search, or dict of str to either
            Fitted `GridSearchCV` or its `cv_results_`, or several by the names of their lines,
            such as one for each target.
        param : str, default=None
            Name of the searched parameter, such as "layerselector__layer". None infers it if
            there is only one.
        metric : str or list of str, default=None
            Metrics to plot, with a line for each, if the search has several, such as the recall
            of each emotion. None plots all metrics.
        name : str or list of str, default=None
            Names of the lines. None means the names of the metrics or of `cv_results`.
        score_name : str, default=None
            Label of the vertical axis. None means the name of the metric if there is only one.
        ax : matplotlib Axes, default=None
            Axes to plot on. None creates a new figure.
        negate_score : bool, default=False
            Whether to negate the scores, to plot errors. The best layer is still the one with
            the highest score.
        std_display_style : {"fill_between", "errorbar", None}, default="fill_between"
            Style of the interval of ± 1 standard deviation of the scores over folds.
        line_kw : dict, default=None
            Keyword arguments passed to matplotlib's `plot` for every line.

        Returns
        -------
        display : LayerProbeDisplay
            Display with the plot.
        """
        several = isinstance(cv_results, Mapping) and "params" not in cv_results
        sources = cv_results if several else {None: cv_results}
        lines: dict = {}
        metrics: set = set()
        others: set = set()
        for source_name, source in sources.items():
            results = get_cv_results(source)
            searched = find_parameter(results, param)
            drawn = find_metrics(results, metric)
            metrics.update(metric_name(source, each) for each in drawn)
            others.update(other_parameters(results, searched))
            for each in drawn:
                parts = [source_name] if source_name is not None else []
                if len(drawn) > 1 or not parts:
                    parts.append(metric_name(source, each).replace("_", " "))
                lines[" ".join(map(str, parts))] = collect_layer_scores(results, searched, each)
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
        """Plot the scores of the inner cross-validation of a fitted ``LayerSelector("best")``.

        Parameters
        ----------
        estimator : LayerSelector, Pipeline, or dict of str to these
            Fitted selector, or a pipeline that contains it, or several by the names of their
            lines.
        name : str or list of str, default=None
            Names of the lines. None means the names of the targets or of `estimator`.
        score_name : str, default=None
            Label of the vertical axis. None means the name of the selector's scoring.
        ax : matplotlib Axes, default=None
            Axes to plot on. None creates a new figure.
        negate_score : bool, default=False
            Whether to negate the scores, to plot errors. The best layer is still the one with
            the highest score.
        std_display_style : {"fill_between", "errorbar", None}, default="fill_between"
            Style of the interval of ± 1 standard deviation of the scores over folds.
        line_kw : dict, default=None
            Keyword arguments passed to matplotlib's `plot` for every line.

        Returns
        -------
        display : LayerProbeDisplay
            Display with the plot.
        """
        sources = estimator if isinstance(estimator, Mapping) else {None: estimator}
        lines: dict = {}
        metrics: set = set()
        for source_name, source in sources.items():
            selector = find_selector(source)
            targets = selector.target_names_
            scores = selector.layer_scores_ if targets else [selector.layer_scores_]
            metrics.update(selector.scoring_ if targets else [selector.scoring_])
            for target, target_scores in zip(targets or [None], scores, strict=True):
                parts = [str(part) for part in (source_name, target) if part is not None]
                line_name = " ".join(parts) or _label({selector.scoring_}, False, capitalize=False)
                lines[line_name] = (list(range(selector.n_layers_)), target_scores)
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
                raise ValueError(f"name={names} needs one name for each line of {list(lines)}.")
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
        """Plot the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None creates a new figure.
        score_name : str, default=None
            Label of the vertical axis. None means the `score_name` of the display.
        negate_score : bool, default=False
            Whether to negate the scores, to plot errors. The best layer is still the one with
            the highest score.
        std_display_style : {"fill_between", "errorbar", None}, default="fill_between"
            Style of the interval of ± 1 standard deviation of the scores over folds.
        line_kw : dict, default=None
            Keyword arguments passed to matplotlib's `plot` for every line.

        Returns
        -------
        display : LayerProbeDisplay
            Display with the plot.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if std_display_style not in {"fill_between", "errorbar", None}:
            raise ValueError(
                f"std_display_style={std_display_style!r}; it must be 'fill_between', 'errorbar' "
                "or None."
            )
        outside = ax is None and len(self.layers) > _MAX_LINES_WITH_LEGEND_INSIDE
        self.ax_ = new_axes(self, 8 if outside else 6.4) if ax is None else ax
        self.figure_ = self.ax_.figure
        self.lines_, self.fill_between_, self.errorbar_, self.best_layers_ = [], [], [], {}
        extra = _extra_positions(self.layers)
        for number, (name, layers) in enumerate(self.layers.items()):
            scores = -self.scores[name] if negate_score else self.scores[name]
            is_index = np.array([_is_index(layer) for layer in layers])
            indices = np.array([layer for layer in layers if _is_index(layer)])
            style = {**_style(number), **(line_kw or {})}
            best = self._find_best(indices, self.scores[name][is_index])
            self.best_layers_[name] = best
            label = name if best is None else f"{name}: best at layer {best}"
            self._plot_line(indices, scores[is_index], {"label": label, **style}, std_display_style)
            shift = 0.12 * (number - (len(self.layers) - 1) / 2)
            others = np.array([extra[layer] for layer in layers if layer in extra])
            self._plot_extra(others + shift, scores[~is_index], style, std_display_style)
            self._mark_best(best, scores[layers.index(best)] if best is not None else None, number)
        self._label_axes(score_name, extra)
        self._add_legend(std_display_style, outside=outside)
        return self

    @staticmethod
    def _find_best(indices, scores):
        means = scores.mean(axis=1) if len(indices) else np.array([])
        return None if np.isnan(means).all() else int(indices[np.nanargmax(means)])

    def _plot_line(self, indices, scores, style, std_display_style):
        if not len(indices):
            scores = np.empty((0, 1))
        means, stds = scores.mean(axis=1), scores.std(axis=1)
        (line,) = self.ax_.plot(indices, means, **style)
        self.lines_.append(line)
        if std_display_style == "fill_between":
            low, high = means - stds, means + stds
            alpha = 0.15 if len(self.layers) <= _MAX_LINES_WITH_LEGEND_INSIDE else 0.07
            band = self.ax_.fill_between(
                indices, low, high, color=line.get_color(), alpha=alpha, lw=0
            )
            self.fill_between_.append(band)
        elif std_display_style == "errorbar":
            self._plot_bars(indices, means, stds, line)

    def _plot_extra(self, positions, scores, style, std_display_style):
        if len(positions):
            style = {**style, "linestyle": "none", "label": None}
            (points,) = self.ax_.plot(positions, scores.mean(axis=1), **style)
            if std_display_style is not None:
                self._plot_bars(positions, scores.mean(axis=1), scores.std(axis=1), points)

    def _plot_bars(self, positions, means, stds, line):
        bars = self.ax_.errorbar(
            positions, means, stds, fmt="none", ecolor=line.get_color(), capsize=3, lw=1
        )
        self.errorbar_.append(bars)

    def _mark_best(self, best, scores, number):
        """Draw a ring around the marker of the best layer."""
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

    def _label_axes(self, score_name, extra):
        layers = [layer for layers in self.layers.values() for layer in layers]
        shown = _thin_ticks(sorted({layer for layer in layers if _is_index(layer)}))
        names = [
            ", ".join(map(str, layer)) if isinstance(layer, tuple) else str(layer)
            for layer in extra
        ]
        self.ax_.set_xticks([*shown, *extra.values()], [*map(str, shown), *names])
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
        "linestyle": _LINESTYLES[number % len(_LINESTYLES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
    }


def _extra_positions(line_layers):
    """Return the positions of layers that are not indices, to the right of the highest index."""
    layers = [layer for layers in line_layers.values() for layer in layers]
    highest = max((layer for layer in layers if _is_index(layer)), default=-2)
    extra = dict.fromkeys(layer for layer in layers if not _is_index(layer))
    return {layer: highest + 2 + number for number, layer in enumerate(extra)}


def _is_index(layer):
    """Return whether a layer is a non-negative index, which has a position on the axis."""
    return isinstance(layer, int) and layer >= 0


def _thin_ticks(indices):
    """Select evenly spaced ticks whose labels do not overlap."""
    step = 1 + len(indices) // 20
    return indices[::step]


def _label(metrics, negate_score, capitalize=True):
    """Return the label for a single metric, as in scikit-learn's displays, or "score"."""
    names = {name if isinstance(name, str) else getattr(name, "__name__", "") for name in metrics}
    (name,) = names if len(names) == 1 else ("score",)
    if name.startswith("neg_"):
        name = name[4:] if negate_score else f"negative_{name[4:]}"
    elif negate_score:
        name = f"negative_{name}"
    name = (name or "score").replace("_", " ")
    return name[0].upper() + name[1:] if capitalize else name
