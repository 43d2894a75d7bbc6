"""Batches: how large they are, in what order, and what is spread over them."""

import numpy as np
import pytest
import torch

from sklearn_ser.training._batches import Batches, Samples


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (33, 32, [17, 16]),
        (64, 32, [32, 32]),
        (65, 32, [22, 22, 21]),
        (3, 2, [3]),
        (5, 2, [3, 2]),
        (2, 2, [2]),
        (4, 3, [2, 2]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_no_batch_is_left_with_one_recording(n, batch_size, sizes):
    samples = Samples(np.arange(n)[:, None], np.arange(n), np.arange(n))
    assert [len(targets) for _, targets in Batches(samples, batch_size)] == sizes


def test_each_pass_has_all_recordings_in_a_new_order():
    samples = Samples(np.arange(50.0), np.arange(50), np.arange(0, 50, 2))
    batches = Batches(samples, 8, np.random.default_rng(0))
    passes = [torch.cat([targets for _, targets in batches]).tolist() for _ in range(3)]
    assert all(sorted(order) == list(range(0, 50, 2)) for order in passes)
    assert passes[0] != passes[1] != passes[2]


@pytest.mark.parametrize("n_rare", [0, 1, 5, 20])
def test_what_is_rare_is_spread_over_the_batches(n_rare):
    kinds = np.arange(40) < n_rare
    targets = kinds.astype(np.float32)
    samples = Samples(np.zeros((40, 2), dtype=np.float32), targets, np.arange(40), kinds)
    batches = Batches(samples, 8, np.random.default_rng(0))
    for _ in range(3):
        shares = [int(of_batch.sum()) for _, of_batch in batches]
        assert sum(shares) == n_rare
        assert max(shares) - min(shares) <= 1
