"""Distillation of small speech encoders from the layers of large ones."""

from ._distill_encoder import distill_encoder

__all__ = ["distill_encoder"]
