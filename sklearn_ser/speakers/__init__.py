"""Remove the level of each speaker from representations. Does not import torch."""

from ._normalizer import SpeakerNormalizer

__all__ = ["SpeakerNormalizer"]
