"""Emotional speech corpora, read from a folder of the user's, and synthetic voices."""

from ._emodb import load_emodb
from ._ravdess import load_ravdess
from ._recordings import load_recordings
from ._synthetic import make_emotional_speech

__all__ = ["load_emodb", "load_ravdess", "load_recordings", "make_emotional_speech"]
