"""How a lesion stands out from what lies around it on one scan, and how far it reaches there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from .lesion_list import Contrast, Limits

SHELL_MM = (1.5, 5.0)
"""Where the surroundings begin and end, from the lesion's edge."""
WIDE_MM = (6.0, 12.0)
"""Surroundings that a lesion which has grown may not have reached."""
_LEAST_VOXELS = 10
_GROW_MM = 6.0
Box = tuple[slice, slice, slice]


def distance_mm(inside: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance from a mask, 0 within it, mm. `spacing` is in array order."""
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing([float(step) for step in reversed(spacing)])
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayFromImage(distance), 0)


def shell(
    inside: np.ndarray,
    zone: np.ndarray,
    others: np.ndarray,
    spacing: Sequence[float],
    reach_mm: tuple[float, float] = SHELL_MM,
) -> np.ndarray | None:
    """The voxels around a lesion, within the zone and outside of other lesions; None where there are too few.

    In slices thicker than the shell's beginning the neighbouring slices belong to it.
    """
    away = distance_mm(inside, spacing)
    around = (away >= reach_mm[0]) & (away <= max(reach_mm[1], 1.01 * max(spacing))) & zone & ~others & ~inside
    return around if np.count_nonzero(around) >= _LEAST_VOXELS else None


def least_difference(values: np.ndarray, brain: np.ndarray, is_ct: bool, limits: Limits) -> float:
    """The smallest difference that shows on a scan: in HU, or as a share of the brain's range of values."""
    if is_ct or not brain.any():
        return limits.visible_hu
    low, high = np.percentile(values[brain], (0.5, 99.5))
    return limits.visible * float(high - low)


def contrast(values: np.ndarray, inside: np.ndarray, around: np.ndarray, is_ct: bool, least: float) -> Contrast:
    """A lesion against its surroundings on one scan; all arrays are of one shape."""
    mean, median, level = (
        float(v) for v in (values[inside].mean(), np.median(values[inside]), np.median(values[around]))
    )
    ratio = None if is_ct or level <= 0 else mean / level
    return Contrast(mean, median, level, ratio, least)


def contrast_ratio(real: Contrast | None, synthetic: Contrast | None) -> float | None:
    """Contrast on the synthetic over that on the real scan; None where the real one shows none to speak of."""
    if real is None or synthetic is None or not real.shows or not real.difference:
        return None
    if real.ratio is None or synthetic.ratio is None:
        same = real.ratio is None and synthetic.ratio is None
        return synthetic.difference / real.difference if same else None
    return (synthetic.ratio - 1) / (real.ratio - 1)


def extent(
    values: np.ndarray, inside: np.ndarray, found: Contrast, zone: np.ndarray, spacing: Sequence[float]
) -> np.ndarray | None:
    """What of a scan belongs to a lesion at a known place: connected to it, nearer to its value than to the shell's.

    Within 6 mm of the known outline, so that it cannot run off along the cortex. None where nothing there is.
    """
    half = found.around + found.difference / 2
    like = (values > half) if found.difference > 0 else (values < half)
    near = distance_mm(inside, spacing) <= _GROW_MM
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray((like & near & (zone | inside)).astype(np.uint8)), True)
    numbers = sitk.GetArrayViewFromImage(parts)
    touching = np.unique(numbers[inside])
    grown = np.isin(numbers, touching[touching > 0])
    return grown if grown.any() else None
