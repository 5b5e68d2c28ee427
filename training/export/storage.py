"""Weights kept in half precision: the file is half as large, the arithmetic stays in full precision.

Not the reduced form `float16`, whose arithmetic is halved too: here onnxruntime turns the weights back as it loads them, so a
conversion takes as long as before and differs only by the rounding of the weights (2^-11 of each).
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.export.graph import ExportError

_SMALLEST = 1024
"""Numbers; what has fewer, such as biases, stays as it is: it would save nothing."""


def halve_weights(path: Path) -> None:
    """Round the larger float32 weights of an ONNX file to float16, each with a cast before its use; rewrites the file.

    Raises ExportError where a weight is too large for half precision.
    """
    model = onnx.load(str(path))
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < _SMALLEST:
            continue
        with np.errstate(over="ignore"):
            half = numpy_helper.to_array(weight).astype(np.float16)
        if not np.isfinite(half).all():
            raise ExportError(
                f"The weights {weight.name!r} are too large for half precision; set `export.stored: float32`."
            )
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]  # a cast stands before whatever uses it
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
