"""Frozen pretrained networks behind one protocol; one file for each family."""

from ._codec import Codec
from ._codec_registry import load_codec, register_codec
from ._registry import Backbone, choose_device, load_backbone, load_text_backbone

__all__ = [
    "Backbone",
    "Codec",
    "choose_device",
    "load_backbone",
    "load_codec",
    "load_text_backbone",
    "register_codec",
]
