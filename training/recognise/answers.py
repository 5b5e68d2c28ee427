"""What the network answers, and where in its output each answer stands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modality_conversion.recognise_network import KINDS, OUTPUTS, SIDES

NOT_ASKED = -1
"""Stands where an answer means nothing, such as which way is up in noise."""


@dataclass(frozen=True)
class Truth:
    """The right answers for one scan."""

    kind: str
    """One of `KINDS`."""
    head: bool
    stripped: bool = False
    defaced: bool = False
    up: int = NOT_ASKED
    """Place in `SIDES` of the side of the cube toward the top of the head."""
    front: int = NOT_ASKED
    """The same toward the face."""
    cut: tuple[bool, ...] = (False,) * len(SIDES)
    """Whether the field of view ends within the brain, by side."""
    brain: float = NOT_ASKED
    """Share of the brain within the field of view."""

    def row(self) -> NDArray[np.float32]:
        """As numbers: kind, head, stripped, defaced, up, front, brain, cut by side."""
        first = [KINDS.index(self.kind), self.head, self.stripped, self.defaced, self.up, self.front, self.brain]
        return np.array([*first, *self.cut], np.float32)


def place(name: str) -> slice:
    """Where an answer stands in the network's output."""
    start = 0
    for answer, width in OUTPUTS.items():
        if answer == name:
            return slice(start, start + width)
        start += width
    raise KeyError(name)
