"""HYFuse's network: a branch for each block of features, fused on the Poincaré ball."""

import contextlib
import math
import warnings

import torch
from torch import nn

from . import poincare

# Features this many standard deviations away, or more, count as this many: the squares of what
# a branch makes of 1e30 would be infinite.
LARGEST_FEATURE = 1e3
# How many curvatures are learned; each begins at 1.
N_CURVATURES = {"learn": lambda n_blocks: 1, "learn_each": lambda n_blocks: n_blocks}
# Sizes of the branches' hidden layers: channels of convolutions, widths of linear layers.
BRANCH_SIZES = {"conv": (64, 128), "mlp": (256,)}
FUSIONS = ("mobius", "concat", "sum", "gyromidpoint")


class HyperbolicFusionNetwork(nn.Module):
    """Blocks of features side by side, to the logits of classes.

    Each block goes through a branch of its own to a tangent vector at the origin of the ball,
    which is clipped and taken to the ball by exp₀. There the points are fused, and what comes of
    it is classified.

    Parameters
    ----------
    block_widths : sequence of int
        Number of features in each block, in the order of the columns and of ⊕.
    n_classes : int
    fusion : {"mobius", "concat", "sum", "gyromidpoint"}, default="mobius"
        Möbius addition, from left to right; the sum of the tangent vectors; or the midpoint of the
        points. "concat" is the Euclidean network that the others are compared with: the vectors
        side by side, not clipped, whatever the curvature.
    curvature : float, "learn" or "learn_each", default=1.0
        c of the ball of curvature −c. 0 is Euclid's space: the same network, with sums and means
        of vectors. "learn" learns one for all, beginning at 1. "learn_each" learns one for each
        block; the fusion is on the ball of their geometric mean, to which a block's ball is
        carried by scaling: its point of curvature cᵢ times √(cᵢ/c), which keeps angles and
        ratios of distances. With "sum" and the softmax head no single curvature makes a
        difference, until the sum reaches the rim: log₀ gives back what exp₀ got.
    head : {"softmax", "mlr"}, default="softmax"
        A hidden layer and a linear one on log₀ of the point, or hyperbolic multinomial logistic
        regression on the point itself.
    branch : {"conv", "mlp"}, default="conv"
        Convolutions along the features (kernel 3, ReLU, pooling by 2) and a linear layer, as the
        authors of HYFuse have them, or linear layers with ReLU between them. Blocks too narrow
        for all the poolings (fewer than 10 features for two) are padded with zeros on the right.
    branch_sizes : sequence of int, optional
        Channels of the convolutions, (64, 128) if None, or widths of the hidden layers, (256,).
    n_dims : int, default=120
        Size of the tangent vectors.
    max_norm : float or None, default=1.0
        Longer tangent vectors are shortened to this norm. None lets them be.
    hidden_size : int, default=128
        Width of the hidden layer of the softmax head.
    dropout : float, default=0.3
        Share of that layer's units dropped in training.

    Attributes
    ----------
    is_riemannian : bool
        Whether some parameters are points on the ball, which Riemannian Adam moves along it.

    Notes
    -----
    Features are expected to be standardised; those beyond ±1000 count as ±1000. All that is on
    the ball is computed in float32 or wider, also under autocast.

    References
    ----------
    Phukan, Girish, Akhtar et al.: "HYFuse: Aligning heterogeneous speech pre-trained
    representations in hyperbolic space for speech emotion recognition". Interspeech 2025.
    """

    def __init__(
        self,
        block_widths,
        n_classes,
        *,
        fusion="mobius",
        curvature=1.0,
        head="softmax",
        branch="conv",
        branch_sizes=None,
        n_dims=120,
        max_norm=1.0,
        hidden_size=128,
        dropout=0.3,
    ):
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion={fusion!r} is none of {', '.join(FUSIONS)}")
        self.block_widths = [int(width) for width in block_widths]
        self.fusion, self.max_norm = fusion, max_norm
        make_branch = {"conv": _Convolutions, "mlp": _make_linear_layers}[branch]
        sizes = BRANCH_SIZES[branch] if branch_sizes is None else branch_sizes
        self.branches = nn.ModuleList(
            make_branch(width, sizes, n_dims) for width in self.block_widths
        )
        n_blocks = len(self.block_widths)
        # "concat" is flat whatever the curvature: nothing of it is learned there.
        curvature = 0.0 if fusion == "concat" else curvature
        self.n_curvatures = N_CURVATURES[curvature](n_blocks) if curvature in N_CURVATURES else 0
        self.fixed_curvature = None if self.n_curvatures else curvature
        if self.n_curvatures:
            self.log_curvatures = nn.Parameter(torch.zeros(self.n_curvatures))
        # Vectors so short, and so few, may not leave what projection leaves alone.
        self.reaches_rim = (
            self.n_curvatures > 0
            or max_norm is None
            or math.tanh(math.sqrt(curvature) * max_norm * n_blocks) > 1 - poincare.MARGIN
        )
        n_fused = n_dims * n_blocks if fusion == "concat" else n_dims
        self.head: nn.Module
        if head == "mlr":
            self.head = _Hyperplanes(n_fused, n_classes, self.fixed_curvature)
        else:
            self.head = nn.Sequential(
                nn.Linear(n_fused, hidden_size),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden_size, n_classes),
            )

    @property
    def is_riemannian(self):
        return isinstance(self.head, _Hyperplanes) and self.head.is_riemannian

    def curvature(self):
        """Return c of the ball of the fused points, a float or what is learned of it."""
        return self.log_curvatures.mean().exp() if self.n_curvatures else self.fixed_curvature

    def parameter_groups(self):
        """Split the parameters into groups for an optimiser.

        Returns
        -------
        groups : list of dict
            The parameters that any optimiser may move; and, if `is_riemannian`, the points on
            the ball, which need `geoopt.optim.RiemannianAdam`, and no weight decay, as that is
            Euclid's. Riemannian Adam moves the others as Adam does, in more time.
        """
        if not self.is_riemannian:
            return [{"params": list(self.parameters())}]
        points = self.head.points
        others = [parameter for parameter in self.parameters() if parameter is not points]
        return [{"params": others}, {"params": [points], "weight_decay": 0.0}]

    def forward(self, features):
        """Score the classes.

        Parameters
        ----------
        features : Tensor of shape (n_samples, sum of block_widths)

        Returns
        -------
        logits : Tensor of shape (n_samples, n_classes)
        """
        tangents = self._branch_out(features)
        c = self.curvature()
        with _full_precision(features.device.type):
            if isinstance(self.head, _Hyperplanes):
                return self.head(self._fuse(tangents, c), c)
            if self.fusion == "sum" and not self.reaches_rim:
                fused = self._sum(tangents)  # what log₀ would give back
            else:
                fused = poincare.log0(self._fuse(tangents, c), c)
        return self.head(fused.to(tangents[0].dtype))

    def fuse(self, features):
        """Give the fused points.

        Returns
        -------
        points : Tensor of shape (n_samples, n_dims)
            On the ball of `curvature()`; with "concat", n_dims times as many as blocks.
        """
        tangents = self._branch_out(features)
        with _full_precision(features.device.type):
            return self._fuse(tangents, self.curvature())

    def _branch_out(self, features):
        features = features.clamp(-LARGEST_FEATURE, LARGEST_FEATURE)
        blocks = features.split(self.block_widths, dim=1)
        return [branch(block) for branch, block in zip(self.branches, blocks, strict=True)]

    def _fuse(self, tangents, c):
        if self.fusion == "concat":
            return _widen(torch.cat(tangents, dim=1))
        if self.fusion == "sum":
            return self._project(poincare.exp0(self._sum(tangents), c), c)
        points = self._project(self._enter(_widen(torch.stack(tangents, dim=1)), c), c)
        if self.fusion == "mobius":
            total, *others = points.unbind(1)
            for point in others:
                total = self._project(poincare.mobius_add(total, point, c), c)
            return total
        return self._project(poincare.gyromidpoint(points, c=c), c)

    def _sum(self, tangents):
        return self._shorten(_widen(torch.stack(tangents, dim=1))).sum(1)

    def _enter(self, tangents, c):
        if self.n_curvatures > 1:
            return poincare.exp0(self._shorten(tangents), c)
        return poincare.exp0(tangents, c, self.max_norm)

    def _shorten(self, tangents):
        """Clip tangent vectors, and scale them as their balls are on the way to the fusion's."""
        if self.max_norm is not None:
            tangents = poincare.clip_norm(tangents, self.max_norm)
        if self.n_curvatures > 1:
            scales = ((self.log_curvatures - self.log_curvatures.mean()) / 2).exp()
            tangents = tangents * scales.unsqueeze(-1)
        return tangents

    def _project(self, points, c):
        return poincare.project(points, c) if self.reaches_rim else points


