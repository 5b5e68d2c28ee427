"""What goes into each input of the network: scans, masks, codes and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import ops
from .errors import ConversionError
from .modality import Modality
from .sampler import Tiling

if TYPE_CHECKING:
    from .backends import Tensor
    from .schema import ConversionSpec, Input


@dataclass(frozen=True)
class Volume:
    """Something cut into tiles: a scan, the mask, or nothing in the place of a scan."""

    array: np.ndarray
    has_ops: bool
    """Whether the operations of stage `tile` apply; else tiles are only resized."""
    modality: Modality | None = None
    """Of a scan: what it shows."""


@dataclass(frozen=True)
class Feed:
    """One input of the graph: volumes joined along the channel axis, or one constant array."""

    name: str
    dtype: str
    volumes: tuple[Volume, ...] = ()
    constant: np.ndarray | None = None
    per_tile: bool = False
    """The constant gets one row for every tile of a batch."""

    def batch(
        self, tiling: Tiling, padded: Sequence[np.ndarray], starts: np.ndarray, prepare: TilePreparation
    ) -> np.ndarray:
        """The array for the tiles at `starts`; `padded` are the volumes as `tiling.pad` gives them."""
        if self.constant is not None:
            return np.repeat(self.constant[None], len(starts), axis=0) if self.per_tile else self.constant
        tiles = []
        for start in starts:
            parts = [
                prepare.tile(tiling.cut(whole, start), start, volume) for whole, volume in zip(padded, self.volumes)
            ]
            tiles.append(np.stack(parts) if tiling.is_patch else np.concatenate(parts))
        return np.stack(tiles).astype(self.dtype, copy=False)


@dataclass(frozen=True)
class TilePreparation:
    """The operations of stage `tile`, before and after the network."""

    spec: ConversionSpec
    tiling: Tiling
    source_range: tuple[float, float]
    target: Modality | None
    """None where the network only segments."""
    mask: np.ndarray | None = None
    """The mask as `tiling.pad` gives it, bool."""

    def tile(self, tile: np.ndarray, start: np.ndarray, volume: Volume) -> np.ndarray:
        """One tile of a volume as the network takes it."""
        mask = None if self.mask is None else self.tiling.cut(self.mask, start)
        for op in self.spec.ops:
            if volume.has_ops or op.op == "resize":
                tile = ops.apply([op], "tile", tile, self._context(mask, volume.modality))
            if op.op == "resize" and mask is not None:
                mask = ops.resize_tile(mask, op.size, "nearest")
        return tile

    def finished(self, output: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float | np.ndarray]:
        """The output operations of stage `tile` on one tile, shape `box_out`, and their slope."""
        mask = None
        if self.mask is not None:
            margin = (self.tiling.box_in[0] - self.tiling.box_out[0]) // 2
            mask = self.tiling.cut(self.mask, start)[margin : margin + self.tiling.box_out[0]]
        return ops.apply_with_slope(self.spec.output.ops, "tile", output, self._context(mask, self.target))

    def _context(self, mask: np.ndarray | None, modality: Modality | None) -> ops.Context:
        return ops.Context(mask, self.source_range, modality)

    @property
    def has_ops(self) -> bool:
        """Whether there is anything to do on tiles."""
        return any(op.stage == "tile" for op in (*self.spec.ops, *self.spec.output.ops))


def build_feeds(
    spec: ConversionSpec,
    tensors: Sequence[Tensor],
    volumes: Mapping[Modality, np.ndarray],
    mask: np.ndarray | None,
    target: Modality | None,
) -> list[Feed]:
    """One feed for each input of the graph, in the order declared. Without a `target`, its code is all zeros.

    Raises ConversionError where the graph's inputs are not the declared ones, or a scan is missing.
    """
    names = [declared.name or _by_position(tensors, index) for index, declared in enumerate(spec.inputs)]
    graph = {tensor.name for tensor in tensors}
    if set(names) != graph:
        raise ConversionError(
            f"The model declares the inputs {', '.join(dict.fromkeys(names))}, but its network has "
            f"{', '.join(sorted(graph))}. "
            "Correct `inputs` in configs/conversion.json; `modality-conversion models check` says more."
        )
    shape = next(iter(volumes.values())).shape
    feeds = []
    for name in dict.fromkeys(names):
        declared = [d for d, n in zip(spec.inputs, names) if n == name]
        if declared[0].role in ("image", "mask"):
            parts = tuple(_volume(d, volumes, mask, shape) for d in declared)
            feeds.append(Feed(name, declared[0].dtype, parts))
        else:
            feeds.append(_constant_feed(name, declared[0], tuple(volumes), target))
    return feeds


def _by_position(tensors: Sequence[Tensor], index: int) -> str:
    return tensors[index].name if index < len(tensors) else f"number {index + 1}"


def _volume(
    declared: Input, volumes: Mapping[Modality, np.ndarray], mask: np.ndarray | None, shape: tuple[int, ...]
) -> Volume:
    if declared.role == "mask":
        inside = np.ones(shape, dtype=np.float32) if mask is None else mask.astype(np.float32)
        return Volume(inside, has_ops=False)
    if declared.modality is None:
        modality, array = next(iter(volumes.items()))
        return Volume(array, has_ops=True, modality=modality)
    if declared.modality in volumes:
        return Volume(volumes[declared.modality], has_ops=True, modality=declared.modality)
    if declared.missing == "zeros":
        return Volume(np.zeros(shape, dtype=np.float32), has_ops=False)
    raise ConversionError(
        f"This model needs a {declared.modality} scan too. Give it with --input {declared.modality}=FILE."
    )


def _constant_feed(name: str, declared: Input, sources: tuple[Modality, ...], target: Modality | None) -> Feed:
    if declared.role == "constant":
        return Feed(name, declared.dtype, constant=np.full(declared.shape or (), declared.value, dtype=declared.dtype))
    present = sources if declared.role == "source_code" else (target,)
    assert declared.order is not None  # the schema requires it
    code = np.array([modality in present for modality in declared.order], dtype=declared.dtype)
    return Feed(name, declared.dtype, constant=code.reshape(declared.shape or (-1,)), per_tile=True)
