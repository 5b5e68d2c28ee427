"""Two outlines of lesions, made independently of each other: which lesion of the one is which of the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .errors import ConversionError
from .lesion_contrast import Box, distance_mm

MOST = 2000
"""More separate lesions than this are noise."""


@dataclass(frozen=True)
class Part:
    """One connected lesion of a mask; neighbours by faces, edges and corners."""

    box: Box
    """Where it lies, with a margin."""
    inside: np.ndarray
    """bool, of the box."""
    voxels: int


def parts(
    mask: np.ndarray, spacing: Sequence[float], margin_mm: float, least_voxels: float = 0
) -> tuple[list[Part], int]:
    """The connected lesions of a mask, bool (k, j, i), the largest first, and how many have fewer voxels than asked.

    `spacing` is in array order. Raises ConversionError where there are more than any head has.
    """
    if not mask.any():
        return [], 0
    every = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    total = int(sitk.GetArrayViewFromImage(every).max())
    labels = sitk.RelabelComponent(every, math.ceil(least_voxels), True)
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOff()
    shapes.Execute(labels)
    if shapes.GetNumberOfLabels() > MOST:
        raise ConversionError(
            f"There are {shapes.GetNumberOfLabels():,} separate lesions, more than any head has: this looks like noise. "
            "Check the outline of lesions, or leave out small ones with --smallest."
        )
    numbers = sitk.GetArrayViewFromImage(labels)
    found = []
    for number in shapes.GetLabels():
        bounds = shapes.GetBoundingBox(number)
        sides = []
        for axis, step in enumerate(spacing):
            start, length, margin = bounds[2 - axis], bounds[5 - axis], math.ceil(margin_mm / step) + 1
            sides.append(slice(max(0, start - margin), min(mask.shape[axis], start + length + margin)))
        box = sides[0], sides[1], sides[2]
        inside = numbers[box] == number
        found.append(Part(box, inside, int(inside.sum())))
    return found, total - len(found)


def middle(part: Part) -> tuple[int, int, int]:
    """The voxel of a lesion nearest to its centre of mass, (k, j, i) of the whole volume."""
    places = np.argwhere(part.inside)
    nearest = places[np.abs(places - places.mean(axis=0)).sum(axis=1).argmin()]
    k, j, i = (int(place) + one.start for place, one in zip(nearest, part.box))
    return k, j, i


def matched(
    real: Sequence[Part], synthetic: Sequence[Part], shape: Sequence[int], spacing: Sequence[float], reach_mm: float
) -> list[tuple[list[int], list[int]]]:
    """Groups of lesions that are the same: positions in `real` and in `synthetic`, either may be empty.

    A real and a synthetic lesion are the same where they touch once the real one has grown by `reach_mm`. Several on one
    side, such as two that have run together, make one group.
    """
    labels = np.zeros(tuple(shape), np.int32)
    for number, part in enumerate(synthetic, start=1):
        labels[part.box][part.inside] = number
    touches: list[set[int]] = []
    for part in real:
        near = distance_mm(part.inside, spacing) <= reach_mm
        here = np.unique(labels[part.box][near])
        touches.append({int(number) - 1 for number in here if number})
    groups: list[tuple[list[int], list[int]]] = []
    for number, others in enumerate(touches):
        joined = [group for group in groups if others & set(group[1])]
        merged = ([number], sorted(others))
        for group in joined:
            groups.remove(group)
            merged = (sorted(merged[0] + group[0]), sorted({*merged[1], *group[1]}))
        groups.append(merged)
    found = {number for _, others in groups for number in others}
    return groups + [([], [number]) for number in range(len(synthetic)) if number not in found]
