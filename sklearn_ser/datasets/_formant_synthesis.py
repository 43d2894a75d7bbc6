"""Source-filter speech synthesis: a glottal wave and noise, filtered by moving formants.

References
----------
G. E. Peterson and H. L. Barney (1952). Control methods used in a study of the vowels. JASA 24.
D. H. Klatt (1976). Linguistic uses of segmental duration in English. JASA 59.
D. H. Klatt (1980). Software for a cascade/parallel formant synthesizer. JASA 67.
D. H. Klatt and L. C. Klatt (1990). Analysis, synthesis, and perception of voice quality
variations among female and male talkers. JASA 87.
"""

from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, rfft
from scipy.interpolate import PchipInterpolator


class Speaker(NamedTuple):
    """A neutral voice."""

    sex: str
    f0: float  # Hz
    tract: float  # formant frequencies relative to Peterson and Barney's men
    tempo: float  # speaking rate relative to the average
    level: float  # dB re full scale, RMS
    tilt: float  # dB per octave above 500 Hz
    breathiness: float  # dB, aspiration noise re voicing
    strength: float  # scale of the emotional expression


class Manner(NamedTuple):
    """A manner of speaking, as differences from the speaker's neutral voice."""

    f0_level: float  # semitones
    f0_range: float  # %, size of the pitch movements
    f0_slope: float  # semitones from the first to the last syllable
    tempo: float  # %
    level: float  # dB
    tilt: float  # dB per octave above 500 Hz; positive is a tenser, brighter voice
    breathiness: float  # dB, aspiration noise re voicing
    jitter: float  # % of the period, cycle to cycle
    articulation: float  # %, distance of the formants from those of a schwa
    formants: float  # %, shift of all formants: up for spread lips, down for rounded lips
    pauses: float  # %, probability of a pause between two words


class Phone(NamedTuple):
    """A segment of constant articulation."""

    duration: float  # s, at the average tempo
    formants: tuple[float, float, float]  # Hz
    voicing: float = 0.0  # amplitude
    frication: float = 0.0  # amplitude
    noise: float = 2500.0  # Hz, centre frequency of the frication


def _stop(locus, noise, voice_bar=0.0):
    """Return the closure and the burst of a stop consonant."""
    return Phone(0.055, locus, voice_bar), Phone(0.018, locus, voice_bar, 0.3, noise)


_LABIAL, _ALVEOLAR, _VELAR = (250, 800, 2200), (300, 1750, 2600), (300, 1900, 2300)

# Vowels are those of the men of Peterson and Barney (1952). Consonants have one locus per place of
# articulation, rounded from Klatt (1980). Durations are of the order of magnitude of Klatt (1976).
PHONES = {
    "a": (Phone(0.13, (730, 1090, 2440), 1.0),),
    "e": (Phone(0.11, (530, 1840, 2480), 1.0),),
    "i": (Phone(0.10, (270, 2290, 3010), 1.0),),
    "o": (Phone(0.12, (570, 840, 2410), 1.0),),
    "u": (Phone(0.10, (300, 870, 2240), 1.0),),
    "m": (Phone(0.07, _LABIAL, 0.35),),
    "n": (Phone(0.06, _ALVEOLAR, 0.35),),
    "l": (Phone(0.06, (350, 1050, 2800), 0.55),),
    "s": (Phone(0.10, _ALVEOLAR, 0.0, 0.35, 6000.0),),
    "f": (Phone(0.09, _LABIAL, 0.0, 0.12, 4500.0),),
    "p": _stop(_LABIAL, 900.0),
    "t": _stop(_ALVEOLAR, 4500.0),
    "k": _stop(_VELAR, 2000.0),
    "b": _stop(_LABIAL, 900.0, 0.12),
    "d": _stop(_ALVEOLAR, 4000.0, 0.12),
}
VOWELS, CONSONANTS = "aeiou", "mnlsfptkbd"

_SCHWA = np.array([500.0, 1500.0, 2500.0])  # Hz, resonances of a uniform tube of 17.5 cm
_BANDWIDTHS = np.array([70.0, 90.0, 150.0])  # Hz, F1 to F3 (Klatt, 1980)
_HIGH_BANDWIDTH = 300.0  # Hz, F4 and above
_NOISE_BANDWIDTH = 1000.0  # Hz, frication
_OPEN_QUOTIENT = 0.6  # modal voice (Klatt and Klatt, 1990)
_SHIMMER = 0.05  # relative amplitude, cycle to cycle
_ACCENT = 2.5  # semitones, stressed relative to unstressed syllables in a neutral voice
_F0_LIMITS = 60.0, 500.0  # Hz, range of human voices
_SILENCE = 0.06  # s, before and after the sentence
_PAUSE = 0.15  # s, between two words
_FINAL_LENGTHENING = 1.5  # the last vowel of a sentence (Klatt, 1976)
_ROOM_NOISE = -65.0  # dB re full scale
_PEAK = 0.99
_HOP = 0.01  # s, between two updates of the formants
_RESPONSE_HOPS = 6  # 60 ms: a windowed frame and the decay of F1 by 75 dB


