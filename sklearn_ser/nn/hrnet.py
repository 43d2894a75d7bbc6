"""The high-resolution network (HRNet) for spectrograms.

Terms of the papers: a *branch* is a sequence of residual blocks at one resolution. A *module* runs
all branches in parallel and then *fuses* them. A *stage* is a sequence of modules with one branch
more than the previous stage.
"""

import math
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

# Bands and frames per cell of the coarsest branch and of the head.
STRIDE = 32
# Shifts of `ShiftAverage` that make up the length of a spectrogram.
_SHIFTS_PER_LENGTH = 40
# Channels of the two convolutions that reduce the resolution of the input to a quarter.
_STEM_CHANNELS = 64
# Ratio of output channels to inner channels of a bottleneck.
_EXPANSION = 4
# Ratio of output channels of the head to the inner channels of its finest bottleneck.
_HEAD_EXPANSION = 64


class Variant(NamedTuple):
    """Sizes of a network.

    Attributes
    ----------
    first_channels, first_blocks : int
        Channels and number of the bottlenecks of stage 1.
    width : int
        Channels of the branch of highest resolution; the next ones have 2, 4 and 8 times as many.
    n_blocks : int
        Residual blocks of each branch of a module.
    n_modules : tuple of int
        Modules of stages 2, 3 and 4.
    """

    first_channels: int
    first_blocks: int
    width: int
    n_blocks: int
    n_modules: tuple[int, int, int]


VARIANTS = {
    "small-v1": Variant(32, 1, 16, 2, (1, 1, 1)),
    "small-v2": Variant(64, 2, 18, 2, (1, 3, 2)),
    "W18": Variant(64, 4, 18, 4, (1, 4, 3)),
    "W32": Variant(64, 4, 32, 4, (1, 4, 3)),
    "W48": Variant(64, 4, 48, 4, (1, 4, 3)),
}


def pad_spectrograms(spectrograms, multiple=STRIDE):
    """Pad spectrograms so that the numbers of bands and frames are multiples of a number.

    Frames are appended with the minimum of each band. On a logarithmic scale this is silence,
    regardless of level, unit and normalisation, and it is what `LogMelSpectrogram` pads short
    recordings with. Zero is not silence: it is the mean after normalisation, or the maximum in
    decibels. The highest band is repeated.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_channels, n_bands, n_frames)
        Spectrograms of any size.
    multiple : int, default=32
        The numbers of bands and frames become multiples of this.

    Returns
    -------
    padded : Tensor
        The padded spectrograms; the input itself if no padding is needed.
    """
    n_bands, n_frames = spectrograms.shape[-2:]
    bands, frames = -n_bands % multiple, -n_frames % multiple
    if frames:
        later = spectrograms.amin(dim=-1, keepdim=True).expand(-1, -1, -1, frames)
        spectrograms = torch.cat([spectrograms, later], dim=-1)
    if bands:
        higher = spectrograms[..., -1:, :].expand(-1, -1, bands, -1)
        spectrograms = torch.cat([spectrograms, higher], dim=-2)
    return spectrograms


