"""From a stored grid to planes as a radiologist reads them: which axis, which way up, how large, and where in the patient.

The planes are the grid's own, nothing is resliced: each is named after the anatomical plane it is closest to. Radiological
convention: the patient's left is on the right of axial and coronal planes; anterior is up in axial planes and on the left of
sagittal ones; superior is up. Arrays are (k, j, i); positions are in mm in LPS, as SimpleITK's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import ConversionError
from ..foreground import foreground
from ..geometry import axis_codes

# Where rows run to, from top to bottom, and columns, from left to right.
_DISPLAY = {"axial": ("P", "L"), "coronal": ("I", "L"), "sagittal": ("I", "P")}
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "S": "I", "I": "S"}
# Letters of the positive and the negative direction of each LPS axis.
_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
_WORLD = {"sagittal": 0, "coronal": 1, "axial": 2}
# An edge shows a second letter where its direction leans at least this far towards it.
_LEAN = math.sin(math.radians(15))
_HEAD_MM = 170.0


@dataclass(frozen=True)
class View:
    """How to show the planes of one anatomical direction of a grid."""

    name: str
    """axial, coronal or sagittal."""
    across: int
    """The array axis that the planes are stacked along."""
    rows: int
    """The array axis that runs down the screen."""
    columns: int
    """The array axis that runs across the screen."""
    flips: tuple[bool, bool]
    """Whether the stored rows and columns run the other way."""
    spacing: tuple[float, float]
    """Height and width of a voxel on the screen, in mm."""
    edges: tuple[str, str, str, str]
    """Letters at the left, right, top and bottom edge, such as `R`, or `R/A` on an oblique grid."""

    def cut(self, array: np.ndarray, index: int) -> np.ndarray:
        """Plane number `index` of an array (k, j, i), rows down, columns across."""
        plane = np.take(array, index, axis=self.across)
        if self.rows > self.columns:
            plane = plane.T
        return plane[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]

    def crop(self, plane: np.ndarray, box: Sequence[slice]) -> np.ndarray:
        """The part of a plane that lies in a box of the array (k, j, i)."""
        inside = []
        for axis, flipped, n in zip((self.rows, self.columns), self.flips, plane.shape, strict=True):
            start, stop = box[axis].start, box[axis].stop
            inside.append(slice(n - stop, n - start) if flipped else slice(start, stop))
        return plane[tuple(inside)]


def views(image: sitk.Image) -> list[View]:
    """The axial, coronal and sagittal view of an image's grid, in this order."""
    codes = axis_codes(image.GetDirection())
    direction = np.reshape(image.GetDirection(), (3, 3))
    spacing = image.GetSpacing()

    def stored(letter: str) -> tuple[int, bool]:
        """The image axis that runs closest to a letter's direction, and whether it runs away from it."""
        axis = next(n for n, code in enumerate(codes) if code in (letter, _OPPOSITE[letter]))
        return axis, codes[axis] != letter

    result = []
    for name, (down, right) in _DISPLAY.items():
        (row, row_flip), (column, column_flip) = stored(down), stored(right)
        to_bottom = direction[:, row] * (-1 if row_flip else 1)
        to_right = direction[:, column] * (-1 if column_flip else 1)
        edges = (edge_letters(-to_right), edge_letters(to_right), edge_letters(-to_bottom), edge_letters(to_bottom))
        result.append(
            View(
                name=name,
                across=2 - (3 - row - column),
                rows=2 - row,
                columns=2 - column,
                flips=(row_flip, column_flip),
                spacing=(spacing[row], spacing[column]),
                edges=edges,
            )
        )
    return result


def edge_letters(towards: np.ndarray) -> str:
    """The letters of a direction in LPS, the strongest first: `L`, or `L/P` where it leans 15 degrees or more to the second."""
    strongest = np.argsort(-np.abs(towards), kind="stable")
    chosen = [axis for n, axis in enumerate(strongest) if n == 0 or abs(towards[axis]) >= _LEAN]
    return "/".join(_LETTERS[axis][0 if towards[axis] >= 0 else 1] for axis in chosen)


def position_text(image: sitk.Image, crossing: Sequence[int], view: View) -> str:
    """Where a plane lies in the patient, such as `S 34.5 mm`.

    It is the coordinate of the voxel where the three planes cross (array order), along the patient axis the plane's name
    stands for. On an oblique grid other points of the plane lie elsewhere.
    """
    i, j, k = (int(n) for n in reversed(crossing))
    axis = _WORLD[view.name]
    value = image.TransformIndexToPhysicalPoint((i, j, k))[axis]
    return f"{_LETTERS[axis][0 if value >= 0 else 1]} {abs(value):.1f} mm"


