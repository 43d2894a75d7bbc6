"""Plot the embeddings of a hyperbolic classifier on the Poincaré disk."""

from numbers import Integral

import numpy as np
from scipy.stats import spearmanr
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sklearn_ser._targets import find_missing

from ._drawing import COLORS, MARKERS, new_axes

_NOT_FITTED = "estimator=%(name)s isn't fitted: call its fit first."
_STYLES = ("geodesics", "regions", None)
# Number of pixels along each side of the image of the regions, and of points along a geodesic.
_N_PIXELS, _N_GEODESIC_POINTS = 201, 40


class PoincareDiskDisplay:
    """Fused points of a `HyperbolicFusionClassifier` on the Poincaré disk.

    The points of the Poincaré ball are mapped to the two dimensions of a disk so that hyperbolic
    distances between them are preserved as well as possible. The stress and the rank correlation of
    the distances are shown below the plot. The centre of the disk is the origin of the ball. Use
    `from_estimator` to create the display. The parameters are stored as attributes.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Points in the two-dimensional ball of curvature −`curvature`. They are plotted multiplied
        by √`curvature`, so that the boundary is the unit circle.
    labels : array-like of shape (n_points,)
        Class of each point, shown by its colour and marker.
    predictions : array-like of shape (n_points,), default=None
        Predicted class of each point, by which the regions are determined. None means `labels`.
    curvature : float, default=1.0
        Curvature parameter c of the ball, 0 or larger. 0 is the Euclidean plane, which has no
        boundary.
    stress : float, default=None
        Relative error of the distances, √(Σ(d − δ)² / Σδ²) with d on the disk and δ in the ball,
        over all pairs of points, including the origin.
    correlation : float, default=None
        Spearman's rank correlation of the same distances.
    n_recordings : int, default=None
        Number of recordings from which the points were subsampled. None means no subsampling.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    points_ : dict of matplotlib PathCollection
        Points of each class, by the name of the class.
    geodesics_ : dict of matplotlib LineCollection
        Geodesics of each class, with ``style="geodesics"``.
    midpoints_ : dict of matplotlib PathCollection
        Midpoint of each class, at which its geodesics begin: the gyromidpoint of its points on the
        disk.
    regions_ : dict of matplotlib QuadContourSet
        Region of each class that has one, with ``style="regions"``.
    origin_ : matplotlib Line2D
        Marker of the origin.
    rim_ : matplotlib Circle or None
        Boundary of the disk, which is infinitely far from all points.

    See Also
    --------
    sklearn_ser.HyperbolicFusionClassifier : Its `transform` returns the points, and its
        `distance_to_origin` their distances to the origin.

    Notes
    -----
    No map from the ball to a disk preserves all distances. The points are mapped by hyperbolic
    multidimensional scaling: points and origin are translated so that their gyromidpoint is the
    origin, and projected on the two principal directions of the tangent space at the origin; then
    the stress is minimised by L-BFGS. Finally the disk is translated so that the origin is its
    centre. The procedure is deterministic. It is exact if the points lie on a disk within the ball;
    otherwise the result is a local minimum of the stress. Plots of different points can't be
    compared point by point. A ball of small curvature is nearly flat, and its points lie around the
    centre of the disk.

    The prediction of the estimator is not defined between the points, since a location on the disk
    may correspond to many locations in the ball. Regions are therefore determined by nearest
    neighbours: each location belongs to the most frequent predicted class among its nearest points,
    in hyperbolic distance on the disk.

    If the estimator is Euclidean (``curvature=0`` or ``fusion="concat"``), Euclidean distances in
    the plane are used, and the plot has no boundary.

    References
    ----------
    M. Nickel, D. Kiela, "Poincaré Embeddings for Learning Hierarchical Representations", NeurIPS
    2017, arXiv 1705.08039.

    F. Sala, C. De Sa, A. Gu, C. Ré, "Representation Tradeoffs for Hyperbolic Embeddings", ICML
    2018, arXiv 1804.03329.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser import HyperbolicFusionClassifier
    >>> from sklearn_ser.inspection import PoincareDiskDisplay
    >>> rng = np.random.default_rng(0)
    >>> emotions = np.repeat(["anger", "sadness"], 20)
    >>> X = rng.normal(size=(40, 12))
    >>> X[:20] += 1
    >>> classifier = HyperbolicFusionClassifier([6, 6], branch="mlp", random_state=0)
    >>> classifier = classifier.fit(X, emotions)
    >>> display = PoincareDiskDisplay.from_estimator(classifier, X, emotions)
    >>> list(display.points_)
    ['anger', 'sadness']
    """

    def __init__(
        self,
        *,
        points,
        labels,
        predictions=None,
        curvature=1.0,
        stress=None,
        correlation=None,
        n_recordings=None,
    ):
        self.points = points
        self.labels = labels
        self.predictions = predictions
        self.curvature = curvature
        self.stress = stress
        self.correlation = correlation
        self.n_recordings = n_recordings

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        max_points=1000,
        style="geodesics",
        n_neighbors=5,
        scatter_kw=None,
        ax=None,
    ):
        """Plot the fused points of recordings.

        Parameters
        ----------
        estimator : HyperbolicFusionClassifier, or Pipeline that ends in one
            Fitted estimator, or a fitted search over it.
        X : array-like of shape (n_recordings, n_features)
            Input of `estimator`.
        y : array-like of shape (n_recordings,), default=None
            True classes. None means the classes predicted by `estimator`.
        max_points : int, default=1000
            Maximum number of points. If there are more recordings, evenly spaced ones of each
            class are plotted. The run time is quadratic in this number.
        style : {"geodesics", "regions", None}, default="geodesics"
            What to draw in addition to the points: geodesics from the midpoint of each class to
            its points, the regions of the predicted classes, or nothing.
        n_neighbors : int, default=5
            Number of nearest points that determine the region of a location.
        scatter_kw : dict, default=None
            Keyword arguments passed to matplotlib's `scatter` for every class.
        ax : matplotlib Axes, default=None
            Axes to plot on. None creates a new figure.

        Returns
        -------
        display : PoincareDiskDisplay
            Display with the plot.

        Raises
        ------
        NotFittedError
            If `estimator` isn't fitted.
        ValueError
            If `estimator` is of another type, if `X` and `y` differ in length, or if there are
            fewer than three distinct points.
        """
        if not isinstance(max_points, Integral) or max_points < 3:
            raise ValueError(f"max_points={max_points!r}; it must be an integer, 3 or more.")
        points, predictions, curvature = _fused_points(estimator, X)
        labels = predictions if y is None else _check_labels(y, predictions)
        if len(labels) != len(points):
            raise ValueError(
                f"y has {len(labels)} classes for {len(points)} recordings of X: pass one for "
                "each, or y=None to use the predicted classes."
            )
        kept = _subsample(labels, max_points)
        n_distinct = len(np.unique(points[kept], axis=0))
        if n_distinct < 3:
            raise ValueError(
                f"The recordings of X have {n_distinct} distinct points, but the plot needs at "
                "least 3: pass more recordings."
            )
        on_disk, stress, correlation = _scale_to_disk(points[kept], curvature)
        return cls(
            points=on_disk,
            labels=labels[kept],
            predictions=predictions[kept],
            curvature=curvature,
            stress=stress,
            correlation=correlation,
            n_recordings=len(points),
        ).plot(style=style, n_neighbors=n_neighbors, scatter_kw=scatter_kw, ax=ax)

    def plot(self, ax=None, *, style="geodesics", n_neighbors=5, scatter_kw=None):
        """Plot the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None creates a new figure.
        style : {"geodesics", "regions", None}, default="geodesics"
            What to draw in addition to the points: geodesics from the midpoint of each class to
            its points, the regions of the predicted classes, or nothing.
        n_neighbors : int, default=5
            Number of nearest points that determine the region of a location.
        scatter_kw : dict, default=None
            Keyword arguments passed to matplotlib's `scatter` for every class.

        Returns
        -------
        display : PoincareDiskDisplay
            Display with the plot.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if style not in _STYLES:
            raise ValueError(f"style={style!r}; it must be 'geodesics', 'regions' or None.")
        if n_neighbors < 1:
            raise ValueError(f"n_neighbors={n_neighbors}; it must be 1 or more.")
        self.ax_ = new_axes(self) if ax is None else ax
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.collections import PathCollection

        self.figure_ = self.ax_.figure
        self.points_, self.geodesics_, self.midpoints_, self.regions_ = {}, {}, {}, {}
        points = np.asarray(self.points, dtype=float)
        if self.curvature > 0:
            points = points * np.sqrt(self.curvature)
        labels = np.asarray(self.labels)
        predictions = labels if self.predictions is None else np.asarray(self.predictions)
        classes = np.unique(np.concatenate([labels, predictions])).tolist()
        self._plot_frame(points)
        if style == "regions":
            self._plot_regions(points, predictions, classes, n_neighbors)
        for number, name in enumerate(classes):
            class_points = points[labels == name]
            marker = {"color": _color(number), "marker": MARKERS[number % len(MARKERS)]}
            if style == "geodesics" and len(class_points):
                self._plot_geodesics(class_points, name, marker)
            settings = {"s": 22, "edgecolors": "white", "linewidths": 0.4, "zorder": 3}
            settings |= marker | {"label": str(name)}
            given = normalize_kwargs(scatter_kw or {}, PathCollection)
            if "c" in given:  # the colours of the user replace those of the classes
                del settings["color"]
            settings = normalize_kwargs(settings, PathCollection) | given
            self.points_[name] = self.ax_.scatter(*class_points.T, **settings)
        self.ax_.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
        return self

    def _plot_frame(self, points):
        """Draw boundary and origin, and write the stress and the correlation below."""
        from matplotlib.patches import Circle

        self.rim_ = None
        limit = 1.1 * np.abs(points).max()
        if self.curvature > 0:
            self.rim_ = self.ax_.add_patch(Circle((0, 0), 1, fill=False, color="black", zorder=4))
            self.ax_.spines[:].set_visible(False)
            limit = 1.02
        (self.origin_,) = self.ax_.plot(0, 0, "+", color="black", markersize=9, zorder=5)
        self.ax_.set(aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit))
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.set_xlabel(self._describe(len(points)), fontsize="x-small")

    def _describe(self, n_points):
        parts = []
        if self.stress is not None:
            parts.append(f"stress {self.stress:.2f}")
        if self.correlation is not None:
            parts.append(f"rank correlation of distances {self.correlation:.2f}")
        if self.n_recordings is not None and self.n_recordings > n_points:
            parts.append(f"{n_points} of {self.n_recordings} recordings")
        return ", ".join(parts)

    def _plot_regions(self, points, predictions, classes, n_neighbors):
        low, high = self.ax_.get_xlim()
        side = np.linspace(low, high, _N_PIXELS)
        codes = np.searchsorted(classes, predictions)
        regions = _classify_grid(side, points, codes, self.curvature > 0, n_neighbors)
        for number, name in enumerate(classes):
            if (regions == number).any():
                region = self.ax_.contourf(
                    side,
                    side,
                    regions == number,
                    levels=[0.5, 1.5],
                    colors=[_color(number)],
                    # Classes that repeat a colour are hatched.
                    hatches=[None if number < len(COLORS) else "///"],
                    alpha=0.2,
                    zorder=1,
                )
                if self.rim_ is not None:
                    region.set_clip_path(self.rim_)
                self.regions_[name] = region

    def _plot_geodesics(self, points, name, marker):
        from matplotlib.collections import LineCollection

        midpoint, lines = _geodesics_from_midpoint(points, self.curvature > 0)
        lines = LineCollection(lines, colors=marker["color"], linewidths=0.6, alpha=0.5, zorder=1)
        self.geodesics_[name] = self.ax_.add_collection(lines)
        self.midpoints_[name] = self.ax_.scatter(
            *midpoint, s=90, edgecolors="black", linewidths=1, zorder=4, **marker
        )


def _color(number):
    return COLORS[number % len(COLORS)]


def _fused_points(estimator, X):
    """Return the fused points, the predicted classes and the curvature parameter."""
    from sklearn_ser.estimators import HyperbolicFusionClassifier

    last, before = estimator, []
    while isinstance(last, Pipeline) or _is_search(last):
        if _is_search(last):
            check_is_fitted(last, "best_estimator_", msg=_NOT_FITTED)
            last = last.best_estimator_
        else:
            before += [step for _, step in last.steps[:-1] if step not in (None, "passthrough")]
            last = last.steps[-1][1]
    if not isinstance(last, HyperbolicFusionClassifier):
        raise ValueError(
            f"estimator={type(estimator).__name__} is not a HyperbolicFusionClassifier, nor a "
            "Pipeline that ends in one: pass a fitted one."
        )
    check_is_fitted(last, "state_", msg=_NOT_FITTED)
    for step in before:
        X = step.transform(X)
    return np.asarray(last.transform(X)), last.predict(X), last.curvature_


def _is_search(estimator):
    return hasattr(estimator, "estimator") and hasattr(estimator, "refit")


def _check_labels(y, predictions):
    """Validate the true classes: none is missing, and they have the type of the predicted ones."""
    labels = column_or_1d(y)
    missing = find_missing(labels)
    if len(missing):
        raise ValueError(
            f"y has no class for {len(missing)} recordings, the first at position {missing[0]}: "
            "remove them from X and y, or pass y=None to use the predicted classes."
        )
    kinds = [np.asarray(list(values)).dtype.kind for values in (labels, predictions)]
    if ("U" in kinds) != (kinds == ["U", "U"]):
        raise ValueError(
            f"y has classes such as {labels[0]!r}, but the estimator predicts classes such as "
            f"{predictions[0]!r}: pass the same labels as in fit."
        )
    return labels


def _subsample(labels, n_points):
    """Return the positions of at most `n_points` recordings, evenly spaced over the classes."""
    if len(labels) <= n_points:
        return np.arange(len(labels))
    by_class = np.argsort(labels, kind="stable")
    return np.sort(by_class[np.linspace(0, len(labels) - 1, n_points).astype(int)])


def _scale_to_disk(points, c):
    """Return points on a disk centred at the origin, their stress and rank correlation."""
    import torch

    from sklearn_ser.nn import poincare, poincare_scaling

    # Prepend the origin, and add a second dimension to one-dimensional points.
    points = np.pad(points.astype(float), ((1, 0), (0, max(0, 2 - points.shape[1]))))
    points = torch.from_numpy(points)
    on_disk = poincare_scaling.scale(points, c)
    targets = poincare_scaling.pairwise_distances(points, c)
    distances = poincare_scaling.pairwise_distances(on_disk, c)
    stress = float(poincare_scaling.stress(distances, targets))
    correlation = float(spearmanr(distances.numpy(), targets.numpy()).statistic)
    return poincare.mobius_add(-on_disk[0], on_disk[1:], c).numpy(), stress, correlation


def _classify_grid(side, points, codes, c, n_neighbors):
    """Classify each location of a square grid by its nearest points."""
    import torch

    from sklearn_ser.nn import poincare

    points, side = torch.from_numpy(points), torch.from_numpy(side)
    votes = torch.nn.functional.one_hot(torch.from_numpy(codes))
    rows = []
    for height in side:  # row by row, to bound memory
        locations = torch.stack([side, height.expand(len(side))], dim=-1)
        distances = poincare.distance(locations.unsqueeze(1), points, float(c))
        nearest = distances.topk(min(n_neighbors, len(points)), largest=False).indices
        rows.append(votes[nearest].sum(1).argmax(1).numpy())
    return np.stack(rows)


def _geodesics_from_midpoint(points, c):
    """Return the midpoint, and the geodesics to all points, (n_points, n_geodesic_points, 2)."""
    import torch

    from sklearn_ser.nn import poincare

    points = torch.from_numpy(points)
    midpoint = poincare.gyromidpoint(points, c=float(c))
    fractions = torch.linspace(0, 1, _N_GEODESIC_POINTS, dtype=points.dtype).unsqueeze(-1)
    lines = poincare.geodesic(midpoint, points.unsqueeze(1), fractions, float(c))
    return midpoint.numpy(), lines.numpy()
