"""The network of HYFuse: Euclidean at zero curvature, and stable for any input."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_ser.nn import HyperbolicFusionNetwork, poincare

FUSIONS = ["mobius", "concat", "sum", "gyromidpoint"]
HEADS = ["softmax", "mlr"]
BRANCHES = ["conv", "mlp"]
WIDTHS = [12, 7, 4]
SMALL = {"n_dims": 6, "hidden_size": 5}
SIZES = {"conv": (2, 3), "mlp": (8,)}

every_fusion = pytest.mark.parametrize("fusion", FUSIONS)
every_head = pytest.mark.parametrize("head", HEADS)
every_branch = pytest.mark.parametrize("branch", BRANCHES)


def every_pair(names, first, second, third):
    """Parametrize by the product of two axes, and cycle through the values of a third."""
    cases = [
        (one, other, third[(i + j) % len(third)])
        for (i, one), (j, other) in itertools.product(enumerate(first), enumerate(second))
    ]
    return pytest.mark.parametrize(names, cases)


every_network = every_pair("fusion, head, branch", FUSIONS, HEADS, BRANCHES)


def _network(widths=WIDTHS, seed=0, branch="mlp", **parameters):
    torch.manual_seed(seed)
    sizes = {"branch_sizes": SIZES[branch]}
    return HyperbolicFusionNetwork(widths, 3, branch=branch, **(SMALL | sizes | parameters)).eval()


def _unsettle(network, seed=0):
    """Perturb the parameters, some of which are initialised to zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def _features(n=9, widths=WIDTHS, seed=0):
    features = np.random.default_rng(seed).standard_normal((n, sum(widths)))
    return torch.from_numpy(features.astype(np.float32))


def _tangents(network, features):
    blocks = features.split(network.block_widths, dim=1)
    return [branch(block) for branch, block in zip(network.branches, blocks, strict=True)]


def _optimiser(network, lr):
    if not network.is_riemannian:
        return torch.optim.Adam(network.parameter_groups(), lr=lr)
    from geoopt.optim import RiemannianAdam

    return RiemannianAdam(network.parameter_groups(), lr=lr)


def _train(network, features, labels, n_steps, lr=1e-2):
    """Return the losses of the training steps."""
    optimiser = _optimiser(network.train(), lr)
    losses = []
    for _ in range(n_steps):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(features), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    network.eval()
    return losses


def _euclidean_fusion(network, tangents):
    clipped = [v * (1 / v.norm(dim=1, keepdim=True)).clamp_max(1) for v in tangents]
    if network.fusion == "concat":
        return torch.cat(tangents, dim=1)
    return sum(clipped) / (len(clipped) if network.fusion == "gyromidpoint" else 1)


@pytest.mark.parametrize(("fusion", "branch"), list(zip(FUSIONS, BRANCHES * 2, strict=True)))
def test_zero_curvature_is_the_euclidean_network(fusion, branch):
    network = _unsettle(_network(fusion=fusion, branch=branch, curvature=0.0))
    features = 3 * _features()
    expected = network.head(_euclidean_fusion(network, _tangents(network, features)))
    torch.testing.assert_close(network(features), expected, rtol=1e-6, atol=1e-6)


@every_fusion
def test_zero_curvature_is_logistic_regression_with_the_other_head(fusion):
    network = _unsettle(_network(fusion=fusion, curvature=0, head="mlr"))
    features = 3 * _features()
    fused = _euclidean_fusion(network, _tangents(network, features))
    points, normals = network.head.points, network.head.normals
    expected = 4 * (fused @ normals.T - (points * normals).sum(-1))
    torch.testing.assert_close(network(features), expected, rtol=1e-5, atol=1e-5)


@every_head
@every_fusion
def test_logits_converge_to_euclidean_ones(fusion, head):
    flat = _unsettle(_network(fusion=fusion, curvature=0.0, head=head))
    features = _features()
    gaps = []
    for curvature in (1e-2, 1e-4, 1e-6):
        curved = _network(fusion=fusion, curvature=curvature, head=head)
        curved.load_state_dict(flat.state_dict())
        gaps.append((curved(features) - flat(features)).abs().max().item())
    if fusion == "concat" or (fusion, head) == ("sum", "softmax"):
        assert max(gaps) == 0
    else:
        assert gaps[0] > gaps[1]
        assert gaps[2] < 1e-5


