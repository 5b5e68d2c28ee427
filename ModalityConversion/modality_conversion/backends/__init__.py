"""Running weights: ONNX Runtime and TorchScript behind one small protocol.

A backend is imported only when a model that needs it is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import ConversionError
from ..sampler import Tiling
from .address import is_server


@dataclass(frozen=True)
class Tensor:
    """An input or output of a network: name, shape with None where the graph leaves it open, numpy dtype name."""

    name: str
    shape: tuple[int | None, ...] | None
    """None: the file does not say."""
    dtype: str


@dataclass(frozen=True)
class TileTask:
    """One volume to convert tile by tile."""

    tiling: Tiling
    image_input: str
    """The network's input that takes the tiles."""
    padded: np.ndarray
    """The volume as `tiling.pad` gives it, float32."""
    constants: Mapping[str, np.ndarray]
    """The other inputs as they are fed for `batch` tiles."""
    weights: np.ndarray
    """Blending weights of one tile's output, shape `tiling.box_out`."""
    batch: int = 1
    """How many tiles the network always gets: longer steps are run in several calls, shorter ones filled up with their last
    tile."""


class ResidentLoop(Protocol):
    """A tile loop whose volume stays on the device from the first tile to the last blend.

    After an OutOfMemory it is spent: open another one, with a smaller batch.
    """

    def step(self, starts: np.ndarray) -> None:
        """Convert the tiles that start at `starts`, shape (n, 3), and add them, weighted, to the accumulator."""

    def finish(self) -> np.ndarray:
        """The accumulated sum, shape (channels, *tiling.accumulator), float32, not yet divided by the weights."""


class Backend(Protocol):
    """One file of weights, loaded on one device.

    `run` and the loop raise `OutOfMemory` when the device runs out, `ConversionError` for anything else that fails.
    """

    device: str
    """Where it runs, such as `cpu` or `cuda:1`."""
    inputs: tuple[Tensor, ...]
    """The network's inputs, in order."""
    fixed_batch: int | None
    """The batch size that the graph demands, or None."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """The network's first output, float32, for inputs by name."""

    def resident_loop(self, task: TileTask) -> ResidentLoop | None:
        """A loop that keeps the volume on the device, or None where this device gains nothing by it."""


def open_backend(path: Path, format: str, device: str) -> Backend:
    """Load weights on a device (`cpu`, `cuda:1`, ...; not `auto`), or find them on a server (`grpc://host:8001/name`).

    Raises ConversionError when the runtime is missing, the device is not there, or the file cannot be loaded.
    """
    if is_server(device):
        from .remote import RemoteBackend

        return RemoteBackend(path, device)
    if format == "torchscript":
        from .torchscript import TorchScriptBackend

        return TorchScriptBackend(path, device)
    from .onnx import OnnxBackend

    return OnnxBackend(path, device)


def batch_of_graph(inputs: tuple[Tensor, ...]) -> int | None:
    """The batch that a graph demands, or None: that of its first image; a code or a time step may well have a fixed axis."""
    images = [tensor.shape for tensor in inputs if tensor.shape and len(tensor.shape) >= 4]
    return images[0][0] if images else None


def tile_outputs(raw: np.ndarray, tiling: Tiling, tiles: int | None = None) -> np.ndarray:
    """A network's raw output as (N, C, *box_out), a view; N is `tiles` where that is given.

    Patches come as (N, C, *box_out). Slices come so too, or as (N, C * box_out[0], H, W), channel-major. Raises
    ConversionError when the shape is neither.
    """
    channels = output_channels(raw.shape, tiling, tiles)
    return raw.reshape(len(raw), channels, *tiling.box_out)


def output_channels(shape: tuple[int, ...], tiling: Tiling, tiles: int | None = None) -> int:
    """How many channels a raw output of this shape has. Raises ConversionError when it does not fit the tiles."""
    slices, *plane = tiling.box_out
    if tiles is None or shape[:1] == (tiles,):
        if len(shape) == 5 and shape[1] and shape[2:] == tuple(tiling.box_out):
            return shape[1]
        if not tiling.is_patch and len(shape) == 4 and list(shape[2:]) == plane and shape[1] and shape[1] % slices == 0:
            return shape[1] // slices
    expected = ", ".join([str(tiles or "N"), "C", *map(str, tiling.box_out)])
    either = "" if tiling.is_patch else f"({tiles or 'N'}, C*{slices}, {plane[0]}, {plane[1]}) or "
    raise ConversionError(
        f"The network's output has the shape {shape}, but its tiles need {either}({expected}). "
        "Correct `sampler` in configs/conversion.json, or export the network again."
    )
