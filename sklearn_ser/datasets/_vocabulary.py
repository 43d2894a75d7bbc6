"""Names of emotions: synonyms and the names that all loaders use."""

from collections.abc import Mapping
from typing import Any

from ._bunch import EMOTIONS, Emotion

_SYNONYMS: dict[Emotion, tuple[str, ...]] = {
    "anger": ("angry",),
    "boredom": ("bored",),
    "contempt": ("contemptuous",),
    "disgust": ("disgusted",),
    "excitement": ("excited",),
    "fear": ("fearful", "afraid", "scared"),
    "frustration": ("frustrated",),
    "happiness": ("happy", "joy", "joyful"),
    "other": ("others",),
    "sadness": ("sad",),
    "surprise": ("surprised",),
}
_NAMES: dict[str, str] = {name: name for name in EMOTIONS} | {
    synonym: name for name, synonyms in _SYNONYMS.items() for synonym in synonyms
}


def is_emotion(name: str) -> bool:
    """Return whether a name is that of an emotion or a synonym, ignoring letter case."""
    return name.strip().lower() in _NAMES


def standard_emotion(name: str) -> str:
    """Return the name of an emotion that all loaders use, or an unknown name unchanged."""
    return _NAMES.get(name.strip().lower(), name)


def standard_selection(emotions: Any) -> Any:
    """Return a selection of emotions with their standard names; new names are unchanged."""
    # Invalid selections are reported by `make_bunch`.
    if emotions is None or isinstance(emotions, str):
        return emotions
    if not isinstance(emotions, Mapping):
        return [standard_emotion(str(name)) for name in emotions]
    selection: dict[str, str] = {}
    for old, new in emotions.items():
        name = standard_emotion(str(old))
        if selection.setdefault(name, new) != new:
            raise ValueError(
                f"emotions={emotions!r} gives {name!r} and its synonyms different names. Pass "
                "standardize_emotions=False to keep them apart."
            )
    return selection
