"""Regression with a 2.5D U-Net: slabs of one contrast in, slabs of another out, each voxel with its uncertainty."""

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import Settings
from training.data.augment import SourceAugmentation
from training.data.slabs import PoolSettings, SlabDraws, SlabSettings, batches
from training.losses import SlabLossSettings, slab_loss
from training.networks.slab import SlabNet, SlabNetSettings
from training.recipes.base import Batch


class SlabRegressionSettings(Settings):
    """The recipe's options."""

    network: SlabNetSettings = SlabNetSettings()
    """Size of the network."""
    slabs: SlabSettings = SlabSettings()
    """Size of what it sees."""
    loss: SlabLossSettings = SlabLossSettings()
    """Weights of the loss."""
    pools: dict[str, PoolSettings]
    """Folders of cases by name; the stages of training mix them."""
    validation: str | None = None
    """Pool that is never trained on; its loss is logged."""
    validation_batches: int = 12
    """How much of it is looked at."""


class SlabRegression:
    """See the module."""

    def __init__(self, settings: SlabRegressionSettings) -> None:
        self.settings = settings

    def network(self) -> SlabNet:
        """A new network; channels last is the faster layout on CPUs with bfloat16."""
        return SlabNet(self.settings.network).to(memory_format=torch.channels_last)

    def _draws(self, shares: Mapping[str, float], seed: int) -> SlabDraws:
        net = self.settings.network
        return SlabDraws(self.settings.pools, shares, self.settings.slabs, net.context, net.outputs, seed)

    def batches(self, shares: Mapping[str, float], first: int, seed: int) -> Iterator[Batch]:
        """See `Recipe`."""
        return batches(self._draws(shares, seed), first * self.settings.slabs.batch)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Recipe`."""
        source = batch["source"].contiguous(memory_format=torch.channels_last)
        return slab_loss(network(source), batch["target"], batch["region"], self.settings.loss)

    @cached_property
    def _held_out(self) -> list[Batch]:
        """Fixed batches of the validation pool, its sources unchanged."""
        name = self.settings.validation
        if name is None:
            return []
        pools = {name: PoolSettings(folder=self.settings.pools[name].folder, augmentation=SourceAugmentation(calm=1.0))}
        net, slabs = self.settings.network, self.settings.slabs
        draws = SlabDraws(pools, {name: 1.0}, slabs, net.context, net.outputs, seed=0)
        numbers = range(slabs.batch * self.settings.validation_batches)
        items = [draws[number] for number in numbers]
        groups = [items[start : start + slabs.batch] for start in range(0, len(items), slabs.batch)]
        return [{key: torch.stack([item[key] for item in group]) for key in group[0]} for group in groups]

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """See `Recipe`."""
        device = next(network.parameters()).device
        sums: dict[str, float] = {}
        for batch in self._held_out:
            for name, value in self.loss(network, {key: part.to(device) for key, part in batch.items()}).items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(self._held_out)
        return sums

    @torch.no_grad()
    def picture(self, network: nn.Module) -> NDArray[np.floating]:
        """The middle slice of the first held-out slabs: source, output, target, deviation (times 5)."""
        if not self._held_out:
            return np.zeros((1, 1))
        batch, device = self._held_out[0], next(network.parameters()).device
        mean, log_variance = network(batch["source"].to(device)).float().cpu().chunk(2, 1)
        middle_in, middle_out = batch["source"].shape[1] // 2, mean.shape[1] // 2
        columns = [
            batch["source"][:, middle_in],
            mean[:, middle_out],
            batch["target"][:, middle_out],
            5 * (0.5 * log_variance[:, middle_out]).exp(),
        ]
        rows = torch.cat([column[:6] for column in columns], 2)  # (6, H, 4 W)
        return rows.flip(1).reshape(-1, rows.shape[-1]).clamp(0, 1).numpy()
