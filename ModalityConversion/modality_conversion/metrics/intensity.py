"""Figures that look at one voxel at a time: error, PSNR, scaling, the affine fit, and the base line of a look-up table.

Arrays are volumes in numpy order (k, j, i) of any float type, masks are bool arrays of the same shape. Nothing here knows
units: a figure is in the units of what goes in. Every sum is taken in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ORACLE_BINS = 256


def mae(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error over the voxels of `mask`, in the volumes' units. nan for an empty mask."""
    if not mask.any():
        return math.nan
    return float(np.abs(np.subtract(synthetic[mask], real[mask], dtype=np.float64)).mean())


def bias(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray) -> float:
    """Mean of synthetic minus real over the voxels of `mask`, in the volumes' units. nan for an empty mask."""
    if not mask.any():
        return math.nan
    return float(np.subtract(synthetic[mask], real[mask], dtype=np.float64).mean())


def psnr(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(data_range^2 / mean squared error) over the voxels of `mask`.

    inf where the two agree in every voxel, nan for an empty mask. The caller clips, where its protocol clips.
    """
    if not mask.any():
        return math.nan
    error = np.subtract(synthetic[mask], real[mask], dtype=np.float64)
    mean_square = float(np.square(error).mean())
    return math.inf if mean_square == 0 else 10 * math.log10(data_range**2 / mean_square)


@dataclass(frozen=True)
class AffineFit:
    """The straight line `slope * value + intercept`."""

    slope: float
    intercept: float

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """The line at every voxel, float64, not clipped."""
        fitted: np.ndarray = volume * np.float64(self.slope)
        fitted += self.intercept
        return fitted


def affine_fit(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray) -> AffineFit:
    """The line that brings `synthetic` closest to `real` in the least-squares sense over the voxels of `mask`.

    Ordinary least squares: slope = cov(p, r) / var(p), intercept = mean(r) - slope * mean(p). A constant `synthetic` has
    no slope; it gets slope 0 and the mean of the real. The slope is negative where the two contrasts run opposite ways.
    """
    r = real[mask].astype(np.float64)
    p = synthetic[mask].astype(np.float64)
    mean_r, mean_p = float(r.mean()), float(p.mean())
    p -= mean_p
    variance = float(p @ p)
    # Rounding of the mean leaves a constant volume with a residue far below any real variation.
    if variance <= p.size * (1e-12 * max(abs(mean_p), np.finfo(np.float64).tiny)) ** 2:
        return AffineFit(0.0, mean_r)
    slope = float(p @ (r - mean_r)) / variance
    return AffineFit(slope, mean_r - slope * mean_p)


def percentile_scale(volume: np.ndarray, mask: np.ndarray, low: float = 0.5, high: float = 99.5) -> np.ndarray:
    """The volume, float64, with its own `low` and `high` percentile inside `mask` mapped to 0 and 1, clipped to [0, 1].

    Percentiles interpolate linearly between ranks (numpy's default). Voxels outside the mask are scaled by the same line.
    Where the two percentiles are equal nothing can be scaled: zeros.
    """
    bottom, top = np.percentile(volume[mask].astype(np.float64), (low, high))
    if not top > bottom:
        return np.zeros(volume.shape)
    scaled: np.ndarray = volume - np.float64(bottom)
    scaled /= top - bottom
    return np.clip(scaled, 0, 1, out=scaled)


def oracle(source: np.ndarray, target: np.ndarray, mask: np.ndarray, bins: int = ORACLE_BINS) -> np.ndarray:
    """The best that a look-up table of grey values can do: each voxel gets the mean target of its source value's bin.

    `source` is scaled to [0, 1]; the bins are equal, [n/bins, (n+1)/bins), the last one closed. The table is fitted on
    the case itself, in the mask, so it knows what no model can know. A value that occurs only outside the mask gets a
    neighbour's entry, interpolated. Returns float64 in the target's units.
    """
    index = np.clip(np.floor(source * np.float64(bins)), 0, bins - 1).astype(np.int16)
    inside = index[mask]
    count = np.bincount(inside, minlength=bins)
    total = np.bincount(inside, weights=target[mask], minlength=bins)
    filled = np.flatnonzero(count)
    table = np.interp(np.arange(bins), filled, total[filled] / count[filled])
    return table[index]
