"""Emotional speech corpora, read from a folder of the user's, and synthetic voices."""

from sklearn_ser.datasets._synthetic import make_emotional_speech

__all__ = ["make_emotional_speech"]
