"""Regression with a 2.5D U-Net: slabs of one contrast in, slabs of another out, each voxel with its uncertainty."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modality_conversion.modality import Modality
from training.data.directions import OneDirection
from training.data.pools import Draws, Pools, PoolSettings
from training.data.slabs import SlabMaker, SlabSettings
from training.networks.parts import Guided
from training.networks.slab import SlabNet, SlabNetSettings
from training.recipes.base import Batch
from training.recipes.declared import declaration, floor, head_like
from training.recipes.regression import Regression, RegressionSettings

MULTIPLE = 32
"""The U-Net halves five times, counting the first rearrangement."""


class SlabRegressionSettings(RegressionSettings):
    """The recipe's options."""

    source: Modality = Modality.T1
    """Modality that goes in."""
    target: Modality = Modality.T2
    """Modality that comes out."""
    network: SlabNetSettings = SlabNetSettings()
    """Size of the network."""
    slabs: SlabSettings = SlabSettings()
    """Size of what it sees."""


class SlabRegression(Regression[SlabRegressionSettings]):
    """See the module."""

    def network(self) -> SlabNet:
        """A new network; channels last is the faster layout on CPUs with bfloat16."""
        wanted = self.settings
        network = SlabNet(wanted.network, wanted.loss.tissues, floor(wanted.target))
        return network.to(memory_format=torch.channels_last)

    @property
    def drawing(self) -> tuple[int, int]:
        """See `Regression`."""
        return self.settings.slabs.batch, self.settings.slabs.workers

    @property
    def _direction(self) -> OneDirection:
        return OneDirection(self.settings.source, self.settings.target)

    def draws(self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], seed: int) -> Draws:
        """See `Regression`."""
        wanted = self.settings
        maker = SlabMaker(
            Pools(pools, shares, self._direction),
            self._direction,
            (wanted.target,),
            wanted.slabs,
            context=wanted.network.context,
            outputs=wanted.network.outputs,
            tissue=bool(wanted.loss.tissues),
        )
        return Draws(maker, seed)

    def held_out_draws(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float]
    ) -> dict[OneDirection, Draws]:
        """See `Regression`."""
        return {self._direction: self.draws(pools, shares, seed=0)}

    def answer(self, network: nn.Module, batch: Batch) -> Tensor | Guided:
        """See `Regression`."""
        given: Tensor | Guided = network(batch["source"].contiguous(memory_format=torch.channels_last))
        return given

    def seen(self, batch: Batch) -> Tensor:
        """See `Regression`."""
        margin = (self.settings.network.context - self.settings.network.outputs) // 2
        return batch["source"][:, margin : margin + self.settings.network.outputs]

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        net = self.settings.network
        return declaration(
            [self.settings.source],
            [self.settings.target],
            [{"name": "slab", "role": "image"}],
            {
                "kind": "slab",
                "axes": [0],
                "context": net.context,
                "outputs": net.outputs,
                "overlap": 0.4,
                "batch": 4,
            },
            pad_multiple=[None, MULTIPLE, MULTIPLE],
        )

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        return (head_like(self.settings.network.context, 96, 96)[None],)
