"""Draws boxes of scans and of the structures in them from packed cases: slabs or patches, and a coarse look at the whole.

An item holds `given` (places,), 1 for each source that is there, and `source`, `truth`; with a coarse look `coarse` and
`coarse_truth` too. Of slabs `source` is (places * context, H, W) and `truth` (structures * outputs, H, W), of patches
(places, D, H, W) and (structures, D, H, W). Sources float32 in [0, 1], truths float32 0 or 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from modality_conversion.modality import Modality
from training.config import ConfigError, Settings
from training.data.augment import SourceAugmentation, augment_source
from training.data.cases import PackedCase
from training.data.coarse import Coarse
from training.data.patches import Corner, cut_patch
from training.data.pools import Drawn, Pools
from training.data.structures import Structures
from training.data.subsets import Given, Subsets
from training.data.turning import TurnSettings, random_turn, turned

Size = tuple[int, int, int]
_AWAY_MM = 8
"""An item that is aimed at a structure has its middle at most so far from it along each axis."""


class BoxSettings(Settings):
    """How places are drawn."""

    batch: int = 6
    """Items a step, of all processes together."""
    aimed: float = Field(0.8, ge=0, le=1)
    """Fraction of the items whose middle lies on the outermost structure, where the case has any; of the others `brain`."""
    brain: float = Field(0.7, ge=0, le=1)
    """Fraction of the other items whose middle slice shows brain; the rest is drawn from the whole case."""
    turn: TurnSettings = TurnSettings()
    """How patches, and what is seen at coarse resolution, are turned and stretched; not for slabs."""
    workers: int = Field(1, ge=0)
    """Processes that prepare items; 0: the training process itself."""


@dataclass(frozen=True)
class Look:
    """What an item shows of a case: `size` voxels (z, y, x) of `spacing` mm each, of which `outputs` slices in the middle
    are to be outlined; `flat` puts slices into channels, as slabs go to a network."""

    size: Size
    outputs: int
    spacing: int = 1
    flat: bool = True

    def factor(self, case: PackedCase) -> int:
        """How many of a case's voxels make one, along each axis. Raises ConfigError where they do not fit into it."""
        side = case.side
        if self.spacing % side:
            raise ConfigError(
                f"The case {case.name} has voxels of {side:g} mm, of which none of {self.spacing} mm can be made. Simulate "
                f"cases of 1 mm, or set the recipe's `spacing` to a multiple of {side:g}."
            )
        return round(self.spacing / side)


