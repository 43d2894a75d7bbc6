"""Emotional speech corpora, read from a folder of the user's, and synthetic voices."""

from sklearn_ser.datasets._emodb import load_emodb
from sklearn_ser.datasets._ravdess import load_ravdess
from sklearn_ser.datasets._recordings import load_recordings

__all__ = ["load_emodb", "load_ravdess", "load_recordings"]
