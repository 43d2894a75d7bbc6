"""scikit-learn transformers from recordings to arrays."""

from ._log_mel_spectrogram import LogMelSpectrogram

__all__ = ["LogMelSpectrogram"]
