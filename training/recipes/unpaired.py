"""What recipes between two kinds of scan without pairs share: which way is measured and exported, and what is drawn."""

from collections.abc import Mapping
from typing import TypeVar

from training.data.directions import OneDirection
from training.data.pools import Draws
from training.data.unpaired import UnpairedMaker
from training.recipes.translation import OneWaySettings, Translation


class UnpairedSettings(OneWaySettings):
    """Options of recipes that learn both ways at once."""

    reverse: bool = False
    """Measure and export the way back, `target` to `source`; training is the same."""


AnyUnpaired = TypeVar("AnyUnpaired", bound=UnpairedSettings)


class UnpairedTranslation(Translation[AnyUnpaired]):
    """A recipe whose two sides are drawn each by itself, from different people."""

    def possible(self) -> list[OneDirection]:
        """See `Translation`."""
        ends = self.settings.source, self.settings.target
        return [OneDirection(*(reversed(ends) if self.settings.reverse else ends))]

    def draws(self, shares: Mapping[str, float], seed: int) -> Draws:
        """See `Translation`."""
        wanted = self.settings
        return Draws(
            UnpairedMaker(wanted.pools, shares, wanted.source, wanted.target, wanted.slabs, wanted.slices), seed
        )
