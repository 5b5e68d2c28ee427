"""Draws slabs of axial slices from packed cases, each draw ruled by its number, so that a resumed run goes on alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.config import ConfigError, Settings
from training.data.augment import SourceAugmentation, augment_source
from training.data.cases import PackedCase, complete_cases
from training.data.regions import Region


class SlabSettings(Settings):
    """Size of what is drawn, in voxels of 1 mm."""

    crop: tuple[int, int] = (160, 192)
    """Height (back to front) and width (left to right) of the crop; multiples of 32."""
    batch: int = 8
    """Slabs a step."""
    brain: float = 0.8
    """Fraction of slabs whose middle slice shows brain; the others are drawn from the whole case, neck and all."""
    workers: int = 1
    """Processes that prepare slabs."""


class PoolSettings(Settings):
    """A folder of packed cases and how its sources are changed."""

    folder: Path
    """Folder of cases, as `simulate` writes it."""
    augmentation: SourceAugmentation = SourceAugmentation()
    """How far the source is changed at each draw."""


@dataclass(frozen=True)
class Slab:
    """`source` (context, H, W), `target` and `region` (outputs, H, W)."""

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    region: NDArray[np.uint8]


def cut(case: PackedCase, z: int, context: int, outputs: int, window: tuple[slice, slice]) -> Slab:
    """The slab whose middle slice is `z`; beyond the volume's ends the last slice is repeated, as the engine does."""
    last = case.source.shape[0] - 1

    def slices(volume: NDArray[np.generic], count: int) -> NDArray[np.generic]:
        wanted = np.clip(np.arange(z - count // 2, z - count // 2 + count), 0, last)
        return volume[wanted, window[0], window[1]]

    return Slab(
        slices(case.source, context).astype(np.float32),
        slices(case.target, outputs).astype(np.float32),
        np.asarray(slices(case.region, outputs)),
    )


def _fit(array: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.generic]:
    """Pad the last two axes with zeros up to `size`: floor(half) before, the rest after."""
    missing = [max(0, want - have) for want, have in zip(size, array.shape[-2:], strict=True)]
    return np.pad(array, [(0, 0), *((m // 2, m - m // 2) for m in missing)])


class SlabDraws(Dataset[dict[str, Tensor]]):
    """An endless, numbered series of random slabs from several pools, mixed by `shares`."""

    def __init__(
        self,
        pools: Mapping[str, PoolSettings],
        shares: Mapping[str, float],
        settings: SlabSettings,
        context: int,
        outputs: int,
        seed: int,
    ) -> None:
        self.names = [name for name, share in shares.items() if share > 0]
        unknown = set(self.names) - set(pools)
        if unknown:
            raise ConfigError(f"The mix names pools that the configuration does not have: {sorted(unknown)}.")
        self.shares = np.array([shares[name] for name in self.names], float) / sum(shares[n] for n in self.names)
        self.pools = pools
        self.cases: dict[str, Sequence[PackedCase]] = {n: list(complete_cases(pools[n].folder)) for n in self.names}
        for name, cases in self.cases.items():
            if not cases:
                raise ConfigError(
                    f"The pool {name!r} has no cases in {pools[name].folder}. Run `python -m training simulate` first."
                )
        self.brain = {name: [brain_slices(case) for case in cases] for name, cases in self.cases.items()}
        self.settings, self.context, self.outputs, self.seed = settings, context, outputs, seed

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """The slab of this number: `source`, `target` (float32) and `region` (uint8)."""
        rng = np.random.default_rng([self.seed, number])
        name = self.names[rng.choice(len(self.names), p=self.shares)]
        index = int(rng.integers(len(self.cases[name])))
        case = self.cases[name][index]
        first, last = self.brain[name][index] if rng.random() < self.settings.brain else (0, case.source.shape[0] - 1)
        z = int(rng.integers(first, last + 1))
        slab = cut(case, z, self.context, self.outputs, self._window(case, rng))
        source = augment_source(slab.source, self.pools[name].augmentation, rng)
        arrays = [_fit(array, self.settings.crop) for array in (source, slab.target, slab.region)]
        if rng.random() < 0.5:
            arrays = [array[..., ::-1] for array in arrays]
        return {
            key: torch.from_numpy(np.ascontiguousarray(array))
            for key, array in zip(("source", "target", "region"), arrays, strict=True)
        }

    def _window(self, case: PackedCase, rng: np.random.Generator) -> tuple[slice, slice]:
        """A random crop; where the case is smaller than the crop, all of it."""
        height, width = self.settings.crop
        y = int(rng.integers(max(1, case.source.shape[1] - height + 1)))
        x = int(rng.integers(max(1, case.source.shape[2] - width + 1)))
        return slice(y, y + height), slice(x, x + width)


def batches(draws: SlabDraws, first: int) -> Iterator[dict[str, Tensor]]:
    """Batches from draw number `first` on, without end."""
    loader = DataLoader(
        draws,
        batch_size=draws.settings.batch,
        sampler=range(first, len(draws)),
        num_workers=draws.settings.workers,
        prefetch_factor=4 if draws.settings.workers else None,
    )
    return iter(loader)


def brain_slices(case: PackedCase) -> tuple[int, int]:
    """The first and the last slice that shows brain."""
    shown = np.flatnonzero((np.asarray(case.region) >= Region.BRAIN).any((1, 2)))
    return int(shown[0]), int(shown[-1])
