"""Images as training takes them: read without NaN, on a grid of 1 mm along a scan's own axes, and resampled onto it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from modality_conversion.errors import ConversionError
from modality_conversion.grid import on_grid_of
from modality_conversion.image_io import read_image
from modality_conversion.modality import Modality
from training.config import ConfigError

AIR = -1024.0
"""HU; what stands for nothing in a CT, as 0 does in MR."""
LONG = 16
"""Fewest voxels that a volume has along its shortest axis once it is on voxels of 1 mm."""


def nothing(modality: Modality) -> float:
    """The value of a voxel that shows nothing."""
    return AIR if modality in (Modality.CT, Modality.CBCT) else 0.0


def read_scan(path: Path, modality: Modality, warn: Callable[[str], None] = lambda _: None) -> sitk.Image:
    """A scan, float32; voxels that are NaN or infinite become nothing, with a warning.

    Raises ConfigError where the file cannot be used, with the engine's own reason.
    """
    try:
        image = sitk.Cast(read_image(path), sitk.sitkFloat32)
    except ConversionError as error:
        raise ConfigError(str(error)) from None
    array = sitk.GetArrayFromImage(image)
    bad = ~np.isfinite(array)
    if bad.any():
        warn(f"{path.name}: {int(bad.sum())} voxels are NaN or infinite; they were set to {nothing(modality):g}.")
        array[bad] = nothing(modality)
        image = on_grid_of(image, array)
    return image


def read_mask(path: Path) -> sitk.Image:
    """A mask or label map, uint8; NaN is outside. Raises ConfigError where the file cannot be used or is empty."""
    try:
        image = read_image(path)
    except ConversionError as error:
        raise ConfigError(str(error)) from None
    inside = np.nan_to_num(sitk.GetArrayFromImage(image), nan=0) > 0
    return on_grid_of(image, inside.astype(np.uint8))


def one_millimetre(image: sitk.Image, side: float = 1.0) -> sitk.Image:
    """The grid of an image, reoriented to RAS, with voxels of 1 mm (or `side`): an empty image; its corner stays in place."""
    image = sitk.DICOMOrient(image, "RAS")
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    new_size = np.maximum(np.rint(size * spacing / side), 1).astype(int)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    # Voxel edges coincide, so the first centre moves by half the difference of the voxels.
    origin = np.array(image.GetOrigin()) + direction @ ((side - spacing) / 2)
    grid = sitk.Image([int(n) for n in new_size], sitk.sitkUInt8)
    grid.SetOrigin(origin.tolist())
    grid.SetSpacing([side] * 3)
    grid.SetDirection(image.GetDirection())
    return grid


def onto(
    grid: sitk.Image,
    image: sitk.Image,
    transform: sitk.Transform | None = None,
    *,
    mask: bool = False,
    outside: float = 0.0,
) -> sitk.Image:
    """An image on a grid, linear (masks: nearest); `transform` maps points of the grid to points of the image.

    Finer images are blurred a little first, so that 0.5 mm pixels do not alias at 1 mm. Edge voxels are repeated for half
    a voxel, as the grid's outer planes lie outside the centres of thick slices; beyond lies the value `outside`.
    """
    transform = transform or sitk.Transform(3, sitk.sitkIdentity)
    if mask:
        return sitk.Resample(image, grid, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    image = sitk.Cast(image, sitk.sitkFloat32)
    side = min(grid.GetSpacing())
    blurs = [0.4 * side if step < 0.95 * side else 0.0 for step in image.GetSpacing()]
    if any(blurs):
        image = sitk.DiscreteGaussian(image, [max(blur, 1e-3) ** 2 for blur in blurs], 8, 0.01, True)
    resampled = sitk.Resample(image, grid, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)
    # SimpleITK repeats the edge without end; beyond half a voxel there was no scan.
    inside = sitk.Resample(_ones(image), grid, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    return sitk.Mask(resampled, inside, outside)


def _ones(image: sitk.Image) -> sitk.Image:
    ones = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(image)
    return ones


def overlap(grid: sitk.Image, image: sitk.Image, transform: sitk.Transform | None = None) -> np.ndarray:
    """Where a grid lies within the field of view of an image: bool, (z, y, x)."""
    inside: np.ndarray = sitk.GetArrayFromImage(onto(grid, _ones(image), transform, mask=True)) > 0
    return inside
