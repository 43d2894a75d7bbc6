"""Frozen pretrained networks behind one protocol; one file for each family."""

from ._registry import Backbone, choose_device, load_backbone

__all__ = ["Backbone", "choose_device", "load_backbone"]
