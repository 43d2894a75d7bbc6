"""Arousal, valence and dominance of emotion categories."""

import numpy as np
import pytest

from sklearn_ser.datasets import circumplex, emotion_dimensions, make_emotional_speech


def test_values_agree_with_the_circumplex():
    aroused = emotion_dimensions(["anger", "fear", "happiness", "surprise"])
    calm = emotion_dimensions(["boredom", "sadness", "neutral"])
    assert aroused[:, 0].min() > calm[:, 0].max()
    pleasant, unpleasant = (
        emotion_dimensions(["happiness"]),
        emotion_dimensions(["anger", "disgust", "sadness"]),
    )
    assert pleasant[0, 1] > 0 > unpleasant[:, 1].max()
    anger, fear = emotion_dimensions(["anger", "fear"])
    assert anger[2] > 0 > fear[2]  # told apart by dominance alone
    np.testing.assert_allclose(anger[:2], fear[:2], atol=0.2)


def test_neutral_is_zero_and_unknown_names_are_nan():
    np.testing.assert_array_equal(emotion_dimensions(["neutral"]), [[0, 0, 0]])
    with pytest.warns(UserWarning, match="2 of 3 recordings .*: 'calm', 'no agreement'. Emotions"):
        values = emotion_dimensions(np.array(["calm", "anger", "no agreement"]))
    np.testing.assert_array_equal(np.isnan(values[:, 0]), [True, False, True])


def test_synonyms_have_the_same_values():
    np.testing.assert_array_equal(
        emotion_dimensions(["Angry", "happy"]), emotion_dimensions(["anger", "happiness"])
    )


@pytest.mark.parametrize("empty", [[], np.array([], dtype=str)])
def test_empty_input_has_three_columns(empty):
    assert emotion_dimensions(empty).shape == (0, 3)


def test_single_name_raises():
    with pytest.raises(ValueError, match=r"must be a sequence of names: \['anger'\]"):
        emotion_dimensions("anger")


def test_all_emotions_of_synthetic_voices_have_values():
    y = emotion_dimensions(
        make_emotional_speech(n_speakers=1, n_sentences=1, random_state=0).target
    )
    assert np.isfinite(y).all()
    assert (np.abs(y) <= 1).all()


def test_circumplex_is_an_alias():
    assert circumplex is emotion_dimensions
