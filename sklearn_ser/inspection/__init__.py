"""Pictures of what a network and its layers hold."""

from ._layer_probe import LayerProbeDisplay

__all__ = ["LayerProbeDisplay"]
