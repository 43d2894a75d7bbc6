"""The formant synthesis, measured by Praat."""

import numpy as np
import parselmouth
import pytest

from sklearn_ser.datasets._formant_synthesis import _PHONES, CONSONANTS, VOWELS, Voice, synthesize

# An average man's voice, without melody or breath.
STEADY = Voice(4.8, -100, 0, -20, 0, -60, 0, 0, 0)


def speak(words, seed=0, **changes):
    rng = np.random.default_rng(seed)
    waveform, f0 = synthesize(words, STEADY._replace(**changes), 16000, rng)
    return parselmouth.Sound(waveform.astype(np.float64), 16000), f0


def formants(sound):
    """Return F1 and F2 in the middle of a recording, in Hz."""
    tracks = sound.to_formant_burg(max_number_of_formants=5, maximum_formant=5000)
    return np.array([tracks.get_value_at_time(n, sound.duration / 2) for n in (1, 2)])


@pytest.mark.parametrize("vowel", "aeiou")
def test_vowels_have_their_formants(vowel):
    sound, _ = speak([4 * vowel])
    np.testing.assert_allclose(formants(sound), _PHONES[vowel][1:3], rtol=0.1)


def test_voices_move_the_formants():
    at_rest, scaled, centred = (
        formants(speak(["aaaa"], **change)[0]) for change in ({}, {"formants": 16}, {"reach": -80})
    )
    np.testing.assert_allclose(scaled / at_rest, 1.16, rtol=0.05)
    np.testing.assert_allclose(centred, [546, 1418], rtol=0.1)  # a fifth of the way from a schwa


def test_pitch_and_level_are_exact():
    sound, f0 = speak(["mama", "lala"], pitch=12.0)
    assert f0 == pytest.approx(200)
    pitch = sound.to_pitch(pitch_floor=75, pitch_ceiling=400).selected_array["frequency"]
    assert pitch[pitch > 0].mean() == pytest.approx(200, rel=0.005)
    assert 20 * np.log10(sound.values.std()) == pytest.approx(-20, abs=0.01)


def test_breath_tempo_and_pauses():
    words = ["mamo", "lile", "nanu"]
    usual, breathy, fast, halting = (
        speak(words, **change)[0]
        for change in ({}, {"breath": -10}, {"tempo": 100}, {"pauses": 100})
    )
    harmonicity = [sound.to_harmonicity().values.max() for sound in (usual, breathy)]
    assert harmonicity[0] > harmonicity[1] + 10
    assert fast.duration == pytest.approx(usual.duration / 2, abs=0.001)
    assert halting.duration > usual.duration + 0.2


def test_every_letter_has_an_articulation():
    assert set(_PHONES) == {*VOWELS, *CONSONANTS, ".", " "}
    for _, f1, f2, f3, voicing, frication in _PHONES.values():
        assert f1 < f2 < f3
        assert not (voicing and frication)
