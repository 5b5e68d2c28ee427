"""What the crude lesion check looks at: each voxel of a real and a synthetic scan against its surroundings, at several scales.

Everything is computed on a coarser grid of about 2 mm, and in mm, so that thick slices and fine ones are treated alike.
Gaussian scale space as in Lindeberg (1998); means are normalised by what lies within the head (Knutsson and Westin 1993).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk

from .foreground import foreground_threshold
from .modality import Modality

STEP_MM = 2.0
"""Side of a voxel of the grid that is looked at, about."""
SCALES_MM = (1.2, 2.5, 5.0, 10.0)
"""Standard deviations of the Gaussians."""
SOURCES = (Modality.CT, Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD)
"""In the order of the code for a scan's modality."""
_BODY_HU = -500.0
_CT_CLIP = (-100.0, 160.0)
_CT_UNIT = 40.0
_DEEP_MM = 20.0
_DEEPEST_MM = 60.0
_BINS = 24
_LEAST_IN_BIN = 12
_MOST_UNUSUAL = 6.0


@dataclass(frozen=True)
class Looked:
    """Features of the voxels within the head, and the way back."""

    values: np.ndarray
    """float32, (voxels, features)."""
    inside: np.ndarray
    """bool (k, j, i): the voxels looked at, on the coarse grid."""
    grid: sitk.Image
    """The coarse grid; only its geometry counts."""


def look(
    real: sitk.Image, synthetic: sitk.Image, kinds: tuple[Modality, Modality], zone: np.ndarray | None = None
) -> Looked | None:
    """Features of a pair of scans on one grid, with finite voxels; None where there is no head to look at.

    `kinds` are the modalities of the real and the synthetic scan. `zone`, bool (k, j, i) of that grid, limits what is
    looked at; else it is the head.
    """
    pair = [coarse(image) for image in (real, synthetic)]
    grid = pair[0]
    spacing = tuple(reversed(grid.GetSpacing()))
    head = head_zone(grid, kinds[0]) & head_zone(pair[1], kinds[1], strict=False)
    if zone is not None:
        part = sitk.GetImageFromArray(zone.astype(np.float32))
        part.CopyInformation(real)
        head &= sitk.GetArrayViewFromImage(coarse(part)) > 0.5
    if np.count_nonzero(head) < 500:
        return None
    depth = depth_mm(head, spacing)
    scaled = [in_brain_units(sitk.GetArrayViewFromImage(image), head, depth, kind) for image, kind in zip(pair, kinds)]
    if any(one is None for one in scaled):
        return None
    blur = Blur(head, spacing)
    columns: list[np.ndarray] = []
    maps: list[list[np.ndarray]] = []
    for one in scaled:
        assert one is not None
        levels = [blur(one, mm) for mm in SCALES_MM]
        spread = np.sqrt(np.maximum(blur(one * one, SCALES_MM[1]) - levels[1] ** 2, 0))
        maps.append(levels)
        columns += [levels[0], spread, *(fine - wide for fine, wide in itertools.pairwise(levels)), levels[-1]]
    for of, by in ((0, 1), (1, 0)):
        rest, unusual = left_over(maps[of], maps[by])
        columns += [rest, blur(rest, SCALES_MM[1]), blur(rest, SCALES_MM[2])]
        seen = [blur(unusual, mm) for mm in SCALES_MM[:3]]
        columns += [*seen, seen[1] - blur(unusual, SCALES_MM[3])]
    columns = [column[head] if column.ndim == 3 else column for column in columns]
    columns.append(np.minimum(depth[head], _DEEPEST_MM) / 30)
    n = len(columns[0])
    for of in (0, 1):
        low, high = np.percentile(columns[6 * of], (25, 75))
        columns.append(np.full(n, high - low))
    for kind in kinds:
        columns += [np.full(n, float(kind is one)) for one in SOURCES]
    return Looked(np.stack(columns, axis=1).astype(np.float32), head, grid)


def coarse(image: sitk.Image) -> sitk.Image:
    """The mean of blocks of voxels, float32, about `STEP_MM` a side; an axis whose voxels are as long already stays."""
    factors = [max(1, round(STEP_MM / side)) if n > 1 else 1 for side, n in zip(image.GetSpacing(), image.GetSize())]
    factors = [min(f, n) for f, n in zip(factors, image.GetSize())]
    return sitk.Cast(sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), factors), sitk.sitkFloat32)


def head_zone(image: sitk.Image, kind: Modality, strict: bool = True) -> np.ndarray:
    """Where the head, or what a stripped scan has left of it, is: bool (k, j, i). Not `strict`: only a CT's air is left out.

    Above -500 HU, or above the foreground's threshold, which unlike Otsu's keeps a dark brain within a bright scalp; the
    largest part, holes filled.
    """
    array = sitk.GetArrayViewFromImage(image)
    is_ct = kind in (Modality.CT, Modality.CBCT)
    if not strict:
        return array > _BODY_HU if is_ct else np.ones(array.shape, bool)
    filled = array != 0
    if not is_ct and 0.01 < filled.mean() < 0.9 and compare_to_foreground(array, filled) >= 0.8:
        return filled
    above = array > (_BODY_HU if is_ct else foreground_threshold(array))
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(above.astype(np.uint8)))
    numbers = sitk.GetArrayViewFromImage(parts)
    sizes = np.bincount(numbers.ravel())
    if sizes.size < 2:
        return np.zeros(array.shape, bool)
    largest = numbers == 1 + int(np.argmax(sizes[1:]))
    return filled_planes(largest)


