"""The tile loop of ONNX Runtime with everything on the device: one volume goes up, one accumulator comes back.

Between the two only the tiles' starts cross over, a few bytes a batch. `glue.py` has the graphs that cut and blend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..sampler import batches
from . import TileTask, glue, output_channels

if TYPE_CHECKING:
    from .onnx import OnnxBackend


class OnnxResidentLoop:
    """`backends.ResidentLoop` for onnxruntime on any device whose memory it can bind.

    Proved against the plain loop on the CPU; it has not run on a CUDA card yet.
    """

    def __init__(self, backend: OnnxBackend, task: TileTask) -> None:
        """Upload what every step needs."""
        self._backend, self._tiling, self._image_input, self._batch = backend, task.tiling, task.image_input, task.batch
        tiling, padded = task.tiling, task.padded
        self._padded_shape = padded.shape
        # The axes of size 1 are those of the batch and, for patches, the channel.
        lead = (1, 1) if tiling.is_patch else (1,)
        dtype = next(tensor.dtype for tensor in backend.inputs if tensor.name == task.image_input)
        self._starts_shape = (-1, *[1] * (len(lead) + 2))
        self._cut = backend.open_glue(glue.cut_graph(dtype, len(lead) + 3))
        self._volume = backend.upload(padded.astype(np.float32, copy=False).reshape(-1))
        self._offsets_in = backend.upload(_offsets(tiling.box_in, padded.shape).reshape(*lead, *tiling.box_in))
        self._constants = {name: backend.upload(array) for name, array in task.constants.items()}
        self._weights = backend.upload(np.ascontiguousarray(task.weights, dtype=np.float32).reshape(-1))
        self._blend: Any = None
        self._channels = 0

    def step(self, starts: np.ndarray) -> None:
        """Cut, run and blend; see `ResidentLoop.step`."""
        for some in batches(starts, self._batch):
            full = np.concatenate([some, np.repeat(some[-1:], self._batch - len(some), axis=0)])
            raw = self._backend.run_network({self._image_input: self._cut_tiles(full), **self._constants})
            shape = tuple(raw.shape())
            channels = output_channels(shape, self._tiling, self._batch)
            if self._blend is None:
                self._prepare_blend(channels, len(shape), self._backend.dtype_of(raw))
            for tile, start in enumerate(some):
                self._blend_tile(raw, tile, start)

    def finish(self) -> np.ndarray:
        """Download the sum; see `ResidentLoop.finish`. At least one step must have been made."""
        return self._backend.download(self._accumulator).reshape(self._channels, *self._tiling.accumulator)

    def _cut_tiles(self, starts: np.ndarray) -> Any:
        flat = np.ravel_multi_index(tuple(starts.T), self._padded_shape).reshape(self._starts_shape)
        inputs = {"volume": self._volume, "offsets": self._offsets_in, "starts": self._backend.upload(flat)}
        return self._backend.run_on_device(self._cut, inputs, "tiles")

    def _prepare_blend(self, channels: int, rank: int, dtype: str) -> None:
        """Only the first output says how many channels there are."""
        tiling, backend = self._tiling, self._backend
        self._channels = channels
        size = int(np.prod(tiling.accumulator))
        first = np.arange(channels, dtype=np.int64)[:, None, None] * size
        places = _offsets(tiling.box_out, tiling.accumulator)
        self._offsets_out = backend.upload(first + places[None, :, None])
        self._accumulator = backend.upload(np.zeros(channels * size, dtype=np.float32))
        self._blend = backend.open_glue(glue.blend_graph(dtype, rank, channels, len(places)))

    def _blend_tile(self, raw: Any, tile: int, start: np.ndarray) -> None:
        flat = np.ravel_multi_index(tuple(start), self._tiling.accumulator)
        inputs = {
            "accumulator": self._accumulator,
            "outputs": raw,
            "tile": self._backend.upload(np.array(tile, dtype=np.int64)),
            "offsets": self._offsets_out,
            "start": self._backend.upload(np.array([flat], dtype=np.int64)),
            "weights": self._weights,
        }
        # Input and output are the same memory, so ScatterND adds in place and need not copy the volume for each tile.
        self._backend.run_on_device(self._blend, inputs, "blended", into=self._accumulator)


def _offsets(box: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Places of a box's voxels in a flat array of this shape, for a box at 0; int64, (voxels,)."""
    z, y, x = np.ogrid[: box[0], : box[1], : box[2]]
    return ((z * shape[1] + y) * shape[2] + x).astype(np.int64).reshape(-1)
