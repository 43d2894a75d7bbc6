"""Loaders of emotional speech corpora, and synthetic speech."""

from ._cremad import load_cremad
from ._emodb import load_emodb
from ._emotion_dimensions import circumplex, emotion_dimensions
from ._emovo import load_emovo
from ._iemocap import load_iemocap
from ._msp_podcast import load_msp_podcast
from ._ravdess import load_ravdess
from ._recordings import load_recordings
from ._savee import load_savee
from ._synthetic import make_emotional_speech
from ._tess import load_tess

__all__ = [
    "circumplex",
    "emotion_dimensions",
    "load_cremad",
    "load_emodb",
    "load_emovo",
    "load_iemocap",
    "load_msp_podcast",
    "load_ravdess",
    "load_recordings",
    "load_savee",
    "load_tess",
    "make_emotional_speech",
]
