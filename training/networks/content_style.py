"""Networks that take a scan apart into what is there, its content, and how it looks, its style, and put both together.

After MUNIT (Huang et al., ECCV 2018, appendix B).
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from training.config import Settings
from training.networks.cycle_gan import ResidualBlock


class ContentStyleSettings(Settings):
    """Size of the encoders and decoders. The published ones have 64 features, 4 blocks, 8 numbers of style."""

    features: int = Field(64, gt=0)
    """Feature maps at full resolution; twice as many at half of it, four times at a quarter, where the content lies."""
    blocks: int = Field(4, gt=0)
    """Residual blocks of the content encoder and of the decoder."""
    style: int = Field(8, gt=0)
    """Numbers that say how a scan looks."""
    hidden: int = Field(256, gt=0)
    """Width of the layers that turn a style into scales and shifts."""


def _down(inputs: int, outputs: int, *, normalised: bool) -> list[nn.Module]:
    norm: list[nn.Module] = [nn.InstanceNorm2d(outputs)] if normalised else []
    return [nn.Conv2d(inputs, outputs, 4, 2, 1, padding_mode="reflect"), *norm, nn.ReLU()]


class ContentEncoder(nn.Module):
    """(N, slices, H, W) to (N, 4 features, H / 4, W / 4). Its normalisation takes the style away."""

    def __init__(self, slices: int, settings: ContentStyleSettings) -> None:
        super().__init__()
        width = settings.features
        self.layers = nn.Sequential(
            nn.Conv2d(slices, width, 7, 1, 3, padding_mode="reflect"),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            *_down(width, 2 * width, normalised=True),
            *_down(2 * width, 4 * width, normalised=True),
            *(ResidualBlock(4 * width) for _ in range(settings.blocks)),
        )

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        output: Tensor = self.layers(image)
        return output


class StyleEncoder(nn.Module):
    """(N, slices, H, W) to (N, style). Without normalisation, and without place."""

    def __init__(self, slices: int, settings: ContentStyleSettings) -> None:
        super().__init__()
        width = settings.features
        self.layers = nn.Sequential(
            nn.Conv2d(slices, width, 7, 1, 3, padding_mode="reflect"),
            nn.ReLU(),
            *_down(width, 2 * width, normalised=False),
            *_down(2 * width, 4 * width, normalised=False),
            *_down(4 * width, 4 * width, normalised=False),
            *_down(4 * width, 4 * width, normalised=False),
        )
        self.last = nn.Linear(4 * width, settings.style)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        output: Tensor = self.last(self.layers(image).mean((2, 3)))
        return output


class StyledBlock(nn.Module):
    """A residual block whose normalised features are scaled and shifted as a style says (AdaIN, Huang 2017)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, 1, 1, padding_mode="reflect")
        self.second = nn.Conv2d(features, features, 3, 1, 1, padding_mode="reflect")
        self.norm = nn.InstanceNorm2d(features)

    def forward(self, features: Tensor, modulation: Tensor) -> Tensor:
        """(N, features, H, W) and (N, 4, features) to (N, features, H, W)."""
        scale1, shift1, scale2, shift2 = modulation[:, :, :, None, None].unbind(1)
        inner = functional.relu(self.norm(self.first(features)) * (1 + scale1) + shift1)
        return features + self.norm(self.second(inner)) * (1 + scale2) + shift2


class Decoder(nn.Module):
    """Content (N, 4 features, h, w) and style (N, style) to (N, slices, 4 h, 4 w) in [-1, 1]."""

    def __init__(self, slices: int, settings: ContentStyleSettings) -> None:
        super().__init__()
        width = 4 * settings.features
        self.blocks = nn.ModuleList(StyledBlock(width) for _ in range(settings.blocks))
        self.modulation = nn.Sequential(
            nn.Linear(settings.style, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, settings.blocks * 4 * width),
        )
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(width, width // 2, 5, 1, 2, padding_mode="reflect"),
                nn.GroupNorm(1, width // 2),  # over all features: what the style has set stays
                nn.ReLU(),
            ]
            width //= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, slices, 7, 1, 3, padding_mode="reflect"), nn.Tanh())

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """See the class."""
        modulation = self.modulation(style).unflatten(1, (len(self.blocks), 4, -1))
        for number, block in enumerate(self.blocks):
            content = block(content, modulation[:, number])
        output: Tensor = self.layers(content)
        return output


class SwappedStyle(nn.Module):
    """The content of one kind of scan in the middle style of another: the generator that is exported."""

    def __init__(self, content: nn.Module, decoder: nn.Module, style: int) -> None:
        super().__init__()
        self.content, self.decoder, self.style = content, decoder, style

    def forward(self, image: Tensor) -> Tensor:
        """(N, slices, H, W) to the same shape."""
        content = self.content(image)
        # Styles are drawn around 0 while training, so 0 is the middle one.
        output: Tensor = self.decoder(content, torch.zeros_like(content[:, : self.style, 0, 0]))
        return output
