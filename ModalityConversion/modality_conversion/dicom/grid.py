"""From the places of planes to one straight grid, or the reason why there is none.

The direction across the planes is the cross product of their row and column directions; planes are stacked along it, as
ITK does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .frame import Frame

# Headers round positions, often to 0.1 mm, which is off by 0.05 mm at each of the planes that are compared.
_ROUNDING_MM = 0.15
_UNEVEN = 0.1
_SAME_PLACE = 0.01


class NoGrid(Exception):
    """The planes make no volume; the reason, in words that follow `The series`."""


@dataclass(frozen=True)
class Stack:
    """Planes in order, and the grid they make."""

    frames: tuple[Frame, ...]
    origin: tuple[float, float, float]
    """Of the first voxel, mm, LPS."""
    spacing: tuple[float, float, float]
    """mm along i, j, k."""
    direction: tuple[float, ...]
    """Nine numbers, row by row, as SimpleITK has them."""


def axes(orientation: Sequence[float]) -> np.ndarray:
    """Unit vectors along a row, down a column and across: columns of a matrix (3, 3), exactly orthogonal.

    Raises NoGrid where the two directions given are not at right angles, or are no directions.
    """
    row, column = np.array(orientation[:3], dtype=float), np.array(orientation[3:], dtype=float)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.isfinite(lengths).all() or min(lengths) < 0.9 or max(lengths) > 1.1:
        raise NoGrid(
            "says in which direction its rows and columns run, but not with unit vectors. Its header is broken."
        )
    row, column = row / lengths[0], column / lengths[1]
    if abs(row @ column) > 1e-3:
        raise NoGrid("has rows and columns that are not at right angles. Its header is broken.")
    column = column - (row @ column) * row
    column /= np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def along(frames: Sequence[Frame], matrix: np.ndarray) -> np.ndarray:
    """Where each plane lies along the stacking direction, mm."""
    places: np.ndarray = np.array([frame.position for frame in frames]) @ matrix[:, 2]
    return places


def coincide(frames: Sequence[Frame]) -> list[tuple[Frame, Frame]]:
    """Pairs of planes at one and the same place. Raises NoGrid for a broken header."""
    if len(frames) < 2:
        return []
    places = along(frames, axes(frames[0].orientation))
    order = np.argsort(places, kind="stable")
    return [(frames[a], frames[b]) for a, b in itertools.pairwise(order) if places[b] - places[a] < _SAME_PLACE]


def stacked(frames: Sequence[Frame]) -> Stack:
    """The planes as a grid. Raises NoGrid where slices are missing, double, uneven or slanted, or nothing places them."""
    for frame in frames:
        if frame.unusable:
            raise NoGrid(frame.unusable)
        if not (frame.position and frame.orientation and frame.spacing):
            raise NoGrid("does not say where its slices lie in the patient. Choose the series that it was made from.")
        if not np.isfinite([*frame.position, *frame.spacing]).all() or min(frame.spacing) <= 0:
            raise NoGrid("has positions or pixel sizes that are no sizes. Its header is broken.")
        if not np.isfinite([frame.slope, frame.intercept]).all() or frame.slope == 0:
            raise NoGrid(
                "turns its stored values into units by numbers that are none (RescaleSlope, RescaleIntercept). Its header "
                "is broken."
            )
    matrix = axes(frames[0].orientation)
    places = along(frames, matrix)
    order = np.argsort(places, kind="stable")
    ordered, places = tuple(frames[n] for n in order), places[order]
    gap = _slice_distance(ordered, places)
    _check_straight(ordered, places, matrix)
    row_gap, column_gap = ordered[0].spacing
    origin = ordered[0].position
    return Stack(
        ordered,
        (origin[0], origin[1], origin[2]),
        (column_gap, row_gap, gap),
        tuple((matrix + 0.0).ravel().tolist()),
    )


def _slice_distance(frames: Sequence[Frame], places: np.ndarray) -> float:
    """mm between two planes, of places in rising order. Raises NoGrid."""
    if len(frames) == 1:
        if not frames[0].thickness or frames[0].thickness <= 0:
            raise NoGrid("has one slice and does not say how thick it is.")
        return frames[0].thickness
    steps = np.diff(places)
    if (steps < _SAME_PLACE).any():
        double = int((steps < _SAME_PLACE).sum())
        raise NoGrid(
            f"has {double} slice{'s' if double > 1 else ''} too many: different images at the same place. "
            "It may hold several scans; sort them into series of their own first."
        )
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps > 1.5 * usual)
    counts = np.round(steps[wide] / usual).astype(int) - 1
    whole = np.abs(steps[wide] / usual - counts - 1) < 0.25
    if len(wide) and whole.all():
        at = int(wide[0])
        first = f"between slices {at + 1} and {at + 2} of {len(frames)}"
        raise NoGrid(
            f"lacks {counts.sum()} slice{'s' if counts.sum() > 1 else ''}, the first {first}. "
            "Fetch the whole series from the archive again."
        )
    gap = float((places[-1] - places[0]) / (len(places) - 1))
    off = np.abs(places - np.linspace(places[0], places[-1], len(places)))
    if off.max() > max(_ROUNDING_MM, _UNEVEN * gap):
        raise NoGrid(
            f"has slices at uneven distances, from {steps.min():.2f} to {steps.max():.2f} mm. "
            "Resample it onto an even grid first."
        )
    return gap


def _check_straight(frames: Sequence[Frame], places: np.ndarray, matrix: np.ndarray) -> None:
    """Raises NoGrid where the planes shift sideways, as with a tilted gantry."""
    if len(frames) < 2:
        return
    moved = np.array([frame.position for frame in frames]) - frames[0].position
    shift = moved @ matrix[:, :2]
    worst = int(np.argmax(np.abs(shift).max(axis=1)))
    if np.abs(shift[worst]).max() > max(_ROUNDING_MM, 0.1 * min(frames[0].spacing)):
        angle = np.degrees(np.arctan2(np.linalg.norm(shift[worst]), abs(places[worst] - places[0])))
        raise NoGrid(
            f"was scanned with a tilted gantry: its slices shift sideways by {angle:.1f} degrees. Straighten it first, "
            "with 3D Slicer's DICOM reader (acquisition geometry regularization) or dcm2niix, and give that."
        )