class BoxMaker:
    """Makes the items of the module. `coarse`: its size in voxels and the grid they are on; None for no coarse look."""

    def __init__(
        self,
        pools: Pools,
        subsets: Subsets,
        structures: Structures,
        look: Look,
        settings: BoxSettings,
        coarse: tuple[Size, Coarse] | None = None,
    ) -> None:
        self.pools, self.subsets, self.structures, self.look, self.settings = pools, subsets, structures, look, settings
        self.coarse = coarse
        self._on: dict[int, NDArray[np.int32]] = {}

    def __call__(self, rng: np.random.Generator, *, coarse: bool = True, box: bool = True) -> dict[str, Tensor]:
        """A random item; without what is seen at coarse resolution, or without the box, where that is not wanted."""
        drawn = self.pools.draw(rng)
        given = self.subsets.draw(drawn.case, rng)
        arrays = self._box(drawn, given, rng) if box else {}
        if coarse and self.coarse is not None:
            arrays |= self._whole(drawn, given, rng)
        if rng.random() < 0.5:  # heads are nearly alike left and right
            arrays = {name: array[..., ::-1] for name, array in arrays.items()}
        item = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        return item | {"given": torch.tensor([float(modality is not None) for modality in given])}

    def _box(self, drawn: Drawn, given: Given, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """`source` and `truth`."""
        case, look = drawn.case, self.look
        factor = look.factor(case)
        full: Size = tuple(n * factor for n in look.size)  # type: ignore[assignment]
        middle = self._middle(drawn, rng)
        if not look.flat or factor > 1:  # a box within the case, where that is large enough
            corner = _within(case.shape, full, middle)
        else:  # slabs reach beyond the first and the last slice
            corner = (middle[0] - full[0] // 2, *_within(case.shape, full, middle)[1:])
        depth = case.shape[0]

        def cut(volume: NDArray[np.generic]) -> NDArray[np.generic]:
            if not look.flat:
                return cut_patch(volume, corner, full)
            # Beyond the ends the last slice is repeated, as in the engine.
            kept = np.clip(np.arange(corner[0], corner[0] + full[0]), 0, depth - 1)
            part = cut_patch(volume, (int(kept[0]), *corner[1:]), (int(kept[-1] - kept[0]) + 1, *full[1:]))
            return part[kept - kept[0]]

        def scan(modality: Modality) -> NDArray[np.float32]:
            return _averaged(cut(case.sources[modality]).astype(np.float32), factor)

        source = _scans(given, scan, look.size, drawn.augmentation, rng)
        masks = self.structures.masks(case, cut).astype(np.float32)
        masks = np.stack([_averaged(mask, factor) for mask in masks])
        margin = (look.size[0] - look.outputs) // 2
        truth = (masks[:, margin : margin + look.outputs] > 0.5).astype(np.float32)
        if not look.flat:
            source, truth = self._turned(source, truth, drawn.augmentation.calm, rng)
            return {"source": source, "truth": truth}
        return {"source": source.reshape(-1, *look.size[1:]), "truth": truth.reshape(-1, *look.size[1:])}

    def _middle(self, drawn: Drawn, rng: np.random.Generator) -> Size:
        """The voxel in the middle of an item."""
        case, wanted = drawn.case, self.settings
        there = self._places(case)
        if len(there) and rng.random() < wanted.aimed:
            away = round(_AWAY_MM / case.side)
            z, y, x = there[int(rng.integers(len(there)))] + rng.integers(-away, away + 1, 3)
            return int(z.clip(0, case.shape[0] - 1)), int(y), int(x)
        depth, height, width = case.shape
        first, last = drawn.brain if rng.random() < wanted.brain else (0, depth - 1)
        return int(rng.integers(first, last + 1)), int(rng.integers(height)), int(rng.integers(width))

    def _places(self, case: PackedCase) -> NDArray[np.int32]:
        """Some voxels of the outermost structure, (n, 3); found when first asked for."""
        key = id(case)
        if key not in self._on:
            step = max(1, int(3 / case.side))
            thin = self.structures.masks(case, lambda volume: volume[::step, ::step, ::step])[0]
            found = (np.argwhere(thin) * step).astype(np.int32)
            self._on[key] = found[:: max(1, len(found) // 400)]
        return self._on[key]

    def _whole(self, drawn: Drawn, given: Given, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """`coarse` and `coarse_truth`: a box of the coarse grid around the brain's middle, moved a little."""
        assert self.coarse is not None
        size, grid = self.coarse
        case = drawn.case
        mask = grid.mask(case, self.structures)
        slack = [abs(n - length) // 2 for n, length in zip(mask.shape, size, strict=True)]
        corner: Corner = tuple(
            (n - length) // 2 + int(rng.integers(-room, room + 1))
            for n, length, room in zip(mask.shape, size, slack, strict=True)
        )

        def scan(modality: Modality) -> NDArray[np.float32]:
            return cut_patch(grid.scan(case, modality), corner, size).astype(np.float32)

        coarse = _scans(given, scan, size, drawn.augmentation, rng)
        truth = cut_patch(mask, corner, size).astype(np.float32)[None]
        coarse, truth = self._turned(coarse, truth, drawn.augmentation.calm, rng)
        return {"coarse": coarse, "coarse_truth": truth}

    def _turned(
        self, scans: NDArray[np.float32], masks: NDArray[np.float32], calm: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both moved alike, but for a fraction `calm` of the draws, as augmentation has it."""
        wanted = self.settings.turn
        if wanted.nothing or rng.random() < calm:
            return scans, masks
        both = turned(np.concatenate([scans, masks]), random_turn(wanted, rng))
        return both[: len(scans)], (both[len(scans) :] > 0.5).astype(np.float32)


def _scans(
    given: Given,
    cut: Callable[[Modality], NDArray[np.float32]],
    size: Size,
    augmentation: SourceAugmentation,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(places, *size), changed as configured; zeros for what is not given."""
    found = []
    for modality in given:
        if modality is None:
            found.append(np.zeros(size, np.float32))
        else:
            found.append(augment_source(cut(modality), augmentation, rng, modality))
    return np.stack(found)


def _averaged(array: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means of blocks of factor^3 voxels."""
    if factor == 1:
        return array
    blocks = [part for n in array.shape for part in (n // factor, factor)]
    found: NDArray[np.float32] = array.reshape(blocks).mean((1, 3, 5))
    return found


def _within(shape: Size, size: Size, middle: Size) -> Corner:
    """The corner of a box around a voxel, moved into the case; along an axis that is too short it stands in the middle."""
    found = [
        int(np.clip(at - length // 2, 0, whole - length)) if whole > length else -((length - whole) // 2)
        for whole, length, at in zip(shape, size, middle, strict=True)
    ]
    return found[0], found[1], found[2]
