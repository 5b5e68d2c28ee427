"""How well neighbouring slices fit together, which whole-image figures hide.

There is no standard; these are the project's definitions. The slice axis is the one the scanner stacked slices along. A
derivative is the difference between two neighbouring voxels that both lie in the mask, per voxel step, not per millimetre:
along the slice axis it is the jump seen when paging from one slice to the next. In the ratio the spacing cancels.

Arrays are volumes in numpy order (k, j, i); axes are array axes, so SimpleITK's axis i is 2 and k is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .structure import mean_in, ssim_map


def slice_axis(spacing: Sequence[float]) -> int:
    """The array axis that slices were stacked along, from the spacing (i, j, k) in mm: the axis with the largest spacing.

    Of axes within 1 % of the largest the last one counts, so an isotropic volume has slices along k, array axis 0.
    """
    largest = max(spacing)
    last = max(axis for axis, step in enumerate(spacing) if step >= 0.99 * largest)
    return len(spacing) - 1 - last


def mean_step(volume: np.ndarray, mask: np.ndarray, axis: int) -> float:
    """Mean absolute difference between neighbours along an array axis, both in the mask, per voxel step; nan without any."""
    steps = _steps(volume, mask, axis)
    return float(np.abs(steps).mean()) if steps.size else math.nan


def through_plane_ratio(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray, axis: int) -> float:
    """R: (mean |d/dz| / mean |d/dxy|) of the synthetic volume divided by the same of the real one, in the mask.

    z is the slice axis; mean |d/dxy| is the mean of the two in-plane axes' `mean_step`. 1 is as the real scan: above 1 the
    slices flicker, below 1 they are smeared into one another. nan where a volume is flat in plane, or the real along z.
    """
    numerator, denominator = (_anisotropy(volume, mask, axis) for volume in (synthetic, real))
    return numerator / denominator if denominator else math.nan


def step_error(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray, axis: int) -> float:
    """Mean |d/dz(synthetic) - d/dz(real)| along the slice axis in the mask, in the volumes' units per slice.

    nan where no two neighbours lie in the mask.
    """
    errors = _steps(synthetic, mask, axis) - _steps(real, mask, axis)
    return float(np.abs(errors).mean()) if errors.size else math.nan


def plane_ssim(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray, data_range: float, axis: int) -> float:
    """SSIM of each plane perpendicular to an array axis (7 x 7 window), averaged over all voxels of the mask.

    On the planes that contain the slice axis, the reformats, it shows steps between slices. nan for an empty mask. Raises
    ValueError where a plane is smaller than the window.
    """
    return mean_in(ssim_map(real, synthetic, data_range, flat=axis, within=mask), mask)


def _anisotropy(volume: np.ndarray, mask: np.ndarray, axis: int) -> float:
    in_plane = [mean_step(volume, mask, other) for other in range(3) if other != axis]
    mean_in_plane = sum(in_plane) / len(in_plane)
    return mean_step(volume, mask, axis) / mean_in_plane if mean_in_plane else math.nan


def _steps(volume: np.ndarray, mask: np.ndarray, axis: int) -> np.ndarray:
    """Differences between neighbours along an axis where both are in the mask, float64, one dimension."""
    line, inside = np.moveaxis(volume, axis, 0), np.moveaxis(mask, axis, 0)
    both = inside[1:] & inside[:-1]
    return np.subtract(line[1:][both], line[:-1][both], dtype=np.float64)