def test_default_layers_are_those_of_the_paper():
    network = HyperbolicFusionNetwork([512, 256], 7)
    shapes = [tuple(parameter.shape) for parameter in network.parameters() if parameter.dim() > 1]
    convolutions = [(64, 1, 3), (128, 64, 3)]
    # 512 → 510 → 255 → 253 → 126 features, and 256 → 254 → 127 → 125 → 62.
    branches = [*convolutions, (120, 128 * 126), *convolutions, (120, 128 * 62)]
    assert shapes == [*branches, (128, 120), (7, 128)]
    assert network.head[2].p == 0.3
    tangents = _tangents(network, _features(widths=[512, 256]))
    x, y = (poincare.exp0(poincare.clip_norm(v, 1.0)) for v in tangents)
    expected = poincare.mobius_add(x, y)
    torch.testing.assert_close(network.fuse(_features(widths=[512, 256])), expected)


@every_pair("curvature, head, fusion", [0.0, 1.0, 10.0, "learn", "learn_each"], HEADS, FUSIONS)
def test_the_head_gets_the_fused_points(curvature, head, fusion):
    network = _unsettle(_network(fusion=fusion, curvature=curvature, head=head))
    points, c = network.fuse(_features()), network.curvature()
    if head == "softmax":
        expected = network.head(poincare.log0(points, c))
    else:
        expected = poincare.hyperplane_logits(points, network.head.points, network.head.normals, c)
    torch.testing.assert_close(network(_features()), expected, rtol=1e-5, atol=1e-5)


@every_head
@every_fusion
def test_the_order_of_blocks_is_that_of_mobius_addition(fusion, head):
    network = _unsettle(_network(fusion=fusion, head=head))
    turned = _network(WIDTHS[::-1], fusion=fusion, head=head)
    turned.load_state_dict(network.state_dict() | _branches_turned(network))
    features = 3 * _features()
    blocks = features.split(WIDTHS, dim=1)
    points, from_turned = network.fuse(features), turned.fuse(torch.cat(blocks[::-1], dim=1))
    if fusion in ("mobius", "concat"):
        assert (points - from_turned).abs().max() > 0.01
    else:
        torch.testing.assert_close(points, from_turned, rtol=1e-5, atol=1e-6)
        logits = turned(torch.cat(blocks[::-1], dim=1))
        torch.testing.assert_close(network(features), logits, rtol=1e-5, atol=1e-5)


def _branches_turned(network):
    last = len(network.branches) - 1
    return {
        f"branches.{last - i}.{name}": value
        for i, branch in enumerate(network.branches)
        for name, value in branch.state_dict().items()
    }


def test_mobius_addition_associates_to_the_left():
    network = _network()
    x, y, z = (poincare.exp0(v, 1.0, 1.0) for v in _tangents(network, 3 * _features()))
    left = poincare.mobius_add(poincare.mobius_add(x, y), z)
    right = poincare.mobius_add(x, poincare.mobius_add(y, z))
    torch.testing.assert_close(network.fuse(3 * _features()), left)
    assert (left - right).abs().max() > 0.01


@every_network
def test_a_row_alone_is_as_in_a_batch(fusion, head, branch):
    network = _unsettle(_network(fusion=fusion, branch=branch, head=head, curvature="learn_each"))
    features = _features(33)
    points = torch.cat([network.fuse(row.unsqueeze(0)) for row in features])
    torch.testing.assert_close(network.fuse(features), points, rtol=1e-6, atol=1e-6)
    logits = torch.cat([network(row.unsqueeze(0)) for row in features])
    # Some points have √c‖x‖ = .995, where rounding errors are multiplied by 200.
    tolerance = 1e-5 if head == "mlr" else 1e-6
    torch.testing.assert_close(network(features), logits, rtol=tolerance, atol=tolerance)


@every_branch
@pytest.mark.parametrize("width", [1, 2, 9, 10, 11])
def test_blocks_may_be_as_narrow_as_one_feature(width, branch):
    network = _network([width, 1], branch=branch)
    assert network(_features(widths=[width, 1])).isfinite().all()


def test_narrow_blocks_are_padded_with_zeros_on_the_right():
    narrow, wide = _network([3], branch="conv"), _network([10], branch="conv")
    wide.load_state_dict(narrow.state_dict())
    features = _features(widths=[3])
    torch.testing.assert_close(narrow(features), wide(nn.functional.pad(features, (0, 7))))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_any_number_of_convolutions_has_its_narrowest_block(depth):
    needed = [4, 10, 22][depth - 1]
    for width in (1, needed, needed + 1):
        network = _network([width], branch="conv", branch_sizes=(2,) * depth)
        assert network.branches[0][-1].in_features == 2
        assert network(_features(widths=[width])).isfinite().all()


