"""Draws slabs for recipes that need no pairs: two scans of different people, or one scan of any of several kinds.

Scans are on the network's input scale, in [0, 1], and stay as they are but for the crop and the side: a curve or noise added to
them would become part of what is learnt to be made.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.cases import PackedCase, opened_cases
from training.data.directions import OneScan
from training.data.pools import Drawn, Pools, PoolSettings
from training.data.slabs import SlabSettings, draw_box

_LOOKS = 100
"""Places of a scan that are looked at for one that shows something."""


class Side:
    """All cases of a mix of pools that have one kind of scan. Pools without such a case are left out."""

    def __init__(self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], modality: Modality) -> None:
        """Raises ConfigError where no pool of the mix has such a scan."""
        self.modality = modality
        self.pools = Pools(pools, _having(pools, shares, modality), OneScan(modality))
        cases: list[PackedCase] = [case for group in self.pools.cases.values() for case in group]
        self.count = len(cases)
        self.people = {case.person for case in cases}

    def draw(self, rng: np.random.Generator) -> Drawn:
        """A random case, by the shares of the pools."""
        return self.pools.draw(rng)


def _having(pools: Mapping[str, PoolSettings], shares: Mapping[str, float], modality: Modality) -> Mapping[str, float]:
    """The shares of the pools with such a scan. A pool that is not there, or empty, is left to `Pools` to complain of."""
    kept: dict[str, float] = {}
    found: dict[str, int] = {}
    for name, share in shares.items():
        cases = opened_cases(pools[name].folder) if share > 0 and name in pools else ()
        if share > 0 and not cases:
            return shares
        if any(modality in case.sources for case in cases):
            kept[name] = share
        for case in cases:
            for kind in case.sources:
                found[kind] = found.get(kind, 0) + 1
    if not kept and found:
        there = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
        raise ConfigError(
            f"One side is empty: no pool of the mix ({', '.join(shares)}) has a scan {modality}. There are: {there}. "
            f"Pack scans of {modality} into one of these pools, or add their pool to the mix."
        )
    return kept


class UnpairedMaker:
    """Makes an item: `a` and `b`, (slices, H, W) each, float32 in [0, 1], never of the same person.

    Each side is drawn at its own pace: a small collection comes round more often than a large one.
    """

    def __init__(
        self,
        pools: Mapping[str, PoolSettings],
        shares: Mapping[str, float],
        a: Modality,
        b: Modality,
        settings: SlabSettings,
        slices: int,
    ) -> None:
        """Raises ConfigError where a side is empty or both show one person alone."""
        self.a, self.b, self.settings, self.slices = Side(pools, shares, a), Side(pools, shares, b), settings, slices
        if len(self.a.people | self.b.people) < 2:
            raise ConfigError(
                f"All scans {a} and {b} of the mix are of one person ({next(iter(self.a.people))}). Unpaired training needs "
                "two people or more; with aligned scans of one person use `pix2pix` or a recipe of regression."
            )

    def __call__(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random item."""
        while True:
            first, second = self.a.draw(rng), self.b.draw(rng)
            if first.case.person != second.case.person:
                break
        return {
            name: cut_slab(drawn, side.modality, self.settings, self.slices, rng)
            for name, drawn, side in (("a", first, self.a), ("b", second, self.b))
        }


class AnyScanMaker:
    """Makes an item: `image` (slices, H, W), float32 in [0, 1]; `own`, the number of its kind among `modalities`; and
    `wanted`, the number of the kind that it is to become, which may be its own. Every kind comes equally often.
    """

    def __init__(
        self,
        pools: Mapping[str, PoolSettings],
        shares: Mapping[str, float],
        modalities: Sequence[Modality],
        settings: SlabSettings,
        slices: int,
    ) -> None:
        """Raises ConfigError where a kind has no scan."""
        self.sides = [Side(pools, shares, modality) for modality in modalities]
        self.settings, self.slices = settings, slices

    def __call__(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random item."""
        own, wanted = (int(rng.integers(len(self.sides))) for _ in range(2))
        side = self.sides[own]
        image = cut_slab(side.draw(rng), side.modality, self.settings, self.slices, rng)
        return {"image": image, "own": torch.tensor(own), "wanted": torch.tensor(wanted)}


def cut_slab(drawn: Drawn, modality: Modality, settings: SlabSettings, slices: int, rng: np.random.Generator) -> Tensor:
    """A random slab of a scan, (slices, H, W), half of the time with left and right exchanged.

    Never one of a single value: norms over each item then divide by next to nothing, layer after layer, until the gradient is
    no number. Raises ConfigError where the scan shows nothing wherever one looks.
    """
    for _ in range(_LOOKS):
        image: NDArray[np.generic] = draw_box(drawn, settings, rng).cut(drawn.case.sources[modality], slices)
        if image.min() != image.max():
            break
    else:
        raise ConfigError(
            f"The scan {modality} of the case {drawn.case.name} has a single value in each of {_LOOKS} places looked at. Take "
            "the case's folder out of the pool, or pack the scan again."
        )
    if rng.random() < 0.5:  # heads are nearly alike left and right
        image = image[..., ::-1]
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))