class _Convolutions(nn.Sequential):
    """Convolutions along the features of a block, padded to what they need."""

    def __init__(self, width, channels, n_dims):
        needed = 1
        for _ in channels:
            needed = 2 * needed + 2
        layers = []
        n_inputs, length = 1, max(width, needed)
        for n_outputs in channels:
            layers += [nn.Conv1d(n_inputs, n_outputs, 3), nn.ReLU(), nn.MaxPool1d(2)]
            n_inputs, length = n_outputs, (length - 2) // 2
        super().__init__(*layers, nn.Flatten(), nn.Linear(n_inputs * length, n_dims))
        self.padding = max(needed - width, 0)

    def forward(self, block):
        if self.padding:
            block = nn.functional.pad(block, (0, self.padding))
        return super().forward(block.unsqueeze(1))


class _Hyperplanes(nn.Module):
    """Hyperbolic multinomial logistic regression, with a point on the ball for each class.

    `curvature` is None if it is learned.
    """

    def __init__(self, n_dims, n_classes, curvature):
        super().__init__()
        self.is_riemannian = curvature != 0
        self.is_learned = curvature is None
        points = torch.zeros(n_classes, n_dims)
        if self.is_riemannian:
            self.points = _put_on_ball(points, 1.0 if self.is_learned else curvature)
        else:
            self.points = nn.Parameter(points)
        bound = 1 / math.sqrt(n_dims)
        self.normals = nn.Parameter(torch.empty(n_classes, n_dims).uniform_(-bound, bound))

    def forward(self, fused, c):
        if self.is_learned and self.training:
            self._follow(c.detach())
        points = _widen(self.points)
        if self.is_learned:
            points = poincare.project(points, c)
        return poincare.hyperplane_logits(fused, points, _widen(self.normals), c)

    @torch.no_grad()
    def _follow(self, c):
        """Make the ball of the points the one at hand: the optimiser's step is on it.

        Of points outside it, which a larger c leaves, Riemannian Adam makes NaN.
        """
        self.points.manifold.k.copy_(-c)
        self.points.data = poincare.project(self.points.data, c)


def _make_linear_layers(width, sizes, n_dims):
    layers = []
    for size in sizes:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, n_dims))


def _put_on_ball(points, c):
    """Make points a parameter that Riemannian Adam moves along the ball."""
    with warnings.catch_warnings():
        # geoopt compiles its functions when it is imported, which PyTorch has deprecated: with a
        # DeprecationWarning up to 2.14, with a FutureWarning since.
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated")
        import geoopt
    # Its PoincareBall keeps c as log(eᶜ − 1), which float32 loses below 1e-7.
    return geoopt.ManifoldParameter(points, manifold=geoopt.Stereographic(k=-c))


def _widen(x):
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _full_precision(device_type):
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return contextlib.nullcontext()
