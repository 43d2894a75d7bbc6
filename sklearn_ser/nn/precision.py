"""Arithmetic as exact on a GPU as on the CPU."""

import contextlib

import torch


@contextlib.contextmanager
def exact_convolutions():
    """Let convolutions in float32 use all of its 24 bits.

    On NVIDIA GPUs PyTorch's default cuts their operands to 11 bits (TF32), which is far from
    what the CPU gives, and from the promise of exact batches. Matrix products have no such
    default. The setting is the process's, and is put back.
    """
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before
