"""One 3D network for every direction: patches of any subset of several scans in, a patch of the contrast asked for out.

The larger brother of `conditional`, for a GPU: it sees along all three axes at once.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.data.directions import Directions
from training.data.patches import PatchMaker, PatchSettings
from training.data.pools import Draws, Pools, PoolSettings
from training.networks.conditional_volume import ConditionalVolumeNet, ConditionalVolumeNetSettings
from training.networks.parts import Guided
from training.recipes.base import Batch
from training.recipes.conditional import AnyToAny, AnyToAnySettings
from training.recipes.declared import declaration, floor, head_like


class ConditionalVolumeSettings(AnyToAnySettings):
    """The recipe's options."""

    network: ConditionalVolumeNetSettings = ConditionalVolumeNetSettings()
    """Size of the network, and of what it sees."""
    patches: PatchSettings = PatchSettings()
    """How patches are drawn."""


class ConditionalVolume(AnyToAny[ConditionalVolumeSettings]):
    """See the module."""

    def network(self) -> ConditionalVolumeNet:
        """A new network."""
        wanted = self.settings
        floors = tuple(floor(target) for target in wanted.targets)
        return ConditionalVolumeNet(wanted.network, len(wanted.sources), floors, wanted.loss.tissues)

    @property
    def drawing(self) -> tuple[int, int]:
        """See `Regression`."""
        return self.settings.patches.batch, self.settings.patches.workers

    def series(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], directions: Directions, seed: int
    ) -> Draws:
        """See `AnyToAny`."""
        wanted = self.settings
        maker = PatchMaker(
            Pools(pools, shares, directions),
            directions,
            wanted.network.size,
            wanted.patches,
            tissue=bool(wanted.loss.tissues),
            targets=wanted.targets,
        )
        return Draws(maker, seed)

    def answer(self, network: nn.Module, batch: Batch) -> Tensor | Guided:
        """See `Regression`: (N, 2, D, H, W) as (N, 2 * D, H, W)."""
        given: Tensor | Guided = network(batch["source"], *self.codes(batch))
        if isinstance(given, Guided):
            return Guided(given.output.flatten(1, 2), given.tissue)
        return given.flatten(1, 2)

    def seen(self, batch: Batch) -> Tensor:
        """See `Regression`."""
        first = batch["given"].argmax(1)
        return batch["source"][torch.arange(len(first)), first]

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        wanted = self.settings
        return declaration(
            wanted.sources,
            wanted.targets,
            self.declared_inputs("patch"),
            {"kind": "patch", "size": list(wanted.network.size), "overlap": 0.25, "batch": 1},
            fusion="gaussian",
        )

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        number, given, code = self.example_codes()
        patch = torch.zeros(1, len(self.settings.sources), *self.settings.network.size)
        patch[:, number] = head_like(*self.settings.network.size)
        return patch, given, code
