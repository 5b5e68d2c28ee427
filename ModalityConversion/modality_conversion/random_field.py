"""A fully connected conditional random field: borders of labels move to edges of the scans, and are smoothed elsewhere.

The mean field of Krähenbühl and Koltun, Efficient inference in fully connected CRFs with Gaussian edge potentials, NIPS 2011,
with Potts compatibility and kernels that sum to one at each voxel. The kernel of appearance is filtered on a bilateral grid
(Chen, Paris and Durand, SIGGRAPH 2007), one for each scan, in place of a permutohedral lattice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .resampling import new_length, resample_axis

if TYPE_CHECKING:
    from .schema import Crf

_POSSIBLE = 0.02
"""Only around voxels where a label is at least this probable anything can change."""
_MOST_BINS = 64
_LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1."""


def refined(
    probabilities: np.ndarray,
    scans: Sequence[np.ndarray],
    spacing: Sequence[float],
    crf: Crf,
    activation: str,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Probabilities (channels, *grid) after the mean field, float32.

    `scans` are arrays of the grid's shape in the network's range, `spacing` its voxel sides in mm. With `softmax` the channels
    exclude each other, the background being the first; else each is a field of its own. `check` is called now and then.
    """
    exclusive = activation == "softmax"
    box = _where_possible(probabilities[1:] if exclusive else probabilities, spacing, crf)
    if box is None:
        return probabilities
    there = (slice(None), *box)
    part = np.clip(probabilities[there], _LEAST, 1 - _LEAST).astype(np.float32)
    kernels: list[tuple[float, _Kernel]] = [(crf.smooth_weight, _Smoother(part.shape[1:], spacing, crf.smooth_mm))]
    kernels += [(crf.edge_weight / len(scans), _EdgeKeeper(scan[box], spacing, crf)) for scan in scans]
    kernels = [(weight, kernel) for weight, kernel in kernels if weight > 0]
    unary = np.log(part) if exclusive else np.log(part / (1 - part))
    whole = sum(weight for weight, _ in kernels)
    belief = part
    for _ in range(crf.iterations):
        message = np.zeros_like(part)
        for weight, kernel in kernels:
            check()
            message += np.float32(weight) * kernel(belief)
        if exclusive:
            score = unary + message
            score -= score.max(axis=0)
            belief = np.exp(score)
            belief /= belief.sum(axis=0)
        else:  # the other label of each field gets what is left of the message
            belief = 1 / (1 + np.exp(-np.clip(unary + 2 * message - np.float32(whole), -80, 80)))
    found = probabilities.astype(np.float32)
    found[there] = belief
    return found


def _where_possible(labels: np.ndarray, spacing: Sequence[float], crf: Crf) -> tuple[slice, ...] | None:
    """The box around all voxels that could get a label, with the reach of the kernels; None where there is none."""
    possible = np.maximum.reduce(labels, axis=0) > _POSSIBLE
    box = []
    for axis, side in enumerate(spacing):
        there = np.flatnonzero(possible.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(there):
            return None
        reach = int(np.ceil(2 * max(crf.smooth_mm, crf.edge_mm) / side))
        box.append(slice(max(int(there[0]) - reach, 0), int(there[-1]) + 1 + reach))
    return tuple(box)


class _Grid:
    """Cells of `side` mm on a volume: averages of voxels go in, straight lines between cells come out, blurred on the way.

    Averaging (variance 1/12 of a cell) and interpolation (1/6) blur too; three taps add what lacks to a deviation of one cell.
    """

    def __init__(self, shape: Sequence[int], spacing: Sequence[float], side: float) -> None:
        self.shape = tuple(shape)
        # An axis whose voxels are larger than a cell stays as it is.
        self.scale = [max(1.0, side / step) for step in spacing]
        self.taps = [0.5 * max(0.0, (side / step / scale) ** 2 - 0.25) for step, scale in zip(spacing, self.scale)]
        self.cells = tuple(new_length(n, scale) for n, scale in zip(shape, self.scale))

    def splat(self, values: np.ndarray) -> np.ndarray:
        """(channels, *shape) to (channels, *cells), blurred."""
        for axis, (n, scale, tap) in enumerate(zip(self.cells, self.scale, self.taps), start=1):
            if scale > 1:
                values = resample_axis(values, axis, n, scale, "area")
            values = _blurred(values, axis, min(tap, 1 / 3))
        return values

    def slice(self, cells: np.ndarray) -> np.ndarray:
        """(channels, *cells) to (channels, *shape)."""
        for axis, (n, scale) in enumerate(zip(self.shape, self.scale), start=1):
            if scale > 1:
                cells = resample_axis(cells, axis, n, 1 / scale, "linear")
        return cells


class _Kernel(ABC):
    """Who is a neighbour of whom, and how much: weighted sums over neighbours, and `mass`, the sum of their weights."""

    mass: np.ndarray

    @abstractmethod
    def _filtered(self, values: np.ndarray) -> np.ndarray: ...

    def __call__(self, belief: np.ndarray) -> np.ndarray:
        """(channels, *shape) to the same: weighted means."""
        mean: np.ndarray = self._filtered(belief) / self.mass
        return mean


class _Smoother(_Kernel):
    """The kernel of nearness alone: a Gaussian in space."""

    def __init__(self, shape: Sequence[int], spacing: Sequence[float], deviation: float) -> None:
        self.grid = _Grid(shape, spacing, deviation)
        self.mass = self._filtered(np.ones((1, *shape), np.float32))

    def _filtered(self, values: np.ndarray) -> np.ndarray:
        return self.grid.slice(self.grid.splat(values))


class _EdgeKeeper(_Kernel):
    """The kernel of appearance: a Gaussian in space and in one scan's values, on a bilateral grid."""

    def __init__(self, scan: np.ndarray, spacing: Sequence[float], crf: Crf) -> None:
        self.grid = _Grid(scan.shape, spacing, crf.edge_mm)
        low, high = np.percentile(scan, [0.5, 99.5])
        step = max(crf.edge_range, float(high - low) / (_MOST_BINS - 2), 1e-6)
        place = (np.clip(scan, low, high) - low) / step
        bins = int(np.ceil((high - low) / step)) + 1
        # How much of a voxel belongs to each bin: straight lines between bins, as in space.
        self.shares = [np.maximum(0, 1 - np.abs(place - number)).astype(np.float32) for number in range(bins)]
        self.mass = np.maximum(self._filtered(np.ones((1, *scan.shape), np.float32)), 1e-6)

    def _filtered(self, values: np.ndarray) -> np.ndarray:
        cells = np.stack([self.grid.splat(values * share) for share in self.shares])
        cells = _blurred(cells, 0, 1 / 3)  # two straight lines have a variance of 1/3 of a bin
        found = np.zeros_like(values)
        for share, one in zip(self.shares, cells):
            found += share * self.grid.slice(one)
        return found


def _blurred(values: np.ndarray, axis: int, tap: float) -> np.ndarray:
    """(tap, 1 - 2 tap, tap) along an axis; beyond its ends there is nothing, which the kernel's mass makes up for."""
    if values.shape[axis] < 2 or tap <= 0:
        return values
    found = values * np.float32(1 - 2 * tap)
    ahead = [slice(None)] * values.ndim
    behind = [slice(None)] * values.ndim
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    found[tuple(ahead)] += np.float32(tap) * values[tuple(behind)]
    found[tuple(behind)] += np.float32(tap) * values[tuple(ahead)]
    return found
