"""Whether two scans show the same head in the same place, which every comparison of lesions takes for granted.

The correlation ratio (Roche et al., The Correlation Ratio as a New Similarity Measure, 1998), which needs no common contrast:
how much of the one scan a curve of the other explains. If it explains more once one scan is mirrored, it was mirrored.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .errors import ConversionError
from .geometry import axis_codes

_COARSE_MM = 3.0
_BINS = 32
_LEAST = 0.1
"""Below this share explained, two scans have nothing in common; two contrasts of one head have 0.4 and more."""
_BETTER = 0.05
"""A mirrored scan is believed to be mirrored where it explains this much more."""
_SIDES = {"L": "left to right", "R": "left to right", "P": "back to front", "A": "back to front"}


def check_same_head(real: sitk.Image, synthetic: sitk.Image, inside: np.ndarray) -> None:
    """Refuse a pair that cannot be of one head, on one grid; `inside`, bool (k, j, i), is where they are compared.

    Raises ConversionError where one is mirrored or upside down, or where neither explains the other.
    """
    factors = [max(1, round(_COARSE_MM / step)) if n > 1 else 1 for step, n in zip(real.GetSpacing(), real.GetSize())]
    factors = [min(factor, n) for factor, n in zip(factors, real.GetSize())]
    first, second = (
        sitk.GetArrayFromImage(sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), factors))
        for image in (real, synthetic)
    )
    mask = sitk.GetImageFromArray(inside.astype(np.float32))
    where = sitk.GetArrayFromImage(sitk.BinShrink(mask, factors)) > 0.5
    if np.count_nonzero(where) < 200:
        return
    plain = explained(first, second, where)
    for axis, letter in zip((2, 1, 0), axis_codes(real.GetDirection())):
        flipped = explained(first, np.flip(second, axis), where & np.flip(where, axis))
        if flipped > plain + _BETTER:
            how = _SIDES.get(letter, "upside down")
            raise ConversionError(
                f"The synthetic scan is mirrored ({how}) against the real one, so lesions cannot be compared. Check how "
                "it was made or saved."
            )
    if plain < _LEAST:
        raise ConversionError(
            "The two scans do not show the same head in the same place, so lesions cannot be compared. Check that they "
            "belong together."
        )


def explained(of: np.ndarray, by: np.ndarray, where: np.ndarray) -> float:
    """Share of the variance of one array that a curve of the other explains, 0 to 1, in a mask; the better way round."""
    if np.count_nonzero(where) < 50:
        return 0.0
    return max(_ratio(of[where], by[where]), _ratio(by[where], of[where]))


def _ratio(values: np.ndarray, by: np.ndarray) -> float:
    low, high = np.percentile(by, (1, 99))
    values = np.clip(values, *np.percentile(values, (1, 99)))  # one hot voxel is no anatomy
    total = float(values.var())
    if high <= low or total <= 0:
        return 0.0
    bins = np.clip((by - low) / (high - low) * _BINS, 0, _BINS - 1).astype(int)
    count = np.maximum(np.bincount(bins, minlength=_BINS), 1)
    means = np.bincount(bins, values, minlength=_BINS) / count
    return 1 - float(np.mean((values - means[bins]) ** 2)) / total
