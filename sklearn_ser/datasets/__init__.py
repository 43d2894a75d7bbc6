"""Emotional speech corpora, read from a folder of the user's, and synthetic voices."""

from ._emodb import load_emodb
from ._iemocap import load_iemocap
from ._msp_podcast import load_msp_podcast
from ._ravdess import load_ravdess
from ._recordings import load_recordings
from ._synthetic import make_emotional_speech

__all__ = [
    "load_emodb",
    "load_iemocap",
    "load_msp_podcast",
    "load_ravdess",
    "load_recordings",
    "make_emotional_speech",
]
