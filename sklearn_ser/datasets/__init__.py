"""Emotional speech corpora, read from a folder of the user's, and synthetic voices."""

__all__: list[str] = []
