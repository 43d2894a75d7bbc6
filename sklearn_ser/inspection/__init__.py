"""Displays of layer scores and of hyperbolic embeddings."""

from ._layer_probe import LayerProbeDisplay
from ._poincare_disk import PoincareDiskDisplay

__all__ = ["LayerProbeDisplay", "PoincareDiskDisplay"]
