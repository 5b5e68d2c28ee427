"""Draws boxes from packed cases: the same box of a source and of its target."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modality_conversion.modality import Modality
from training.config import Settings
from training.data.augment import augment_source
from training.data.directions import Directions
from training.data.pools import Drawn, Pools


class PatchSettings(Settings):
    """How patches are drawn; their size is the network's."""

    batch: int = 2
    """Patches a step, of all processes together."""
    brain: float = 0.8
    """Fraction of patches whose middle lies between the lowest and the highest slice with brain, and in the middle half of
    the plane; the others are drawn from the whole case."""
    workers: int = 1
    """Processes that prepare patches; 0: the training process itself."""


Corner = tuple[int, int, int]


def cut_patch(volume: NDArray[np.generic], corner: Corner, size: tuple[int, int, int]) -> NDArray[np.generic]:
    """A box of `size` whose first voxel is `corner`, which may lie outside; zeros stand there."""
    ranges = [
        slice(max(start, 0), min(start + length, whole))
        for start, length, whole in zip(corner, size, volume.shape, strict=True)
    ]
    missing = [
        (max(-start, 0), max(start + length - whole, 0))
        for start, length, whole in zip(corner, size, volume.shape, strict=True)
    ]
    kept = np.asarray(volume[tuple(ranges)])
    return np.pad(kept, missing) if any(map(any, missing)) else kept


def draw_corner(drawn: Drawn, size: tuple[int, int, int], brain: float, rng: np.random.Generator) -> Corner:
    """A random place; along an axis on which the case is smaller than the patch it stands in the middle."""
    near_brain = rng.random() < brain
    corner = []
    for axis, (whole, length) in enumerate(zip(drawn.case.shape, size, strict=True)):
        if whole <= length:
            corner.append(-((length - whole) // 2))
            continue
        low, high = (0, whole - 1) if not near_brain else drawn.brain if axis == 0 else (whole // 4, 3 * whole // 4)
        middle = int(rng.integers(low, high + 1))
        corner.append(int(np.clip(middle - length // 2, 0, whole - length)))
    return corner[0], corner[1], corner[2]


class PatchMaker:
    """Makes an item: `source` (places, D, H, W), `target` and `region` (D, H, W), float32 and uint8; `tissue` when asked for;
    `given` (places,) 1 for each source that is there; `wanted` the target's number among `targets`, where they are told.
    """

    def __init__(
        self,
        pools: Pools,
        directions: Directions,
        size: tuple[int, int, int],
        settings: PatchSettings,
        *,
        tissue: bool = False,
        targets: tuple[Modality, ...] = (),
    ) -> None:
        self.pools, self.directions, self.size, self.settings = pools, directions, size, settings
        self.tissue, self.targets = tissue, targets

    def __call__(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random item."""
        drawn = self.pools.draw(rng)
        case, direction = drawn.case, self.directions.draw(drawn.case, rng)
        corner = draw_corner(drawn, self.size, self.settings.brain, rng)
        sources = []
        for modality in direction.sources:
            if modality is None:
                sources.append(np.zeros(self.size, np.float32))
                continue
            scan = cut_patch(case.sources[modality], corner, self.size).astype(np.float32)
            sources.append(augment_source(scan, drawn.augmentation, rng, modality))
        arrays: dict[str, NDArray[np.generic]] = {
            "source": np.stack(sources),
            "target": cut_patch(case.targets[direction.target], corner, self.size).astype(np.float32),
            "region": cut_patch(case.region, corner, self.size),
        }
        if self.tissue:
            known = np.zeros(self.size, np.uint8) if case.tissue is None else cut_patch(case.tissue, corner, self.size)
            arrays["tissue"] = known
        if rng.random() < 0.5:  # heads are nearly alike left and right
            arrays = {name: array[..., ::-1] for name, array in arrays.items()}
        item = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        if self.targets:
            item["given"] = torch.tensor([float(modality is not None) for modality in direction.sources])
            item["wanted"] = torch.tensor(self.targets.index(direction.target))
        return item
