"""Arithmetic as exact on a GPU as on the CPU."""

import contextlib
import threading

import torch

_LOCK = threading.Lock()
_n_inside = 0
_before = ""


@contextlib.contextmanager
def exact_convolutions():
    """Let convolutions in float32 use all of its 24 bits.

    On NVIDIA GPUs PyTorch's default cuts their operands to 11 bits (TF32), which is far from
    what the CPU gives, and from the promise of exact batches. Matrix products have no such
    default. The setting is the process's: the first of its threads changes it, and the last one
    puts it back.
    """
    global _n_inside, _before
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    with _LOCK:
        if not _n_inside:
            _before, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
        _n_inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _n_inside -= 1
            if not _n_inside:
                convolutions.fp32_precision = _before
