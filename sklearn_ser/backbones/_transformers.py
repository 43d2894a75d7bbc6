"""transformers, also where torchaudio is installed and cannot be imported."""

import sys
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

from sklearn_ser._extras import torchaudio_error


@cache
def import_transformers():
    """Import transformers, which takes an installed torchaudio for one that can be imported.

    None of the networks that run here needs torchaudio, yet transformers imports it with all that
    reads audio. One that fails, as it does beside a torch that it was not built for, would take
    WavLM, Whisper and the text encoders down with it.

    Returns
    -------
    transformers : module
    """
    import transformers

    if find_spec("torchaudio") is not None and torchaudio_error() is not None:
        from transformers.utils.import_utils import is_torchaudio_available

        with _hidden("torchaudio"):
            # transformers remembers the answer, and asks when it imports `audio_utils`.
            is_torchaudio_available.cache_clear()
            import transformers.audio_utils
    return transformers


@contextmanager
def _hidden(module):
    """Let a module that is not loaded look as if it were not installed."""
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
