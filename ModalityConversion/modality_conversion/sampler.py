"""Cutting a volume into the tiles a network takes, and where each tile's output belongs.

Slices, slabs and patches are one thing here: boxes cut from a padded volume. A slice along axis 1 is a box one voxel thick
along that axis, which is moved to the front first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .schema import Sampler

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Tiling:
    """A plan: which boxes are cut from a volume, and where their outputs go.

    Every triple is in tiling order: the grid's axes after `order`, a transpose. The box of tile t is
    `padded[starts[t] : starts[t] + box_in]`; its output covers `accumulator[starts[t] : starts[t] + box_out]`. The result
    is `accumulator[offset : offset + shape]`, transposed back.
    """

    order: Triple
    """Transpose from grid order to tiling order; slices have their own axis first, the other two keep their order."""
    shape: Triple
    """Shape of the volume in tiling order."""
    pad_before: Triple
    """Voxels added before the volume."""
    pad_after: Triple
    """Voxels added after it."""
    edge: str
    """`repeat` or `zero`: what the added voxels hold."""
    box_in: Triple
    """Shape of a tile."""
    box_out: Triple
    """Shape of a tile's output."""
    accumulator: Triple
    """Shape of the volume that outputs are blended into."""
    offset: Triple
    """Where the volume starts in the accumulator."""
    starts: np.ndarray
    """Corner of every tile, int64, shape (tiles, 3)."""
    is_patch: bool
    """A patch goes to the network as (batch, 1, *box_in), slices as (batch, *box_in): the slices are the channels."""

    def pad(self, volume: np.ndarray) -> np.ndarray:
        """The volume, given in grid order, in tiling order and padded, C-contiguous."""
        moved = volume.transpose(self.order)
        widths = tuple(zip(self.pad_before, self.pad_after))
        if not any(map(any, widths)):
            return np.ascontiguousarray(moved)
        return np.pad(moved, widths, mode="edge" if self.edge == "repeat" else "constant")

    def cut(self, padded: np.ndarray, start: np.ndarray) -> np.ndarray:
        """One tile, a view of shape `box_in`."""
        return padded[tuple(slice(s, s + n) for s, n in zip(start, self.box_in))]

    def region_out(self, start: np.ndarray) -> tuple[slice, ...]:
        """Where the output of the tile that starts at `start` goes in the accumulator."""
        return tuple(slice(s, s + n) for s, n in zip(start, self.box_out))

    def unpad(self, accumulator: np.ndarray) -> np.ndarray:
        """An accumulator of shape (..., *accumulator), back in grid order with shape (..., *grid)."""
        leading = accumulator.ndim - 3
        box = (slice(None),) * leading + tuple(slice(o, o + n) for o, n in zip(self.offset, self.shape))
        back = np.argsort(self.order) + leading
        return accumulator[box].transpose(*range(leading), *back)


def tilings(sampler: Sampler, shape: Triple, patch: Triple | None = None) -> list[Tiling]:
    """The plans for a volume of this shape: one for patches, one for each axis of slices or slabs.

    `patch` overrides the declared patch size; it is how the tile is made smaller when memory runs out.
    """
    if sampler.kind == "patch":
        size = patch or sampler.size
        assert size is not None  # the schema requires it
        return [_patch_tiling(shape, size, sampler.overlap, sampler.edge)]
    return [
        _slab_tiling(shape, axis, sampler.context, sampler.outputs, sampler.overlap, sampler.edge)
        for axis in sampler.axes
    ]


def _slab_tiling(shape: Triple, axis: int, context: int, outputs: int, overlap: float, edge: str) -> Tiling:
    order = (axis, *(a for a in range(3) if a != axis))
    depth, height, width = (shape[a] for a in order)
    margin = (context - outputs) // 2
    step = max(1, round(outputs * (1 - overlap)))
    covered = max(depth, outputs)
    firsts = list(range(0, covered - outputs + 1, step))
    if firsts[-1] != covered - outputs:
        firsts.append(covered - outputs)  # the last slab moves back to end with the volume
    starts = np.zeros((len(firsts), 3), dtype=np.int64)
    starts[:, 0] = firsts
    return Tiling(
        order=order,  # type: ignore[arg-type]
        shape=(depth, height, width),
        pad_before=(margin, 0, 0),
        pad_after=(margin + covered - depth, 0, 0),
        edge=edge,
        box_in=(context, height, width),
        box_out=(outputs, height, width),
        accumulator=(covered, height, width),
        offset=(0, 0, 0),
        starts=starts,
        is_patch=False,
    )


def _patch_tiling(shape: Triple, size: Triple, overlap: float, edge: str) -> Tiling:
    """Positions as MONAI's `dense_patch_slices` and padding as its `sliding_window_inference`, so that results agree."""
    missing = [max(0, s - n) for n, s in zip(shape, size)]
    before = tuple(m // 2 for m in missing)
    padded = tuple(n + m for n, m in zip(shape, missing))
    firsts = []
    for n, s in zip(padded, size):
        step = s if s == n else max(1, int(s * (1 - overlap)))
        count = math.ceil((n - s) / step) + 1
        firsts.append([min(i * step, n - s) for i in range(count)])
    starts = np.stack(np.meshgrid(*firsts, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int64)
    return Tiling(
        order=(0, 1, 2),
        shape=shape,
        pad_before=before,  # type: ignore[arg-type]
        pad_after=tuple(m - b for m, b in zip(missing, before)),  # type: ignore[arg-type]
        edge=edge,
        box_in=size,
        box_out=size,
        accumulator=padded,  # type: ignore[arg-type]
        offset=before,  # type: ignore[arg-type]
        starts=starts,
        is_patch=True,
    )


def without_empty(tiling: Tiling, occupied: np.ndarray) -> np.ndarray:
    """The starts of the tiles whose output region has a voxel of `occupied` (bool, grid order)."""
    widths = [(o, a - o - n) for o, a, n in zip(tiling.offset, tiling.accumulator, tiling.shape)]
    padded = np.pad(occupied.transpose(tiling.order), widths)
    keep = [bool(padded[tiling.region_out(start)].any()) for start in tiling.starts]
    return tiling.starts[keep]


def batches(starts: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive groups of at most `size` starts."""
    for first in range(0, len(starts), size):
        yield starts[first : first + size]
