"""Full float32 precision on GPUs."""

import contextlib

import torch

from sklearn_ser._forks import ForkSafeLock

_LOCK = ForkSafeLock()
_n_inside = 0
_before = ""


@contextlib.contextmanager
def exact_convolutions():
    """Compute float32 convolutions without TF32.

    On NVIDIA GPUs, PyTorch by default rounds the operands of convolutions to 11 bits (TF32). The
    results then differ from those on a CPU, and depend on the batch. Matrix products are not
    affected. The setting is global to the process: the first thread changes it, and the last one
    restores it.
    """
    global _n_inside, _before
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    with _LOCK.held():
        if not _n_inside:
            _before, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
        _n_inside += 1
    try:
        yield
    finally:
        with _LOCK.held():
            _n_inside -= 1
            if not _n_inside:
                convolutions.fp32_precision = _before
