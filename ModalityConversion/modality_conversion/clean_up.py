"""What is done to a label map after it was decided: small parts away, the largest part kept, holes filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

if TYPE_CHECKING:
    from .schema import Crf, FillHoles, LargestComponent, RemoveSmall

    CleanUp = RemoveSmall | LargestComponent | FillHoles | Crf

# A part of exactly the volume asked for must not be lost to rounding.
_ROUNDING = 1e-6


def clean_up(
    labels: np.ndarray,
    values: Sequence[int],
    steps: Sequence[CleanUp],
    spacing: Sequence[float],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Apply the steps in order to each of the labels with these `values`, or to all of them together, in place.

    A `crf` has been applied before and does nothing here. `spacing` is in mm, in the order of the array's axes. Parts are
    connected by faces, edges and corners.
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    for step in steps:
        if step.op == "crf":
            continue
        groups = [values] if step.op != "fill_holes" and step.together else [[value] for value in values]
        for group in groups:
            check()
            box = _box(np.isin(labels, group))
            if box is not None:
                _apply(step, labels[box], group, voxel_ml)


def _apply(step: RemoveSmall | LargestComponent | FillHoles, labels: np.ndarray, group: Any, voxel_ml: float) -> None:
    """One step on the labels of a group as one, in place; `labels` is the part of the map around them."""
    mask = np.isin(labels, group)
    if step.op == "fill_holes":
        labels[_holes(mask) & (labels == 0)] = group[0]
        return
    parts = parts_of(mask, fully=True)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if step.op == "largest_component":
        unwanted = np.arange(len(sizes)) != sizes.argmax()
    else:
        unwanted = sizes * voxel_ml < step.volume_ml * (1 - _ROUNDING)
    unwanted[0] = False
    labels[unwanted[parts]] = 0


def _holes(mask: np.ndarray) -> np.ndarray:
    """What a mask encloses wholly, bool. The border of the array encloses nothing."""
    outside = ~np.pad(mask, 1)
    parts = parts_of(outside, fully=False)  # twenty times as fast as ITK's BinaryFillhole, and the same
    return ((parts != parts[0, 0, 0]) & outside)[1:-1, 1:-1, 1:-1]


def parts_of(mask: np.ndarray, fully: bool) -> np.ndarray:
    """The connected parts of a mask, numbered from 1; by faces or, `fully`, by edges and corners too."""
    return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), fully))


def _box(mask: np.ndarray) -> Any:
    """The smallest box that holds a mask, as slices; None where it is empty."""
    slices = []
    for axis in range(3):
        there = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(there):
            return None
        slices.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(slices)
