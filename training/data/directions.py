"""What of a case is the question and what the answer: one conversion, or any of many."""

from typing import NamedTuple, Protocol

import numpy as np

from modality_conversion.modality import Modality
from training.data.cases import PackedCase


class Direction(NamedTuple):
    """What is converted: a source for each place of the network's input, None where none is given, and the target."""

    sources: tuple[Modality | None, ...]
    target: Modality


class Needs(Protocol):
    """What a recipe needs of a case."""

    @property
    def needs(self) -> str:
        """What a case must have, in words."""
        ...

    def of(self, case: PackedCase) -> bool:
        """Whether a case has what is needed."""
        ...


class Directions(Needs, Protocol):
    """Which conversions a recipe makes."""

    def draw(self, case: PackedCase, rng: np.random.Generator) -> Direction:
        """What to make of the case this time."""
        ...


class OneDirection:
    """Always the same conversion, from one source, or from the one at its place among several."""

    def __init__(self, source: Modality, target: Modality, places: tuple[Modality, ...] | None = None) -> None:
        self.source, self.target = source, target
        sources = tuple(place if place == source else None for place in places or (source,))
        self.direction = Direction(sources, target)

    @property
    def needs(self) -> str:
        """See `Directions`."""
        return f"a source {self.source} and a target {self.target}"

    def of(self, case: PackedCase) -> bool:
        """See `Directions`."""
        return self.source in case.sources and self.target in case.targets

    def draw(self, case: PackedCase, rng: np.random.Generator) -> Direction:
        """See `Directions`."""
        return self.direction


class OneScan:
    """No conversion: cases that have a scan of one kind, whatever else they have; its target is itself."""

    def __init__(self, modality: Modality) -> None:
        self.modality = modality

    @property
    def needs(self) -> str:
        """See `Directions`."""
        return f"a scan {self.modality}"

    def of(self, case: PackedCase) -> bool:
        """See `Directions`."""
        return self.modality in case.sources

    def draw(self, case: PackedCase, rng: np.random.Generator) -> Direction:
        """See `Directions`."""
        return Direction((self.modality,), self.modality)


class AnyDirection:
    """Any target from any sources that are not the target itself: modality dropout.

    `shares`: how often each target is asked for, where the case has it; `single`: how often just one source is left.
    """

    def __init__(
        self, sources: tuple[Modality, ...], targets: tuple[Modality, ...], shares: dict[Modality, float], single: float
    ) -> None:
        self.sources, self.targets, self.shares, self.single = sources, targets, shares, single

    @property
    def needs(self) -> str:
        """See `Directions`."""
        return (
            f"a source among {', '.join(self.sources)} and another modality among {', '.join(self.targets)} as target"
        )

    def _possible(self, case: PackedCase) -> dict[Modality, list[Modality]]:
        """For each target that can be asked for, the sources that there are."""
        found = {
            target: [source for source in self.sources if source in case.sources and source != target]
            for target in self.targets
            if target in case.targets and self.shares.get(target, 1.0) > 0
        }
        return {target: sources for target, sources in found.items() if sources}

    def of(self, case: PackedCase) -> bool:
        """See `Directions`."""
        return bool(self._possible(case))

    def draw(self, case: PackedCase, rng: np.random.Generator) -> Direction:
        """See `Directions`."""
        possible = self._possible(case)
        targets = list(possible)
        shares = np.array([self.shares.get(target, 1.0) for target in targets])
        target = targets[rng.choice(len(targets), p=shares / shares.sum())]
        there = possible[target]
        count = 1 if len(there) == 1 or rng.random() < self.single else int(rng.integers(2, len(there) + 1))
        kept = {there[index] for index in rng.choice(len(there), count, replace=False)}
        return Direction(tuple(source if source in kept else None for source in self.sources), target)
