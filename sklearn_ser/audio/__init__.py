"""Recordings to waveforms to spectrograms. Knows NumPy, SciPy, soundfile and soxr; no network."""

from ._channel import ChannelOfFile
from ._columns import choose_column, list_columns
from ._recordings import (
    Problems,
    RecordingError,
    are_recordings,
    as_recordings,
    compute_rows,
    file_of,
    find_problems,
    is_table,
    read_each,
)
from ._spectrogram import (
    crop_and_pad,
    log_scale,
    mel_filterbank,
    mel_spectrogram,
    n_frames,
    sample_window,
)
from ._waveform import SAMPLING_RATES, UnusableRecording, load_waveform, refuse_too_loud

__all__ = [
    "SAMPLING_RATES",
    "ChannelOfFile",
    "Problems",
    "RecordingError",
    "UnusableRecording",
    "are_recordings",
    "as_recordings",
    "choose_column",
    "compute_rows",
    "crop_and_pad",
    "file_of",
    "find_problems",
    "is_table",
    "list_columns",
    "load_waveform",
    "log_scale",
    "mel_filterbank",
    "mel_spectrogram",
    "n_frames",
    "read_each",
    "refuse_too_loud",
    "sample_window",
]
