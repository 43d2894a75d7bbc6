"""A picture of the points that a hyperbolic classifier makes of recordings."""

from numbers import Integral

import numpy as np
from scipy.stats import spearmanr
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ._drawing import COLORS, MARKERS, new_axes

_NOT_FITTED = "estimator=%(name)s isn't fitted: call its fit before it is drawn."
_STYLES = ("geodesics", "regions", None)
# Pixels along each side of the picture of the regions, and points along a geodesic.
_N_PIXELS, _N_STOPS = 201, 40


class PoincareDiskDisplay:
    """Fused points of a `HyperbolicFusionClassifier` on the Poincaré disk.

    The points are taken from the many dimensions of the ball to the two of a disk so that the
    hyperbolic distances between them change as little as can be; below the picture stands how
    little that is. The centre of the disk is the origin of the ball. Create it by
    `from_estimator`; the parameters are stored as attributes.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Points on the two-dimensional ball of curvature −`curvature`. They are drawn times
        √`curvature`, so that the rim is the unit circle.
    labels : array-like of shape (n_points,)
        The class of each point, which is told by its colour and marker.
    predictions : array-like of shape (n_points,), default=None
        The class that the estimator predicts for each, by which the regions are drawn. None means
        `labels`.
    curvature : float, default=1.0
        Of the ball: c, 0 or more. 0 is Euclid's plane, which has no rim.
    stress : float, default=None
        How much the distances have changed, √(Σ(d − δ)² / Σδ²) with d on the disk and δ on the
        ball, over all pairs of points, the origin among them.
    correlation : float, default=None
        Spearman's rank correlation of the same distances.
    n_recordings : int, default=None
        Of how many recordings these are some. None means that they are all.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure with the axes.
    points_ : dict of matplotlib PathCollection
        The points of each class, by its name.
    geodesics_ : dict of matplotlib LineCollection
        The geodesics of each class, with ``style="geodesics"``.
    midpoints_ : dict of matplotlib PathCollection
        The midpoint of each class, from which its geodesics go: the gyromidpoint of its points
        on the disk.
    regions_ : dict of matplotlib QuadContourSet
        The region of each class that has one, with ``style="regions"``.
    origin_ : matplotlib Line2D
        The cross at the origin.
    rim_ : matplotlib Circle or None
        The rim, which is infinitely far from all points.

    See Also
    --------
    sklearn_ser.HyperbolicFusionClassifier : Its `transform` gives the points, and its
        `distance_to_origin` the distances which this display shows as those to the cross.

    Notes
    -----
    No map from the ball to a disk keeps all distances. This is hyperbolic multidimensional
    scaling: the points, and the origin, are moved along the ball until their gyromidpoint is at
    its origin, are projected on their two principal directions in the tangent space there, and
    from that start the stress is lowered by L-BFGS. Then the disk is moved so that the origin is
    its centre. There is no chance in it: the same points give the same picture. Where the points
    lie on a disk within the ball, it is exact. Else the picture is the best near its start, for
    the points at hand: it is to be read with its stress, and pictures of other points aren't
    comparable point by point. A ball of small curvature is nearly flat, and its points lie
    around the centre of the disk.

    What the estimator predicts is not known between the points, as a place on the disk may be
    many places of the ball. So regions are drawn by neighbours: a place belongs to the class
    that most of its nearest points, in hyperbolic distance on the disk, are predicted to be of.

    Where the estimator is Euclid's (``curvature=0`` or ``fusion="concat"``), the same is done in
    the plane with Euclid's distances, and the picture has no rim.

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
        """Draw the fused points of recordings.

        Parameters
        ----------
        estimator : HyperbolicFusionClassifier, or Pipeline that ends in one
            What was fitted; or a fitted search over it.
        X : array-like of shape (n_recordings, n_features)
            What `estimator` predicts from.
        y : array-like of shape (n_recordings,), default=None
            The true classes. None means those that `estimator` predicts.
        max_points : int, default=1000
            Of more recordings so many are drawn, evenly spaced in each class. The time goes with
            its square.
        style : {"geodesics", "regions", None}, default="geodesics"
            What to draw below the points: geodesics from the midpoint of each class, which is
            drawn large, to its points; the regions of the predicted classes; or nothing.
        n_neighbors : int, default=5
            Number of nearest points that say to which region a place belongs.
        scatter_kw : dict, default=None
            Arguments for matplotlib's `scatter` of the points of every class.
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        Returns
        -------
        display : PoincareDiskDisplay
            The picture and what it shows.

        Raises
        ------
        NotFittedError
            If `estimator` isn't fitted.
        ValueError
            If `estimator` is another, `y` of another length than `X`, or if fewer than three
            different points are to be drawn.
        """
        if not isinstance(max_points, Integral) or max_points < 3:
            raise ValueError(f"max_points={max_points!r}; it must be a whole number, 3 or more.")
        points, predictions, curvature = _fused_points(estimator, X)
        labels = predictions if y is None else _check_labels(y, predictions)
        if len(labels) != len(points):
            raise ValueError(
                f"y has {len(labels)} classes for {len(points)} recordings of X: pass one for "
                "each, or y=None for the predicted ones."
            )
        drawn = _evenly_spaced(labels, max_points)
        n_different = len(np.unique(points[drawn], axis=0))
        if n_different < 3:
            raise ValueError(
                f"The recordings of X become {n_different} different points, and a picture needs "
                "3: pass more recordings."
            )
        on_disk, stress, correlation = _scale_to_disk(points[drawn], curvature)
        return cls(
            points=on_disk,
            labels=labels[drawn],
            predictions=predictions[drawn],
            curvature=curvature,
            stress=stress,
            correlation=correlation,
            n_recordings=len(points),
        ).plot(style=style, n_neighbors=n_neighbors, scatter_kw=scatter_kw, ax=ax)

    def plot(self, ax=None, *, style="geodesics", n_neighbors=5, scatter_kw=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.
        style : {"geodesics", "regions", None}, default="geodesics"
            What to draw below the points: geodesics from the midpoint of each class, which is
            drawn large, to its points; the regions of the predicted classes; or nothing.
        n_neighbors : int, default=5
            Number of nearest points that say to which region a place belongs.
        scatter_kw : dict, default=None
            Arguments for matplotlib's `scatter` of the points of every class.

        Returns
        -------
        display : PoincareDiskDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if style not in _STYLES:
            raise ValueError(f"style={style!r}; it may be 'geodesics', 'regions' or None.")
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
            of_class = points[labels == name]
            look = {"color": _color(number), "marker": MARKERS[number % len(MARKERS)]}
            if style == "geodesics" and len(of_class):
                self._plot_geodesics(of_class, name, look)
            settings = {"s": 22, "edgecolors": "white", "linewidths": 0.4, "zorder": 3}
            settings |= look | {"label": str(name)}
            given = normalize_kwargs(scatter_kw or {}, PathCollection)
            if "c" in given:  # what it says, and not the class, is told by colours
                del settings["color"]
            settings = normalize_kwargs(settings, PathCollection) | given
            self.points_[name] = self.ax_.scatter(*of_class.T, **settings)
        self.ax_.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
        return self

    def _plot_frame(self, points):
        """Draw rim and origin, and write below how well distances are kept."""
        from matplotlib.patches import Circle

        self.rim_ = None
        reach = 1.1 * np.abs(points).max()
        if self.curvature > 0:
            self.rim_ = self.ax_.add_patch(Circle((0, 0), 1, fill=False, color="black", zorder=4))
            self.ax_.spines[:].set_visible(False)
            reach = 1.02
        (self.origin_,) = self.ax_.plot(0, 0, "+", color="black", markersize=9, zorder=5)
        self.ax_.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
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
        regions = _vote_of_nearest(side, points, codes, self.curvature > 0, n_neighbors)
        for number, name in enumerate(classes):
            if (regions == number).any():
                region = self.ax_.contourf(
                    side,
                    side,
                    regions == number,
                    levels=[0.5, 1.5],
                    colors=[_color(number)],
                    # Of two classes of one colour, the second is hatched.
                    hatches=[None if number < len(COLORS) else "///"],
                    alpha=0.2,
                    zorder=1,
                )
                if self.rim_ is not None:
                    region.set_clip_path(self.rim_)
                self.regions_[name] = region

    def _plot_geodesics(self, points, name, look):
        from matplotlib.collections import LineCollection

        midpoint, lines = _geodesics_from_midpoint(points, self.curvature > 0)
        lines = LineCollection(lines, colors=look["color"], linewidths=0.6, alpha=0.5, zorder=1)
        self.geodesics_[name] = self.ax_.add_collection(lines)
        self.midpoints_[name] = self.ax_.scatter(
            *midpoint, s=90, edgecolors="black", linewidths=1, zorder=4, **look
        )


def _color(number):
    return COLORS[number % len(COLORS)]


def _fused_points(estimator, X):
    """Return the fused points, the predicted classes, and the curvature of the ball."""
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
            f"estimator={type(estimator).__name__} is no HyperbolicFusionClassifier, nor a "
            "Pipeline that ends in one: pass a fitted one."
        )
    check_is_fitted(last, "state_", msg=_NOT_FITTED)
    for step in before:
        X = step.transform(X)
    return np.asarray(last.transform(X)), last.predict(X), last.curvature_


def _is_search(estimator):
    return hasattr(estimator, "estimator") and hasattr(estimator, "refit")


def _check_labels(y, predictions):
    """Return the true classes, of which some at least must be such as are predicted."""
    labels = column_or_1d(y)
    missing = [position for position, label in enumerate(labels) if label is None or label != label]
    if missing:
        raise ValueError(
            f"y has no class for {len(missing)} recordings, the first at position {missing[0]}: "
            "leave them out of X and y, or pass y=None for the predicted classes."
        )
    kinds = [np.asarray(list(values)).dtype.kind for values in (labels, predictions)]
    if ("U" in kinds) != (kinds == ["U", "U"]):
        raise ValueError(
            f"y holds classes such as {labels[0]!r}, and the estimator predicts such as "
            f"{predictions[0]!r}: pass y as it was in fit."
        )
    return labels


def _evenly_spaced(labels, n_points):
    """Return the positions of so many recordings, spread over the classes, or all."""
    if len(labels) <= n_points:
        return np.arange(len(labels))
    by_class = np.argsort(labels, kind="stable")
    return np.sort(by_class[np.linspace(0, len(labels) - 1, n_points).astype(int)])


def _scale_to_disk(points, c):
    """Return points on the disk, its centre the origin, their stress and rank correlation."""
    import torch

    from sklearn_ser.nn import poincare, poincare_scaling

    # The origin is the first of the points; those of one dimension get a second.
    points = np.pad(points.astype(float), ((1, 0), (0, max(0, 2 - points.shape[1]))))
    points = torch.from_numpy(points)
    on_disk = poincare_scaling.scale(points, c)
    targets = poincare_scaling.pairwise_distances(points, c)
    distances = poincare_scaling.pairwise_distances(on_disk, c)
    stress = float(poincare_scaling.stress(distances, targets))
    correlation = float(spearmanr(distances.numpy(), targets.numpy()).statistic)
    return poincare.mobius_add(-on_disk[0], on_disk[1:], c).numpy(), stress, correlation


def _vote_of_nearest(side, points, codes, c, n_neighbors):
    """Return the class that most of the nearest points have, for each place of a square."""
    import torch

    from sklearn_ser.nn import poincare

    points, side = torch.from_numpy(points), torch.from_numpy(side)
    ballots = torch.nn.functional.one_hot(torch.from_numpy(codes))
    rows = []
    for height in side:  # row by row, to bound memory
        places = torch.stack([side, height.expand(len(side))], dim=-1)
        distances = poincare.distance(places.unsqueeze(1), points, float(c))
        nearest = distances.topk(min(n_neighbors, len(points)), largest=False).indices
        rows.append(ballots[nearest].sum(1).argmax(1).numpy())
    return np.stack(rows)


def _geodesics_from_midpoint(points, c):
    """Return the midpoint of points, and lines from it to each, (n_points, n_stops, 2)."""
    import torch

    from sklearn_ser.nn import poincare

    points = torch.from_numpy(points)
    midpoint = poincare.gyromidpoint(points, c=float(c))
    shares = torch.linspace(0, 1, _N_STOPS, dtype=points.dtype).unsqueeze(-1)
    lines = poincare.geodesic(midpoint, points.unsqueeze(1), shares, float(c))
    return midpoint.numpy(), lines.numpy()
