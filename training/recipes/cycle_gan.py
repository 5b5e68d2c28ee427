"""CycleGAN (Zhu et al., ICCV 2017): there and back again is where one was. Needs no pairs.

Nothing says that what is in between shows the same person: of all recipes this one is the most ready to add and to remove.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from training.adversarial import Criterion, adversarial_loss, discriminator_loss, judged, score
from training.image_pool import ImagePool
from training.networks.adversarial import DiscriminatorSettings, patch_discriminator
from training.networks.cycle_gan import ResNetGenerator, ResNetGeneratorSettings
from training.networks.pix2pix import UNetGenerator, UNetGeneratorSettings
from training.networks.signed import SignedGraph, from_source
from training.recipes.base import Batch
from training.recipes.unpaired import UnpairedSettings, UnpairedTranslation

GENERATORS, DISCRIMINATORS = ("forth", "back"), ("of_source", "of_target")


class CycleGANSettings(UnpairedSettings):
    """The recipe's options; the defaults are the published ones, but for `slabs`."""

    generator: Literal["resnet", "unet"] = "resnet"
    """Kind of both generators."""
    resnet: ResNetGeneratorSettings = ResNetGeneratorSettings()
    """Their size, if residual."""
    unet: UNetGeneratorSettings = UNetGeneratorSettings(dropout=0)
    """Their size, if U-Nets."""
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    """Size of both discriminators."""
    criterion: Criterion = "least_squares"
    """What the discriminators' scores are compared by."""
    cycle: float = Field(10.0, ge=0)
    """Weight of the mean absolute error after there and back again, beside 1 for each discriminator."""
    identity: float = Field(0.5, ge=0)
    """Weight, as a fraction of `cycle`, of the change that a generator makes to a scan of the kind that it is to give."""
    pool: int = Field(50, ge=0)
    """Synthetic images that are kept for each discriminator; 0: it sees the newest alone."""

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return (self.resnet if self.generator == "resnet" else self.unet).multiple

    @model_validator(mode="after")
    def _fitting(self) -> "CycleGANSettings":
        self.fit(self.multiple)
        return self


class CycleGAN(UnpairedTranslation[CycleGANSettings]):
    """See the module."""

    def __init__(self, settings: CycleGANSettings) -> None:
        super().__init__(settings)
        self.pools = {name: ImagePool(settings.pool) for name in DISCRIMINATORS}

    @property
    def multiple(self) -> int:
        """See `Translation`."""
        return self.settings.multiple

    def network(self) -> nn.ModuleDict:
        """See `Recipe`."""
        wanted, slices = self.settings, self.settings.slices
        parts: dict[str, nn.Module] = {}
        for name in GENERATORS:
            parts[name] = (
                ResNetGenerator(slices, slices, wanted.resnet)
                if wanted.generator == "resnet"
                else UNetGenerator(slices, slices, wanted.unet, "instance")
            )
        for name in DISCRIMINATORS:
            parts[name] = patch_discriminator(slices, wanted.discriminator, "instance")
        return nn.ModuleDict(parts)

    def optimizers(self, network: nn.Module, rate: float) -> dict[str, Optimizer]:
        """See `TakesTurns`."""
        return {
            turn: self.adam(*(network.get_submodule(name) for name in names), rate=rate)
            for turn, names in (("generator", GENERATORS), ("discriminator", DISCRIMINATORS))
        }

    def turn(self, name: str, network: nn.Module, batch: Batch, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `TakesTurns`."""
        scans = {"of_source": from_source(batch["a"]), "of_target": from_source(batch["b"])}
        return self._generate(network, scans, kept) if name == "generator" else self._discriminate(network, scans, kept)

    def _generate(self, network: nn.Module, scans: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        wanted = self.settings
        source, target = scans["of_source"], scans["of_target"]
        forth, back = (network.get_submodule(name) for name in GENERATORS)
        fakes = {"of_target": forth(source), "of_source": back(target)}
        kept |= {name: fake.detach() for name, fake in fakes.items()}
        parts = {
            f"adversarial_{name}": adversarial_loss(
                score(network.get_submodule(name), fake), wanted.criterion, real=True
            )
            for name, fake in fakes.items()
        }
        total = sum(parts.values(), start=source.new_zeros(()))
        parts["cycle"] = functional.l1_loss(back(fakes["of_target"]).float(), source) + functional.l1_loss(
            forth(fakes["of_source"]).float(), target
        )
        total = total + wanted.cycle * parts["cycle"]
        if wanted.identity:
            parts["identity"] = functional.l1_loss(forth(target).float(), target) + functional.l1_loss(
                back(source).float(), source
            )
            total = total + wanted.cycle * wanted.identity * parts["identity"]
        return parts | {"total": total}

    def _discriminate(self, network: nn.Module, scans: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        total = scans["of_source"].new_zeros(())
        for name, real in scans.items():
            judge = network.get_submodule(name)
            fake = self.pools[name].exchange(kept[name]).to(real.dtype)
            real_score, fake_score = score(judge, real), score(judge, fake)
            loss = discriminator_loss(real_score, fake_score, self.settings.criterion)
            kind = self.settings.source if name == "of_source" else self.settings.target
            parts |= {f"discriminator_{kind}": loss.detach()}
            parts |= judged(real_score, fake_score, real, fake, f"_{kind}")
            total = total + loss
        return parts | {"total": total}

    def state(self) -> dict[str, Tensor]:
        """See `TakesTurns`: the pools."""
        return {name: pool.images for name, pool in self.pools.items() if pool.images is not None}

    def take(self, state: Mapping[str, Tensor]) -> None:
        """See `TakesTurns`."""
        for name, pool in self.pools.items():
            pool.take(state.get(name))

    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`: one of the generators, in scans as the network reads them, whose brightest value becomes 1."""
        generator = network.get_submodule(GENERATORS[1 if self.settings.reverse else 0])
        return SignedGraph(generator, self.possible()[0].target, highest=1.0).eval()
