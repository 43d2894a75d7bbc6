"""Small encoders of speech and text that are trained, and what teaches them.

Knows nothing of the estimators whose networks they are.
"""

from ._speech_inputs import Reader, SpeechInputs, average_windows, look_at, tokens_of
from ._students import (
    SpeechFeatures,
    SpeechStudent,
    TextStudent,
    count_parameters,
    read_speech_student,
    read_text_student,
    tokenize,
)
from ._teachers import ask_regressor, fit_regressor, is_encoder, learn_layers, load_teacher

__all__ = [
    "Reader",
    "SpeechFeatures",
    "SpeechInputs",
    "SpeechStudent",
    "TextStudent",
    "ask_regressor",
    "average_windows",
    "count_parameters",
    "fit_regressor",
    "is_encoder",
    "learn_layers",
    "load_teacher",
    "look_at",
    "read_speech_student",
    "read_text_student",
    "tokenize",
    "tokens_of",
]
