"""Frozen pretrained networks behind one base class.

Names are imported on first use, so that networks are found without torch, which runs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._attention import Packing as Packing
    from ._attention import call_block as call_block
    from ._base import AudioBackbone as AudioBackbone
    from ._base import Backbone as Backbone
    from ._codec import Codec as Codec
    from ._codec_registry import load_codec as load_codec
    from ._device import choose_device as choose_device
    from ._device import choose_dtype as choose_dtype
    from ._loading import quiet as quiet
    from ._registry import SPEECH_BACKBONES as SPEECH_BACKBONES
    from ._registry import load_backbone as load_backbone
    from ._registry import load_speech_backbone as load_speech_backbone
    from ._registry import load_text_backbone as load_text_backbone
    from ._registry import open_network as open_network
    from ._search import find_codec as find_codec
    from ._search import find_network as find_network
    from ._search import register_codec as register_codec
    from ._search import registered_codec as registered_codec
    from ._speech import SpeechBackbone as SpeechBackbone
    from ._transformers import import_transformers as import_transformers

# Module of each name.
_MODULE_OF = {
    "AudioBackbone": "_base",
    "Backbone": "_base",
    "Codec": "_codec",
    "Packing": "_attention",
    "SPEECH_BACKBONES": "_registry",
    "SpeechBackbone": "_speech",
    "call_block": "_attention",
    "choose_device": "_device",
    "choose_dtype": "_device",
    "find_codec": "_search",
    "find_network": "_search",
    "import_transformers": "_transformers",
    "load_backbone": "_registry",
    "load_codec": "_codec_registry",
    "load_speech_backbone": "_registry",
    "load_text_backbone": "_registry",
    "open_network": "_registry",
    "quiet": "_loading",
    "register_codec": "_search",
    "registered_codec": "_search",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    except AttributeError as error:  # of a damaged library; `from ... import` would drop it
        raise ImportError(f"{_MODULE_OF[name]} can't be imported: {error}") from error
