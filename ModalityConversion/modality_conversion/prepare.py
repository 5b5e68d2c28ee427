"""From scans as read to volumes as the network wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from . import ops
from .bias_field import n4
from .errors import ConversionError
from .foreground import foreground
from .geometry import padding, plan_grid
from .grid import on_grid_of
from .modality import Modality
from .steps import GridMap

if TYPE_CHECKING:
    from .schema import ConversionSpec


@dataclass(frozen=True)
class Prepared:
    """Everything about one conversion on the network's grid, and the way back from there."""

    source: sitk.Image
    """The first scan, whose grid the output gets."""
    native_mask: np.ndarray | None
    """Bool, (k, j, i), on the source's grid."""
    grid_map: GridMap
    volumes: dict[Modality, np.ndarray]
    """The scans after the operations of stages `native` and `grid`, float32."""
    mask: np.ndarray | None
    """The mask on the network's grid, bool."""
    occupied: np.ndarray | None
    """Where a tile must have a voxel to be worth running; None: every tile is run."""
    source_range: tuple[float, float]
    """Smallest and largest value of the source as read."""

    @property
    def grid_spacing(self) -> tuple[float, ...]:
        """Voxel sides of the network's grid in mm, in the order of its axes."""
        return self.grid_map.spacing(self.source.GetSpacing()[::-1])

    def within(self, inside: np.ndarray) -> Prepared:
        """The same, run and kept only where `inside` is, bool, (k, j, i), on the source's grid."""
        native = inside if self.native_mask is None else self.native_mask & inside
        touched = self.grid_map.forward_touched(inside)
        return replace(self, native_mask=native, occupied=touched if self.occupied is None else self.occupied & touched)

    def context(self, modality: Modality) -> ops.Context:
        """What operations on an array of this modality on the network's grid may look at."""
        return ops.Context(self.mask, self.source_range, modality)

    def native_context(self, modality: Modality) -> ops.Context:
        """What operations on an array of this modality on the source's grid may look at."""
        return ops.Context(self.native_mask, self.source_range, modality)


def prepare(
    sources: Mapping[Modality, sitk.Image],
    mask: sitk.Image | None,
    spec: ConversionSpec,
    warnings: list[str],
    cancel: Callable[[], bool] | None = None,
) -> Prepared:
    """Bring scans on one grid, and a mask on the same one, to the network's grid and range.

    `cancel` can stop a bias field correction; `warnings` gets what the user should know. Raises Cancelled, and
    ConversionError where the network's grid has no part of the mask, or would not fit into any memory.
    """
    first = next(iter(sources.values()))
    view = sitk.GetArrayViewFromImage(first)
    source_range = (float(view.min()), float(view.max()))
    inside = None if mask is None else sitk.GetArrayFromImage(mask) != 0
    context = ops.Context(inside, source_range)
    natives = {
        name: _native(image, mask, replace(context, modality=name), spec, warnings, cancel)
        for name, image in sources.items()
    }

    grid_map, array = plan_grid(first, next(iter(natives.values())), spec.geometry)
    grid_mask = None if inside is None else grid_map.forward_labels(inside)
    occupied = _occupied(next(iter(natives.values())), inside, grid_map, spec)
    if occupied is not None and not occupied.any() and spec.sampler.skip_empty == "mask":
        raise ConversionError(
            "The mask lies wholly in the part of the scan that the model crops away. Give another one."
        )
    grid_context = ops.Context(grid_mask, source_range)
    volumes: dict[Modality, np.ndarray] = {}
    for name, native in natives.items():
        moved = array if not volumes else grid_map.forward(native, padding(spec.geometry, native))
        volumes[name] = ops.apply(spec.ops, "grid", moved, replace(grid_context, modality=name))
    return Prepared(first, inside, grid_map, volumes, grid_mask, occupied, source_range)


def _occupied(
    native: np.ndarray, mask: np.ndarray | None, grid_map: GridMap, spec: ConversionSpec
) -> np.ndarray | None:
    """See `Prepared.occupied`. Padding is never occupied."""
    if spec.sampler.skip_empty == "mask" and mask is not None:
        return grid_map.forward_touched(mask)
    if spec.sampler.skip_empty == "background":
        return grid_map.forward_touched(foreground(native))
    return None


def _native(
    image: sitk.Image,
    mask: sitk.Image | None,
    context: ops.Context,
    spec: ConversionSpec,
    warnings: list[str],
    cancel: Callable[[], bool] | None,
) -> np.ndarray:
    """The voxels of one scan, (k, j, i), after the operations of stage `native`, in their order."""
    array = sitk.GetArrayFromImage(image)
    for op in spec.ops:
        if op.op == "n4" and ops.concerns(op, context):  # the one operation that needs to know the voxels' size
            array = sitk.GetArrayFromImage(n4(on_grid_of(image, array), mask, op, warnings, cancel))
        else:
            array = ops.apply([op], "native", array, context)
    if spec.mask.apply_to_input and context.mask is not None:
        array = np.where(context.mask, array, array.dtype.type(padding(spec.geometry, array)))
    return array
