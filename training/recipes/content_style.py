"""Structure and style apart: what is there, and how it looks, swapped between two kinds of scan. Needs no pairs.

The idea of MUNIT (Huang et al., ECCV 2018) and FusedGAN (Bodla et al., ECCV 2018): each kind of scan has an encoder of
content, an encoder of style and a decoder. A scan is its own content in its own style; its content in a style of the other
kind must please that kind's discriminator, and be read back as that content and that style.
"""

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from training.adversarial import Criterion, adversarial_loss, discriminator_loss, judged, score
from training.networks.adversarial import DiscriminatorSettings, patch_discriminator
from training.networks.content_style import (
    ContentEncoder,
    ContentStyleSettings,
    Decoder,
    StyleEncoder,
    SwappedStyle,
)
from training.networks.signed import SignedGraph, from_source
from training.recipes.base import Batch
from training.recipes.unpaired import UnpairedSettings, UnpairedTranslation

KINDS = ("source", "target")
MULTIPLE = 16
"""The style encoder halves four times."""


class ContentStyleRecipeSettings(UnpairedSettings):
    """The recipe's options; the defaults are MUNIT's, but for one discriminator in place of three, and `slabs`."""

    network: ContentStyleSettings = ContentStyleSettings()
    """Size of encoders and decoders."""
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    """Size of both discriminators."""
    criterion: Criterion = "least_squares"
    """What the discriminators' scores are compared by."""
    image: float = Field(10.0, ge=0)
    """Weight of the mean absolute error of a scan made of its own content and style, beside 1 for each discriminator."""
    content: float = Field(1.0, ge=0)
    """Weight of the change of content on the way through the other kind."""
    style: float = Field(1.0, ge=0)
    """Weight of the difference of the style read back from the one drawn."""
    cycle: float = Field(10.0, ge=0)
    """Weight of the mean absolute error after there, in a style that was drawn, and back again, in its own."""

    @model_validator(mode="after")
    def _fitting(self) -> "ContentStyleRecipeSettings":
        self.fit(MULTIPLE)
        if self.network.style > 4 * self.network.features:
            raise ValueError("`network.style` must not be larger than four times `network.features`")
        return self


class ContentStyle(UnpairedTranslation[ContentStyleRecipeSettings]):
    """See the module."""

    @property
    def multiple(self) -> int:
        """See `Translation`."""
        return 4

    def network(self) -> nn.ModuleDict:
        """See `Recipe`."""
        wanted, slices = self.settings, self.settings.slices
        parts: dict[str, nn.Module] = {}
        for kind in KINDS:
            parts[f"content_{kind}"] = ContentEncoder(slices, wanted.network)
            parts[f"style_{kind}"] = StyleEncoder(slices, wanted.network)
            parts[f"decoder_{kind}"] = Decoder(slices, wanted.network)
            parts[f"judge_{kind}"] = patch_discriminator(slices, wanted.discriminator, "instance")
        return nn.ModuleDict(parts)

    def optimizers(self, network: nn.Module, rate: float) -> dict[str, Optimizer]:
        """See `TakesTurns`."""
        parts = {name: network.get_submodule(name) for name, _ in network.named_children()}
        judges = [part for name, part in parts.items() if name.startswith("judge")]
        others = [part for name, part in parts.items() if not name.startswith("judge")]
        return {"generator": self.adam(*others, rate=rate), "discriminator": self.adam(*judges, rate=rate)}

    def turn(self, name: str, network: nn.Module, batch: Batch, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `TakesTurns`."""
        scans = dict(zip(KINDS, (from_source(batch["a"]), from_source(batch["b"])), strict=True))
        return self._generate(network, scans, kept) if name == "generator" else self._discriminate(network, scans, kept)

    def _generate(self, network: nn.Module, scans: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        wanted, part = self.settings, network.get_submodule
        contents = {kind: part(f"content_{kind}")(scan) for kind, scan in scans.items()}
        styles = {kind: part(f"style_{kind}")(scan) for kind, scan in scans.items()}
        nothing = scans["source"].new_zeros(())
        sums = dict.fromkeys(("adversarial", "image", "content", "style", "cycle"), nothing)
        for kind, scan in scans.items():
            other = KINDS[1 - KINDS.index(kind)]
            again = part(f"decoder_{kind}")(contents[kind], styles[kind])
            drawn = torch.randn(styles[kind].shape).to(scan.device, styles[kind].dtype)
            fake = part(f"decoder_{kind}")(contents[other], drawn)
            kept[kind] = fake.detach()
            content_back, style_back = part(f"content_{kind}")(fake), part(f"style_{kind}")(fake)
            back = part(f"decoder_{other}")(content_back, styles[other])
            scores = score(part(f"judge_{kind}"), fake)
            sums["adversarial"] = sums["adversarial"] + adversarial_loss(scores, wanted.criterion, real=True)
            sums["image"] = sums["image"] + functional.l1_loss(again.float(), scan)
            sums["content"] = sums["content"] + functional.l1_loss(content_back.float(), contents[other].float())
            sums["style"] = sums["style"] + functional.l1_loss(style_back.float(), drawn.float())
            sums["cycle"] = sums["cycle"] + functional.l1_loss(back.float(), scans[other])
        weighted = [getattr(wanted, name, 1.0) * value for name, value in sums.items()]
        return sums | {"total": sum(weighted, start=nothing)}

    def _discriminate(self, network: nn.Module, scans: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        total = scans["source"].new_zeros(())
        for kind, real in scans.items():
            judge, fake = network.get_submodule(f"judge_{kind}"), kept[kind].to(real.dtype)
            real_score, fake_score = score(judge, real), score(judge, fake)
            loss = discriminator_loss(real_score, fake_score, self.settings.criterion)
            modality = getattr(self.settings, kind)
            parts |= {f"discriminator_{modality}": loss.detach()}
            parts |= judged(real_score, fake_score, real, fake, f"_{modality}")
            total = total + loss
        return parts | {"total": total}

    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`: the content of the one kind in the middle style of the other."""
        source, target = reversed(KINDS) if self.settings.reverse else KINDS
        swapped = SwappedStyle(
            network.get_submodule(f"content_{source}"),
            network.get_submodule(f"decoder_{target}"),
            self.settings.network.style,
        )
        return SignedGraph(swapped, self.possible()[0].target, highest=1.0).eval()