def synthesize(sentence, speaker, manner, sampling_rate, rng):
    """Synthesize a sentence.

    Parameters
    ----------
    sentence : sequence of str
        Words, spelt with the letters of `PHONES`.
    speaker : Speaker
        The neutral voice.
    manner : Manner
        Differences from the neutral voice.
    sampling_rate : int
        Sampling rate in Hz.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    waveform : ndarray of shape (n_samples,), float32
        The waveform, in [-1, 1].
    f0 : float
        Mean fundamental frequency of the voiced segments in Hz.
    """
    phones, durations, vowels = _schedule(sentence, speaker, manner, rng)
    ends = np.cumsum(durations)
    times = np.arange(round(ends[-1] * sampling_rate)) / sampling_rate
    centers = ends[vowels] - durations[vowels] / 2
    f0 = _f0_contour(times, centers, _accents(sentence), speaker, manner, rng)
    voicing = _track(times, ends, durations, [phone.voicing for phone in phones])
    frication = _track(times, ends, durations, [phone.frication for phone in phones])

    glottis = voicing * _glottal_source(
        f0, sampling_rate, manner.jitter, speaker.breathiness + manner.breathiness, rng
    )
    noise = frication * rng.standard_normal(len(times))
    frames = np.arange(0, times[-1] + _HOP, _HOP)
    targets = _articulate([phone.formants for phone in phones], speaker, manner)
    tract = _tract_response(
        _track(frames, ends, durations, targets), speaker.tract, sampling_rate
    ) * _tilt_response(speaker.tilt + manner.tilt, sampling_rate)
    mouth = _noise_response(
        _track(frames, ends, durations, [phone.noise for phone in phones]), sampling_rate
    )
    waveform = _filter(glottis, tract, sampling_rate) + _filter(noise, mouth, sampling_rate)
    waveform = _set_level(waveform, speaker.level + manner.level, rng)
    return waveform, float(f0[voicing > 0.5].mean())


def _schedule(sentence, speaker, manner, rng):
    """Return the phones of a sentence, their durations (s) and the positions of the vowels."""
    silence = Phone(_SILENCE, tuple(_SCHWA))
    phones, vowels = [silence], []
    for position, word in enumerate(sentence):
        if position and rng.random() < manner.pauses / 100:
            phones.append(silence._replace(duration=_PAUSE))
        for letter in word:
            if letter in VOWELS:
                vowels.append(len(phones))
            phones.extend(PHONES[letter])
    phones.append(silence)
    tempo = speaker.tempo * max(1 + manner.tempo / 100, 0.4)
    durations = np.array([phone.duration for phone in phones]) / tempo
    durations *= np.exp(rng.normal(0, 0.1, len(phones)))
    durations[vowels[-1]] *= _FINAL_LENGTHENING
    return phones, durations, vowels


def _accents(sentence):
    """Return 1 for the first vowel of each word and 0 for the others."""
    return np.concatenate([[1.0] + [0.0] * (sum(c in VOWELS for c in w) - 1) for w in sentence])


def _track(times, ends, durations, targets):
    """Interpolate targets linearly in time, constant in the middle half of each phone."""
    targets = np.asarray(targets, dtype=float)
    knots = np.column_stack([ends - 0.75 * durations, ends - 0.25 * durations]).ravel()
    columns = np.repeat(targets.reshape(len(ends), -1), 2, axis=0).T
    tracks = np.column_stack([np.interp(times, knots, column) for column in columns])
    return tracks.reshape(len(times), *targets.shape[1:])


def _f0_contour(times, centers, accents, speaker, manner, rng):
    """Return the fundamental frequency (Hz) at each time, interpolated between vowels."""
    scale = max(1 + manner.f0_range / 100, 0.1)
    accents = _ACCENT * (accents - accents.mean()) + rng.normal(0, 0.8, len(accents))
    slope = manner.f0_slope * np.linspace(-0.5, 0.5, len(centers))
    semitones = PchipInterpolator(centers, scale * accents + slope)(
        np.clip(times, centers[0], centers[-1])
    )
    return np.clip(speaker.f0 * 2 ** ((manner.f0_level + semitones) / 12), *_F0_LIMITS)


