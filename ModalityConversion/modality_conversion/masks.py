"""Where a conversion applies: a mask that was given, or one made from the scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .clean_up import parts_of
from .errors import ConversionError
from .grid import check_same_grid, on_grid_of
from .image_io import check_image

if TYPE_CHECKING:
    from .schema import Mask


def resolve_mask(declared: Mask, given: sitk.Image | None, image: sitk.Image, warnings: list[str]) -> sitk.Image | None:
    """The mask to use, uint8 on the image's grid, or None; what the user should know is added to `warnings`.

    Raises ConversionError when a mask is required and missing, is empty, or lies on another grid.
    """
    if declared.use == "none":
        if given is not None:
            warnings.append("This model takes no mask; the mask was not used.")
        return None
    if given is not None:
        return _checked(given, image)
    if declared.use == "required":
        raise ConversionError("This model needs a mask of the body. Give one with --mask, on the scan's own grid.")
    if declared.use == "auto":
        return head_otsu(image)
    return None


def _checked(mask: sitk.Image, image: sitk.Image) -> sitk.Image:
    check_image(mask, "The mask")
    check_same_grid(image, mask, "The mask", "the scan's")
    inside = np.nan_to_num(sitk.GetArrayFromImage(mask), nan=0) != 0  # some programs write NaN outside
    if not inside.any():
        raise ConversionError("The mask is empty. Give one with at least one voxel inside.")
    return on_grid_of(image, inside.astype(np.uint8))


def head_otsu(image: sitk.Image) -> sitk.Image:
    """A mask of the head or body, uint8: Otsu's threshold, closed by 5 mm, holes filled slice by slice, the largest part.

    Otsu (1979), as ITK's OtsuThresholdImageFilter. Made on voxels of about 2 mm, which takes a third of the time on finer
    ones and agrees with the full mask to a Dice of 0.99. Where nothing is found, everything is inside.
    """
    array = sitk.GetArrayViewFromImage(image)
    if array.min() == array.max():
        return _everything(image)
    coarse = sitk.Shrink(image, [max(1, round(2 / side)) if side < 2 else 1 for side in image.GetSpacing()])
    inside = sitk.OtsuThreshold(sitk.Cast(coarse, sitk.sitkFloat32), 0, 1)
    radius = [max(1, round(5 / side)) if size > 1 else 0 for side, size in zip(coarse.GetSpacing(), coarse.GetSize())]
    # Closing needs room around the object, or it eats it at the border of the field of view.
    closed = sitk.BinaryMorphologicalClosing(sitk.ConstantPad(inside, radius, radius), radius)
    closed = sitk.Crop(closed, radius, radius)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(closed), sortByObjectSize=True)
    filled = sitk.GetArrayFromImage(parts == 1)
    if not filled.any():
        return _everything(image)
    for axis in range(3):
        if filled.shape[axis] > 1:
            filled = _fill_slices(filled, axis)
    # By the nearest voxel, beyond the coarse grid's last one too.
    fine = np.ix_(*(_nearest(n, coarse_n) for n, coarse_n in zip(array.shape, filled.shape)))
    return on_grid_of(image, filled[fine].astype(np.uint8))


def _nearest(n: int, coarse: int) -> np.ndarray:
    """For n voxels, the index of the nearest of `coarse` ones over the same extent."""
    return ((np.arange(n) + 0.5) * coarse / n).astype(int)


def _fill_slices(mask: np.ndarray, axis: int) -> np.ndarray:
    """Holes filled in every slice along an axis: a nostril opens a head's airways in 3D, but hardly in each plane.

    As ITK's BinaryFillhole does slice by slice, in a fifth of the time: what is outside is parted once, with walls between.
    """
    moved = np.pad(np.moveaxis(mask != 0, axis, 0), ((0, 0), (1, 1), (1, 1)))
    walled = np.zeros((2 * len(moved), *moved.shape[1:]), bool)
    walled[::2] = ~moved
    parts = parts_of(walled, fully=False)[::2]
    around = parts == parts[:, :1, :1]
    return np.moveaxis(~around[:, 1:-1, 1:-1], 0, axis)


def _everything(image: sitk.Image) -> sitk.Image:
    return on_grid_of(image, np.ones(image.GetSize()[::-1], np.uint8))
