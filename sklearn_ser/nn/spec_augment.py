"""Data augmentation of batches of spectrograms.

All functions take log spectrograms (n_spectrograms, n_bands, n_frames) of any level and unit, and
return new ones. Random numbers are drawn for each spectrogram from the given generator, which must
be on the same device.
"""

import math

import numpy as np
import torch
from torch.nn import functional

# Dynamic range of a log-mel spectrogram in dB: the default of `LogMelSpectrogram(top_db=)` and of
# librosa.
_RANGE_DB = 80.0
# Largest distance of the mean from 0, and of the standard deviation from 1, of a spectrogram that
# counts as standardised. Both are inexact if a recording ends in silence, which counts as padding.
# Decibels and logarithms of power have a standard deviation of several units.
_TOLERANCE = 0.25
# Range of the noise level in dB below the maximum of the recording. White noise with the power of
# the speech (0 dB SNR) is about 25 dB below the maximum, because speech occupies few bands.
_NOISE_DB = (15.0, 60.0)


def mask_spectrograms(
    spectrograms,
    generator,
    *,
    n_frequency_masks,
    frequency_mask_width,
    n_time_masks,
    time_mask_width,
):
    """Mask frequency bands and time frames with the mean: SpecAugment without time warping.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        The batch.
    generator : torch.Generator
        Generator of the widths and positions.
    n_frequency_masks, n_time_masks : int
        Number of masks in each spectrogram. Masks may overlap.
    frequency_mask_width, time_mask_width : float
        Maximum width of a mask, as a fraction of all bands or frames. The minimum is 0.

    Returns
    -------
    masked : Tensor of shape (n_spectrograms, n_bands, n_frames)

    References
    ----------
    D. S. Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
    Recognition", Interspeech 2019, arXiv 1904.08779.
    """
    n_spectrograms, n_bands, n_frames = spectrograms.shape
    bands = _draw_masks(n_spectrograms, n_bands, n_frequency_masks, frequency_mask_width, generator)
    frames = _draw_masks(n_spectrograms, n_frames, n_time_masks, time_mask_width, generator)
    masked = bands[:, :, None] | frames[:, None, :]
    return torch.where(masked, spectrograms.mean(dim=(1, 2), keepdim=True), spectrograms)


def _draw_masks(n_rows, length, n_masks, share, generator):
    """Draw masks for each row, as booleans of shape (n_rows, length)."""
    draws = torch.rand(2, n_rows, n_masks, 1, generator=generator, device=generator.device)
    widths = (draws[0] * (int(share * length) + 1)).floor()
    starts = (draws[1] * (length - widths + 1)).floor()
    cells = torch.arange(length, device=generator.device)
    return ((cells >= starts) & (cells < starts + widths)).any(dim=1)


def crop_spectrograms(spectrograms, generator, *, share):
    """Keep a random window of frames, shifted to a random position, and fill the rest with silence.

    The number of frames stays the same, so that borders and padding are the same in training and
    prediction. Silence is the minimum of each band, as in `pad_spectrograms`.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        The batch.
    generator : torch.Generator
        Generator of the windows and positions.
    share : float
        Minimum fraction of the frames to keep. The fraction is uniformly distributed between this
        and 1. At least one frame is kept.

    Returns
    -------
    cropped : Tensor of shape (n_spectrograms, n_bands, n_frames)
    """
    n_spectrograms, n_bands, n_frames = spectrograms.shape
    draws = torch.rand(3, n_spectrograms, 1, generator=generator, device=generator.device)
    fewest = max(1, math.ceil(share * n_frames))
    n_kept = fewest + (draws[0] * (n_frames - fewest + 1)).long()
    starts, places = (draws[1:] * (n_frames - n_kept + 1)).long()
    frames = torch.arange(n_frames, device=generator.device)
    kept = (frames >= places) & (frames < places + n_kept)
    sources = (frames - places + starts).clamp(0, n_frames - 1)
    moved = spectrograms.gather(2, sources[:, None, :].expand(-1, n_bands, -1))
    silence = spectrograms.amin(dim=2, keepdim=True)
    return torch.where(kept[:, None, :], moved, silence)


