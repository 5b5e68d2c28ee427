"""Regression with a 3D U-Net: patches of one contrast in, patches of another out, each voxel with its uncertainty."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from modality_conversion.modality import Modality
from training.data.directions import OneDirection
from training.data.patches import PatchMaker, PatchSettings
from training.data.pools import Draws, Pools, PoolSettings
from training.networks.parts import Guided
from training.networks.volume import VolumeNet, VolumeNetSettings
from training.recipes.base import Batch
from training.recipes.declared import declaration, floor, head_like
from training.recipes.regression import Regression, RegressionSettings


class VolumeRegressionSettings(RegressionSettings):
    """The recipe's options."""

    source: Modality = Modality.T1
    """Modality that goes in."""
    target: Modality = Modality.T2
    """Modality that comes out."""
    network: VolumeNetSettings = VolumeNetSettings()
    """Size of the network, and of what it sees."""
    patches: PatchSettings = PatchSettings()
    """How patches are drawn."""


class VolumeRegression(Regression[VolumeRegressionSettings]):
    """See the module."""

    def network(self) -> VolumeNet:
        """A new network."""
        wanted = self.settings
        return VolumeNet(wanted.network, wanted.loss.tissues, floor(wanted.target))

    @property
    def drawing(self) -> tuple[int, int]:
        """See `Regression`."""
        return self.settings.patches.batch, self.settings.patches.workers

    @property
    def _direction(self) -> OneDirection:
        return OneDirection(self.settings.source, self.settings.target)

    def draws(self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], seed: int) -> Draws:
        """See `Regression`."""
        wanted = self.settings
        maker = PatchMaker(
            Pools(pools, shares, self._direction),
            self._direction,
            wanted.network.size,
            wanted.patches,
            tissue=bool(wanted.loss.tissues),
        )
        return Draws(maker, seed)

    def held_out_draws(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float]
    ) -> dict[OneDirection, Draws]:
        """See `Regression`."""
        return {self._direction: self.draws(pools, shares, seed=0)}

    def answer(self, network: nn.Module, batch: Batch) -> Tensor | Guided:
        """See `Regression`: (N, 2, D, H, W) as (N, 2 * D, H, W)."""
        given: Tensor | Guided = network(batch["source"])
        if isinstance(given, Guided):
            return Guided(given.output.flatten(1, 2), given.tissue)
        return given.flatten(1, 2)

    def seen(self, batch: Batch) -> Tensor:
        """See `Regression`."""
        return batch["source"][:, 0]

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        return declaration(
            [self.settings.source],
            [self.settings.target],
            [{"name": "patch", "role": "image"}],
            {"kind": "patch", "size": list(self.settings.network.size), "overlap": 0.25, "batch": 1},
            fusion="gaussian",
        )

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        return (head_like(*self.settings.network.size)[None, None],)
