"""Changes of grid, each of which knows its inverse, and the way that several of them make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from .resampling import back_interpolation, resample_axis


class Step(Protocol):
    """One change of grid. Arrays are 3D; `fill` is the value of voxels that a step adds."""

    def forward(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray: ...

    def inverse(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray: ...


@dataclass(frozen=True)
class Reorient:
    """Permute the axes, then flip some of them."""

    order: tuple[int, int, int]
    flips: tuple[int, ...]

    def forward(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        return np.flip(array.transpose(self.order), self.flips)

    def inverse(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        return np.flip(array, self.flips).transpose(np.argsort(self.order))


@dataclass(frozen=True)
class Resample:
    """New voxel sides along the same axes, the same centre. `scale` is the new side over the old, per axis."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    scale: tuple[float, ...]
    interpolation: str

    def forward(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        for axis, (old, new, scale) in enumerate(zip(self.before, self.after, self.scale)):
            if not (old == new and scale == 1):
                array = resample_axis(array, axis, new, scale, self.interpolation)
        return array

    def inverse(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        scale = tuple(1 / scale for scale in self.scale)
        return Resample(self.after, self.before, scale, back_interpolation(self.interpolation)).forward(array)


@dataclass(frozen=True)
class Crop:
    """Keep a box. What was cropped away comes back as `fill`."""

    start: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def _box(self) -> tuple[slice, ...]:
        return tuple(slice(s, s + n) for s, n in zip(self.start, self.after))

    def forward(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        return array[self._box()]

    def inverse(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        whole = np.full(self.before, fill, dtype=array.dtype)
        whole[self._box()] = array
        return whole


@dataclass(frozen=True)
class Pad:
    """Add voxels around: floor(half) before, the rest after."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    def _crop(self) -> Crop:
        start = tuple((new - old) // 2 for old, new in zip(self.before, self.after))
        return Crop(start, self.after, self.before)

    def forward(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        return self._crop().inverse(array, fill)

    def inverse(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        return self._crop().forward(array)


@dataclass(frozen=True)
class GridMap:
    """The way of one stored grid to the network's grid."""

    steps: tuple[Step, ...]

    def forward(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """An array on the stored grid, (k, j, i), on the network's grid."""
        for step in self.steps:
            array = step.forward(array, fill)
        return array

    def spacing(self, stored: Sequence[float]) -> tuple[float, ...]:
        """Voxel sides of the network's grid, from those of the stored one, (k, j, i)."""
        sides = list(stored)
        for step in self.steps:
            if isinstance(step, Reorient):
                sides = [sides[axis] for axis in step.order]
            elif isinstance(step, Resample):
                sides = [side * scale for side, scale in zip(sides, step.scale)]
        return tuple(sides)

    def forward_labels(self, array: np.ndarray) -> np.ndarray:
        """A mask or label map on the stored grid, (k, j, i), on the network's grid, 0 where the grid grew; same dtype."""
        return self._with_interpolation("nearest").forward(array)

    def forward_touched(self, mask: np.ndarray) -> np.ndarray:
        """The voxels of the network's grid that any voxel of a bool mask on the stored grid, (k, j, i), touches; bool."""
        return self._with_interpolation("area").forward(mask.astype(np.float32)) > 0

    def inverse(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """An array on the network's grid on the stored grid, (k, j, i), `fill` where it had been cropped."""
        for step in reversed(self.steps):
            array = step.inverse(array, fill)
        return array

    def inverse_linear(self, array: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """As `inverse`, but always by linear interpolation, so that probabilities stay within 0 and 1 and sum to 1."""
        return self._with_interpolation("linear").inverse(array, fill)

    def _with_interpolation(self, interpolation: str) -> GridMap:
        return GridMap(
            tuple(replace(s, interpolation=interpolation) if isinstance(s, Resample) else s for s in self.steps)
        )
