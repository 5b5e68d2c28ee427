"""Structural similarity (SSIM) with uniform windows, in three dimensions, in a plane, and over scales.

SSIM: Wang et al., IEEE Trans. Image Processing 13(4), 2004, with k1 = 0.01 and k2 = 0.03. The window is uniform and the
variances are the sample's (divided by n - 1), which are the defaults of scikit-image; beyond the volume's faces it is
mirrored, the outermost voxel repeated (`symmetric` in numpy, `reflect` in scipy). MS-SSIM: Wang et al., Asilomar 2003, as
the SynthRAD2025 challenge computes it.

Arrays are volumes in numpy order (k, j, i), masks bool of the same shape. All sums are in float64: a box is summed by
adding shifted copies, never as the difference of two long cumulative sums, so nothing cancels. Volumes are worked through
in slabs, which keeps the extra memory below one volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

WINDOW = 7
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SMALLEST = 97
_K1, _K2 = 0.01, 0.03
_SLAB = 16


def ssim_map(
    real: np.ndarray,
    synthetic: np.ndarray,
    data_range: float,
    *,
    flat: int | None = None,
    within: np.ndarray | None = None,
) -> np.ndarray:
    """SSIM of the 7-voxel window around each voxel; float64, the volumes' shape.

    `flat`: an array axis along which the window is one voxel thick, for the SSIM of each plane on its own (7 x 7); None for
    7 x 7 x 7. `within`: a mask; only its bounding box is computed, the rest is nan. Voxels near a face see the mirrored
    volume. Raises ValueError where an axis of the window is longer than the volume.
    """
    window = _window(real.shape, flat)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    result = np.full(real.shape, math.nan)
    for place, x, y in _slabs(real, synthetic, window, within):
        mean_x, mean_y = _box_mean(x, window), _box_mean(y, window)
        product = mean_x * mean_y
        squares = mean_x * mean_x
        squares += mean_y * mean_y
        unbias = _unbias(window)
        covariance = unbias * (_box_mean(x * y, window) - product)
        variances = unbias * (_box_mean(x * x + y * y, window) - squares)
        result[place] = ((2 * product + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))
    return result


def mean_in(values: np.ndarray, mask: np.ndarray, crop: int = 0) -> float:
    """Mean of `values` over the voxels of `mask` that lie at least `crop` voxels from every face; nan where there are none."""
    inner = tuple(slice(crop, n - crop) for n in mask.shape)
    chosen = values[inner][mask[inner]]
    return float(chosen.mean(dtype=np.float64)) if chosen.size else math.nan


def ssim(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray, data_range: float, crop: int = 0) -> float:
    """Mean of the 7 x 7 x 7 `ssim_map` over `mask`, leaving out `crop` voxels at every face (SynthRAD: 3).

    nan for an empty mask. Raises ValueError for a volume of fewer than 7 voxels along an axis.
    """
    return mean_in(ssim_map(real, synthetic, data_range, within=mask), mask, crop)


def ms_ssim(real: np.ndarray, synthetic: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    """Multi-scale SSIM in the mask as SynthRAD2025 computes it (github.com/SynthRAD2025/evaluation, image_metrics.py).

    Values must be 0 at the low end of the range and outside the mask. At each of five scales: luminance, contrast and
    structure, negatives set to 0, each to the power of that scale's weight (the challenge takes luminance at every scale,
    the paper at the last one only); the mean over the mask, three voxels at every face left out; the product over scales.
    Between scales: 2 x 2 x 2 box means of voxels 2n - 1 and 2n with zeros before the volume; the mask keeps every other
    voxel. A volume of fewer than 97 voxels along an axis is first padded to 97 there, half before and half after, by
    repeating its faces, mask included. nan where a scale has no voxel of the mask left.
    """
    lacking = [max(MS_SMALLEST - n, 0) for n in real.shape]
    margins = [(n // 2, n - n // 2) for n in lacking]
    x, y, inside = (np.pad(volume, margins, mode="edge") for volume in (real, synthetic, mask))
    result = 1.0
    for scale, weight in enumerate(MS_WEIGHTS):
        if scale:
            x, y, inside = _halve(x), _halve(y), inside[::2, ::2, ::2]
        score = mean_in(_weighted_map(x, y, data_range, weight, inside), inside, crop=WINDOW // 2)
        result *= min(max(score, 0.0), 1.0) if not math.isnan(score) else math.nan
    return result


def _weighted_map(
    real: np.ndarray, synthetic: np.ndarray, data_range: float, weight: float, within: np.ndarray
) -> np.ndarray:
    """(luminance * contrast * structure) ** weight for 7 x 7 x 7 windows, each part not below 0; nan outside `within`'s box."""
    window = _window(real.shape, None)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    result = np.full(real.shape, math.nan)
    for place, x, y in _slabs(real, synthetic, window, within):
        mean_x, mean_y = _box_mean(x, window), _box_mean(y, window)
        unbias = _unbias(window)
        variance_x = unbias * (_box_mean(x * x, window) - mean_x * mean_x)
        variance_y = unbias * (_box_mean(y * y, window) - mean_y * mean_y)
        covariance = unbias * (_box_mean(x * y, window) - mean_x * mean_y)
        deviations = np.sqrt(np.maximum(variance_x, 0) * np.maximum(variance_y, 0))
        luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
        contrast = (2 * deviations + c2) / (variance_x + variance_y + c2)
        structure = (covariance + c2 / 2) / (deviations + c2 / 2)
        parts = np.maximum(luminance, 0) * np.maximum(contrast, 0) * np.maximum(structure, 0)
        result[place] = parts**weight
    return result


