"""From a PyTorch network to an ONNX file that gives the same numbers."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

OPSET = 17
"""Read by onnxruntime 1.14 and later; 1.23 is the last one for Python 3.10."""
IR_VERSION = 8
"""The file format of that opset's time."""
TOLERANCE = 1e-4
"""Largest difference between PyTorch and ONNX."""


class ExportError(Exception):
    """The graph does not do what the network does."""


def write_graph(
    network: nn.Module, example: torch.Tensor, path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Write an ONNX file with free batch, height and width; gives the example and the output, after checking them.

    `example`: (N, channels, H, W). Batch normalisation is folded into the convolutions by the exporter. The check runs the
    example, and a batch of another size and shape, through both.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    network = network.eval()
    free = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        # The exporter of TorchScript's time warns of its age and of shapes it traced; the check below covers both.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            opset_version=OPSET,
            input_names=["slab"],
            output_names=["slices"],
            dynamic_axes={"slab": free, "slices": free},
            dynamo=False,
        )
    model = onnx.load(str(path))
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    other = torch.rand(example.shape[0] + 1, example.shape[1], example.shape[2] + 32, example.shape[3] + 64)
    for given in (other, example):
        with torch.no_grad():
            wanted = network(given).numpy()
        found = session.run(None, {"slab": given.numpy()})[0]
        worst = float(np.abs(found - wanted).max())
        if not worst < TOLERANCE:
            raise ExportError(f"ONNX and PyTorch differ by {worst:.2g}; allowed are {TOLERANCE:g}.")
    return example.numpy(), found
