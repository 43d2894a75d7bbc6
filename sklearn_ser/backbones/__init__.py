"""Frozen pretrained networks behind one protocol."""

from ._attention import call_block, use_sdpa_in_wavlm
from ._checkpoint import quiet
from ._codec import Codec
from ._codec_registry import load_codec, register_codec
from ._registry import (
    Backbone,
    choose_device,
    load_backbone,
    load_speech_backbone,
    load_text_backbone,
)
from ._transformers import import_transformers
from ._wav2vec2 import FAMILY as WAV2VEC2_FAMILY
from ._wav2vec2 import Wav2Vec2Backbone
from ._wav2vec2 import hidden_states as wav2vec2_hidden_states
from ._whisper import WhisperBackbone
from ._whisper import hidden_states as whisper_hidden_states

__all__ = [
    "WAV2VEC2_FAMILY",
    "Backbone",
    "Codec",
    "Wav2Vec2Backbone",
    "WhisperBackbone",
    "call_block",
    "choose_device",
    "import_transformers",
    "load_backbone",
    "load_codec",
    "load_speech_backbone",
    "load_text_backbone",
    "quiet",
    "register_codec",
    "use_sdpa_in_wavlm",
    "wav2vec2_hidden_states",
    "whisper_hidden_states",
]