def warp_spectrograms(spectrograms, generator, *, band_shift, time_stretch):
    """Shift the bands of each spectrogram, and stretch or compress it in time.

    A shift by bands resembles another pitch and vocal tract, a stretch another speaking rate. The
    middle of the recording stays where it is. Shifts are whole bands, and frames are repeated or
    left out: interpolation would blur the spectrogram. Values beyond the border are those of the
    border.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        The batch.
    generator : torch.Generator
        Generator of the shifts and factors.
    band_shift : float
        Maximum shift, as a fraction of all bands. Shifts are uniformly distributed.
    time_stretch : float
        Maximum of the absolute value of the natural logarithm of the factor, which is uniformly
        distributed. 0.05 changes the duration by about 5 %.

    Returns
    -------
    warped : Tensor of shape (n_spectrograms, n_bands, n_frames)
    """
    draws = torch.rand(2, len(spectrograms), generator=generator, device=generator.device) * 2 - 1
    maps = spectrograms.new_zeros(len(spectrograms), 2, 3)
    maps[:, 0, 0] = torch.exp(draws[0] * time_stretch)
    maps[:, 1, 1] = 1
    maps[:, 1, 2] = draws[1] * 2 * band_shift  # the bands extend from -1 to 1
    images = spectrograms[:, None]
    grid = functional.affine_grid(maps, images.shape, align_corners=False)
    warped = functional.grid_sample(
        images, grid, mode="nearest", padding_mode="border", align_corners=False
    )
    return warped[:, 0]


def add_noise(spectrograms, generator, *, share):
    """Add white noise of random level to some of the spectrograms.

    Noise is added to the power, whose logarithm the spectrogram holds. The power scale is
    estimated by assuming that the minimum and maximum of the spectrogram are 80 dB apart. A
    spectrogram that is standardised is standardised again. Padding, the frames at the end in
    which all bands have their minimum, gets no noise and does not count for the standardisation:
    `LogMelSpectrogram` pads a recording with its noise.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        The batch, before other augmentation.
    generator : torch.Generator
        Generator of the selection, the levels and the noise.
    share : float
        Probability of adding noise to a spectrogram.

    Returns
    -------
    noisy : Tensor of shape (n_spectrograms, n_bands, n_frames)
    """
    device = generator.device
    low = spectrograms.amin(dim=(1, 2), keepdim=True)
    high = spectrograms.amax(dim=(1, 2), keepdim=True)
    unit = (high - low) / _RANGE_DB * 10 / math.log(10)  # one neper of power
    unit = unit.clamp_min(torch.finfo(spectrograms.dtype).tiny)
    is_silent = (spectrograms == spectrograms.amin(dim=2, keepdim=True)).all(dim=1, keepdim=True)
    is_padding = is_silent.flip(2).cummin(dim=2).values.flip(2)
    draws = torch.rand(2, len(spectrograms), 1, 1, generator=generator, device=device)
    below = _NOISE_DB[0] + draws[0] * (_NOISE_DB[1] - _NOISE_DB[0])
    # The power of white noise in a cell follows an exponential distribution.
    power = torch.empty_like(spectrograms).exponential_(generator=generator)
    noise = power.log_().sub_(below * (math.log(10) / 10))
    noisy = torch.logaddexp((spectrograms - high) / unit, noise) * unit + high
    noisy = torch.where(is_padding, spectrograms, noisy)
    mean, std = _moments(spectrograms, is_padding)
    is_standardized = (mean.abs() < _TOLERANCE) & ((std - 1).abs() < _TOLERANCE)
    mean, std = _moments(noisy, is_padding)
    noisy = torch.where(is_standardized, (noisy - mean) / std, noisy)
    return torch.where(draws[1] < share, noisy, spectrograms)


def _moments(spectrograms, is_padding):
    """Return the mean and standard deviation of each spectrogram without its padding."""
    weights = (~is_padding).to(spectrograms.dtype).expand_as(spectrograms)
    n_cells = weights.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    mean = (spectrograms * weights).sum(dim=(1, 2), keepdim=True) / n_cells
    squares = ((spectrograms - mean) * weights).square().sum(dim=(1, 2), keepdim=True)
    return mean, (squares / n_cells).sqrt()


def mix_up(spectrograms, targets, generator, *, alpha):
    """Mix each spectrogram and its target with another one of the batch.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        The batch.
    targets : Tensor of shape (n_spectrograms, n_classes)
        Weights of the classes.
    generator : torch.Generator
        Generator of the partners and mixing weights.
    alpha : float
        Both parameters of the beta distribution of the mixing weights. With small values most
        spectrograms are nearly unchanged.

    Returns
    -------
    mixed : Tensor of shape (n_spectrograms, n_bands, n_frames)
    mixed_targets : Tensor of shape (n_spectrograms, n_classes)

    References
    ----------
    H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk Minimization",
    ICLR 2018, arXiv 1710.09412.
    """
    device, n_spectrograms = generator.device, len(spectrograms)
    # torch.distributions.Beta supports only the global generator.
    seed = torch.randint(2**62, (), generator=generator, device=device).item()
    drawn = np.random.default_rng(int(seed)).beta(alpha, alpha, n_spectrograms)
    shares = torch.as_tensor(drawn, dtype=spectrograms.dtype, device=device)
    partner = torch.randperm(n_spectrograms, generator=generator, device=device)
    mixed = torch.lerp(spectrograms[partner], spectrograms, shares[:, None, None])
    return mixed, torch.lerp(targets[partner], targets, shares[:, None])
