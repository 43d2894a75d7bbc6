"""The network of HYFuse: a branch for each block of features, fused on the Poincaré ball."""

import contextlib
import math
import warnings

import torch
from torch import nn

from . import poincare

# Standardised features are clipped to ± this, because squares of large activations may overflow.
MAX_FEATURE = 1e3
# Number of learned curvatures. Each is initialised to 1.
N_CURVATURES = {"learn": lambda n_blocks: 1, "learn_each": lambda n_blocks: n_blocks}
# Sizes of the branches' hidden layers: channels of convolutions, widths of linear layers.
BRANCH_SIZES = {"linear": (), "mlp": (256,), "conv": (64, 128)}
FUSIONS = ("mobius", "concat", "sum", "gyromidpoint")


class HyperbolicFusionNetwork(nn.Module):
    """Network that fuses blocks of features on the Poincaré ball and classifies the result.

    A branch maps each block to a tangent vector at the origin of the ball. The vector is clipped
    and mapped to the ball by exp₀. The points are fused on the ball, and the result is classified.
    A block that is all NaN is missing: its vector is zero, the neutral element of ⊕.

    Parameters
    ----------
    block_widths : sequence of int
        Number of features in each block, in the order of the columns and of ⊕.
    n_classes : int
        Number of classes.
    fusion : {"mobius", "concat", "sum", "gyromidpoint"}, default="mobius"
        Fusion of the blocks: Möbius addition from left to right, concatenation, the sum of the
        tangent vectors, or the midpoint of the points. "concat" is the Euclidean baseline: the
        vectors are concatenated without clipping, regardless of the curvature.
    curvature : float, "learn" or "learn_each", default=1.0
        c of the ball of curvature −c. 0 is Euclidean space: the same network with sums and means
        of vectors. "learn" learns one curvature for all blocks, initialised to 1. "learn_each"
        learns one for each block. The fusion is then computed on the ball with their geometric
        mean c: points of curvature cᵢ are multiplied by √(cᵢ/c), which preserves angles and
        ratios of distances. With "sum" and the softmax head, a single curvature has no effect
        unless the sum is projected, because log₀ is the inverse of exp₀. With linear branches, a
        number κ is relative to the lengths of the vectors; see `relative_curvature`.
    head : {"softmax", "mlr"}, default="softmax"
        A hidden and a linear layer on log₀ of the point, or hyperbolic multinomial logistic
        regression on the point.
    branch : {"conv", "mlp", "linear"}, default="conv"
        Convolutions along the features (kernel size 3, ReLU, max pooling by 2) and a linear layer,
        as in HYFuse, or linear layers with ReLU between them. Blocks that are too narrow for the
        poolings (fewer than 10 features for two) are padded with zeros on the right. "linear" is
        one linear map without intercept to `n_classes` dimensions, and log₀ of the fused point plus
        an intercept are the logits. There `head`, `branch_sizes`, `n_dims`, `max_norm`,
        `hidden_size` and `dropout` have no effect.
    branch_sizes : sequence of int, optional
        Numbers of channels of the convolutions, by default (64, 128), or widths of the hidden
        layers, by default (256,).
    n_dims : int, default=120
        Number of dimensions of the tangent vectors.
    max_norm : float or None, default=1.0
        Tangent vectors are clipped to this norm. If None, they are not clipped.
    hidden_size : int, default=128
        Width of the hidden layer of the softmax head.
    dropout : float, default=0.3
        Dropout probability of this layer.

    Attributes
    ----------
    is_riemannian : bool
        Whether some parameters are points on the ball, which need Riemannian Adam.

    Notes
    -----
    Features are expected to be standardised, and are clipped to ±1000. Operations on the ball are
    computed in float32 or float64, also under autocast.

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
        self.mean_squared_norm: torch.Tensor
        if fusion not in FUSIONS:
            raise ValueError(f"fusion={fusion!r} is none of {', '.join(FUSIONS)}")
        self.block_widths = [int(width) for width in block_widths]
        self.is_linear = branch == "linear"
        if self.is_linear:
            n_dims, max_norm, head = n_classes, None, "linear"
        self.fusion, self.max_norm = fusion, max_norm
        makers = {"conv": _Convolutions, "mlp": _make_linear_layers, "linear": _make_linear_map}
        make_branch = makers[branch]
        sizes = BRANCH_SIZES[branch] if branch_sizes is None else branch_sizes
        self.branches = nn.ModuleList(
            make_branch(width, sizes, n_dims) for width in self.block_widths
        )
        n_blocks = len(self.block_widths)
        # "concat" is Euclidean regardless of the curvature, so no curvature is learned.
        curvature = 0.0 if fusion == "concat" else curvature
        self.n_curvatures = N_CURVATURES[curvature](n_blocks) if curvature in N_CURVATURES else 0
        self.fixed_curvature = None if self.n_curvatures else curvature
        if self.n_curvatures:
            self.log_curvatures = nn.Parameter(torch.zeros(self.n_curvatures))
        # Clipped vectors may be too short to reach the boundary; then projection is skipped.
        self.needs_projection = (
            self.n_curvatures > 0
            or max_norm is None
            or math.tanh(math.sqrt(curvature) * max_norm * n_blocks) > 1 - poincare.MARGIN
        )
        n_fused = n_dims * n_blocks if fusion == "concat" else n_dims
        self.head: nn.Module
        if self.is_linear:
            self.head = _Intercept(n_classes)
            self.register_buffer("mean_squared_norm", torch.zeros(()))
        elif head == "mlr":
            self.head = _HyperbolicMLR(n_fused, n_classes, self.fixed_curvature)
        else:
            self.head = nn.Sequential(
                nn.Linear(n_fused, hidden_size),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden_size, n_classes),
            )

    @property
    def is_riemannian(self):
        return isinstance(self.head, _HyperbolicMLR) and self.head.is_riemannian

    def curvature(self):
        """Return c of the ball of the fused points: a float, or a tensor if it is fitted."""
        if self.is_linear:
            return self.relative_curvature(self.mean_squared_norm)
        return self.log_curvatures.mean().exp() if self.n_curvatures else self.fixed_curvature

    def relative_curvature(self, mean_squared_norm):
        """Compute c = κ / (1 + mean squared norm of the tangent vectors) of linear branches.

        √c times the root mean square of the norms stays below √κ, so that few points get near the
        boundary, whatever the features and the penalty.
        """
        return self.fixed_curvature / (1 + mean_squared_norm) if self.fixed_curvature else 0.0

    def parameter_groups(self):
        """Split the parameters into groups for an optimiser.

        Returns
        -------
        groups : list of dict
            The Euclidean parameters and, if `is_riemannian`, the points on the ball. The latter
            need `geoopt.optim.RiemannianAdam`, without weight decay, which is Euclidean. For the
            former, Riemannian Adam is equivalent to Adam but slower.
        """
        if not self.is_riemannian:
            return [{"params": list(self.parameters())}]
        points = self.head.points
        others = [parameter for parameter in self.parameters() if parameter is not points]
        return [{"params": others}, {"params": [points], "weight_decay": 0.0}]

    def forward(self, features):
        """Compute the logits.

        Parameters
        ----------
        features : Tensor of shape (n_samples, sum of block_widths)
            Concatenated blocks of features.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_classes)
        """
        tangents, present = self._tangents(features)
        c = self.curvature()
        with _without_autocast(features.device.type):
            if isinstance(self.head, _HyperbolicMLR):
                return self.head(self._fuse(tangents, present, c), c)
            fused = self.fuse_tangents(tangents, present, c)
        return self.head(fused.to(tangents[0].dtype))

    def fuse(self, features):
        """Compute the fused points.

        Returns
        -------
        points : Tensor of shape (n_samples, n_dims)
            Points on the ball of `curvature()`. With "concat", vectors of n_dims for each block.
        """
        tangents, present = self._tangents(features)
        with _without_autocast(features.device.type):
            return self._fuse(tangents, present, self.curvature())

    def fuse_tangents(self, tangents, present, c):
        """Fuse tangent vectors on the ball.

        Parameters
        ----------
        tangents : list of Tensor of shape (n_samples, n_dims)
            A vector of each block.
        present : Tensor of shape (n_samples, n_blocks)
            1 for the blocks that are present, 0 for others, whose vectors are zero.
        c : float or Tensor
            The ball has curvature −c.

        Returns
        -------
        fused : Tensor of shape (n_samples, n_dims)
            log₀ of the fused points. With "concat", n_dims for each block.
        """
        if self.fusion == "sum" and not self.needs_projection:
            return self._sum(tangents)  # equals log₀ of exp₀ of the sum
        return poincare.log0(self._fuse(tangents, present, c), c)

    def _tangents(self, features):
        """Return the tangent vectors of the blocks, and which blocks are present."""
        is_missing = features.isnan()
        features = features.masked_fill(is_missing, 0).clamp(-MAX_FEATURE, MAX_FEATURE)
        blocks = features.split(self.block_widths, dim=1)
        missing = [block.any(1) for block in is_missing.split(self.block_widths, dim=1)]
        present = 1 - torch.stack(missing, dim=1).to(features.dtype)
        tangents = [branch(block) for branch, block in zip(self.branches, blocks, strict=True)]
        columns = present.to(tangents[0].dtype).split(1, dim=1)
        return [v * column for v, column in zip(tangents, columns, strict=True)], present

    def _fuse(self, tangents, present, c):
        if self.fusion == "concat":
            return _at_least_float32(torch.cat(tangents, dim=1))
        if self.fusion == "sum":
            return self._project(poincare.exp0(self._sum(tangents), c), c)
        stacked = _at_least_float32(torch.stack(tangents, dim=1))
        points = self._project(self._exp0(stacked, c), c)
        if self.fusion == "mobius":
            total, *others = points.unbind(1)
            for point in others:
                total = self._project(poincare.mobius_add(total, point, c), c)
            return total
        return self._project(poincare.gyromidpoint(points, present, c=c), c)

    def _sum(self, tangents):
        return self._clip_and_scale(_at_least_float32(torch.stack(tangents, dim=1))).sum(1)

    def _exp0(self, tangents, c):
        if self.n_curvatures > 1:
            return poincare.exp0(self._clip_and_scale(tangents), c)
        return poincare.exp0(tangents, c, self.max_norm)

    def _clip_and_scale(self, tangents):
        """Clip tangent vectors, and scale those of each block to the common curvature."""
        if self.max_norm is not None:
            tangents = poincare.clip_norm(tangents, self.max_norm)
        if self.n_curvatures > 1:
            scales = ((self.log_curvatures - self.log_curvatures.mean()) / 2).exp()
            tangents = tangents * scales.unsqueeze(-1)
        return tangents

    def _project(self, points, c):
        return poincare.project(points, c) if self.needs_projection else points


class _Convolutions(nn.Sequential):
    """Convolutions along the features of a block, padded to the minimum width."""

    def __init__(self, width, channels, n_dims):
        min_width = 1
        for _ in channels:
            min_width = 2 * min_width + 2
        layers = []
        n_inputs, length = 1, max(width, min_width)
        for n_outputs in channels:
            layers += [nn.Conv1d(n_inputs, n_outputs, 3), nn.ReLU(), nn.MaxPool1d(2)]
            n_inputs, length = n_outputs, (length - 2) // 2
        super().__init__(*layers, nn.Flatten(), nn.Linear(n_inputs * length, n_dims))
        self.padding = max(min_width - width, 0)

    def forward(self, block):
        if self.padding:
            block = nn.functional.pad(block, (0, self.padding))
        return super().forward(block.unsqueeze(1))


class _Intercept(nn.Module):
    """Add an intercept to logits, after a sum over blocks if they are concatenated."""

    def __init__(self, n_classes):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, fused):
        return fused.unflatten(-1, (-1, len(self.bias))).sum(-2) + self.bias


class _HyperbolicMLR(nn.Module):
    """Hyperbolic multinomial logistic regression, with a point on the ball for each class.

    `curvature` is None if the curvature is learned.
    """

    def __init__(self, n_dims, n_classes, curvature):
        super().__init__()
        self.is_riemannian = curvature != 0
        self.is_learned = curvature is None
        points = torch.zeros(n_classes, n_dims)
        if self.is_riemannian:
            self.points = _make_ball_parameter(points, 1.0 if self.is_learned else curvature)
        else:
            self.points = nn.Parameter(points)
        bound = 1 / math.sqrt(n_dims)
        self.normals = nn.Parameter(torch.empty(n_classes, n_dims).uniform_(-bound, bound))

    def forward(self, fused, c):
        if self.is_learned and self.training:
            self._update_manifold(c.detach())
        points = _at_least_float32(self.points)
        if self.is_learned:
            points = poincare.project(points, c)
        return poincare.hyperplane_logits(fused, points, _at_least_float32(self.normals), c)

    @torch.no_grad()
    def _update_manifold(self, c):
        """Set the curvature of the manifold on which the optimiser updates the points.

        Points outside the ball, which an increased c may leave, would become NaN.
        """
        self.points.manifold.k.copy_(-c)
        self.points.data = poincare.project(self.points.data, c)


def _make_linear_layers(width, sizes, n_dims):
    layers = []
    for size in sizes:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, n_dims))


def _make_linear_map(width, sizes, n_dims):
    # Draw no random numbers: the weights are zero until they are fitted.
    linear = nn.utils.skip_init(nn.Linear, width, n_dims, bias=False)
    nn.init.zeros_(linear.weight)
    return linear


def _make_ball_parameter(points, c):
    """Return points as a parameter that Riemannian Adam updates on the ball."""
    with warnings.catch_warnings():
        # geoopt uses torch.jit.script on import, which PyTorch has deprecated with a
        # DeprecationWarning until 2.14 and a FutureWarning since then.
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated")
        import geoopt
    # PoincareBall stores c as log(eᶜ − 1), which underflows in float32 below 1e-7.
    return geoopt.ManifoldParameter(points, manifold=geoopt.Stereographic(k=-c))


def _at_least_float32(x):
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _without_autocast(device_type):
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return contextlib.nullcontext()