def _glottal_source(f0, sampling_rate, jitter, breathiness, rng):
    """Return the derivative of the glottal flow (KLGLOTT88) with aspiration noise."""
    cycle = np.floor(np.cumsum(f0) / sampling_rate).astype(int)
    period = 1 + max(jitter, 0) / 100 * rng.standard_normal(cycle[-1] + 1)
    phase = np.cumsum(f0 / np.maximum(period, 0.5)[cycle]) / sampling_rate % 1
    amplitude = 1 + _SHIMMER * rng.standard_normal(cycle[-1] + 1)
    opening = np.minimum(phase / _OPEN_QUOTIENT, 1)
    flow_derivative = np.where(opening < 1, 2 * opening - 3 * opening**2, 0)
    # Aspiration noise is modulated by the flow, as air passes only through the open glottis.
    noise = (0.3 + 4 * opening**2 * (1 - opening)) * rng.standard_normal(len(f0))
    return amplitude[cycle] * flow_derivative + 10 ** (breathiness / 20) * noise


def _articulate(formants, speaker, manner):
    """Return the formant targets (Hz) of a speaker, of shape (n_phones, 3)."""
    reach = 1 + manner.articulation / 100
    scale = speaker.tract * (1 + manner.formants / 100)
    return np.maximum(scale * (_SCHWA + reach * (np.array(formants) - _SCHWA)), 200.0)


def _frequencies(sampling_rate):
    n_fft = _RESPONSE_HOPS * round(_HOP * sampling_rate)
    return np.arange(n_fft // 2 + 1) * sampling_rate / n_fft


def _resonator(frequency, bandwidth, sampling_rate):
    """Return the frequency response of a resonator with unit gain at 0 Hz (Klatt, 1980)."""
    radius = np.exp(-np.pi * np.asarray(bandwidth) / sampling_rate)
    b = 2 * radius * np.cos(2 * np.pi * np.asarray(frequency) / sampling_rate)
    c = -(radius**2)
    delay = np.exp(-2j * np.pi * _frequencies(sampling_rate) / sampling_rate)
    b, c = b[..., np.newaxis], c[..., np.newaxis]
    return (1 - b - c) / (1 - delay * (b + c * delay))


def _tract_response(formants, tract, sampling_rate):
    """Return the frequency response of a cascade of formants, one row per frame."""
    # Above F3, a uniform tube has a resonance every 1000 Hz, up to the Nyquist frequency.
    high = tract * np.arange(3500.0, sampling_rate / 2 / tract, 1000.0)
    response = np.prod(_resonator(high, np.full(len(high), _HIGH_BANDWIDTH), sampling_rate), axis=0)
    for column, bandwidth in zip(formants.T, _BANDWIDTHS, strict=True):
        response = response * _resonator(column, bandwidth, sampling_rate)
    return response


def _noise_response(centers, sampling_rate):
    """Return the frequency response of a broad resonance with unit peak, one row per frame."""
    centers = np.minimum(centers, 0.45 * sampling_rate)
    # Lip radiation differentiates the flow, which removes low frequencies from the noise.
    response = _frequencies(sampling_rate) * _resonator(centers, _NOISE_BANDWIDTH, sampling_rate)
    return response / np.abs(response).max(axis=-1, keepdims=True)


def _tilt_response(tilt, sampling_rate):
    octaves = np.log2(np.maximum(_frequencies(sampling_rate) / 500, 1))
    return 10 ** (tilt * octaves / 20)


def _filter(signal, responses, sampling_rate):
    """Filter a signal with one frequency response per hop, by windowed overlap-add."""
    hop = round(_HOP * sampling_rate)
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * hop) / hop)  # adds up to 1 at half overlap
    padded = np.pad(signal, (hop, len(responses) * hop + hop - len(signal)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    # The first frame is centred on the first sample, because one hop was padded in front of it.
    n_frames = min(len(frames), len(responses))
    n_fft = _RESPONSE_HOPS * hop
    spectra = rfft(frames[:n_frames] * window, n_fft) * responses[:n_frames]
    filtered = irfft(spectra, n_fft).reshape(n_frames, _RESPONSE_HOPS, hop)
    output = np.zeros((n_frames + _RESPONSE_HOPS, hop))
    for position in range(_RESPONSE_HOPS):
        output[position : position + n_frames] += filtered[:, position]
    return output.ravel()[hop : hop + len(signal)]


def _set_level(waveform, level, rng):
    """Set the level (dB re full scale, RMS), add room noise, and avoid clipping."""
    waveform = waveform * 10 ** (level / 20) / np.sqrt(np.mean(waveform**2))
    waveform += 10 ** (_ROOM_NOISE / 20) * rng.standard_normal(len(waveform))
    peak = np.abs(waveform).max()
    return (waveform * min(1, _PEAK / peak)).astype(np.float32)
