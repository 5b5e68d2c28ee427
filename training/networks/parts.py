"""Parts that several networks share: what is done to slices at the end, and what a guided network gives."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Guided(NamedTuple):
    """What a network with anatomy guidance gives while it trains."""

    output: Tensor
    """Means, then log-variances."""
    tissue: Tensor
    """Logits of the tissue classes, (N, classes, ...), of the middle slice or of the patch; may be of lower resolution."""


class InFullPrecision(nn.Module):
    """A part that mixed precision leaves alone.

    Of 3D convolutions over two voxels a side, torch 2.13 takes the gradient of the weights in bfloat16 on the CPU from
    memory that nobody has written: now and then it is not a number.
    """

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, features: Tensor) -> Tensor:
        """As the part."""
        with torch.autocast(features.device.type, enabled=False):
            found: Tensor = self.part(features.float())
            return found


def check_surrounded(context: int, outputs: int) -> None:
    """Refuse slabs whose slices out are not in the middle of more slices in. Raises ValueError."""
    margin = context - outputs
    if margin < 2 or margin % 2:
        raise ValueError("`context` must be `outputs` and an even number of at least 2 more")


class Finish(nn.Module):
    """Smooths, evens out and sharpens slices (N, slices, H, W), each by itself."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        self.slices = slices
        line = torch.tensor([0.25, 0.5, 0.25])
        self.binomial: Tensor
        self.register_buffer("binomial", torch.outer(line, line).expand(slices, 1, 3, 3).clone(), persistent=False)

    def smooth(self, slices: Tensor) -> Tensor:
        """Each slice smoothed by (1 2 1)/4 along both axes, its border repeated."""
        padded = functional.pad(slices, (1, 1, 1, 1), mode="replicate")
        return functional.conv2d(padded, self.binomial, groups=self.slices)

    def forward(self, slices: Tensor, sharpen: float | Tensor) -> Tensor:
        """Take away what alternates from pixel to pixel, the trace of the blocks of two; then sharpen what is left.

        With B the smoothing by (1 2 1)/4: (1 - (1 - B)^2), which is 0 at two pixels a period and flat at long ones, then
        1 + sharpen (1 - B). A tensor `sharpen` has the shape (N, 1, 1, 1).
        """
        fine = slices - self.smooth(slices)
        even = slices - (fine - self.smooth(fine))
        return even + sharpen * (even - self.smooth(even))
