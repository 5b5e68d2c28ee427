"""Whether two volumes lie on one grid, and putting voxels on a grid."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .errors import ConversionError

# NIfTI rounds to single precision: spacing and directions to 1e-7, an origin far from the scan to a few 1e-4 of a small voxel.
_TOLERANCE = 1e-4
_ORIGIN_TOLERANCE = 1e-2  # in voxels


def on_grid_of(image: sitk.Image, array: np.ndarray) -> sitk.Image:
    """These voxels, (k, j, i), on the grid of `image`."""
    result = sitk.GetImageFromArray(np.ascontiguousarray(array))
    result.CopyInformation(image)
    return result


def grid_differences(reference: sitk.Image, other: sitk.Image) -> list[str]:
    """What of the grid of `other` is not as that of `reference`, in words; [] where they lie on one grid.

    The size must be equal; spacing and direction cosines may differ by 1e-4, the origin by 1e-2 of a voxel.
    """
    step = np.array(reference.GetSpacing())
    # The origin's shift in voxels, along the grid's own axes.
    shift = (
        np.reshape(reference.GetDirection(), (3, 3)).T @ np.subtract(other.GetOrigin(), reference.GetOrigin()) / step
    )
    off = {
        "Size": other.GetSize() != reference.GetSize(),
        "Spacing": bool(np.any(np.abs(np.subtract(other.GetSpacing(), step)) > _TOLERANCE * step)),
        "Origin": bool(np.any(np.abs(shift) > _ORIGIN_TOLERANCE)),
        "Direction": bool(np.any(np.abs(np.subtract(other.GetDirection(), reference.GetDirection())) > _TOLERANCE)),
    }
    faults = []
    for what in (what for what, differs in off.items() if differs):
        found, wanted = (_numbers(getattr(image, f"Get{what}")()) for image in (other, reference))
        faults.append(f"{what.lower()} {found} instead of {wanted}")
    return faults


def check_same_grid(reference: sitk.Image, other: sitk.Image, name: str, whose: str = "the real scan's") -> None:
    """Refuse an image, called `name`, that does not lie on the grid of `reference`, called `whose`.

    Raises ConversionError that says all that differs, and what to do.
    """
    faults = grid_differences(reference, other)
    if faults:
        raise ConversionError(
            f"{name} is not on {whose} grid: {'; '.join(faults)}. Resample it onto {whose} grid first."
        )


def _numbers(values: tuple[float, ...]) -> str:
    """`(1, 1, 3.0001)`: enough digits to see a difference that counts."""
    return f"({', '.join(f'{value:.6g}' for value in values)})"
