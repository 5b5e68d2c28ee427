"""What the recogniser looks at: a cube of 3 mm voxels around the object, on a scale that needs no units; and, of that cube,
blocks that show what is where, and a profile that does not depend on how the object lies.

Training and recognition share this file, so that they cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .foreground import foreground_threshold
from .geometry import reorientation
from .recognise_profile import LENGTH, profile
from .resampling import resample_axis

SPACING = 3.0
"""Side of a voxel of the cube, mm."""
SIDE = 84
"""Voxels along each side of the cube: 252 mm."""
BLOCK = 4
"""Voxels of the cube along each side of a block: 12 mm."""
BLOCKS = (4, SIDE // BLOCK, SIDE // BLOCK, SIDE // BLOCK)
"""Shape of the blocks: four channels, then (z, y, x)."""
AXES = "RAS"
"""Orientation of the cube by the scan's header: its axes (z, y, x) run to superior, anterior and right."""

_LOWEST_HU = -1024.0
_TOP = 1.25
"""Highest scaled value; 1 is the 99.5th percentile of the foreground."""
_KNOTS, _TABLE = 33, 2048
_SAMPLES = 60_000


@dataclass(frozen=True)
class View:
    """What the network gets."""

    profile: np.ndarray
    """(LENGTH,), float32; see `recognise_profile`."""
    blocks: np.ndarray
    """`BLOCKS`, float32: means over the blocks of the scaled values, of their rank among the foreground, of the rank's
    distance from the block's mean, and of where the scan has voxels."""
    levels: int
    """Different values among the scan's samples; few for a label map."""

    @property
    def is_flat(self) -> bool:
        """Whether the scan has nothing to see: one value everywhere."""
        return self.levels < 2


@dataclass(frozen=True)
class Cube:
    """A part of the cube that holds all of the scan; beyond it there is nothing."""

    values: np.ndarray
    """(z, y, x), float32: scaled to 0..1.25."""
    ranks: np.ndarray
    """The rank among the foreground, 0.15..1; 0 for the background."""
    start: tuple[int, int, int]
    """Where the part begins in the cube."""


def view(image: sitk.Image) -> View:
    """The view of a scan that `image_io.check_image` accepts: any orientation, size and spacing.

    Voxels that are not finite count as the smallest value.
    """
    reorient = reorientation(image.GetDirection(), AXES)
    array = reorient.forward(sitk.GetArrayViewFromImage(image))
    return look(array, [image.GetSpacing()[2 - axis] for axis in reorient.order])


def look(array: np.ndarray, spacing: Sequence[float]) -> View:
    """The view of voxels (z, y, x) along the cube's axes; `spacing` in mm, in that order."""
    # Every n-th voxel is enough where voxels are far below 3 mm; the mean over what is left takes out the noise.
    steps = [max(1, int(SPACING / 2 / side)) for side in spacing]
    array = np.asarray(array[tuple(slice(None, None, step) for step in steps)], np.float32)
    sides = [side * step for side, step in zip(spacing, steps)]
    finite = np.isfinite(array)
    if not finite.all():
        array = np.where(finite, array, array[finite].min() if finite.any() else 0)
    levels = len(np.unique(_sample(array)))
    cube = _cube(array, sides) if levels > 1 else None
    if cube is None:
        return View(np.zeros(LENGTH, np.float32), np.zeros(BLOCKS, np.float32), levels)
    return View(profile(cube.values, cube.ranks), _blocks(cube), levels)


def _cube(array: np.ndarray, sides: Sequence[float]) -> Cube | None:
    """The cube around the foreground; None where it is constant there."""
    part = array[tuple(slice(start, stop) for start, stop in _box(array, sides))]
    for axis, side in enumerate(sides):
        scale = SPACING / side
        count = min(SIDE, max(1, round(part.shape[axis] / scale)))
        if count != part.shape[axis] or scale != 1:
            part = resample_axis(part, axis, count, scale, "area" if scale > 1 else "linear")
    start = tuple((SIDE - n) // 2 for n in part.shape)
    values = _sample(part)
    if values.min() < _LOWEST_HU:  # padding outside a CT's round field of view
        part, values = np.maximum(part, _LOWEST_HU), np.maximum(values, _LOWEST_HU)
    threshold = foreground_threshold(values)
    front = values[values > threshold]
    low = float(np.percentile(values, 0.5))
    high = float(np.percentile(front, 99.5)) if len(front) else low
    if high <= low:
        return None
    scaled = np.clip((part - low) * np.float32(1 / (high - low)), 0, _TOP)
    # The rank is a curve of the scaled value; a table is ten times as fast as interpolating at every voxel.
    knots = (np.quantile(front, np.linspace(0, 1, _KNOTS)) - low) / (high - low)
    places = (np.arange(_TABLE) + 0.5) * (_TOP / _TABLE)
    table = np.interp(places, knots, np.linspace(0.15, 1, _KNOTS)) * (places > (threshold - low) / (high - low))
    entry = np.minimum((scaled * np.float32(_TABLE / _TOP)).astype(np.int16), _TABLE - 1)
    return Cube(scaled, table.astype(np.float32)[entry], (start[0], start[1], start[2]))


def _blocks(cube: Cube) -> np.ndarray:
    """The four channels of means; a scan covers the blocks at its ends in part."""
    whole = np.zeros((4, SIDE, SIDE, SIDE), np.float32)
    z, y, x = (slice(first, first + n) for first, n in zip(cube.start, cube.values.shape))
    whole[0, z, y, x], whole[1, z, y, x], whole[3, z, y, x] = cube.values, cube.ranks, 1
    means = _means(whole)
    spread = whole[1] - means[1].repeat(BLOCK, 0).repeat(BLOCK, 1).repeat(BLOCK, 2)
    means[2] = _means(np.abs(spread)[None])[0]
    return means


def _means(channels: np.ndarray) -> np.ndarray:
    """Means over blocks, (channels, z, y, x); adding slices is several times as fast as a mean over short axes."""
    for axis in (3, 2, 1):
        every = [slice(None)] * 4
        total = None
        for first in range(BLOCK):
            every[axis] = slice(first, None, BLOCK)
            total = channels[tuple(every)] if total is None else total + channels[tuple(every)]
        channels = total * np.float32(1 / BLOCK)
    return channels


def _sample(values: np.ndarray) -> np.ndarray:
    """A regular sample, about twice as large as wanted at most: percentiles need no more."""
    flat = np.ascontiguousarray(values).reshape(-1)
    step = max(1, len(flat) // _SAMPLES)
    while step > 1 and any(math.gcd(step, n) > 1 for n in values.shape):  # or whole columns would never be seen
        step += 1
    return flat[::step]


def _box(array: np.ndarray, sides: Sequence[float]) -> list[tuple[int, int]]:
    """First and last voxel, exclusive, of a box of the cube's size around the middle of the foreground, by axis."""
    thin = [max(1, int(2 * SPACING / side)) for side in sides]
    coarse = array[tuple(slice(None, None, step) for step in thin)]
    front = coarse > foreground_threshold(_sample(coarse))
    box = []
    for axis, n in enumerate(array.shape):
        share = np.cumsum(front.sum(tuple(other for other in range(3) if other != axis)))
        first, last = np.searchsorted(share, [0.005 * share[-1], 0.995 * share[-1]]) if share[-1] else (0, len(share))
        middle = (first + last + 1) / 2 * thin[axis]
        half = SIDE * SPACING / sides[axis] / 2
        start = max(0, round(middle - half))
        box.append((min(start, n - 1), min(n, max(start + 1, round(middle + half)))))
    return box
