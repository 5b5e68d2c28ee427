"""What the loop asks of a recipe."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Batch = Mapping[str, Tensor]


class Recipe(Protocol):
    """A way of making a network: what it is, what it sees, what it is punished for."""

    def network(self) -> nn.Module:
        """A new network."""
        ...

    def batches(self, shares: Mapping[str, float], first: int, seed: int) -> Iterator[Batch]:
        """Training batches without end, from batch number `first` on; `shares` says how much of each pool."""
        ...

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The parts of the loss by name; `total` is what is minimised."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Losses on fixed held-out data, for choosing and for the log."""
        ...

    def picture(self, network: nn.Module) -> NDArray[np.floating]:
        """A picture for a person, (H, W) in [0, 1]: source, output and target side by side."""
        ...
