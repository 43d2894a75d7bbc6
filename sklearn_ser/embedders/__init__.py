"""scikit-learn transformers from recordings to arrays."""

from ._hubert import HubertEmbedder
from ._log_mel_spectrogram import LogMelSpectrogram
from ._wavlm import WavLMEmbedder
from ._whisper import WhisperEmbedder

__all__ = ["HubertEmbedder", "LogMelSpectrogram", "WavLMEmbedder", "WhisperEmbedder"]
