"""Pretrained networks, frozen behind one protocol, or small ones that are trained."""

from ._codec import Codec
from ._codec_registry import load_codec, register_codec
from ._registry import Backbone, choose_device, load_backbone, load_text_backbone
from ._students import (
    SpeechFeatures,
    SpeechStudent,
    TextStudent,
    count_parameters,
    load_speech_backbone,
    read_speech_student,
    read_text_student,
    tokenize,
)

__all__ = [
    "Backbone",
    "Codec",
    "SpeechFeatures",
    "SpeechStudent",
    "TextStudent",
    "choose_device",
    "count_parameters",
    "load_backbone",
    "load_codec",
    "load_speech_backbone",
    "load_text_backbone",
    "read_speech_student",
    "read_text_student",
    "register_codec",
    "tokenize",
]
