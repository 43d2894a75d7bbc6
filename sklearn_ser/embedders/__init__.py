"""scikit-learn transformers from recordings to arrays, and over what these hold."""

from ._layer_selector import LayerSelector
from ._log_mel_spectrogram import LogMelSpectrogram

__all__ = ["LayerSelector", "LogMelSpectrogram"]