class ShiftAverage(nn.Module):
    """Average the probabilities of a network over shifts of the spectrogram in time.

    Parameters
    ----------
    network : Module
        Maps spectrograms to logits.
    n_shifts : int
        Number of shifts, the middle one being none if it is odd. They are a fortieth of the frames
        apart. Spectrograms with fewer than forty frames are not shifted.
    """

    def __init__(self, network, n_shifts):
        super().__init__()
        self.network, self.n_shifts = network, n_shifts

    def forward(self, spectrograms):
        """Return the logarithms of the mean probabilities.

        Parameters
        ----------
        spectrograms : Tensor of shape (n_spectrograms, n_channels, n_bands, n_frames)
            The batch.

        Returns
        -------
        logits : Tensor of shape (n_spectrograms, n_classes)
        """
        step = spectrograms.shape[-1] // _SHIFTS_PER_LENGTH
        # A graph for any number of frames has no such branch.
        is_short = not torch.compiler.is_exporting() and step == 0
        if self.n_shifts == 1 or is_short:
            return self.network(spectrograms)
        first = -(step * (self.n_shifts - 1) // 2)
        shifted = [_shift(spectrograms, first + step * number) for number in range(self.n_shifts)]
        if torch.compiler.is_exporting():  # one copy of the network in the graph
            logits = self.network(torch.cat(shifted)).unflatten(0, (self.n_shifts, -1))
        else:
            logits = torch.stack(list(map(self.network, shifted)))
        return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(self.n_shifts)


def _shift(spectrograms, offset):
    """Shift spectrograms by a number of frames, and fill the rest with silence."""
    n_frames = spectrograms.shape[-1]
    sources = torch.arange(n_frames, device=spectrograms.device) - offset
    shifted = spectrograms.index_select(-1, sources.clamp(0, n_frames - 1))
    silence = spectrograms.amin(dim=-1, keepdim=True)
    return torch.where((sources >= 0) & (sources < n_frames), shifted, silence)


class HRNet(nn.Module):
    """High-resolution network with a linear classifier.

    Parameters
    ----------
    n_classes : int
        Number of outputs.
    variant : {"small-v1", "small-v2", "W18", "W32", "W48"}, default="small-v1"
        Published size of the network.
    width : int, default=None
        Number of channels of the branch of highest resolution. None uses that of the variant.
    head_width : int, default=32
        Number of channels of the head's bottleneck on the branch of highest resolution. The
        bottlenecks on the other branches have 2, 4 and 8 times as many channels, and the input of
        the classifier has 64 times as many features. All published networks have 32, which was
        chosen for a thousand classes; it makes up most of the parameters of the small variants.
    n_channels : int, default=1
        Number of channels of the input.
    mean, scale : float, default=0.0, 1.0
        Mean and standard deviation for standardising the input.

    References
    ----------
    J. Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", IEEE
    TPAMI 2020, arXiv 1908.07919.
    """

    def __init__(
        self,
        n_classes,
        variant="small-v1",
        *,
        width=None,
        head_width=32,
        n_channels=1,
        mean=0.0,
        scale=1.0,
    ):
        super().__init__()
        self.mean, self.scale = mean, scale
        sizes = VARIANTS[variant]
        width = sizes.width if width is None else width
        widths = [width * 2**branch for branch in range(4)]
        first = sizes.first_channels * _EXPANSION
        self.stem = nn.Sequential(
            *_convolution(n_channels, _STEM_CHANNELS, stride=2),
            *_convolution(_STEM_CHANNELS, _STEM_CHANNELS, stride=2),
        )
        self.stage1 = nn.Sequential(
            *(
                _Bottleneck(first if block else _STEM_CHANNELS, sizes.first_channels)
                for block in range(sizes.first_blocks)
            )
        )
        branches = [first]
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        for n_branches, n_modules in enumerate(sizes.n_modules, start=2):
            self.transitions.append(_Transition(branches, widths[:n_branches]))
            branches = widths[:n_branches]
            modules = (_Module(branches, sizes.n_blocks) for _ in range(n_modules))
            self.stages.append(nn.Sequential(*modules))
        self.head = _Head(widths, head_width)
        self.classifier = nn.Linear(head_width * _HEAD_EXPANSION, n_classes)

    def features(self, spectrograms):
        """Compute the input features of the classifier.

        Parameters
        ----------
        spectrograms : Tensor of shape (n_spectrograms, n_channels, n_bands, n_frames)
            Spectrograms of any size; see `pad_spectrograms`.

        Returns
        -------
        features : Tensor of shape (n_spectrograms, 64 * head_width)
        """
        padded = pad_spectrograms((spectrograms - self.mean) / self.scale)
        branches = [self.stage1(self.stem(padded))]
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            branches = stage(transition(branches))
        return self.head(branches).mean(dim=(-2, -1))

    def forward(self, spectrograms):
        """Compute the logits, of shape (n_spectrograms, n_classes)."""
        return self.classifier(self.features(spectrograms))


def _convolution(n_in, n_out, *, size=3, stride=1, relu=True, bias=False):
    """Return a list of a convolution, a batch norm and optionally a ReLU."""
    convolution = nn.Conv2d(n_in, n_out, size, stride, size // 2, bias=bias)
    # The published initialisation. With torch's default, short trainings end at a higher loss.
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    norm = nn.BatchNorm2d(n_out)
    return [convolution, norm, nn.ReLU(inplace=True)] if relu else [convolution, norm]


class _Block(nn.Module):
    """Basic residual block: two convolutions with a skip connection."""

    def __init__(self, channels):
        super().__init__()
        self.residual = nn.Sequential(
            *_convolution(channels, channels),
            *_convolution(channels, channels, relu=False),
        )

    def forward(self, maps):
        return functional.relu_(self.residual(maps) + maps)


class _Bottleneck(nn.Module):
    """Bottleneck block: three convolutions with a skip connection."""

    def __init__(self, n_in, channels):
        super().__init__()
        n_out = channels * _EXPANSION
        self.residual = nn.Sequential(
            *_convolution(n_in, channels, size=1),
            *_convolution(channels, channels),
            *_convolution(channels, n_out, size=1, relu=False),
        )
        same = n_in == n_out
        shortcut = [] if same else _convolution(n_in, n_out, size=1, relu=False)
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, maps):
        return functional.relu_(self.residual(maps) + self.shortcut(maps))


class _Transition(nn.Module):
    """Transition from the branches of one stage to those of the next, which has one more.

    Branches with the right number of channels are unchanged; others are convolved. The new branch
    is computed from the last one, at half its resolution.
    """

    def __init__(self, before, after):
        super().__init__()
        self.kept = nn.ModuleList(
            nn.Sequential(*([] if n_in == n_out else _convolution(n_in, n_out)))
            for n_in, n_out in zip(before, after[:-1], strict=True)
        )
        self.new = nn.Sequential(*_convolution(before[-1], after[-1], stride=2))

    def forward(self, branches):
        kept = [keep(maps) for keep, maps in zip(self.kept, branches, strict=True)]
        return [*kept, self.new(branches[-1])]


class _Module(nn.Module):
    """Parallel branches, followed by their fusion at each resolution."""

    def __init__(self, widths, n_blocks):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(n_blocks))) for width in widths
        )
        self.fusions = nn.ModuleList(
            _Fusion(_resize(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, branches):
        branches = [branch(maps) for branch, maps in zip(self.branches, branches, strict=True)]
        return [fusion(branches) for fusion in self.fusions]


class _Fusion(nn.ModuleList):
    """Sum of all branches, resized to one of them."""

    def forward(self, branches):
        resized = (resize(maps) for resize, maps in zip(self, branches, strict=True))
        return functional.relu_(reduce(torch.add, resized))


def _resize(widths, source, target):
    """Return the layers that resize one branch to the resolution and channels of another."""
    n_in, n_out = widths[source], widths[target]
    if source == target:
        return nn.Sequential()
    if source > target:
        upsampling = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        layers = _convolution(n_in, n_out, size=1, relu=False)
        return nn.Sequential(*layers, upsampling)
    steps = target - source
    layers = [layer for _ in range(steps - 1) for layer in _convolution(n_in, n_in, stride=2)]
    layers += _convolution(n_in, n_out, stride=2, relu=False)
    return nn.Sequential(*layers)


class _Head(nn.Module):
    """Classification head: bottlenecks on all branches, summed from the finest to the coarsest."""

    def __init__(self, widths, head_width):
        super().__init__()
        bottlenecks = [head_width * 2**branch for branch in range(4)]
        outputs = [channels * _EXPANSION for channels in bottlenecks]
        self.widen = nn.ModuleList(
            _Bottleneck(width, channels)
            for width, channels in zip(widths, bottlenecks, strict=True)
        )
        self.shrink = nn.ModuleList(
            nn.Sequential(*_convolution(n_in, n_out, stride=2, bias=True))
            for n_in, n_out in pairwise(outputs)
        )
        self.last = nn.Sequential(
            *_convolution(outputs[-1], head_width * _HEAD_EXPANSION, size=1, bias=True)
        )

    def forward(self, branches):
        widened = [widen(maps) for widen, maps in zip(self.widen, branches, strict=True)]
        total = widened[0]
        for shrink, maps in zip(self.shrink, widened[1:], strict=True):
            total = maps + shrink(total)
        return self.last(total)