def compare_to_foreground(array: np.ndarray, filled: np.ndarray) -> float:
    """Share of the voxels that are not exactly 0 that are foreground: high in a stripped scan, which has no faint noise."""
    return float(np.mean(array[filled] > foreground_threshold(array)))


def filled_planes(mask: np.ndarray) -> np.ndarray:
    """A mask with the holes of its planes filled, along each axis: a nostril opens a head in 3D, but hardly in a plane."""
    filled = mask
    for axis in range(3):
        if mask.shape[axis] > 1:
            planes = np.ascontiguousarray(np.moveaxis(mask, axis, 0)).astype(np.uint8)
            whole = [sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(plane))) for plane in planes]
            filled = filled | (np.moveaxis(np.stack(whole), 0, axis) != 0)
    return filled


def depth_mm(inside: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """How far below the surface each voxel lies, mm; the volume's faces are no surface."""
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing(list(reversed(spacing)))
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    return np.clip(sitk.GetArrayFromImage(distance), 0, 1e3)


def in_brain_units(array: np.ndarray, head: np.ndarray, depth: np.ndarray, kind: Modality) -> np.ndarray | None:
    """Values that scans of a modality share: CT over 40 HU; others over their median deep in the head. None: nothing there."""
    if kind in (Modality.CT, Modality.CBCT):
        return (np.clip(array, *_CT_CLIP) / _CT_UNIT).astype(np.float32)
    deep = head & (depth > min(_DEEP_MM, 0.4 * float(depth.max())))
    values = array[deep]
    values = values[values > 0.2 * np.percentile(values, 95)]
    if values.size < 50 or not np.median(values) > 0:
        return None
    return np.clip(array / np.median(values), 0, 5).astype(np.float32)


class Blur:
    """Gaussian means over what lies inside, in mm; one matrix product an axis."""

    def __init__(self, inside: np.ndarray, spacing: Sequence[float]) -> None:
        self.inside, self.spacing = inside, spacing
        self._weights: dict[float, np.ndarray] = {}

    def __call__(self, array: np.ndarray, mm: float) -> np.ndarray:
        """The mean with a Gaussian of that standard deviation; 0 outside."""
        if mm not in self._weights:
            self._weights[mm] = np.maximum(self._blurred(self.inside.astype(np.float32), mm), 1e-3)
        return np.where(self.inside, self._blurred(np.where(self.inside, array, 0), mm) / self._weights[mm], 0)

    def _blurred(self, array: np.ndarray, mm: float) -> np.ndarray:
        for axis, step in enumerate(self.spacing):
            matrix = _gaussian(array.shape[axis], mm / step)
            moved = np.moveaxis(array, axis, 0)
            product = matrix @ moved.reshape(moved.shape[0], -1)
            array = np.moveaxis(product.reshape(moved.shape), 0, axis)
        return array


@lru_cache(maxsize=64)
def _gaussian(n: int, sigma: float) -> np.ndarray:
    place = np.arange(n)
    weights = np.exp(-0.5 * ((place[:, None] - place) / max(sigma, 1e-3)) ** 2)
    weights /= np.exp(-0.5 * (np.arange(-n, n + 1) / max(sigma, 1e-3)) ** 2).sum()
    return weights.astype(np.float32)


def left_over(of: Sequence[np.ndarray], by: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What of one scan the other does not explain in this very head, and how unusual that is.

    The finest level minus its mean at like places, and the same over its standard deviation there, at most 6. Like places:
    the other scan's value there and around there (first and third level) fall in one bin of a table.
    """
    inside = by[0] != 0
    if not inside.any():
        nothing = np.zeros(of[0].shape, np.float32)
        return nothing, nothing
    codes = np.zeros(np.count_nonzero(inside), np.int64)
    for level in (by[0], by[2]):
        here = level[inside]
        low, high = np.percentile(here, (1, 99))
        codes = codes * _BINS + np.clip((here - low) / max(high - low, 1e-6) * _BINS, 0, _BINS - 1).astype(np.int64)
    values = of[0][inside]
    mean = _table(codes, values)[codes]
    rest = values - mean
    deviation = np.sqrt(_table(codes, rest * rest)[codes] + (0.02 * float(values.std()) + 1e-6) ** 2)
    volumes = np.zeros((2, *of[0].shape), np.float32)
    volumes[0][inside] = rest
    volumes[1][inside] = np.clip(rest / deviation, -_MOST_UNUSUAL, _MOST_UNUSUAL)
    return volumes[0], volumes[1]


def _table(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean of each bin; one with few voxels leans on those of the same value at the place itself."""
    count = np.bincount(codes, minlength=_BINS**2).reshape(_BINS, _BINS)
    total = np.bincount(codes, values, minlength=_BINS**2).reshape(_BINS, _BINS)
    row = total.sum(1, keepdims=True) / np.maximum(count.sum(1, keepdims=True), 1)
    means: np.ndarray = ((total + _LEAST_IN_BIN * row) / (count + _LEAST_IN_BIN)).ravel()
    return means
