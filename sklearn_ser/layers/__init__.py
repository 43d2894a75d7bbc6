"""From the layers of a network to one vector per recording. Knows scikit-learn; no network."""

from ._selector import LayerSelector

__all__ = ["LayerSelector"]
