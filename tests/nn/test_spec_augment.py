"""Augmentation is independent for each spectrogram, and uses only the generator."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ser import LogMelSpectrogram
from sklearn_ser.nn import (
    add_noise,
    crop_spectrograms,
    mask_spectrograms,
    mix_up,
    warp_spectrograms,
)

MASKS = {
    "n_frequency_masks": 2,
    "frequency_mask_width": 0.25,
    "n_time_masks": 2,
    "time_mask_width": 0.2,
}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def spectrograms(n=6, bands=16, frames=30, seed=1):
    return torch.randn(n, bands, frames, generator=draws(seed))


ALL = {
    "mask": lambda x, generator: mask_spectrograms(x, generator, **MASKS),
    "crop": lambda x, generator: crop_spectrograms(x, generator, share=0.8),
    "noise": lambda x, generator: add_noise(x, generator, share=0.5),
    "warp": lambda x, generator: warp_spectrograms(x, generator, band_shift=0.2, time_stretch=0.1),
    "mixup": lambda x, generator: mix_up(x, torch.eye(len(x)), generator, alpha=0.4)[0],
}


@pytest.mark.parametrize("name", ALL)
def test_only_the_generator_is_used(name):
    x, change = spectrograms(), ALL[name]
    before, kept = torch.get_rng_state(), x.clone()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = change(x, draws(3)), change(x, draws(3)), change(x, draws(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


@settings(max_examples=50, deadline=None)
@given(
    bands=st.integers(1, 20),
    frames=st.integers(1, 20),
    n_masks=st.integers(0, 3),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_masks_are_not_wider_than_the_maximum(bands, frames, n_masks, share, seed):
    x = spectrograms(4, bands, frames) + 10
    masked = mask_spectrograms(
        x,
        draws(seed),
        n_frequency_masks=n_masks,
        frequency_mask_width=share,
        n_time_masks=0,
        time_mask_width=0,
    )
    changed = (masked != x).all(dim=2)  # bands by recording
    assert torch.equal((masked != x).any(dim=2), changed)
    assert changed.sum(dim=1).max() <= n_masks * int(share * bands)


def test_masks_reach_all_widths_and_positions():
    x = torch.arange(20.0).expand(2000, 4, 20)
    masked = mask_spectrograms(
        x,
        draws(),
        n_frequency_masks=0,
        frequency_mask_width=0,
        n_time_masks=1,
        time_mask_width=0.2,
    )
    hidden = (masked != x)[:, 0]
    assert set(hidden.sum(dim=1).tolist()) == {0, 1, 2, 3, 4}
    assert hidden.any(dim=0).all()  # also the first and the last frame


def test_spectrograms_are_masked_independently():
    masked = mask_spectrograms(spectrograms(1).expand(6, -1, -1), draws(), **MASKS)
    assert len({tuple(row.flatten().tolist()) for row in masked}) == 6


def test_masks_are_filled_with_the_mean():
    x = spectrograms() + torch.arange(6.0)[:, None, None]
    masked = mask_spectrograms(x, draws(), **MASKS)
    for row, values in zip(masked, x, strict=True):
        assert set(row[row != values].tolist()) <= {values.mean().item()}


def test_crops_are_shifted_windows_in_silence():
    up = torch.arange(50.0)
    cropped = crop_spectrograms(torch.stack([up, 49 - up]).expand(3000, 2, 50), draws(), share=0.9)
    is_kept = cropped.sum(dim=1) == 49
    assert (cropped.mT[~is_kept] == 0).all()  # the minimum of each band
    moves = set()
    for row, kept in zip(cropped[:, 0], is_kept, strict=True):
        (places,) = kept.nonzero(as_tuple=True)
        place, start, n_kept = int(places[0]), int(row[places[0]]), len(places)
        assert places.tolist() == list(range(place, place + n_kept))
        assert row[places].tolist() == list(range(start, start + n_kept))
        moves.add((n_kept, start, place))
    assert moves == {
        (n_kept, start, place)
        for n_kept in range(45, 51)
        for start in range(51 - n_kept)
        for place in range(51 - n_kept)
    }


def test_bands_are_shifted_by_up_to_the_maximum():
    x = torch.arange(16.0)[:, None].expand(2000, 16, 3)
    warped = warp_spectrograms(x, draws(), band_shift=0.25, time_stretch=0)
    shifts = warped[:, 8, 1] - 8  # values are positions
    assert shifts.unique().tolist() == list(range(-4, 5))  # not blurred
    assert shifts.mean() == pytest.approx(0, abs=0.2)
    moved = (x + shifts[:, None, None]).clamp(0, 15)
    torch.testing.assert_close(warped, moved, atol=1e-4, rtol=0)


def test_time_is_stretched_around_the_middle():
    x = torch.arange(301.0).expand(500, 4, 301)
    warped = warp_spectrograms(x, draws(), band_shift=0, time_stretch=0.2)
    assert torch.equal(warped[..., 150], x[..., 150])
    assert torch.equal(warped, warped.round())  # frames are repeated or left out
    assert torch.equal(warped, warped[:, :1].expand_as(x))
    factors = (warped[:, 0, 260] - warped[:, 0, 140]) / 120  # of the recording for each new one
    assert factors.log().min() == pytest.approx(-0.2, abs=0.01)
    assert factors.log().max() == pytest.approx(0.2, abs=0.01)
    expected = (150 + factors[:, None, None] * (x - 150)).clamp(0, 300)
    torch.testing.assert_close(warped, expected, atol=2, rtol=0)


def test_a_warp_by_nothing_changes_nothing():
    x = spectrograms()
    warped = warp_spectrograms(x, draws(), band_shift=0, time_stretch=0)
    assert torch.equal(warped, x)


@pytest.mark.parametrize(("frames", "share", "kept"), [(1, 0.5, 1), (3, 0.1, 1), (7, 1.0, 7)])
def test_a_crop_keeps_at_least_one_frame(frames, share, kept):
    up = torch.arange(1.0, frames + 1)
    x = torch.stack([up, frames + 1 - up]).expand(200, 2, frames)  # only silence has another sum
    cropped = crop_spectrograms(x, draws(), share=share)
    n_kept = (cropped.sum(dim=1) == frames + 1).sum(dim=1)
    assert n_kept.min() == kept


@pytest.mark.slow
def test_mixing_uses_the_same_weight_for_spectrograms_and_targets():
    x = torch.arange(6.0)[:, None, None].expand(6, 2, 3)
    mixed, targets = mix_up(x, torch.eye(6), draws(), alpha=0.4)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(targets @ torch.arange(6.0), mixed[:, 0, 0])
    assert ((targets > 0).sum(dim=1) <= 2).all()


def test_mixing_keeps_the_sum_of_the_weights():
    weights = torch.tensor([1.0, 0.5, 3.0, 0.25, 1.0, 2.0])
    _, targets = mix_up(spectrograms(), torch.diag(weights), draws(), alpha=1.0)
    lower, upper = weights.min(), weights.max()
    assert ((targets.sum(dim=1) >= lower - 1e-6) & (targets.sum(dim=1) <= upper + 1e-6)).all()


def test_mixing_weights_follow_the_beta_distribution():
    x = torch.zeros(20_000, 1, 1)
    x[::2] = 1
    share = mix_up(x, torch.zeros(len(x), 1), draws(), alpha=0.5)[0]
    mixed = share[(share > 0) & (share < 1)]
    # Half of the pairs differ; the arcsine distribution has a variance of 1/8.
    assert abs(len(mixed) / len(x) - 0.5) < 0.02
    assert abs(mixed.var() - 1 / 8) < 0.005


def test_noise_changes_quiet_cells_only():
    x = torch.full((200, 8, 20), -1.0)
    x[:, 2, 5] = 1.0
    noisy = add_noise(x, draws(), share=1.0)
    places = noisy.flatten(1).argmax(dim=1)
    assert (places == 2 * 20 + 5).all()
    quiet = noisy[:, 4:].flatten(1)
    assert (quiet.std(dim=1) > 0.1).all()


def test_noise_is_added_with_the_given_probability():
    x = spectrograms(2000, 4, 5)
    noisy = add_noise(x, draws(), share=0.25)
    touched = (noisy != x).flatten(1).any(dim=1)
    assert abs(touched.float().mean() - 0.25) < 0.03


def test_what_is_standardised_stays_so_with_noise():
    x = spectrograms()
    x = (x - x.mean(dim=(1, 2), keepdim=True)) / x.std(dim=(1, 2), keepdim=True, correction=0)
    noisy = add_noise(x, draws(), share=1.0)
    torch.testing.assert_close(noisy.mean(dim=(1, 2)), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(noisy.std(dim=(1, 2), correction=0), torch.ones(6))


def test_noise_raises_the_level_of_what_is_not_standardised():
    x = 20 * spectrograms() - 40
    noisy = add_noise(x, draws(), share=1.0)
    assert (noisy.mean(dim=(1, 2)) > x.mean(dim=(1, 2)) + 1).all()
    torch.testing.assert_close(noisy.amax(dim=(1, 2)), x.amax(dim=(1, 2)), atol=1, rtol=0)
    doubled = add_noise(2 * x + 3, draws(), share=1.0)
    torch.testing.assert_close(doubled, 2 * noisy + 3, rtol=1e-4, atol=1e-3)


def test_noise_on_a_flat_spectrogram_is_finite():
    assert add_noise(torch.zeros(3, 4, 5), draws(), share=1.0).isfinite().all()


@pytest.mark.parametrize("n_samples", [48000, 32000])  # with a second of padding
@pytest.mark.parametrize("normalize", ["recording", None])
def test_noise_resembles_noise_added_to_the_waveform(normalize, n_samples):
    """The mean spectrum approximates that of recordings with noise added to the waveform."""
    rng = np.random.default_rng(0)
    time = np.arange(n_samples) / 16000
    voice = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 30))
    voice = (0.1 * voice * (np.sin(2 * np.pi * 3 * time) > -0.5)).astype(np.float32)
    front_end = LogMelSpectrogram(n_mels=32, normalize=normalize)
    clean = torch.from_numpy(front_end.transform([voice]))
    for snr in (0, 10, 20):
        noise = rng.standard_normal(len(voice)) * voice.std() * 10 ** (-snr / 20)
        heard = front_end.transform([(voice + noise).astype(np.float32)])[0].mean(axis=1)
        drawn = add_noise(clean.expand(200, -1, -1), draws(), share=1.0).mean(dim=2).numpy()
        untouched = np.abs(clean[0].mean(dim=1).numpy() - heard).mean()
        nearest = np.abs(drawn - heard).mean(axis=1).min()
        assert nearest < untouched / 3