@every_head
@every_fusion
def test_a_single_block(fusion, head):
    network = _unsettle(_network([11], fusion=fusion, head=head))
    features = _features(widths=[11])
    (tangent,) = _tangents(network, features)
    expected = tangent if fusion == "concat" else poincare.exp0(tangent, 1.0, max_norm=1.0)
    torch.testing.assert_close(network.fuse(features), expected, rtol=1e-5, atol=1e-6)
    assert network(features).isfinite().all()


@every_fusion
def test_learned_curvatures_start_at_one_and_change(fusion):
    network = _network(fusion=fusion, curvature="learn")
    fixed = _network(fusion=fusion, curvature=1.0)
    torch.testing.assert_close(network(_features()), fixed(_features()), rtol=1e-5, atol=1e-5)
    if fusion == "concat":
        assert network.curvature() == 0
        return
    assert network.curvature() == 1
    _unsettle(network)(_features()).square().sum().backward()
    assert network.log_curvatures.grad.isfinite().all()
    if fusion != "sum":  # whose tangent vectors log₀ gives back
        assert network.log_curvatures.grad.abs().max() > 1e-6


def test_balls_of_blocks_are_scaled_to_the_common_curvature():
    network = _network(curvature="learn_each")
    with torch.no_grad():
        network.log_curvatures.copy_(torch.tensor([0.5, 2.0, 1.25]).log())
    c = network.curvature()
    torch.testing.assert_close(c.item(), (0.5 * 2.0 * 1.25) ** (1 / 3))
    points = [
        poincare.exp0(poincare.clip_norm(v, 1.0), own) * (own / c).sqrt()
        for v, own in zip(
            _tangents(network, _features()), network.log_curvatures.exp(), strict=True
        )
    ]
    x, y, z = points
    expected = poincare.mobius_add(poincare.mobius_add(x, y, c), z, c)
    torch.testing.assert_close(network.fuse(_features()), expected)


@pytest.mark.parametrize(
    ("curvature", "fusion"),
    [
        (1e-6, "gyromidpoint"),
        (1.0, "mobius"),
        (10.0, "mobius"),
        (10.0, "gyromidpoint"),
        ("learn", "sum"),
        ("learn_each", "mobius"),
    ],
)
def test_fused_points_stay_away_from_the_boundary(curvature, fusion):
    for max_norm in (None, 1.0, 50.0):
        network = _network(fusion=fusion, curvature=curvature, max_norm=max_norm)
        with torch.no_grad():
            points, c = network.fuse(100 * _features()), float(network.curvature())
        reach = math.sqrt(c) * points.norm(dim=1).max().item()
        assert reach <= 1 - poincare.MARGIN + 1e-6


def test_features_are_clipped():
    network, features = _network(), _features()
    features[0, 0], features[1, 2] = 1e30, -2e3
    held = features.clone()
    held[0, 0], held[1, 2] = 1e3, -1e3
    assert torch.equal(network(features), network(held))


@every_pair("curvature, head, fusion", [0, 1.0, "learn", "learn_each"], HEADS, FUSIONS)
def test_weights_round_trip_through_numpy(curvature, head, fusion):
    parameters = {"fusion": fusion, "curvature": curvature, "head": head}
    network = _unsettle(_network(**parameters))
    state = network.state_dict()
    assert {type(value) for value in state.values()} == {torch.Tensor}
    arrays = {name: value.numpy().copy() for name, value in state.items()}
    again = _network(seed=1, **parameters)
    again.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    assert torch.equal(again(_features()), network(_features()))


@every_pair("fusion, head, dtype", FUSIONS, HEADS, [torch.bfloat16, torch.float16])
def test_the_ball_is_in_float32_under_autocast(fusion, head, dtype):
    network = _unsettle(_network(fusion=fusion, head=head, curvature="learn"))
    features = _features()
    with torch.autocast("cpu", dtype=dtype):
        points, logits = network.fuse(features), network(features)
        tangents = _tangents(network, features)
    assert {tangent.dtype for tangent in tangents} == {dtype}
    assert points.dtype == torch.float32
    present = torch.ones(len(features), len(tangents))
    by_hand = network._fuse([v.float() for v in tangents], present, network.curvature())
    assert torch.equal(points, by_hand)
    assert (logits - network(features)).abs().max() < 0.1
    if head == "mlr":
        assert torch.equal(logits, network.head(by_hand, network.curvature()))


