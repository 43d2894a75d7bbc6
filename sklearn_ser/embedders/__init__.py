"""scikit-learn transformers from recordings and transcripts to arrays."""

from ._base import check_recordings
from ._codec import CodecEmbedder
from ._hubert import HubertEmbedder
from ._log_mel_spectrogram import LogMelSpectrogram
from ._text import TextEmbedder
from ._transcripts import find_problems as find_text_problems
from ._transcripts import warn_truncated
from ._wavlm import WavLMEmbedder
from ._whisper import WhisperEmbedder
from ._xvector import XVectorEmbedder

__all__ = [
    "CodecEmbedder",
    "HubertEmbedder",
    "LogMelSpectrogram",
    "TextEmbedder",
    "WavLMEmbedder",
    "WhisperEmbedder",
    "XVectorEmbedder",
    "check_recordings",
    "find_text_problems",
    "warn_truncated",
]
