"""Pools: folders of packed cases, mixed by shares; and what of a case is the question and what the answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from training.config import ConfigError, Settings
from training.data.augment import SourceAugmentation
from training.data.cases import PackedCase, opened_cases, require_fine
from training.data.directions import Needs
from training.data.regions import BRAIN_REGIONS, Region
from training.parallel import ALL, Share

ENDLESS = 2**40
"""Draws of a run: more than any run takes."""


class PoolSettings(Settings):
    """A folder of packed cases and how its sources are changed."""

    folder: Path
    """Folder of cases, as `simulate` writes it."""
    augmentation: SourceAugmentation = SourceAugmentation()
    """How far the source is changed at each draw."""


class Drawn(NamedTuple):
    """A case, how its sources are to be changed, its first and last slice with brain; on request its `lesion_places`."""

    case: PackedCase
    augmentation: SourceAugmentation
    brain: tuple[int, int]
    lesions: Callable[[], NDArray[np.integer]]


class Pools:
    """The usable cases of several pools, drawn by shares."""

    def __init__(
        self,
        pools: Mapping[str, PoolSettings],
        shares: Mapping[str, float],
        directions: Needs,
        *,
        any_spacing: bool = False,
    ) -> None:
        """`any_spacing`: cases of voxels above 1 mm are taken too. Raises ConfigError where a pool has nothing to use."""
        names = [name for name, share in shares.items() if share > 0]
        unknown = set(names) - set(pools)
        if unknown:
            raise ConfigError(f"The mix names pools that the configuration does not have: {sorted(unknown)}.")
        if not names:
            raise ConfigError("The mix has no pool with a share above 0.")
        self.names, self.settings = names, pools
        self.shares = np.array([shares[name] for name in names], float) / sum(shares[name] for name in names)
        self.cases = {name: _usable(name, pools[name].folder, directions) for name in names}
        if not any_spacing:
            for cases in self.cases.values():
                for case in cases:
                    require_fine(case)
        # Found when first asked for: reading all cases would delay the first step.
        self._brain: dict[tuple[str, int], tuple[int, int]] = {}
        self._lesions: dict[tuple[str, int], NDArray[np.integer]] = {}

    def draw(self, rng: np.random.Generator) -> "Drawn":
        """A random case."""
        name = self.names[rng.choice(len(self.names), p=self.shares)]
        index = int(rng.integers(len(self.cases[name])))
        case = self.cases[name][index]
        if (name, index) not in self._brain:
            self._brain[name, index] = brain_slices(case)

        def lesions() -> NDArray[np.integer]:
            if (name, index) not in self._lesions:
                self._lesions[name, index] = lesion_places(case)
            return self._lesions[name, index]

        return Drawn(case, self.settings[name].augmentation, self._brain[name, index], lesions)


def _usable(name: str, folder: Path, directions: Needs) -> Sequence[PackedCase]:
    if not folder.is_dir():
        raise ConfigError(f"The folder of the pool {name!r} is not there: {folder}. Make its cases first.")
    cases = opened_cases(folder)
    if not cases:
        raise ConfigError(
            f"The pool {name!r} has no cases in {folder}. Make them first: `python -m training simulate`."
        )
    usable = [case for case in cases if directions.of(case)]
    if not usable:
        found = sorted({str(modality) for case in cases for modality in (*case.sources, *case.targets)})
        raise ConfigError(
            f"No case of the pool {name!r} has {directions.needs}. The {len(cases)} cases in {folder} have: "
            f"{', '.join(found)}."
        )
    return usable


def brain_slices(case: PackedCase) -> tuple[int, int]:
    """The first and the last axial slice with brain; of a case without any, all slices."""
    shown = np.flatnonzero(np.isin(case.region[:, ::2, ::2], BRAIN_REGIONS).any((1, 2)))
    return (int(shown[0]), int(shown[-1])) if shown.size else (0, case.shape[0] - 1)


def lesion_places(case: PackedCase, most: int = 500) -> NDArray[np.integer]:
    """Voxels (z, y, x) of lesions and tumors, (n, 3), evenly thinned out to at most `most`."""
    places = np.argwhere(np.isin(case.region, (Region.LESION, Region.TUMOR)))
    return places[:: max(-(-len(places) // most), 1)].astype(np.int32)


class Draws(Dataset[dict[str, Tensor]]):
    """An endless, numbered series: item n is ruled by the seed and n alone, so that a resumed run goes on alike."""

    def __init__(self, make: Callable[..., dict[str, Tensor]], seed: int) -> None:
        """`make`: from a random generator."""
        self.make, self.seed = make, seed

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """The item of this number."""
        return self.make(np.random.default_rng([self.seed, number]))


def batches(draws: Draws, first: int, batch: int, workers: int, share: Share = ALL) -> Iterator[dict[str, Tensor]]:
    """This process' share of the batches from batch number `first` on, without end."""
    if batch % share.world:
        raise ConfigError(
            f"A batch of {batch} cannot be divided among {share.world} processes: make `batch` a multiple of them. It counts "
            "what all of them learn from in one step."
        )
    loader = DataLoader(
        draws,
        batch_size=batch // share.world,
        sampler=range(first * batch + share.rank, ENDLESS, share.world),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        collate_fn=_together,
    )
    return iter(loader)


def _together(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One batch; of what only its first items have, as many as have it. Raises ValueError where a later one alone has it."""
    found: dict[str, Tensor] = {}
    for key in dict.fromkeys(key for item in items for key in item):
        having = [item[key] for item in items if key in item]
        if any(key not in item for item in items[: len(having)]):
            raise ValueError(f"{key} is in some items of a batch, but not in its first ones.")
        found[key] = default_collate(having)
    return found


def held_out(draws: Draws, batch: int, count: int) -> list[dict[str, Tensor]]:
    """The first `count` batches, made at once."""
    items = [[draws[number * batch + place] for place in range(batch)] for number in range(count)]
    return [{key: torch.stack([item[key] for item in group]) for key in group[0]} for group in items]
