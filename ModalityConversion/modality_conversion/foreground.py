"""What counts as foreground: the one definition that scopes, crops, skipping and default masks share."""

from __future__ import annotations

import math

import numpy as np

# Above this many voxels the threshold is taken from every n-th voxel: it is a level between tissue and air, and the
# percentiles of a million voxels place it as well as those of ten million, in a tenth of the time.
_SAMPLES = 1_000_000


def robust_range(array: np.ndarray) -> tuple[float, float]:
    """The 2nd and 98th percentile of an array of any shape; of a regular subsample where it is large."""
    step = max(1, array.size // _SAMPLES)
    while any(math.gcd(step, n) > 1 for n in array.shape):  # or some slices or columns would never be seen
        step += 1
    low, high = np.percentile(array.reshape(-1)[::step], (2, 98))
    return float(low), float(high)


def foreground_threshold(array: np.ndarray) -> float:
    """The level between background and tissue: 2nd percentile + 10 % of the way to the 98th.

    This is the robust-range threshold of FSL (BET, Smith 2002). Where the 2nd and 98th percentile coincide, as in a small
    object on an empty field, the smallest and largest value take their place.
    """
    low, high = robust_range(array)
    if low == high:
        low, high = float(array.min()), float(array.max())
    return low + 0.1 * (high - low)


def foreground(array: np.ndarray) -> np.ndarray:
    """The voxels above the threshold: bool, same shape. All False for a constant array."""
    return array > foreground_threshold(array)
