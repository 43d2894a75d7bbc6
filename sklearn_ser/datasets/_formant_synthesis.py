"""Source-filter speech: a glottal wave and noise, shaped by moving formants.

Knows voices, not speakers or emotions. NumPy and SciPy only.
"""

from typing import NamedTuple

import numpy as np
from scipy.signal import istft, stft


class Voice(NamedTuple):
    """How a recording sounds, or how much two recordings differ."""

    pitch: float  # semitones above 100 Hz
    melody: float  # %, size of the pitch movements over the average one
    tempo: float  # %, speaking rate over the average one
    level: float  # dB re full scale, RMS
    tilt: float  # dB per octave above 500 Hz; positive is a tenser, brighter voice
    breath: float  # dB, aspiration noise re voicing
    formants: float  # %, all formants together over those of an average man
    reach: float  # %, distance of the formants from those of a schwa
    pauses: float  # %, chance of a pause between two words


# Duration (s), F1 to F3 (Hz), amplitudes of voicing and of frication. Vowels: the men of Peterson
# and Barney (1952). Consonants: one locus a place of articulation, a coarse reading of Klatt
# (1980). Silence is a schwa without voice.
_PHONES = {
    "a": (0.13, 730, 1090, 2440, 1.0, 0.0),
    "e": (0.11, 530, 1840, 2480, 1.0, 0.0),
    "i": (0.10, 270, 2290, 3010, 1.0, 0.0),
    "o": (0.12, 570, 840, 2410, 1.0, 0.0),
    "u": (0.10, 300, 870, 2240, 1.0, 0.0),
    "m": (0.07, 250, 800, 2200, 0.35, 0.0),
    "n": (0.07, 300, 1750, 2600, 0.35, 0.0),
    "l": (0.07, 350, 1050, 2800, 0.55, 0.0),
    "s": (0.10, 300, 1750, 2600, 0.0, 0.12),
    "f": (0.09, 250, 800, 2200, 0.0, 0.04),
    "t": (0.07, 300, 1750, 2600, 0.0, 0.06),
    "k": (0.07, 300, 1900, 2300, 0.0, 0.04),
    ".": (0.06, 500, 1500, 2500, 0.0, 0.0),  # before and after the sentence
    " ": (0.15, 500, 1500, 2500, 0.0, 0.0),  # between two words
}
VOWELS, CONSONANTS = "aeiou", "mnlsftk"

_TUBE = np.arange(500.0, 8000.0, 1000.0)  # Hz, resonances of a uniform tube of 17.5 cm: a schwa
_BANDWIDTHS = np.array([70.0, 90.0, 150.0] + [300.0] * (len(_TUBE) - 3))  # Hz (Klatt, 1980)
_OPEN_QUOTIENT = 0.6  # modal voice (Klatt and Klatt, 1990)
_MELODY = 1.5  # semitones, standard deviation of the vowels' pitch at rest
_ROOM_NOISE = -65.0  # dB re full scale
_PEAK = 0.99
_HOP = 0.01  # s, between two shapes of the vocal tract


def synthesize(words, voice, sampling_rate, rng):
    """Speak words spelt in `VOWELS` and `CONSONANTS`; return the waveform and its mean F0 (Hz)."""
    chance = voice.pauses / 100
    spoken = "".join(word + (" " if rng.random() < chance else "") for word in words)
    letters = f".{spoken.rstrip()}."
    phones = np.array([_PHONES[letter] for letter in letters])
    durations = phones[:, 0] * rng.lognormal(0, 0.1, len(letters)) / (1 + voice.tempo / 100)
    ends = np.cumsum(durations)
    middles = ends - durations / 2
    times = np.arange(round(ends[-1] * sampling_rate)) / sampling_rate
    voicing, frication = (np.interp(times, middles, track) for track in phones[:, 4:].T)

    vowels = middles[[letter in VOWELS for letter in letters]]
    melody = _MELODY * (1 + voice.melody / 100) * rng.standard_normal(len(vowels))
    semitones = voice.pitch + np.interp(times, vowels, melody - melody.mean())
    f0 = 100 * 2 ** (semitones / 12)
    aspiration, noise, room = rng.standard_normal((3, len(times)))
    # The derivative of the glottal flow (KLGLOTT88).
    opening = np.minimum(np.cumsum(f0) / sampling_rate % 1 / _OPEN_QUOTIENT, 1)
    glottis = np.where(opening < 1, 2 * opening - 3 * opening**2, 0)
    source = voicing * (glottis + _from_db(voice.breath) * aspiration)
    waveform = _filter(source, middles, phones[:, 1:4], voice, sampling_rate)
    # The lips radiate pressure, the derivative of the flow: no low frequencies in the noise.
    waveform += frication * np.diff(noise, prepend=0)
    waveform *= _from_db(voice.level) / np.sqrt(np.mean(waveform**2))
    waveform += _from_db(_ROOM_NOISE) * room
    waveform *= min(1, _PEAK / np.abs(waveform).max())
    return waveform.astype(np.float32), float(f0[voicing > 0.5].mean())


def _from_db(level):
    return 10 ** (level / 20)


def _filter(source, middles, formants, voice, sampling_rate):
    """Shape a source by a vocal tract that moves from phone to phone, and tilt its spectrum."""
    hop = round(_HOP * sampling_rate)
    frames = {"fs": sampling_rate, "nperseg": 4 * hop, "noverlap": 3 * hop}
    frequencies, times, spectra = stft(source, **frames)
    frequencies = frequencies[:, np.newaxis]
    gain = _from_db(voice.tilt * np.log2(np.maximum(frequencies / 500, 1)))
    resting = np.tile(_TUBE, (len(middles), 1))
    reaching = np.hstack([formants, resting[:, 3:]]) - resting
    tract = (1 + voice.formants / 100) * (resting + (1 + voice.reach / 100) * reaching)
    for centers, bandwidth in zip(tract.T, _BANDWIDTHS, strict=True):
        squared = np.interp(times, middles, centers) ** 2
        # A second-order resonator with unit gain at 0 Hz.
        gain = gain * squared / (squared - frequencies**2 + 1j * frequencies * bandwidth)
    return istft(spectra * gain, **frames)[1][: len(source)]
