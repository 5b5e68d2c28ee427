"""Bias field correction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .errors import Cancelled
from .grid import on_grid_of

if TYPE_CHECKING:
    from .schema import N4

# Voxels of the shrunk mask. N4 fits a spline with dozens of coefficients; on fewer it returns factors of hundreds.
_ENOUGH = 64


def n4(
    image: sitk.Image,
    mask: sitk.Image | None,
    op: N4,
    warnings: list[str],
    cancel: Callable[[], bool] | None = None,
) -> sitk.Image:
    """The image, float32, divided by its bias field (N4, Tustison 2010), estimated inside the mask.

    The estimate is made at 1/shrink of the resolution; the field is then evaluated on every voxel. A single slice gets a
    field of two dimensions. Where there are too few voxels for an estimate the image stays as it is, and `warnings` says so.
    `cancel` is asked at every iteration. Raises Cancelled.
    """
    image = sitk.Cast(image, sitk.sitkFloat32)
    # N4 works on logarithms: without a mask, the zeros are left out.
    inside = mask if mask is not None else sitk.Cast(image > 0, sitk.sitkUInt8)
    if sum(size > 1 for size in image.GetSize()) < 2:
        return _left_as_it_is(image, warnings)
    volume, region = _without_thin_axis(image), _without_thin_axis(inside)
    factors = [min(op.shrink, max(1, size // 4)) for size in volume.GetSize()]
    small, small_region = sitk.Shrink(volume, factors), sitk.Shrink(region, factors)
    if np.count_nonzero(sitk.GetArrayViewFromImage(small_region)) < _ENOUGH:
        return _left_as_it_is(image, warnings)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(list(op.iterations))
    corrector.SetConvergenceThreshold(op.convergence)
    if cancel is not None:
        corrector.AddCommand(sitk.sitkIterationEvent, lambda: corrector.Abort() if cancel() else None)
    corrector.Execute(small, small_region)
    if cancel is not None and cancel():
        raise Cancelled
    array = sitk.GetArrayFromImage(image)
    log_field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(volume))
    return on_grid_of(image, array / np.exp(log_field, dtype=np.float32).reshape(array.shape))


def _left_as_it_is(image: sitk.Image, warnings: list[str]) -> sitk.Image:
    warnings.append("There are too few voxels to estimate a bias field; it was not corrected.")
    return image


def _without_thin_axis(image: sitk.Image) -> sitk.Image:
    """The image in two dimensions if one of its axes has a single voxel; only the voxels' sides matter to N4."""
    thick = [axis for axis, size in enumerate(image.GetSize()) if size > 1]
    if len(thick) == 3:
        return image
    plane = sitk.GetImageFromArray(np.squeeze(sitk.GetArrayFromImage(image)))
    plane.SetSpacing([image.GetSpacing()[axis] for axis in thick])
    return plane