def crossing(
    image: sitk.Image, inside: np.ndarray, mask: sitk.Image | None, position: Sequence[float] | None
) -> tuple[int, int, int]:
    """The index (k, j, i) of the planes to show: at `position`, else through the largest lesion of `mask`, else the centre.

    `position` is in mm, LPS. In the largest connected part of `mask` each plane is the one that holds most of it. The
    centre is the centre of mass of `inside`, the foreground. Raises ConversionError for a position outside the grid and an
    empty mask.
    """
    if position is not None:
        index = image.TransformPhysicalPointToIndex([float(value) for value in position])
        if any(not 0 <= n < size for n, size in zip(index, image.GetSize(), strict=True)):
            place = ", ".join(f"{value:g}" for value in position)
            raise ConversionError(f"The position ({place}) mm in LPS lies outside the scan. Give one inside it.")
        return index[2], index[1], index[0]
    if mask is not None:
        lesion = largest_part(np.nan_to_num(sitk.GetArrayViewFromImage(mask)) != 0)
        k, j, i = (int(np.argmax(_profile(lesion, axis))) for axis in range(3))
        return k, j, i
    if not inside.any():
        k, j, i = (n // 2 for n in inside.shape)
        return k, j, i
    head = _upper(image, inside)
    counts = [_profile(head, axis) for axis in range(3)]
    k, j, i = (round(float(np.average(np.arange(count.size), weights=count))) for count in counts)
    return k, j, i


def _upper(image: sitk.Image, inside: np.ndarray) -> np.ndarray:
    """The foreground down to 170 mm below its top, which is a head's height (FSL's robustfov takes the same)."""
    axis = views(image)[0].across
    extent = field_of_view(inside, None, (0, 0, 0))[axis]
    count = max(1, round(_HEAD_MM / image.GetSpacing()[2 - axis]))
    upwards = axis_codes(image.GetDirection())[2 - axis] == "S"
    kept = slice(max(extent.stop - count, 0), extent.stop) if upwards else slice(extent.start, extent.start + count)
    line = np.zeros(inside.shape[axis], dtype=bool)
    line[kept] = True
    return inside & np.expand_dims(line, tuple(other for other in range(3) if other != axis))


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part (over faces), the first of equals. Raises ConversionError for an empty mask."""
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    sizes = np.bincount(parts.ravel())[1:]
    if not sizes.size:
        raise ConversionError("The mask is empty. Give one with at least one voxel inside, or none.")
    part: np.ndarray = parts == 1 + int(np.argmax(sizes))
    return part


def field_of_view(inside: np.ndarray, crossing: Sequence[int] | None, margin: Sequence[float]) -> list[slice]:
    """The box (k, j, i) around the foreground and the crossing, if any, `margin` voxels wider on each side where there is room.

    A plane with less than 1 % of the foreground of the fullest one is noise and does not count.
    """
    box = []
    for axis, n in enumerate(inside.shape):
        profile = _profile(inside, axis)
        hits = np.flatnonzero(profile > 0.01 * profile.max()) if profile.any() else np.array([0, n - 1])
        first, last = int(hits[0]), int(hits[-1])
        if crossing is not None:
            first, last = min(first, crossing[axis]), max(last, crossing[axis])
        start, stop = first - round(margin[axis]), last + 1 + round(margin[axis])
        box.append(slice(max(start, 0), min(stop, n)))
    return box


def resample(plane: np.ndarray, spacing: tuple[float, float], size: tuple[int, int], smooth: bool = True) -> np.ndarray:
    """A plane on a raster of `size` (height, width) pixels that covers the same ground; float32.

    Linear between voxel centres, as viewers do; where pixels are larger than voxels, the mean of several points in each.
    `smooth=False` takes the nearest voxel, for masks.
    """
    finer = [max(1, math.ceil(n / pixels)) if smooth else 1 for n, pixels in zip(plane.shape, size, strict=True)]
    raster = [pixels * times for pixels, times in zip(size, finer, strict=True)]
    image = sitk.GetImageFromArray(np.ascontiguousarray(plane, dtype=np.float32))
    image.SetSpacing(spacing[::-1])
    step = [n * mm / pixels for n, mm, pixels in zip(plane.shape, spacing, raster, strict=True)]
    origin = [(new - old) / 2 for new, old in zip(step, spacing, strict=True)]
    interpolator = sitk.sitkLinear if smooth else sitk.sitkNearestNeighbor
    resampled = sitk.Resample(
        image,
        raster[::-1],
        sitk.Transform(2, sitk.sitkIdentity),
        interpolator,
        origin[::-1],
        step[::-1],
        [1, 0, 0, 1],
        0.0,
    )
    points = sitk.GetArrayFromImage(resampled)
    return points.reshape(size[0], finer[0], size[1], finer[1]).mean(axis=(1, 3))


def tissue(array: np.ndarray) -> np.ndarray:
    """The foreground of an array, bool; voxels without a number are background."""
    finite = np.isfinite(array)
    return foreground(np.where(finite, array, array[finite].min())) & finite


def _profile(inside: np.ndarray, axis: int) -> np.ndarray:
    """How many voxels are inside in each plane along an axis."""
    return np.count_nonzero(inside, axis=tuple(other for other in range(3) if other != axis))
