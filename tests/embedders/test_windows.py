"""Windows of long recordings cover every frame exactly once."""

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ser.embedders._windows import cut_into_windows


def _backbone(min_samples, stride):
    """Return a backbone with one frame for `min_samples`, and one more per stride."""
    return SimpleNamespace(
        min_samples=min_samples,
        stride=stride,
        n_frames=lambda n_samples: (n_samples - min_samples) // stride + 1,
    )


WAV2VEC2 = _backbone(400, 320)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    n_samples=st.integers(400, 30_000),
    window=st.integers(1200, 9000),
    hop=st.integers(1, 9000),
)
def test_frames_of_all_windows_are_those_of_the_recording(n_samples, window, hop):
    windows = cut_into_windows(n_samples, window=window, hop=min(hop, window), backbone=WAV2VEC2)
    frames = []
    for start, stop, first, last in windows:
        assert 0 <= start < stop <= n_samples
        assert stop - start <= window
        assert start % WAV2VEC2.stride == 0
        assert 0 <= first < last <= WAV2VEC2.n_frames(stop - start)
        frames += [start // WAV2VEC2.stride + frame for frame in range(first, last)]
    assert frames == list(range(WAV2VEC2.n_frames(n_samples)))


@pytest.mark.parametrize("window", [None, 16000, 20000])
def test_short_recording_is_one_window(window):
    windows = cut_into_windows(16000, window=window, hop=8000, backbone=WAV2VEC2)
    assert windows == [(0, 16000, 0, 49)]


def test_overlaps_are_divided_in_the_middle():
    windows = cut_into_windows(64000, window=32000, hop=16000, backbone=WAV2VEC2)
    assert [window.start for window in windows] == [0, 16000, 32000]
    surroundings = [
        (first, WAV2VEC2.n_frames(stop - start) - last) for start, stop, first, last in windows
    ]
    assert surroundings[0][0] == surroundings[-1][1] == 0  # at both ends
    for before, behind in zip(surroundings[1:], surroundings[:-1], strict=True):
        assert abs(before[0] - behind[1]) <= 1
        assert before[0] >= 24


@settings(max_examples=100, deadline=None, derandomize=True)
@given(n_samples=st.integers(1, 100_000), window=st.integers(1000, 9000))
def test_windows_of_single_vectors_have_equal_length(n_samples, window):
    backbone = SimpleNamespace(stride=None, n_frames=lambda n_samples: 1)
    windows = cut_into_windows(n_samples, window=window, hop=None, backbone=backbone)
    assert len(windows) == -(-n_samples // window)
    assert {(w.first, w.last) for w in windows} == {(0, 1)}
    assert {w.stop - w.start for w in windows} == {min(window, n_samples)}
    assert (windows[0].start, windows[-1].stop) == (0, n_samples)
    assert all(a.start < b.start <= a.stop for a, b in itertools.pairwise(windows))
