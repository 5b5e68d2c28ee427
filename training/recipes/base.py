"""What the loop, `evaluate` and `export` ask of a recipe.

Training: `network`, `batches`, `loss`, `validate`, `picture`. Export: `declaration` says in the words of
`docs/model-format.md` how the engine has to feed the network, `graph` is what is written to the weight file, `example` is
one set of inputs for it. So neither the loop nor the export knows of any one recipe. A recipe whose networks learn by turns
(generator and discriminator) has the methods of `TakesTurns` too; `loss` is then not asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from training.parallel import ALL, Share

Batch = Mapping[str, Tensor]
"""Tensors by name, the first axis of each being the item within the batch."""


class Recipe(Protocol):
    """A way of making a network: what it is, what it sees, what it is punished for, and how it is used afterwards."""

    def network(self) -> nn.Module:
        """A new network."""
        ...

    def batches(self, shares: Mapping[str, float], first: int, seed: int, share: Share = ALL) -> Iterator[Batch]:
        """Training batches without end, from batch number `first` on; `shares` says how much of each pool.

        Batch number n is the same whenever it is drawn: only `seed` and n rule it. Of several processes each gets its share
        of the items, so that together they see the batches that one process alone would see.
        """
        ...

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The parts of the loss by name; `total` is what is minimised."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Losses and metrics on fixed held-out data, for choosing among epochs and for the log; {} without such data."""
        ...

    def picture(self, network: nn.Module) -> NDArray[np.floating]:
        """A picture for a person, (H, W) in [0, 1]: source, output and target side by side."""
        ...

    def declaration(self) -> dict[str, Any]:
        """Its part of `conversion.json`, complete and ready to be merged: `sources`, `targets`, `geometry`, `ops`, `inputs`,
        `sampler`, `fusion`, `output`.

        `ops` are those of `data.scale`, `output.ops` their way back into units. Who made it, titles, weights and figures are
        the export's. Every input has a name, in the order of `example`.
        """
        ...

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """Inputs for `graph`, one tensor for each input of `declaration` that has a name of its own, in that order.

        The first axis of each is the batch, which is free. An image's last two axes (slabs) are free too, in multiples of
        `geometry.pad_multiple`; those of a patch are fixed.
        """
        ...

    def graph(self, network: nn.Module) -> nn.Module:
        """What is exported, in evaluation mode: `forward(*example)` gives one tensor, means then log-variances, or means alone
        where `declaration` has no `uncertainty`."""
        ...


@runtime_checkable
class TakesTurns(Protocol):
    """What a recipe adds whose parts learn by turns, each with an optimiser of its own, as a generator and a discriminator.

    `network` holds all of them, so that checkpoint, average and choice among epochs are as for any other recipe.
    """

    def optimizers(self, network: nn.Module, rate: float) -> dict[str, Optimizer]:
        """An optimiser for each turn, by its name, for those parameters that learn in it; no parameter has two."""
        ...

    def turns(self, step: int) -> Sequence[str]:
        """The turns of a step, in order."""
        ...

    def turn(self, name: str, network: nn.Module, batch: Batch, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """The parts of a turn's loss by name, `total` among them; the others of a name that no other turn has.

        `kept` is empty at the first turn of a step, and goes from turn to turn with the batch: what one turn has computed
        the next need not. Parts `told` and `spread`, see `adversarial.judged`, are watched for a collapse.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """What the recipe remembers from step to step beside the weights, for the checkpoint."""
        ...

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Remember what a checkpoint held; of {} nothing."""
        ...


class Stage(NamedTuple):
    """A network that goes into the same bundle: its part of the declaration, its graph, and inputs for it (see `Recipe`)."""

    declared: dict[str, Any]
    graph: nn.Module
    example: tuple[Tensor, ...]


@runtime_checkable
class Inherits(Protocol):
    """A recipe whose network can begin with a part of another recipe's."""

    @property
    def inherits_from(self) -> Path | None:
        """Folder of the run that it takes over from; None: all weights are random at first."""
        ...

    def inherit(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Give a new network what it takes from the other's weights. Raises ConfigError where they do not fit."""
        ...


@runtime_checkable
class StagedRecipe(Protocol):
    """A recipe of segmentation that first finds where to look: `segmentation.find` of the declaration."""

    def find_stage(self, network: nn.Module) -> Stage:
        """The stage that finds."""
        ...
