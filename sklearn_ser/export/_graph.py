"""ONNX models: tracing, labels, metadata and files. onnx is imported only when they are used."""

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ._modules import Float32

# Version of the operator set: the one that PyTorch's exporter translates to without conversion.
_OPSET = 18
# Length of a free axis while the network is traced. Spectrograms are padded to multiples of 32
# frames: traced with a multiple of 32, the graph would lack the padding.
_FREE_LENGTH = 33


def trace(step):
    """Convert the module of a step to an ONNX model.

    Parameters
    ----------
    step : OnnxStep
        The step.

    Returns
    -------
    model : onnx.ModelProto
        With classes, the second output is the index of the predicted class.
    """
    shape, free = [2], {0: "n_recordings"}
    for axis, length in enumerate(step.input_shape, start=1):
        shape.append(length or _FREE_LENGTH)
        if length is None:
            free[axis] = "n_frames"
    module = step.module if step.classes is not None else nn.Sequential(step.module, Float32())
    program: Any = torch.onnx.export(
        module.eval(),
        (torch.zeros(shape),),
        dynamic_shapes=(free,),
        input_names=[step.input_name],
        output_names=[step.output_name] if step.classes is None else [step.output_name, "index"],
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto
    _remove_stack_traces(model.graph)
    return model


def _remove_stack_traces(graph):
    """Remove what PyTorch notes of each node, which contains paths of this machine."""
    del graph.value_info[:]
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]


def add_labels(model, classes):
    """Replace the index of the predicted class, which is the last output, by its label.

    Parameters
    ----------
    model : onnx.ModelProto
        Result of `trace` for a classifier. It is changed.
    classes : ndarray of shape (n_classes,)
        Strings, numbers or booleans.
    """
    from onnx import helper, numpy_helper

    graph, index = model.graph, model.graph.output.pop()
    values = classes.astype(object) if classes.dtype.kind == "U" else classes
    table = numpy_helper.from_array(values, "classes")
    graph.initializer.append(table)
    graph.node.append(helper.make_node("Gather", ["classes", index.name], ["labels"]))
    graph.output.append(helper.make_tensor_value_info("labels", table.data_type, ["n_recordings"]))


def add_metadata(model, **entries):
    """Set the producer and the metadata of a model.

    Parameters
    ----------
    model : onnx.ModelProto
        The model. It is changed.
    **entries : list
        Metadata, converted to JSON. Entries that are None are left out.
    """
    from onnx import helper

    model.producer_name, model.producer_version = "sklearn_ser", version("sklearn-ser")
    present = {name: json.dumps(entry) for name, entry in entries.items() if entry is not None}
    helper.set_model_props(model, present)


def write(model, path):
    """Check a model and write it to a file, which appears only when it is complete.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    path : str or path-like
        File to write. An existing file is replaced.
    """
    from onnx import checker

    checker.check_model(model, full_check=True)
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(model.SerializeToString())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
