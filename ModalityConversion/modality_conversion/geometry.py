"""From the stored grid to the grid the network sees, and exactly back.

The declared geometry becomes a list of steps for one volume, a `GridMap`; a mask or a second scan on the same stored grid
takes the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .errors import ConversionError
from .foreground import foreground, robust_range
from .resampling import new_length
from .steps import Crop, GridMap, Pad, Reorient, Resample

if TYPE_CHECKING:
    from .schema import Geometry

# Axis and sign of each letter in ITK's world, where x runs to the left, y to posterior, z to superior.
_LPS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}

_LARGEST = 1_000_000_000  # voxels; a scan of 1024 x 1024 x 900 still fits


def plan_grid(image: sitk.Image, array: np.ndarray, geometry: Geometry) -> tuple[GridMap, np.ndarray]:
    """The way to the network's grid, and the image's voxels there.

    `array` holds the voxels, (k, j, i); it is given because they may have been corrected since the image was read.
    Raises ConversionError for a grid that no memory would hold.
    """
    steps: list[Reorient | Resample | Crop | Pad] = []
    fill = padding(geometry, array)
    reorient = reorientation(image.GetDirection(), geometry.axcodes, geometry.array_order)
    spacing = tuple(image.GetSpacing()[2 - axis] for axis in reorient.order)

    def take(step: Reorient | Resample | Crop | Pad) -> None:
        nonlocal array
        if not isinstance(step, Reorient) and math.prod(step.after) > _LARGEST:
            raise ConversionError(
                f"The model's grid for this scan would have {' x '.join(map(str, step.after))} voxels. Check the scan's "
                f"size {image.GetSize()} and voxel size {image.GetSpacing()} mm."
            )
        steps.append(step)
        array = step.forward(array, fill)

    take(reorient)
    if geometry.spacing is not None:
        wanted = tuple(new or old for new, old in zip(geometry.spacing, spacing))
        scale = tuple(1.0 if abs(new / old - 1) < 1e-6 else new / old for new, old in zip(wanted, spacing))
        after = tuple(new_length(n, s) for n, s in zip(array.shape, scale))
        take(Resample(array.shape, after, scale, geometry.interpolation))
    if geometry.crop is not None:
        take(_foreground_box(array) if geometry.crop == "foreground" else _centre_crop(array.shape, geometry.crop))
    if geometry.resize is not None:
        after = _resized(array.shape, geometry)
        scale = tuple(old / new for old, new in zip(array.shape, after))
        # Sizes are what the peers' models were trained with, so `area` means here what PyTorch means by it.
        averaging = "adaptive" if geometry.interpolation == "area" else geometry.interpolation
        take(Resample(array.shape, after, scale, averaging))
    if geometry.pad_to is not None:
        take(Pad(array.shape, tuple(max(n, to or n) for n, to in zip(array.shape, geometry.pad_to))))
    if geometry.pad_multiple is not None:
        take(Pad(array.shape, tuple(-(-n // m) * m for n, m in zip(array.shape, _multiples(geometry.pad_multiple)))))
    changing = tuple(step for step in steps if not _does_nothing(step))
    return GridMap(changing), array


def padding(geometry: Geometry, array: np.ndarray) -> float:
    """What a scan with these voxels is padded with."""
    return robust_range(array)[0] if geometry.pad_value == "background" else geometry.pad_value


def axis_codes(direction: Sequence[float]) -> str:
    """Where the axes i, j, k of a stored grid run, as three letters: `LPS` for an identity direction in ITK.

    `direction` holds nine numbers in rows, in LPS. An oblique axis gets the letter it is closest to, no two the same pair.
    """
    matrix = np.array(direction, dtype=float).reshape(3, 3)
    # Column a is stored axis a; its world axis is chosen so that all three fit best together.
    worlds = max(permutations(range(3)), key=lambda p: sum(abs(matrix[p[a], a]) for a in range(3)))
    letters = {value: letter for letter, value in _LPS.items()}
    return "".join(letters[w, 1 if matrix[w, a] >= 0 else -1] for a, w in enumerate(worlds))


def reorientation(direction: Sequence[float], axcodes: str | None, array_order: str = "kji") -> Reorient:
    """From the stored array, (k, j, i), to an orientation, `axcodes` in MONAI's letters, and array order; None: as stored."""
    stored = [_LPS[letter] for letter in axis_codes(direction)]
    wanted = [_LPS[letter] for letter in axcodes] if axcodes else stored
    source = [next(a for a, (world, _) in enumerate(stored) if world == w) for w, _ in wanted]
    flipped = [stored[a][1] != sign for a, (_, sign) in zip(source, wanted)]
    if array_order == "kji":
        source, flipped = source[::-1], flipped[::-1]
    order = (2 - source[0], 2 - source[1], 2 - source[2])
    return Reorient(order, tuple(axis for axis, flip in enumerate(flipped) if flip))


def _foreground_box(array: np.ndarray) -> Crop:
    inside = foreground(array)
    start, after = [], []
    for axis, n in enumerate(array.shape):
        hits = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = (hits[0], hits[-1] + 1) if len(hits) else (0, n)
        start.append(int(first))
        after.append(int(last - first))
    return Crop(tuple(start), array.shape, tuple(after))


def _centre_crop(shape: Sequence[int], wanted: Sequence[int | None]) -> Crop:
    after = tuple(min(n, to or n) for n, to in zip(shape, wanted))
    return Crop(tuple((n - m) // 2 for n, m in zip(shape, after)), tuple(shape), after)


def _resized(shape: Sequence[int], geometry: Geometry) -> tuple[int, ...]:
    if isinstance(geometry.resize, tuple):
        return tuple(to or n for n, to in zip(shape, geometry.resize))
    assert geometry.resize is not None
    return tuple(min(n, geometry.resize.max) for n in shape)


def _multiples(declared: int | tuple[int | None, ...]) -> tuple[int, ...]:
    return (declared,) * 3 if isinstance(declared, int) else tuple(m or 1 for m in declared)


def _does_nothing(step: Reorient | Resample | Crop | Pad) -> bool:
    if isinstance(step, Reorient):
        return step == Reorient((0, 1, 2), ())
    if isinstance(step, Resample):
        return step.before == step.after and set(step.scale) == {1.0}
    return step.before == step.after