@every_head
@every_fusion
def test_a_network_may_be_in_half_precision_throughout(fusion, head):
    network = _unsettle(_network(fusion=fusion, head=head, curvature="learn_each"))
    expected = network(_features())
    logits = network.bfloat16()(_features().bfloat16())
    assert (logits - expected).abs().max() < 0.2
    assert network.fuse(_features().bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("fusion", "head", "curvature", "expected"),
    [
        ("mobius", "mlr", 1.0, True),
        ("sum", "mlr", "learn", True),
        ("gyromidpoint", "mlr", 1.0, True),
        ("mobius", "softmax", 1.0, False),
        ("mobius", "mlr", 0.0, False),
        ("concat", "mlr", "learn", False),
    ],
)
def test_only_points_on_a_ball_need_riemannian_adam(fusion, head, curvature, expected):
    network = _network(fusion=fusion, head=head, curvature=curvature)
    assert network.is_riemannian == expected
    groups = network.parameter_groups()
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, grouped)) == sorted(map(id, network.parameters()))
    if expected:
        assert groups[1] == {"params": [network.head.points], "weight_decay": 0.0}


@pytest.mark.parametrize("curvature", [1e-6, 1.0, 10.0, "learn"])
def test_riemannian_adam_keeps_the_points_on_the_ball(curvature):
    network = _network(curvature=curvature, head="mlr")
    labels = torch.arange(30) % 3
    _train(network, _features(30), labels, n_steps=40, lr=0.1 if curvature != 1e-6 else 1.0)
    points = network.head.points
    assert (points.detach().norm(dim=1) > 0.05).all()
    c = -points.manifold.k
    assert (c.sqrt() * points.detach().norm(dim=1) < 1).all()
    if curvature == "learn":
        assert c != 1  # the points' ball follows the one that is learned, a step behind
        torch.testing.assert_close(c, network.curvature().detach(), rtol=0.2, atol=0)
    else:
        torch.testing.assert_close(c.item(), curvature)


@pytest.mark.parametrize("curvature", ["learn", "learn_each"])
def test_training_step_updates_the_curvature_of_the_manifold(curvature):
    # Outside the ball, Riemannian Adam multiplies its momentum by 1e11 in each step.
    network = _network(curvature=curvature, head="mlr").train()
    points = network.head.points
    with torch.no_grad():
        points[:] = 0.99 * _features(3, [6]) / _features(3, [6]).norm(dim=1, keepdim=True)
        network.log_curvatures += 1.0
    before = points.detach().clone()
    network.eval()(_features())
    assert torch.equal(points, before)
    network.train()(_features())
    c = network.curvature().detach()
    assert torch.equal(points.manifold.k, -c)
    torch.testing.assert_close(points, poincare.project(before, c))


@pytest.mark.slow
@every_network
def test_training_separates_classes(fusion, head, branch):
    labels, rows = torch.arange(60) % 3, torch.arange(60)
    features = 0.3 * _features(60)
    features[rows, 3 * labels] += 2.0
    sizes = {"branch_sizes": (16,)}
    network = _network(fusion=fusion, branch=branch, head=head, dropout=0.0, max_norm=2.0, **sizes)
    losses = _train(network, features, labels, n_steps=40, lr=3e-2)
    assert losses[-1] < 0.3 * losses[0]


def _hostile_inputs():
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((8, 11)).astype(np.float32)
    constant, huge, denormal = np.zeros_like(plain), plain.copy(), 1e-42 * plain
    constant[:, 0] = plain[:, 0]
    huge[::2, 1], huge[1, 3:] = 1e30, -1e30
    duplicated = np.repeat(plain[:2], 4, axis=0)
    wide = rng.standard_normal((4, 5000)).astype(np.float32)
    return {
        "constant columns": (constant, [6, 5]),
        "nothing but zeros": (0 * plain, [6, 5]),
        "1e30": (huge, [6, 5]),
        "denormals": (denormal.astype(np.float32), [6, 5]),
        "duplicated rows": (duplicated, [6, 5]),
        "two samples": (plain[:2], [1, 10]),
        "5000 columns": (wide, [4990, 10]),
    }


@pytest.mark.slow
@every_pair("curvature, fusion, head", [0, 1.0, 10.0, "learn", "learn_each"], FUSIONS, HEADS)
def test_extreme_input_keeps_losses_and_parameters_finite(curvature, fusion, head):
    parameters = {"fusion": fusion, "curvature": curvature, "head": head}
    max_norm = None if head == "mlr" else 1.0
    branches = itertools.cycle(BRANCHES)
    for name, (features, widths) in _hostile_inputs().items():
        network = _network(widths, branch=next(branches), max_norm=max_norm, **parameters)
        labels = torch.arange(len(features)) % 2
        losses = _train(network, torch.from_numpy(features), labels, n_steps=3, lr=0.1)
        assert np.isfinite(losses).all(), name
        assert all(value.isfinite().all() for value in network.parameters()), name
        assert network(torch.from_numpy(features)).isfinite().all(), name


def test_unknown_fusion_raises():
    with pytest.raises(ValueError, match="fusion='product' is none of mobius, concat"):
        _network(fusion="product")
