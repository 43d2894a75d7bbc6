"""Statistics over frames, at once and merged from windows."""

import numpy as np
import pytest
import torch

from sklearn_ser.nn import merge_statistics, pool_frames

POOLINGS = {"mean": ("mean",), "mean_std": ("mean", "std"), "max": ("max",)}


def _frames(n_frames, n_dims=5, offset=100.0, seed=0):
    """Return frames with a large mean, for which sums of squares are inaccurate."""
    rng = np.random.default_rng(seed)
    return (offset + rng.standard_normal((n_frames, n_dims))).astype(np.float32)


def _pool(pieces, pooling):
    names = POOLINGS[pooling]
    statistics = np.stack([pool_frames(torch.from_numpy(piece), names).numpy() for piece in pieces])
    return merge_statistics(statistics, [len(piece) for piece in pieces], names)


def _expected(frames, pooling):
    numpy_has = {"mean": np.mean, "std": np.std, "max": np.max}
    return np.concatenate([numpy_has[name](frames, axis=0) for name in POOLINGS[pooling]])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_single_window(pooling):
    frames = _frames(40)
    np.testing.assert_allclose(_pool([frames], pooling), _expected(frames, pooling), rtol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_windows_of_unequal_length_are_merged_exactly(pooling):
    frames = _frames(57)
    pieces = np.split(frames, [1, 30, 50])
    np.testing.assert_allclose(_pool(pieces, pooling), _expected(frames, pooling), rtol=1e-5)


def test_layers_are_merged_independently():
    layers = [_frames(20, seed=0), _frames(20, seed=1)]
    names = POOLINGS["mean_std"]
    statistics = np.stack(
        [pool_frames(torch.from_numpy(frames), names).numpy() for frames in layers]
    )
    merged = merge_statistics(statistics[np.newaxis], [20], names)
    assert merged.shape == (2, 10)
    for pooled, frames in zip(merged, layers, strict=True):
        np.testing.assert_allclose(pooled, _expected(frames, "mean_std"), rtol=1e-5)


def test_one_frame_has_zero_standard_deviation():
    np.testing.assert_array_equal(_pool([_frames(1)], "mean_std")[5:], 0)


def test_half_precision_is_accumulated_in_float32():
    frames = np.full((3000, 2), 200.0, dtype=np.float16)  # their sum is beyond float16
    pooled = pool_frames(torch.from_numpy(frames), POOLINGS["mean"])
    assert pooled.dtype == torch.float32
    np.testing.assert_allclose(pooled[0], 200.0)
