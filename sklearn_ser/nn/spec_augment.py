"""Random changes to a batch of spectrograms in training; each recording draws its own.

All functions take log spectrograms (n_spectrograms, n_bands, n_frames) of any level and unit, leave
their argument as it is, and draw from the generator they are given, which lives on the same device.
"""

import math

import numpy as np
import torch

# What lies between the smallest and the largest value of a log-mel spectrogram, in dB: the
# default of `LogMelSpectrogram(top_db=)` and of librosa.
_RANGE_DB = 80.0
# How far below its loudest value a recording's noise lies, in dB. White noise as strong as the
# voice (0 dB) lies about 25 dB below, as the voice is gathered in few bands.
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
    """Blank out spans of bands and of frames by the recording's mean: SpecAugment without warping.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        A batch.
    generator : torch.Generator
        What widths and places are drawn from.
    n_frequency_masks, n_time_masks : int
        Number of spans in each recording. They may overlap.
    frequency_mask_width, time_mask_width : float
        Greatest width of a span, as a share of all bands or frames; the smallest is 0.

    Returns
    -------
    masked : Tensor of shape (n_spectrograms, n_bands, n_frames)

    References
    ----------
    D. S. Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
    Recognition", Interspeech 2019, arXiv 1904.08779.
    """
    n_spectrograms, n_bands, n_frames = spectrograms.shape
    bands = _spans(n_spectrograms, n_bands, n_frequency_masks, frequency_mask_width, generator)
    frames = _spans(n_spectrograms, n_frames, n_time_masks, time_mask_width, generator)
    masked = bands[:, :, None] | frames[:, None, :]
    return torch.where(masked, spectrograms.mean(dim=(1, 2), keepdim=True), spectrograms)


def _spans(n_rows, length, n_spans, share, generator):
    """Draw spans of cells for each row, (n_rows, length), True inside."""
    draws = torch.rand(2, n_rows, n_spans, 1, generator=generator, device=generator.device)
    widths = (draws[0] * (int(share * length) + 1)).floor()
    starts = (draws[1] * (length - widths + 1)).floor()
    cells = torch.arange(length, device=generator.device)
    return ((cells >= starts) & (cells < starts + widths)).any(dim=1)


def crop_spectrograms(spectrograms, generator, *, share):
    """Keep a window of frames of each recording, moved to a place of its own, in silence.

    The number of frames stays: where windows came alone, a network would see other borders, and
    other padding, in training than in prediction. Silence is the recording's smallest value, as in
    `pad_spectrograms`.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        A batch.
    generator : torch.Generator
        What windows and places are drawn from.
    share : float
        Share of the frames that are kept, at least one.

    Returns
    -------
    cropped : Tensor of shape (n_spectrograms, n_bands, n_frames)
    """
    n_spectrograms, n_bands, n_frames = spectrograms.shape
    n_kept = max(1, math.ceil(share * n_frames))
    draws = torch.rand(2, n_spectrograms, 1, generator=generator, device=generator.device)
    starts, places = (draws * (n_frames - n_kept + 1)).long()
    frames = torch.arange(n_frames, device=generator.device)
    kept = (frames >= places) & (frames < places + n_kept)
    sources = (frames - places + starts).clamp(0, n_frames - 1)
    moved = spectrograms.gather(2, sources[:, None, :].expand(-1, n_bands, -1))
    silence = spectrograms.amin(dim=(1, 2), keepdim=True)
    return torch.where(kept[:, None, :], moved, silence)


def add_noise(spectrograms, generator, *, share):
    """Add white noise of random loudness to some of the recordings.

    Noise adds to the power, of which a spectrogram holds the logarithm: what is quieter than the
    noise is lost in it, what is louder stays. The power is restored from the recording's smallest
    and largest value, taken to be 80 dB apart. Afterwards each recording has the mean and
    deviation that it had before, as if it had been normalised with the noise in it.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        A batch.
    generator : torch.Generator
        What recordings, loudness and noise are drawn from.
    share : float
        Probability that a recording gets noise.

    Returns
    -------
    noisy : Tensor of shape (n_spectrograms, n_bands, n_frames)
    """
    device = generator.device
    low, high = spectrograms.amin(dim=(1, 2)), spectrograms.amax(dim=(1, 2))
    unit = ((high - low) / _RANGE_DB * 10 / math.log(10))[:, None, None]  # one neper of power
    unit = unit.clamp_min(torch.finfo(spectrograms.dtype).tiny)
    draws = torch.rand(2, len(spectrograms), 1, 1, generator=generator, device=device)
    below = _NOISE_DB[0] + draws[0] * (_NOISE_DB[1] - _NOISE_DB[0])
    # The power of white noise in a band and frame is drawn from an exponential distribution.
    power = torch.empty_like(spectrograms).exponential_(generator=generator)
    noise = power.log_().sub_(below * (math.log(10) / 10))
    noisy = torch.logaddexp((spectrograms - high[:, None, None]) / unit, noise) * unit
    return torch.where(draws[1] < share, _with_moments_of(noisy, spectrograms), spectrograms)


def _with_moments_of(changed, original):
    """Give spectrograms the means and deviations of others."""
    deviation, mean = torch.std_mean(changed, dim=(1, 2), correction=0, keepdim=True)
    wanted_deviation, wanted_mean = torch.std_mean(original, dim=(1, 2), correction=0, keepdim=True)
    ratio = torch.where(deviation > 0, wanted_deviation / deviation, 1)
    return (changed - mean) * ratio + wanted_mean


def mix_up(spectrograms, targets, generator, *, alpha):
    """Mix each recording with another one of the batch, and their targets alike.

    Parameters
    ----------
    spectrograms : Tensor of shape (n_spectrograms, n_bands, n_frames)
        A batch.
    targets : Tensor of shape (n_spectrograms, n_classes)
        Weights of the classes.
    generator : torch.Generator
        What partners and shares are drawn from.
    alpha : float
        The share of the first is drawn from a beta distribution with both parameters `alpha`:
        small values leave most recordings nearly pure.

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
    # torch draws from a beta distribution from its global generator alone.
    seed = torch.randint(2**62, (), generator=generator, device=device).item()
    drawn = np.random.default_rng(int(seed)).beta(alpha, alpha, n_spectrograms)
    shares = torch.as_tensor(drawn, dtype=spectrograms.dtype, device=device)
    partner = torch.randperm(n_spectrograms, generator=generator, device=device)
    mixed = torch.lerp(spectrograms[partner], spectrograms, shares[:, None, None])
    return mixed, torch.lerp(targets[partner], targets, shares[:, None])
