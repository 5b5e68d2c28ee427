"""StarGAN (Choi et al., CVPR 2018): one generator for every pair of several kinds of scan, told what to make. Needs no pairs.

The critic also learns which kind an image is; the generator must be taken for the kind that it was asked for, and come back
to where it was.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from modality_conversion.modality import Modality
from training.adversarial import gradient_penalty, judged
from training.data.directions import OneDirection
from training.data.pools import Draws
from training.data.unpaired import AnyScanMaker
from training.networks.signed import from_source
from training.networks.star_gan import StarCritic, StarCriticSettings, StarGenerator, StarGeneratorSettings, StarGraph
from training.recipes.base import Batch
from training.recipes.translation import Translation, TranslationSettings


class StarGANSettings(TranslationSettings):
    """The recipe's options; the defaults are the published ones, but for `slabs`. Its published rate is 1e-4."""

    modalities: tuple[Modality, ...] = Field((Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR), min_length=2)
    """Kinds of scan, in the order of the code."""
    generator: StarGeneratorSettings = StarGeneratorSettings()
    """Size of the generator."""
    critic: StarCriticSettings = StarCriticSettings()
    """Size of the critic."""
    kind: float = Field(1.0, ge=0)
    """Weight of the kind of scan that an image is taken for, beside 1 for the critic's score."""
    cycle: float = Field(10.0, ge=0)
    """Weight of the mean absolute error after there and back again."""
    penalty: float = Field(10.0, ge=0)
    """Weight of the critic's gradient penalty (WGAN-GP)."""
    critic_steps: int = Field(5, gt=0)
    """The generator learns at every so many steps, the critic at each."""

    @model_validator(mode="after")
    def _fitting(self) -> "StarGANSettings":
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError("`modalities` names a modality twice")
        self.fit(2**self.critic.layers)
        return self


class StarGAN(Translation[StarGANSettings]):
    """See the module."""

    @property
    def multiple(self) -> int:
        """See `Translation`."""
        return 4

    def possible(self) -> list[OneDirection]:
        """See `Translation`."""
        kinds = self.settings.modalities
        return [OneDirection(source, target) for target in kinds for source in kinds if source != target]

    def network(self) -> nn.ModuleDict:
        """See `Recipe`."""
        wanted, kinds = self.settings, len(self.settings.modalities)
        generator = StarGenerator(wanted.slices, kinds, wanted.generator)
        critic = StarCritic(wanted.slices, kinds, wanted.slabs.crop, wanted.critic)
        return nn.ModuleDict({"generator": generator, "critic": critic})

    def draws(self, shares: Mapping[str, float], seed: int) -> Draws:
        """See `Translation`."""
        wanted = self.settings
        return Draws(AnyScanMaker(wanted.pools, shares, wanted.modalities, wanted.slabs, wanted.slices), seed)

    def optimizers(self, network: nn.Module, rate: float) -> dict[str, Optimizer]:
        """See `TakesTurns`."""
        return {name: self.adam(network.get_submodule(name), rate=rate) for name in ("generator", "critic")}

    def turns(self, step: int) -> tuple[str, ...]:
        """See `TakesTurns`."""
        return ("critic", "generator") if (step + 1) % self.settings.critic_steps == 0 else ("critic",)

    def _code(self, numbers: Tensor) -> Tensor:
        return functional.one_hot(numbers, len(self.settings.modalities)).float()

    def turn(self, name: str, network: nn.Module, batch: Batch, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `TakesTurns`."""
        image = from_source(batch["image"])
        generator, critic = network.get_submodule("generator"), network.get_submodule("critic")
        assert isinstance(critic, StarCritic)
        if name == "critic":
            return self._criticise(generator, critic, image, batch)
        wanted = self.settings
        fake = generator(image, self._code(batch["wanted"]))
        scores, kinds = critic.judge(fake)
        parts = {
            "adversarial": -scores.float().mean(),
            "kind": functional.cross_entropy(kinds.float(), batch["wanted"]),
            "cycle": functional.l1_loss(generator(fake, self._code(batch["own"])).float(), image),
        }
        total = parts["adversarial"] + wanted.kind * parts["kind"] + wanted.cycle * parts["cycle"]
        return parts | {"total": total}

    def _criticise(self, generator: nn.Module, critic: StarCritic, image: Tensor, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = generator(image, self._code(batch["wanted"])).float()
        (real_scores, kinds), fake_scores = critic.judge(image), critic(fake)
        real_scores, fake_scores = real_scores.float(), fake_scores.float()
        parts = {
            "critic": fake_scores.mean() - real_scores.mean(),
            "critic_kind": functional.cross_entropy(kinds.float(), batch["own"]),
            "penalty": gradient_penalty(critic, image, fake),
        }
        total = parts["critic"] + self.settings.kind * parts["critic_kind"] + self.settings.penalty * parts["penalty"]
        return parts | judged(real_scores, fake_scores, image, fake) | {"total": total}

    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`."""
        return StarGraph(network.get_submodule("generator"), self.settings.modalities).eval()

    def answer(self, graph: nn.Module, direction: OneDirection, source: Tensor) -> Tensor:
        """See `Translation`."""
        number = torch.full((len(source),), self.settings.modalities.index(direction.target), device=source.device)
        output: Tensor = graph(source, self._code(number))
        return output

    def declared_inputs(self) -> list[dict[str, Any]]:
        """See `Translation`."""
        order = [str(modality) for modality in self.settings.modalities]
        return [*super().declared_inputs(), {"name": "wanted", "role": "target_code", "order": order}]

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        (slab,) = super().example(network)
        return slab, self._code(torch.tensor([0]))
