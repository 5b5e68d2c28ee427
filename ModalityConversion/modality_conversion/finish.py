"""From the network's output to a volume in target units on the source's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from . import ops
from .errors import ConversionError
from .grid import on_grid_of
from .modality import Modality
from .prepare import Prepared

if TYPE_CHECKING:
    from .schema import ConversionSpec


def finish(
    channels: np.ndarray, prepared: Prepared, spec: ConversionSpec, target: Modality
) -> tuple[sitk.Image, sitk.Image | None]:
    """The synthetic volume, and one standard deviation in its units where `channels` has a second entry, the variance.

    Raises ConversionError when the network gave anything but numbers.
    """
    declared, output_ops, grid_map = spec.targets[target], spec.output.ops, prepared.grid_map
    array, slope = ops.apply_with_slope(output_ops, "grid", channels[0], prepared.context(target))
    array = grid_map.inverse(array, declared.background)
    array, native_slope = ops.apply_with_slope(output_ops, "native", array, prepared.native_context(target))
    if any(op.stage == "native" for op in output_ops):
        # They must not touch what was cropped away, which is background already.
        was_cropped = grid_map.inverse(np.zeros(channels.shape[1:], np.float32), 1.0) > 0.5
        array = np.where(was_cropped, declared.background, array)
    if not np.isfinite(array).all():
        culprit = "output operations" if np.isfinite(channels).all() else "network"
        raise ConversionError(
            f"The {culprit} of {spec.id} gave values that are not numbers; nothing was kept. Tell the model's author."
        )
    inside = prepared.native_mask
    if inside is not None:
        array = np.where(inside, array, declared.background if spec.mask.outside is None else spec.mask.outside)
    image = on_grid_of(prepared.source, _as_type(array, declared.dtype))
    if len(channels) == 1:
        return image, None
    spread = np.maximum(grid_map.inverse(np.sqrt(channels[1]) * slope) * native_slope, 0)  # splines can go below 0
    if inside is not None:
        spread = np.where(inside, spread, 0)
    return image, on_grid_of(prepared.source, spread.astype(np.float32))


def _as_type(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array in the target's type; integers are rounded and limited to what the type holds."""
    wanted = np.dtype(dtype)
    if wanted.kind == "f":
        return array.astype(wanted, copy=False)
    limits = np.iinfo(wanted)
    # In float32 the largest int32 would be rounded up to one too many; the smaller types fit.
    rounded = np.rint(array, dtype=np.float64 if wanted.itemsize > 2 else np.float32)
    return np.clip(rounded, limits.min, limits.max, out=rounded).astype(wanted)
