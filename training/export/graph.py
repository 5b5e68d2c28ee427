"""From a PyTorch network to weight files that give the same numbers: ONNX, which the engine runs, and TorchScript."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import RunError

OPSET = 17
"""Read by onnxruntime 1.14 and later; 1.23 is the last one for Python 3.10."""
IR_VERSION = 8
"""The file format of that opset's time."""
TOLERANCE = 1e-4
"""Largest difference between PyTorch, ONNX and TorchScript, as a share of a channel's largest value where that is above 1."""
OUTPUT = "output"
"""Name of the graph's output."""

Example = tuple[Tensor, ...]
Feeds = dict[str, NDArray[np.float32]]


class ExportError(RunError):
    """The file does not do what the network does, or the engine does not take the bundle."""


def is_image(tensor: Tensor) -> bool:
    """Whether an input is an image, (N, C, H, W) or (N, C, D, H, W); codes have fewer axes."""
    return tensor.ndim > 3


def write_onnx(network: nn.Module, inputs: Sequence[Example], names: Sequence[str], path: Path) -> None:
    """Write an ONNX file whose batch is free, and the axes in which `inputs`, alternatives, differ.

    Batch normalisation is folded into the convolutions.
    """
    example, *others = inputs
    path.parent.mkdir(parents=True, exist_ok=True)
    sides = ("depth", "height", "width")
    free = {name: {0: "batch"} for name in (*names, OUTPUT)}
    for number, (name, tensor) in enumerate(zip(names, example, strict=True)):
        if is_image(tensor):
            axes = [
                a for a in range(2, tensor.ndim) if any(other[number].shape[a] != tensor.shape[a] for other in others)
            ]
            free[name] |= {axis: sides[axis - tensor.ndim] for axis in axes}
            free[OUTPUT] |= free[name]
    with warnings.catch_warnings():
        # The exporter of TorchScript's time warns of its age and of shapes it traced; `compare_files` covers both.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            example,
            str(path),
            opset_version=OPSET,
            input_names=list(names),
            output_names=[OUTPUT],
            dynamic_axes=free,
            dynamo=False,
        )
    model = onnx.load(str(path))
    model.ir_version = IR_VERSION
    with torch.no_grad():
        shape = network(*example).shape
    for axis, side in enumerate(model.graph.output[0].type.tensor_type.shape.dim):
        if axis not in free[OUTPUT]:  # the exporter does not follow every operation
            side.dim_value = shape[axis]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def write_torchscript(network: nn.Module, example: Example, names: Sequence[str], path: Path) -> None:
    """Write a TorchScript archive. Its arguments must have the declared names, since the engine feeds them by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of its age, and of what it traced
        traced = torch.jit.trace(network.eval(), example, check_trace=False)
    arguments = [argument.name for argument in traced.forward.schema.arguments[1:]]
    if arguments != list(names):
        raise ExportError(f"The network's inputs are {', '.join(arguments)}, but {', '.join(names)} are declared.")
    torch.jit.save(traced, str(path))


def alternatives(network: nn.Module, example: Example, multiples: Sequence[int | None]) -> list[Example]:
    """The example, and inputs of another batch and, where the network takes them, other sizes.

    `multiples` are of an image's last axes: by so much larger is tried. Without one, as for patches, half the size is tried,
    since the engine halves patches where memory is short, if the halves are multiples of 16.
    """
    sizes = [tensor.shape[2:] for tensor in example if is_image(tensor)]
    grown = [tuple(n + (m or 0) for n, m in zip(size, multiples[-len(size) :], strict=True)) for size in sizes]
    if not any(multiples):
        halves = [tuple(n // 2 for n in size) for size in sizes]
        fit = all(n >= 16 and n % 16 == 0 for size in halves for n in size)
        grown = halves if fit and _takes(network, _resized(example, halves)) else [tuple(size) for size in sizes]
    return [example, _resized(example, grown)]


def _takes(network: nn.Module, inputs: Example) -> bool:
    try:
        with torch.no_grad():
            network(*inputs)
    except RuntimeError:  # parts of different sizes that should meet
        return False
    return True


def _resized(example: Example, sizes: Sequence[tuple[int, ...]]) -> Example:
    """One item more than the example; images random and of these sizes, codes moved on by one place."""
    generator, left = torch.Generator().manual_seed(0), list(sizes)
    found = []
    for tensor in example:
        items = tensor.shape[0] + 1
        if is_image(tensor):
            found.append(torch.rand((items, tensor.shape[1], *left.pop(0)), generator=generator))
        else:
            found.append(tensor.roll(1, -1)[:1].expand(items, *tensor.shape[1:]).contiguous())
    return tuple(found)


def compare_files(
    network: nn.Module, inputs: Sequence[Example], names: Sequence[str], onnx_file: Path, torchscript: Path | None
) -> float:
    """The largest difference between the network and its files over the inputs. Raises ExportError above `TOLERANCE`."""
    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    archive = None if torchscript is None else torch.jit.load(str(torchscript)).eval()
    largest = 0.0
    for given in inputs:
        with torch.no_grad():
            wanted = network(*given).numpy()
            scripted = None if archive is None else archive(*given).numpy()
        found = session.run(None, as_feeds(given, names))[0]
        for name, other in (("ONNX", found), ("TorchScript", scripted)):
            if other is None:
                continue
            worst = difference(other, wanted)
            if not worst < TOLERANCE:
                raise ExportError(f"{name} and PyTorch differ by {worst:.2g}; allowed are {TOLERANCE:g}.")
            largest = max(largest, worst)
    return largest


def difference(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """The largest difference of arrays (N, channels, ...), as a share of the channel's largest value where that is above 1:
    logits reach 20 and more, and single precision is as fine as the largest number that it adds up.
    """
    axes = tuple(axis for axis in range(wanted.ndim) if axis != 1)
    largest = np.abs(wanted).max(axes, keepdims=True)
    return float((np.abs(found - wanted) / np.maximum(1, largest)).max())


def as_feeds(example: Example, names: Sequence[str]) -> Feeds:
    """Inputs by name, as the engine feeds them."""
    return {name: tensor.numpy() for name, tensor in zip(names, example, strict=True)}


def run_onnx(path: Path, feeds: Feeds) -> NDArray[np.float32]:
    """The graph's output on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run(None, feeds)[0]
    return output
