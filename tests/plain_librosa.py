"""librosa as plain Python: numba would compile for 16 seconds what mel spectrograms do not use."""

import sys
from types import ModuleType

import numpy as np


def _leave_alone(*arguments, **options):
    """Return the function that is decorated, with or without arguments of the decorator."""
    return arguments[0] if arguments and callable(arguments[0]) else lambda function: function


_numba = ModuleType("numba")
for _name in ("jit", "stencil", "vectorize", "guvectorize"):
    setattr(_numba, _name, _leave_alone)
_original = sys.modules.get("numba")
sys.modules["numba"] = _numba
try:
    import librosa

    librosa.feature.melspectrogram(y=np.zeros(2048))  # imports what it needs
finally:
    sys.modules.pop("numba")
    if _original is not None:
        sys.modules["numba"] = _original
