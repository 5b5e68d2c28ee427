"""Putting tiles and planes together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .sampler import Tiling


def blending_weights(tiling: Tiling, fusion: str) -> np.ndarray:
    """The weight of each voxel of one tile's output: float32, shape `box_out` for patches, (slices, 1, 1) for slabs.

    `gaussian` weighs as MONAI's `compute_importance_map`: sigma is an eighth of the tile, along every axis of a patch and
    along the slices of a slab, and no weight is below the smallest one or 0.001.
    """
    shape = _varying(tiling, tiling.box_out)
    weights = np.ones(shape, dtype=np.float64)
    if fusion == "gaussian":
        for axis, n in enumerate(shape):
            x = np.arange(n) - (n - 1) / 2
            line = np.exp(-(x**2) / (2 * (0.125 * n) ** 2))
            weights = weights * line.reshape([-1 if a == axis else 1 for a in range(3)])
        weights = np.maximum(weights, max(weights.min(), 1e-3))
    return weights.astype(np.float32)


def _varying(tiling: Tiling, box: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape of something that is the same all over a slice: only patches vary in all three axes."""
    return box if tiling.is_patch else (box[0], 1, 1)


class Blend:
    """A weighted sum of tile outputs, and their weighted mean in the end."""

    def __init__(self, tiling: Tiling, weights: np.ndarray, channels: int) -> None:
        self._tiling = tiling
        self._weights = weights
        self._even = bool((weights == 1).all())
        self._sum = np.zeros((channels, *tiling.accumulator), dtype=np.float32)

    def add(self, start: np.ndarray, tile: np.ndarray) -> None:
        """Add one tile's output, shape (channels, *box_out)."""
        where = (slice(None), *self._tiling.region_out(start))
        region = self._sum[where]
        region += tile if self._even else tile * self._weights

    def mean(self, starts: np.ndarray, nothing: Sequence[float]) -> np.ndarray:
        """The weighted mean of the tiles at `starts`; see `weighted_mean`."""
        return weighted_mean(self._sum, self._tiling, starts, self._weights, nothing)


def weighted_mean(
    total: np.ndarray, tiling: Tiling, starts: np.ndarray, weights: np.ndarray, nothing: Sequence[float]
) -> np.ndarray:
    """The weighted sum of the tiles at `starts`, shape (channels, *accumulator), over the sum of their weights.

    Shape (channels, *grid); `nothing`, a number a channel, where no tile reached. The sum is divided in place.
    """
    divisor = np.zeros(_varying(tiling, tiling.accumulator), dtype=np.float32)
    axes = 3 if tiling.is_patch else 1
    for start in starts:
        divisor[tiling.region_out(start)[:axes]] += weights
    untouched = divisor == 0
    divisor[untouched] = 1
    if (divisor != 1).any():
        total /= divisor
    if untouched.any():
        for channel, value in zip(total, nothing):
            channel[np.broadcast_to(untouched, channel.shape)] = value
    return tiling.unpad(total)


def fuse_planes(planes: Sequence[np.ndarray], fusion: str) -> np.ndarray:
    """One volume of several, voxel by voxel: the median for `median`, else the mean."""
    if len(planes) == 1:
        return planes[0]
    if len(planes) == 3 and fusion == "median":  # the usual case; numpy's median is sixty times slower
        a, b, c = planes
        return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return np.median(planes, axis=0) if fusion == "median" else np.mean(planes, axis=0)
