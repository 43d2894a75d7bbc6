"""The network equals the published one in sizes and features, and accepts any input size."""

import re

import pytest
import torch

from sklearn_ser.nn import HRNet, ShiftAverage, pad_spectrograms

# Variant, timm's name for it, and the published number of parameters in millions.
VARIANTS = [
    ("small-v1", "hrnet_w18_small", 13.19),
    ("small-v2", "hrnet_w18_small_v2", 15.60),
    ("W18", "hrnet_w18", 21.30),
    ("W32", "hrnet_w32", 41.23),
    ("W48", "hrnet_w48", 77.47),
]
# Patterns that convert names of weights in timm to ours, applied in order.
_POSITIONS = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}
_RENAMED = [
    (r"^(conv\d|bn\d)\.", lambda m: f"stem.{_POSITIONS[m[1]]}."),
    (r"\.(conv\d|bn\d)\.", lambda m: f".residual.{_POSITIONS[m[1]]}."),
    (r"\.downsample\.", lambda m: ".shortcut."),
    (r"^transition(\d)\.\d\.0\.(\d)\.", lambda m: f"transitions.{int(m[1]) - 1}.new.{m[2]}."),
    (
        r"^transition(\d)\.(\d)\.(\d)\.",
        lambda m: f"transitions.{int(m[1]) - 1}.kept.{m[2]}.{m[3]}.",
    ),
    (r"^stage(\d)\.", lambda m: f"stages.{int(m[1]) - 2}."),
    (r"^layer1\.", lambda m: "stage1."),
    (
        r"fuse_layers\.(\d)\.(\d)\.(\d)\.(\d)\.",
        lambda m: f"fusions.{m[1]}.{m[2]}.{3 * int(m[3]) + int(m[4])}.",
    ),
    (r"fuse_layers\.", lambda m: "fusions."),
    (r"^incre_modules\.(\d)\.0\.", lambda m: f"head.widen.{m[1]}."),
    (r"^downsamp_modules\.", lambda m: "head.shrink."),
    (r"^final_layer\.", lambda m: "head.last."),
]


def renamed(state):
    """Rename weights of timm."""
    ours = {}
    for name, values in state.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        ours[name] = values
    return ours


def shake(network):
    """Set statistics and gains of batch norms to values other than zero and one."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.8, 1.2, generator=generator)
            module.weight.data.uniform_(0.8, 1.2, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)


@pytest.mark.parametrize(("variant", "name", "millions"), VARIANTS)
def test_parameter_counts_are_the_published_ones(variant, name, millions):
    with torch.device("meta"):
        network = HRNet(1000, variant, n_channels=3)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert round(count / 1e6, 2) == millions


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "name"), [v[:2] for v in VARIANTS[:3]])
def test_features_are_those_of_timm_with_its_weights(variant, name):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(name, pretrained=False, in_chans=1, num_classes=7).eval()
    shake(theirs)
    ours = HRNet(7, variant).eval()
    ours.load_state_dict(renamed(theirs.state_dict()))
    images = torch.randn(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        features, logits = ours.features(images), ours(images)
        torch.testing.assert_close(logits, theirs(images), rtol=1e-5, atol=1e-6)
    distance = (features - expected).norm() / expected.norm()
    assert expected.std() > 1e-3
    assert distance <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "name"), [v[:2] for v in VARIANTS[3:]])
def test_large_variants_have_the_weights_of_timm(variant, name):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        theirs = timm.create_model(name, pretrained=False, in_chans=1, num_classes=7)
        ours = HRNet(7, variant)
    expected = {name: values.shape for name, values in renamed(theirs.state_dict()).items()}
    assert {name: values.shape for name, values in ours.state_dict().items()} == expected


def test_width_overrides_the_variant():
    with torch.device("meta"):
        network = HRNet(7, "small-v1", width=5)
    finest_to_coarsest = [branch[0].residual[0] for branch in network.stages[-1][0].branches]
    assert [convolution.out_channels for convolution in finest_to_coarsest] == [5, 10, 20, 40]


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 40), (64, 94)])
def test_any_size_works(size):
    network = HRNet(3, width=2).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 1, *size)).shape == (2, 3)


def test_padding_is_silence_after_the_end_and_the_highest_band_above():
    spectrograms = torch.randn(2, 1, 40, 70)
    padded = pad_spectrograms(spectrograms)
    assert padded.shape == (2, 1, 64, 96)
    assert torch.equal(padded[..., :40, :70], spectrograms)
    assert torch.equal(padded[..., 40:, :70], spectrograms[..., 39:, :].expand(-1, -1, 24, -1))
    for spectrogram, whole in zip(spectrograms, padded, strict=True):
        low = spectrogram.amin(dim=-1, keepdim=True)
        assert torch.equal(whole[..., :40, 70:], low.expand(-1, -1, 26))


def test_padding_follows_level_and_unit():
    spectrograms = torch.randn(2, 1, 40, 70)
    expected = 3 * pad_spectrograms(spectrograms) - 5
    torch.testing.assert_close(pad_spectrograms(3 * spectrograms - 5), expected)


def test_input_is_standardised_first():
    plain, standardising = HRNet(3, width=2), HRNet(3, width=2, mean=-40.0, scale=20.0)
    standardising.load_state_dict(plain.state_dict())
    spectrograms = torch.randn(2, 1, 32, 40)
    with torch.no_grad():
        expected = plain.eval()(spectrograms)
        logits = standardising.eval()(20 * spectrograms - 40)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_fitting_sizes_are_not_copied():
    spectrograms = torch.randn(2, 1, 32, 64)
    assert pad_spectrograms(spectrograms) is spectrograms


@pytest.mark.parametrize(("n_shifts", "offsets"), [(1, [0]), (2, [-1, 1]), (5, [-4, -2, 0, 2, 4])])
def test_probabilities_are_averaged_over_shifts(n_shifts, offsets):
    spectrograms = torch.randn(3, 1, 8, 80, generator=torch.Generator().manual_seed(0))
    seen = []

    def network(batch):
        seen.extend(batch.split(3))
        return batch[:, 0, :3, 40] * 5

    logits = ShiftAverage(network, n_shifts)(spectrograms)
    low = spectrograms.amin(dim=3, keepdim=True)
    for offset, batch in zip(offsets, seen, strict=True):
        kept = slice(max(offset, 0), 80 + min(offset, 0))
        source = slice(max(-offset, 0), 80 + min(-offset, 0))
        assert torch.equal(batch[..., kept], spectrograms[..., source])
        filled = torch.cat([batch[..., : kept.start], batch[..., kept.stop :]], dim=-1)
        assert torch.equal(filled, low.expand_as(filled))
    expected = sum(
        (spectrograms[:, 0, :3, 40 - offset] * 5).softmax(dim=1) for offset in offsets
    ) / len(offsets)
    torch.testing.assert_close(logits.softmax(dim=1), expected)


def test_short_spectrograms_are_not_shifted():
    spectrograms = torch.randn(3, 1, 8, 39)
    assert torch.equal(
        ShiftAverage(lambda batch: batch[:, 0, :, 0], 5)(spectrograms), spectrograms[:, 0, :, 0]
    )
