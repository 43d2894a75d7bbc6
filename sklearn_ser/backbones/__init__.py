"""Frozen pretrained networks behind one protocol; one file for each family."""

from ._registry import Backbone, load_backbone, load_text_backbone

__all__ = ["Backbone", "load_backbone", "load_text_backbone"]
