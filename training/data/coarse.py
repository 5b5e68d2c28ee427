"""Whole cases on a coarse grid, by the engine's own resampling, kept in memory once made."""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from modality_conversion.resampling import new_length
from modality_conversion.steps import Resample
from training.config import ConfigError
from training.data.cases import PackedCase
from training.data.structures import Structures

PRESENT = 0.25
"""A coarse voxel is part of a structure if that much of it is, so that a small one does not vanish."""


class Coarse:
    """Scans and masks of packed cases with voxels of `spacing` mm, area-averaged; the last `most` of them are kept."""

    def __init__(self, spacing: float, most: int = 1200) -> None:
        self.spacing, self.most = spacing, most
        self._kept: OrderedDict[tuple[str, str], NDArray[np.generic]] = OrderedDict()

    def scan(self, case: PackedCase, modality: Modality) -> NDArray[np.float16]:
        """A source on the coarse grid, (z, y, x)."""
        key = (_file(case), str(modality))
        if key not in self._kept:
            self._keep(key, self._coarser(case, np.asarray(case.sources[modality], np.float32)).astype(np.float16))
        found: NDArray[np.float16] = self._kept[key].astype(np.float16, copy=False)
        return found

    def mask(self, case: PackedCase, structures: Structures) -> NDArray[np.bool_]:
        """Where the first of the structures is, bool (z, y, x)."""
        key = (_file(case), f"mask {structures.names[0]}")
        if key not in self._kept:
            whole = structures.masks(case, np.asarray)[0]
            self._keep(key, self._coarser(case, whole.astype(np.float32)) > PRESENT)
        found: NDArray[np.bool_] = self._kept[key].astype(bool, copy=False)
        return found

    def _coarser(self, case: PackedCase, array: NDArray[np.float32]) -> NDArray[np.float32]:
        times = self.spacing / case.side
        if times < 1:
            raise ConfigError(
                f"The case {case.name} has voxels of {case.side:g} mm, above the {self.spacing:g} mm of the stage that finds. "
                f"Simulate cases of smaller voxels, or set `find.spacing` to {case.side:g} or more."
            )
        scale = (times,) * 3
        after = tuple(new_length(n, times) for n in array.shape)
        return np.asarray(Resample(array.shape, after, scale, "area").forward(array), np.float32)

    def _keep(self, key: tuple[str, str], array: NDArray[np.generic]) -> None:
        self._kept[key] = array
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)


def _file(case: PackedCase) -> str:
    """What tells cases of several folders apart."""
    return str(getattr(case.region, "filename", case.name))
