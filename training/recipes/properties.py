"""What tissue is made of, from any subset of several scans; every contrast follows by its signal equation.

The rival of `conditional`: one pass gives all targets, and all that a case has are learnt from at once.
"""

import torch
from pydantic import model_validator
from torch import Tensor, nn

from training.losses import regression_loss
from training.networks.properties import PropertyNet
from training.recipes.base import Batch
from training.recipes.conditional import Conditional, ConditionalSettings


class PropertiesSettings(ConditionalSettings):
    """The recipe's options: those of `conditional`, but for anatomy guidance."""

    @model_validator(mode="after")
    def _unguided(self) -> "PropertiesSettings":
        if self.loss.anatomy:
            raise ValueError("this recipe has no anatomy guidance: leave `loss.anatomy` at 0")
        return self


class Properties(Conditional):
    """See the module."""

    @property
    def every_target(self) -> bool:
        """See `Conditional`."""
        return True

    def network(self) -> nn.Module:
        """A new network."""
        wanted = self.settings
        return PropertyNet(wanted.network, len(wanted.sources), wanted.targets).to(memory_format=torch.channels_last)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Recipe`: of every target that an item has."""
        source = batch["source"].contiguous(memory_format=torch.channels_last)
        given = network(source, batch["given"])
        there = batch["there"].bool()
        region = batch["region"][:, None].expand(-1, there.shape[1], -1, -1, -1)
        return regression_loss(
            given[there], batch["targets"][there], region[there], self.settings.loss, together=network.training
        )