def _halve(volume: np.ndarray) -> np.ndarray:
    """2 x 2 x 2 box means of voxels 2n - 1 and 2n, zeros before the volume; shape (n + 1) // 2 along each axis."""
    for axis in range(3):
        before = [(0, 0)] * 3
        before[axis] = (1, 0)
        line = np.moveaxis(np.pad(volume, before), axis, 0)
        count = (volume.shape[axis] + 1) // 2
        volume = np.moveaxis((line[: 2 * count : 2] + line[1 : 2 * count : 2]) / 2, 0, axis)
    return volume


def _window(shape: tuple[int, ...], flat: int | None) -> tuple[int, ...]:
    """The window's size along each array axis. Raises ValueError where it is longer than the volume."""
    window = tuple(1 if axis == flat else WINDOW for axis in range(len(shape)))
    if any(size > n for size, n in zip(window, shape)):
        raise ValueError(f"SSIM needs at least {WINDOW} voxels along each axis of its window; the array is {shape}.")
    return window


def _unbias(window: tuple[int, ...]) -> float:
    """n / (n - 1): from the mean square in the window to the sample's variance."""
    count = math.prod(window)
    return count / (count - 1)


def _slabs(
    real: np.ndarray, synthetic: np.ndarray, window: tuple[int, ...], within: np.ndarray | None
) -> Iterator[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
    """Slabs along array axis 0 that cover the bounding box of `within`: where each belongs, and both volumes there in
    float64 with the window's half added all round, mirrored beyond the faces."""
    box = tuple(slice(0, n) for n in real.shape) if within is None else bounding_box(within)
    halves = [size // 2 for size in window]
    for start in range(box[0].start, box[0].stop, _SLAB):
        place = (slice(start, min(start + _SLAB, box[0].stop)), *box[1:])
        rows = [mirrored(s.start - h, s.stop + h, n) for s, h, n in zip(place, halves, real.shape)]
        grid = np.ix_(*rows)
        yield place, real[grid].astype(np.float64, copy=False), synthetic[grid].astype(np.float64, copy=False)


def mirrored(start: int, stop: int, count: int) -> np.ndarray:
    """Indices start..stop of an axis of `count` voxels mirrored at its faces: -1 is 0, -2 is 1, count is count - 1."""
    index = np.arange(start, stop) % (2 * count)
    return np.where(index < count, index, 2 * count - 1 - index)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds the mask, as one slice an axis; empty slices at 0 for an empty mask."""
    box = []
    for axis in range(mask.ndim):
        hits = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1) if hits.size else slice(0, 0))
    return tuple(box)


def _box_mean(padded: np.ndarray, window: tuple[int, ...]) -> np.ndarray:
    """Mean of each full window of a padded array; each axis is shorter by the window's size less one."""
    total = padded
    for axis, width in enumerate(window):
        total = _running_sum(total, width, axis)
    return total / math.prod(window)


def _running_sum(values: np.ndarray, width: int, axis: int) -> np.ndarray:
    """Sums of `width` neighbours along an axis, put together from sums of 1, 2, 4, ... neighbours."""
    line = np.moveaxis(values, axis, 0)
    count = line.shape[0] - width + 1
    total: np.ndarray | None = None
    offset, length = 0, 1
    while True:
        if width & length:
            part = line[offset : offset + count]
            total = part if total is None else total + part
            offset += length
        if 2 * length > width:
            assert total is not None
            return np.moveaxis(total, 0, axis)
        line = line[:-length] + line[length:]
        length *= 2
