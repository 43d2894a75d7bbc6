"""Export of fitted estimators to ONNX.

The steps of an estimator are written as torch modules, which PyTorch's exporter converts to one
graph. onnx and onnxscript are imported only by `to_onnx`.
"""

from ._modules import Affine, Float32, OnnxStep, Probabilities, Select
from ._to_onnx import OnnxMixin, to_onnx

__all__ = [
    "Affine",
    "Float32",
    "OnnxMixin",
    "OnnxStep",
    "Probabilities",
    "Select",
    "to_onnx",
]
