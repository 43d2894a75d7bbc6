"""Pictures of what a network and its layers hold."""

from ._layer_probe import LayerProbeDisplay
from ._poincare_disk import PoincareDiskDisplay

__all__ = ["LayerProbeDisplay", "PoincareDiskDisplay"]
