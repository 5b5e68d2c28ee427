"""pix2pix (Isola et al., CVPR 2017): a U-Net that must please a discriminator and be near the target. Needs pairs."""

from collections.abc import Mapping

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from training.adversarial import Criterion, adversarial_loss, discriminator_loss, judged, score
from training.data.directions import OneDirection
from training.data.pools import Draws
from training.data.slabs import SlabSettings
from training.networks.adversarial import DiscriminatorSettings, Norm, patch_discriminator
from training.networks.pix2pix import UNetGenerator, UNetGeneratorSettings
from training.networks.signed import SignedGraph, from_source, from_target
from training.recipes.base import Batch
from training.recipes.translation import OneWaySettings, Translation


class Pix2PixSettings(OneWaySettings):
    """The recipe's options; the defaults are the published ones, but for `slabs`."""

    slabs: SlabSettings = SlabSettings(crop=(256, 256), batch=1)
    """Size of what is seen."""
    context: int | None = None
    """Slices in; `slices` of them, in the middle, come out. None: as many as come out."""
    generator: UNetGeneratorSettings = UNetGeneratorSettings()
    """Size of the generator."""
    norm: Norm = "batch"
    """Normalisation of both networks."""
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    """Size of the discriminator."""
    criterion: Criterion = "bce"
    """What the discriminator's scores are compared by."""
    l1: float = Field(100.0, ge=0)
    """Weight of the mean absolute error, beside 1 for the discriminator."""

    @model_validator(mode="after")
    def _fitting(self) -> "Pix2PixSettings":
        self.fit(self.generator.multiple)
        if self.context is not None and (self.context < self.slices or (self.context - self.slices) % 2):
            raise ValueError("`context` must be `slices` and an even number more")
        return self


class Pix2Pix(Translation[Pix2PixSettings]):
    """See the module."""

    @property
    def context(self) -> int:
        """See `Translation`."""
        return self.settings.context or self.settings.slices

    @property
    def multiple(self) -> int:
        """See `Translation`."""
        return self.settings.generator.multiple

    def possible(self) -> list[OneDirection]:
        """See `Translation`."""
        return [OneDirection(self.settings.source, self.settings.target)]

    def network(self) -> nn.ModuleDict:
        """See `Recipe`. The discriminator sees the source beside the image that it judges."""
        wanted = self.settings
        generator = UNetGenerator(self.context, wanted.slices, wanted.generator, wanted.norm)
        judge = patch_discriminator(self.context + wanted.slices, wanted.discriminator, wanted.norm)
        return nn.ModuleDict({"generator": generator, "discriminator": judge})

    def draws(self, shares: Mapping[str, float], seed: int) -> Draws:
        """See `Translation`."""
        return self.paired_draws(self.settings.pools, shares, self.possible()[0], seed)

    def optimizers(self, network: nn.Module, rate: float) -> dict[str, Optimizer]:
        """See `TakesTurns`."""
        return {name: self.adam(network.get_submodule(name), rate=rate) for name in ("generator", "discriminator")}

    def turn(self, name: str, network: nn.Module, batch: Batch, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `TakesTurns`."""
        source, judge = from_source(batch["source"]), network.get_submodule("discriminator")
        target = from_target(batch["target"], self.settings.target)
        if name == "generator":
            fake = network.get_submodule("generator")(source)
            kept["fake"] = fake.detach()
            adversarial = adversarial_loss(
                score(judge, torch.cat([source, fake], 1)), self.settings.criterion, real=True
            )
            value = functional.l1_loss(fake.float(), target)
            return {"adversarial": adversarial, "value": value, "total": adversarial + self.settings.l1 * value}
        fake = kept["fake"].to(source.dtype)
        real_score, fake_score = (score(judge, torch.cat([source, image], 1)) for image in (target, fake))
        loss = discriminator_loss(real_score, fake_score, self.settings.criterion)
        return {"discriminator": loss.detach(), "total": loss} | judged(real_score, fake_score, target, fake)

    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`."""
        return SignedGraph(network.get_submodule("generator"), self.settings.target).eval()
