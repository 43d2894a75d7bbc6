"""Frozen pretrained networks behind one base class."""

from ._attention import call_block
from ._base import AudioBackbone, Backbone
from ._codec import Codec
from ._codec_registry import load_codec, register_codec
from ._device import choose_device, choose_dtype
from ._loading import quiet
from ._registry import (
    SPEECH_BACKBONES,
    load_backbone,
    load_speech_backbone,
    load_text_backbone,
)
from ._speech import SpeechBackbone
from ._transformers import import_transformers

__all__ = [
    "SPEECH_BACKBONES",
    "AudioBackbone",
    "Backbone",
    "Codec",
    "SpeechBackbone",
    "call_block",
    "choose_device",
    "choose_dtype",
    "import_transformers",
    "load_backbone",
    "load_codec",
    "load_speech_backbone",
    "load_text_backbone",
    "quiet",
    "register_codec",
]
