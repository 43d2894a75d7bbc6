"""Dimensions of emotions' names."""

import numpy as np
import pytest

from sklearn_ser.datasets import circumplex, make_emotional_speech


def test_emotions_lie_where_the_circumplex_has_them():
    aroused = circumplex(["anger", "fear", "happiness", "surprise"])
    calm = circumplex(["boredom", "sadness", "neutral"])
    assert aroused[:, 0].min() > calm[:, 0].max()
    pleasant, unpleasant = circumplex(["happiness"]), circumplex(["anger", "disgust", "sadness"])
    assert pleasant[0, 1] > 0 > unpleasant[:, 1].max()
    anger, fear = circumplex(["anger", "fear"])
    assert anger[2] > 0 > fear[2]  # told apart by dominance alone
    np.testing.assert_allclose(anger[:2], fear[:2], atol=0.2)


def test_neutral_is_the_origin_and_unknown_names_have_no_numbers():
    np.testing.assert_array_equal(circumplex(["neutral"]), [[0, 0, 0]])
    assert np.isnan(circumplex(np.array(["calm", "no agreement"]))).all()


@pytest.mark.parametrize("empty", [[], np.array([], dtype=str)])
def test_nothing_has_three_columns(empty):
    assert circumplex(empty).shape == (0, 3)


def test_a_single_name_is_refused():
    with pytest.raises(ValueError, match=r"must be a sequence of names: \['anger'\]"):
        circumplex("anger")


def test_all_emotions_of_synthetic_voices_have_numbers():
    y = circumplex(make_emotional_speech(n_speakers=1, n_sentences=1, random_state=0).target)
    assert np.isfinite(y).all()
    assert (np.abs(y) <= 1).all()
