"""A small network after DeepLabv3+: an encoder with atrous convolutions, an atrous spatial pyramid, a decoder.

After Chen et al., Encoder-decoder with atrous separable convolution for semantic image segmentation, ECCV 2018, from the
paper. The encoder is a small residual one, not Xception; the coarsest features have 1/8 of the resolution.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from training.config import Settings

STRIDE = 8
"""How many pixels one of the coarsest features stands for: height and width must be multiples of it."""


class DeepLabSettings(Settings):
    """Size of the network."""

    context: int = Field(3, gt=0)
    """Neighbouring slices in; the middle one comes out."""
    features: tuple[int, int, int] = (16, 32, 64)
    """Feature maps at 1/2, 1/4 and 1/8 of the resolution."""
    atrous: int = Field(2, ge=0)
    """Residual blocks at 1/8 with atrous convolutions, in place of a further halving."""
    rates: tuple[int, ...] = Field((2, 4, 6), min_length=1)
    """Atrous rates of the pyramid's branches, in features of 1/8."""
    pyramid: int = 48
    """Feature maps of each branch of the pyramid, and of the decoder."""
    low: int = 12
    """Feature maps that the decoder takes from 1/2 of the resolution."""


def _normal(features: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(features)  # folds into the convolution


def _separable(inputs: int, outputs: int, stride: int = 1, rate: int = 1) -> nn.Sequential:
    """An atrous separable convolution: 3 x 3 within each feature map, then across them."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, padding=rate, dilation=rate, groups=inputs, bias=False),
        _normal(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        _normal(outputs),
        nn.ReLU(inplace=True),
    )


def _point(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), _normal(outputs), nn.ReLU(inplace=True))


class Block(nn.Module):
    """Two separable convolutions beside a straight way."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, rate: int = 1) -> None:
        super().__init__()
        self.first = _separable(inputs, outputs, stride, rate)
        self.second = _separable(outputs, outputs, 1, rate)
        self.straight: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.straight = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _normal(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        found: Tensor = self.straight(features) + self.second(self.first(features))
        return found


class AtrousPyramid(nn.Module):
    """Branches that look near, at several distances, and at the whole, side by side; then joined."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.near = _point(inputs, outputs)
        self.far = nn.ModuleList(_separable(inputs, outputs, rate=rate) for rate in rates)
        # Without batch normalisation: it would be over single numbers.
        self.whole = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True))
        self.join = _point((2 + len(rates)) * outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        whole = self.whole(features.mean((2, 3), keepdim=True))
        near = self.near(features)
        branches = [near, *(branch(features) for branch in self.far), whole.expand_as(near)]
        joined: Tensor = self.join(torch.cat(branches, 1))
        return joined


class DeepLab(nn.Module):
    """`slab` (N, context, H, W), H and W multiples of 8, to logits (N, 1, H, W) of the middle slice."""

    def __init__(self, settings: DeepLabSettings) -> None:
        super().__init__()
        half, quarter, eighth = settings.features
        self.stem = nn.Sequential(
            nn.Conv2d(settings.context, half, 3, stride=2, padding=1, bias=False), _normal(half), nn.ReLU(inplace=True)
        )
        self.low = Block(half, half)
        self.deep = nn.Sequential(
            Block(half, quarter, stride=2),
            Block(quarter, eighth, stride=2),
            *(Block(eighth, eighth, rate=2) for _ in range(settings.atrous)),
        )
        self.pyramid = AtrousPyramid(eighth, settings.pyramid, settings.rates)
        self.reduce = _point(half, settings.low)
        self.decoder = nn.Sequential(
            _separable(settings.pyramid + settings.low, settings.pyramid),
            _separable(settings.pyramid, settings.pyramid),
        )
        self.last = nn.Conv2d(settings.pyramid, 1, 1)

    def forward(self, slab: Tensor) -> Tensor:
        """See the class."""
        low = self.low(self.stem(slab))
        deep = functional.interpolate(
            self.pyramid(self.deep(low)), scale_factor=4, mode="bilinear", align_corners=False
        )
        logits = self.last(self.decoder(torch.cat([deep, self.reduce(low)], 1)))
        return functional.interpolate(logits.float(), scale_factor=2, mode="bilinear", align_corners=False)
