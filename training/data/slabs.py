"""Draws slabs of axial slices from packed cases: neighbouring slices of the sources, the middle ones of the target."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modality_conversion.modality import Modality
from training.config import Settings
from training.data.augment import augment_source
from training.data.directions import Directions
from training.data.pools import Drawn, Pools


class SlabSettings(Settings):
    """Size of what is drawn, in voxels of 1 mm."""

    crop: tuple[int, int] = (160, 192)
    """Height (back to front) and width (left to right) of the crop; multiples of 32."""
    batch: int = 8
    """Slabs a step, of all processes together."""
    brain: float = 0.8
    """Fraction of slabs whose middle slice shows brain; the others are drawn from the whole case, neck and all."""
    lesions: float = 0.0
    """Fraction of slabs that show a lesion, where the case has one: left to chance, small ones are hardly ever seen."""
    workers: int = 1
    """Processes that prepare slabs; 0: the training process itself."""


@dataclass(frozen=True)
class Box:
    """Where a slab lies: its middle slice `z`, and its corner (which may lie outside the case; zeros stand there)."""

    z: int
    y: int
    x: int
    crop: tuple[int, int]

    def cut(self, volume: NDArray[np.generic], count: int) -> NDArray[np.generic]:
        """`count` slices around the middle one, (count, H, W). Beyond the ends the last slice is repeated, as in the engine."""
        wanted = np.clip(np.arange(self.z - count // 2, self.z - count // 2 + count), 0, volume.shape[0] - 1)
        parts, missing = [], [(0, 0)]
        for start, length, size in zip((self.y, self.x), self.crop, volume.shape[1:], strict=True):
            parts.append(slice(max(start, 0), max(min(start + length, size), 0)))
            missing.append((max(-start, 0), max(start + length - size, 0)))
        # Slices one by one: numpy is slow at mixing a list with ranges on a file.
        kept = np.stack([volume[number, parts[0], parts[1]] for number in wanted])
        return np.pad(kept, missing) if any(map(any, missing)) else kept


def draw_box(drawn: Drawn, settings: SlabSettings, rng: np.random.Generator) -> Box:
    """A random place; a case that is smaller than the crop stands in its middle, floor(half) before."""
    depth, *plane = drawn.case.shape
    if settings.lesions and len(places := drawn.lesions()) and rng.random() < settings.lesions:
        z, *near = (int(place) for place in places[rng.integers(len(places))])
        y, x = (_around(*where, rng) for where in zip(near, plane, settings.crop, strict=True))
        return Box(z, y, x, settings.crop)
    first, last = drawn.brain if rng.random() < settings.brain else (0, depth - 1)
    z = int(rng.integers(first, last + 1))
    y, x = (
        int(rng.integers(size - length + 1)) if size > length else -((length - size) // 2)
        for size, length in zip(plane, settings.crop, strict=True)
    )
    return Box(z, y, x, settings.crop)


def _around(place: int, size: int, length: int, rng: np.random.Generator) -> int:
    """A random corner along one axis so that the place lies in the crop, and the crop in the case where it fits."""
    if size <= length:
        return -((length - size) // 2)
    return int(rng.integers(max(place - length + 1, 0), min(place, size - length) + 1))


class SlabMaker:
    """Makes an item: `source` (places * context, H, W), `target` and `region` (outputs, H, W), float32 and uint8;
    `given` (places,) 1 for each source that is there; `wanted` the target's number among `targets`; `tissue` when asked for.
    `every_target` adds `targets` (all of them, outputs, H, W) and `there` (all of them,): 1 for each that the case has and
    that is not given; zeros stand for the others.
    """

    def __init__(
        self,
        pools: Pools,
        directions: Directions,
        targets: tuple[Modality, ...],
        settings: SlabSettings,
        *,
        context: int,
        outputs: int,
        tissue: bool = False,
        every_target: bool = False,
    ) -> None:
        self.pools, self.directions, self.targets, self.settings = pools, directions, targets, settings
        self.context, self.outputs, self.tissue, self.every_target = context, outputs, tissue, every_target

    def __call__(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random item."""
        drawn = self.pools.draw(rng)
        case, direction = drawn.case, self.directions.draw(drawn.case, rng)
        box = draw_box(drawn, self.settings, rng)
        sources = []
        for modality in direction.sources:
            if modality is None:
                sources.append(np.zeros((self.context, *box.crop), np.float32))
                continue
            scan = box.cut(case.sources[modality], self.context).astype(np.float32)
            sources.append(augment_source(scan, drawn.augmentation, rng, modality))
        arrays = {
            "source": np.concatenate(sources),
            "target": box.cut(case.targets[direction.target], self.outputs).astype(np.float32),
            "region": box.cut(case.region, self.outputs),
        }
        if self.tissue:
            nothing = np.zeros((self.outputs, *box.crop), np.uint8)
            arrays["tissue"] = nothing if case.tissue is None else box.cut(case.tissue, self.outputs)
        there = [float(modality in case.targets and modality not in direction.sources) for modality in self.targets]
        if self.every_target:
            lacking = np.zeros((self.outputs, *box.crop), np.float32)
            arrays["targets"] = np.stack(
                [
                    box.cut(case.targets[modality], self.outputs).astype(np.float32) if has else lacking
                    for modality, has in zip(self.targets, there, strict=True)
                ]
            )
        if rng.random() < 0.5:  # heads are nearly alike left and right
            arrays = {name: array[..., ::-1] for name, array in arrays.items()}
        item = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        given = torch.tensor([float(modality is not None) for modality in direction.sources])
        if self.every_target:
            item["there"] = torch.tensor(there)
        return item | {"given": given, "wanted": torch.tensor(self.targets.index(direction.target))}
