"""Frozen pretrained networks behind one protocol; one file for each family."""

from ._registry import Backbone, load_backbone

__all__ = ["Backbone", "load_backbone"]
