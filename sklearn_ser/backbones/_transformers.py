"""Import transformers, even if torchaudio is installed but cannot be imported."""

import sys
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

from sklearn_ser._extras import torchaudio_error


@cache
def import_transformers():
    """Import transformers, and hide torchaudio from it if torchaudio cannot be imported.

    None of the networks used here needs torchaudio, but transformers imports it in its audio
    modules. If it is incompatible with the installed torch, this import fails for WavLM, Whisper
    and the text encoders.

    Returns
    -------
    transformers : module
    """
    import transformers

    if find_spec("torchaudio") is not None and torchaudio_error() is not None:
        from transformers.utils.import_utils import is_torchaudio_available

        with _hidden("torchaudio"):
            # The result is cached, and needed when `audio_utils` is imported.
            is_torchaudio_available.cache_clear()
            import transformers.audio_utils
    return transformers


@contextmanager
def _hidden(module):
    """Make the import of a module that is not loaded fail."""
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
