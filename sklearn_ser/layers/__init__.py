"""Reduce the layers of a network to one vector per recording. Does not import torch."""

from ._indices import resolve_layers
from ._selector import LayerSelector

__all__ = ["LayerSelector", "resolve_layers"]
