"""The U-Net generator of pix2pix (Isola et al., CVPR 2017, section 6.1.1)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from training.config import Settings
from training.networks.adversarial import init_weights, normalisation


class UNetGeneratorSettings(Settings):
    """Size of the generator. The published one, for 256 x 256 pixels, has depth 8 and 64 features."""

    features: int = Field(64, gt=0)
    """Feature maps at half the resolution; twice as many a level deeper, up to eight times."""
    depth: int = Field(8, ge=3, le=9)
    """How often the resolution is halved; height and width must be multiples of 2 to this power."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Of the three deepest levels on the way up that have eight times the features, while training: the published noise."""

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return int(2**self.depth)


class UNetGenerator(nn.Module):
    """Encoder C64-C128-C256-C512-..., decoder with skips: (N, channels in, H, W) to (N, channels out, H, W) in [-1, 1].

    `norm`: `batch`, as published for pix2pix, or `instance`, as CycleGAN's U-Net has it; the latter needs no deepest level of
    1 x 1.
    """

    def __init__(self, inputs: int, outputs: int, settings: UNetGeneratorSettings, norm: str = "batch") -> None:
        super().__init__()
        widths = [settings.features * min(2**level, 8) for level in range(settings.depth)]
        last, bias = settings.depth - 1, norm == "instance"
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level else []
            layers.append(nn.Conv2d(widths[level - 1] if level else inputs, width, 4, 2, 1, bias=bias))
            if 0 < level < last:  # neither the first nor the deepest is normalised
                layers.append(normalisation(norm, width))
            self.down.append(nn.Sequential(*layers))
        for level in range(last, 0, -1):
            width = widths[level - 1]
            entering = widths[level] * (1 if level == last else 2)
            layers = [nn.ReLU(), nn.ConvTranspose2d(entering, width, 4, 2, 1, bias=bias), normalisation(norm, width)]
            if settings.dropout and width == 8 * settings.features and last - level in (1, 2, 3):
                layers.append(nn.Dropout(settings.dropout))
            self.up.append(nn.Sequential(*layers))
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * widths[0], outputs, 4, 2, 1), nn.Tanh())
        self.apply(init_weights)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        passed = []
        for layer in self.down:
            image = layer(image)
            passed.append(image)
        deepest = passed.pop()
        for layer in self.up:
            deepest = torch.cat([layer(deepest), passed.pop()], 1)
        output: Tensor = self.last(deepest)
        return output
