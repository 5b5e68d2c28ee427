"""Which of a case's scans a segmenting network is given this time: modality dropout."""

from collections.abc import Mapping

import numpy as np

from modality_conversion.modality import Modality
from training.data.cases import PackedCase
from training.data.structures import Structures

Given = tuple[Modality | None, ...]
"""One for each place of the network's input; None where nothing is given."""


class Subsets:
    """Any of some scans. `single`: how often just one is given; else their number is drawn evenly. `only`: always these.
    `often`: sets with the share of the draws that they get before any others, from cases that have all of them.
    """

    def __init__(
        self,
        sources: tuple[Modality, ...],
        structures: Structures,
        single: float,
        only: tuple[Modality, ...] | None = None,
        often: Mapping[tuple[Modality, ...], float] | None = None,
    ) -> None:
        self.sources, self.structures, self.single, self.only = sources, structures, single, only
        self.often = dict(often or {})

    @property
    def needs(self) -> str:
        """See `directions.Needs`."""
        scans = f"one of {', '.join(self.sources)}" if self.only is None else " and ".join(self.only)
        return f"{scans} as a source and {self.structures.needs}"

    def of(self, case: PackedCase) -> bool:
        """See `directions.Needs`."""
        there = [source for source in self.sources if source in case.sources]
        enough = bool(there) if self.only is None else all(source in there for source in self.only)
        return enough and self.structures.has(case)

    def draw(self, case: PackedCase, rng: np.random.Generator) -> Given:
        """The scans given this time."""
        if self.only is not None:
            return tuple(source if source in self.only else None for source in self.sources)
        there = [source for source in self.sources if source in case.sources]
        if self.often:
            share = rng.random()
            for scans, wanted in self.often.items():
                share -= wanted
                if share < 0 and all(source in there for source in scans):
                    return tuple(source if source in scans else None for source in self.sources)
                if share < 0:
                    break
        count = 1 if len(there) == 1 or rng.random() < self.single else int(rng.integers(2, len(there) + 1))
        kept = {there[index] for index in rng.choice(len(there), count, replace=False)}
        return tuple(source if source in kept else None for source in self.sources)
