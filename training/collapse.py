"""Watches discriminators: one that tells everything, or nothing, teaches the generator nothing any more."""

from collections.abc import Mapping
from typing import Any

TOLD, SPREAD = "told", "spread"
"""Parts of a loss that are watched, `told` alone or with an ending such as `told_CT`; see `adversarial.judged`."""
ALL_TOLD = 0.98
"""From this share of patches on, real ones scored above synthetic ones, a discriminator tells everything."""
SAME_SCORE = 1e-3
"""Below this deviation of its scores, over all patches real and synthetic, a discriminator tells nothing."""


class CollapseWatch:
    """Counts, for each discriminator, the steps on end in which it told everything, or nothing."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.counts: dict[str, int] = {}

    def see(self, losses: Mapping[str, float]) -> list[str]:
        """Look at the losses of a step; gives what there is to say, once for each time that it happens."""
        said = []
        for name, told in losses.items():
            if name.split("_")[0] != TOLD:
                continue
            ending = name[len(TOLD) :]
            who = f"The discriminator of {ending[1:]}" if ending else "The discriminator"
            constant = losses[SPREAD + ending] < SAME_SCORE
            said += self._count(f"nothing{ending}", constant, f"{who} {_NOTHING}")
            said += self._count(f"all{ending}", not constant and told > ALL_TOLD, f"{who} {_ALL}")
        return said

    def _count(self, name: str, happens: bool, text: str) -> list[str]:
        self.counts[name] = self.counts.get(name, 0) + 1 if happens else 0
        return [text.format(steps=self.steps)] if self.counts[name] == self.steps else []

    def state(self) -> dict[str, int]:
        """The counts, for the checkpoint."""
        return dict(self.counts)

    def take(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's counts."""
        self.counts = {name: int(count) for name, count in state.items()}


_NOTHING = (
    "has collapsed: for {steps} steps it gave every patch, real or synthetic, the same score, so the generator learns nothing "
    "from it. Begin anew with a lower `train.learning_rate`, with `train.clip: 1`, or with more of the other losses."
)
_ALL = (
    "tells every real patch from every synthetic one, for {steps} steps by now; the generator can hardly learn from it. If the "
    "pictures do not get better: make the discriminator smaller (`discriminator.features`, `discriminator.layers`), or look "
    "for something in the data that gives the side away, such as noise, interpolation, or a border on one side alone."
)
