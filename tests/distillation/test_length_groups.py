"""Groups of similar length: as few frames as can be, each recording once."""

import itertools

import numpy as np
import pytest

from sklearn_ser.distillation._length_groups import group_by_length


def cost(groups, n_frames):
    """Return the padded frames, and a twentieth of the frames for each group."""
    padded = sum(len(group) * max(n_frames[row] for row in group) for group in groups)
    return padded + len(groups) * sum(n_frames) / 20


@pytest.mark.parametrize("seed", range(5))
def test_no_other_split_has_a_lower_cost(seed):
    n_frames = np.random.default_rng(seed).lognormal(4, 0.7, 8).astype(int).tolist()
    groups = group_by_length(n_frames)
    assert sorted(itertools.chain(*groups)) == list(range(8))
    in_order = sorted(range(8), key=lambda row: n_frames[row])
    splits = (
        [in_order[start:end] for start, end in itertools.pairwise((0, *cuts, 8))]
        for n_cuts in range(8)
        for cuts in itertools.combinations(range(1, 8), n_cuts)
    )
    lowest = min(cost(groups, n_frames) for groups in splits)
    assert cost(groups, n_frames) == pytest.approx(lowest)


def test_equal_lengths_are_one_group():
    assert [sorted(group) for group in group_by_length([7] * 32)] == [list(range(32))]
    assert [group.tolist() for group in group_by_length([3])] == [[0]]


def test_little_of_a_batch_is_padding():
    n_frames = np.random.default_rng(0).lognormal(5, 0.5, 32).astype(int).tolist()
    groups = group_by_length(n_frames)
    padded = sum(len(group) * max(n_frames[row] for row in group) for group in groups)
    assert len(groups) <= 6
    assert 32 * max(n_frames) / sum(n_frames) > 1.9
    assert padded / sum(n_frames) < 1.2
