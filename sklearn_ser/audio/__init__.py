"""Load recordings as waveforms and compute spectrograms. Does not import torch."""

from ._columns import choose_column, list_columns
from ._file import resolve_path
from ._fingerprint import fingerprint_recordings
from ._problems import MAX_NAMED, join_first
from ._recordings import (
    ErrorCollector,
    RecordingError,
    are_recordings,
    as_recordings,
    check_table,
    compute_rows,
    describe,
    find_problems,
    is_table,
    path_and_selection,
    read_each,
)
from ._segment import (
    SegmentOfFile,
    cut_into_segments,
    is_segment_table,
    make_segments,
    select_recordings,
)
from ._spectrogram import (
    crop_and_pad,
    log_scale,
    mel_filterbank,
    mel_spectrogram,
    n_frames,
    sample_window,
)
from ._waveform import SAMPLING_RATES, UnusableRecording, check_amplitude, load_waveform, scale_pcm

__all__ = [
    "MAX_NAMED",
    "SAMPLING_RATES",
    "ErrorCollector",
    "RecordingError",
    "SegmentOfFile",
    "UnusableRecording",
    "are_recordings",
    "as_recordings",
    "check_amplitude",
    "check_table",
    "choose_column",
    "compute_rows",
    "crop_and_pad",
    "cut_into_segments",
    "describe",
    "find_problems",
    "fingerprint_recordings",
    "is_segment_table",
    "is_table",
    "join_first",
    "list_columns",
    "load_waveform",
    "log_scale",
    "make_segments",
    "mel_filterbank",
    "mel_spectrogram",
    "n_frames",
    "path_and_selection",
    "read_each",
    "resolve_path",
    "sample_window",
    "scale_pcm",
    "select_recordings",
]
