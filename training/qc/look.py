"""A scan as the checks look at it: slices in the order they were made, air at 0, and where the body is."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from modality_conversion.grid import on_grid_of
from modality_conversion.masks import head_otsu
from modality_conversion.modality import Modality
from training.data.images import AIR, nothing
from training.data.pack import slice_axis

BLUR = 2.0
"""mm; what is left of the noise where the body is looked for."""
AROUND = 15.0
"""mm around the bright part of the body in which its faint part may lie."""
FAINT = 0.15
"""Fraction of the body's median below which a pixel shows nothing."""


@dataclass(frozen=True)
class Look:
    """`slices`: (slices, rows, columns), float32, 0 for air. `pixel`: mm a row and a column. `image`: the scan as stored."""

    path: Path
    modality: Modality
    person: str
    image: sitk.Image
    slices: NDArray[np.float32]
    pixel: tuple[float, float]

    @cached_property
    def body(self) -> NDArray[np.bool_]:
        """Where the body is, its holes filled: like `slices`.

        The engine's head mask of the blurred scan, or strong noise in the air would be body; and what around it is brighter
        than the air farther off, or a faint scalp, as on a FLAIR without fat, would be air.
        """
        calm = self.smooth(BLUR)
        stored = np.moveaxis(calm, 0, 2 - slice_axis(self.image))
        bright = _along_slices(self.image, sitk.GetArrayFromImage(head_otsu(on_grid_of(self.image, stored))) > 0)
        near = self._within(bright, 2 * AROUND)
        far = calm[~near]
        if far.size < 1000:
            return bright
        usual = float(np.median(far))
        spread = 1.4826 * float(np.median(np.abs(far - usual)))
        level = float(np.median(calm[bright]))
        shown = (calm > usual + 6 * spread + 0.03 * level) & self._within(bright, AROUND) | bright
        filled = [
            sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(p.astype(np.uint8)))) for p in shown
        ]
        return np.stack(filled) > 0

    def _within(self, mask: NDArray[np.bool_], millimetres: float) -> NDArray[np.bool_]:
        """What is within so many mm of a mask along rows and columns, in its slice or the next."""
        reach = [max(1, round(millimetres / side)) for side in self.pixel]
        found: NDArray[np.bool_] = ndimage.maximum_filter(mask, (3, 2 * reach[0] + 1, 2 * reach[1] + 1))
        return found

    @cached_property
    def level(self) -> float:
        """The median of the body, the unit of every other figure."""
        inside = self.slices[self.body]
        return float(np.median(inside[inside > 0])) if (inside > 0).any() else 1.0

    @cached_property
    def air(self) -> NDArray[np.bool_]:
        """What is surely not body: 8 mm and more away from it."""
        return ~self._within(self.body, 8)

    def area(self) -> NDArray[np.float64]:
        """Body in each slice, cm^2, judged slice by slice: the mask of the body closes over a slice that is missing."""
        shown = self.body & (self.smooth(BLUR) > FAINT * self.level)
        filled = [sitk.BinaryFillhole(sitk.GetImageFromArray(plane.astype(np.uint8))) for plane in shown]
        counts = [np.count_nonzero(sitk.GetArrayViewFromImage(plane)) for plane in filled]
        return np.array(counts) * self.pixel[0] * self.pixel[1] / 100

    def smooth(self, millimetres: float) -> NDArray[np.float32]:
        """The slices, each blurred by a Gaussian of so many mm."""
        return blurred(self.slices, self.pixel, millimetres)


def look(image: sitk.Image, path: Path, modality: Modality, person: str) -> Look:
    """Look at a scan (float32, finite)."""
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    if nothing(modality) == AIR:
        values = np.clip(values - AIR, 0, None)
    axis = slice_axis(image)
    rows, columns = [a for a in (2, 1, 0) if a != axis]  # (z, y, x) without the slices' axis
    pixel = (float(image.GetSpacing()[rows]), float(image.GetSpacing()[columns]))
    return Look(path, modality, person, image, _along_slices(image, values), pixel)


def _along_slices(image: sitk.Image, array: NDArray[np.generic]) -> NDArray:
    """An array (z, y, x) with the slices' axis first."""
    return np.ascontiguousarray(np.moveaxis(array, 2 - slice_axis(image), 0))


def blurred(slices: NDArray[np.float32], pixel: tuple[float, float], millimetres: float) -> NDArray[np.float32]:
    """Slices, each blurred by a Gaussian."""
    found: NDArray[np.float32] = ndimage.gaussian_filter(slices, (0, millimetres / pixel[0], millimetres / pixel[1]))
    return found
