"""The range [-1, 1] of generators that end in a hyperbolic tangent, from and to the two scales of `data.scale`."""

import torch
from torch import Tensor, nn

from modality_conversion.modality import Modality
from training.data.scale import CT_CENTRE, CT_LIMITS, CT_RANGE, TARGET_HIGHEST


def from_source(image: Tensor) -> Tensor:
    """The input scale, [0, 1], as [-1, 1]."""
    return 2 * image - 1


def from_target(image: Tensor, modality: Modality) -> Tensor:
    """The output scale as [-1, 1]: an MR on a straight line up to `TARGET_HIGHEST`, a CT on the curve of its input scale,
    which gives soft tissue the room that it needs.
    """
    if modality is not Modality.CT:
        return 2 * (image / TARGET_HIGHEST).clamp(0, 1) - 1
    centred = image.clamp(CT_RANGE[0] / 1000, CT_RANGE[1] / 1000) - CT_CENTRE / 1000
    low, high = CT_LIMITS
    return 2 * (centred.sign() * centred.abs().sqrt() - low) / (high - low) - 1


def to_target(signed: Tensor, modality: Modality, highest: float = TARGET_HIGHEST) -> Tensor:
    """[-1, 1] as the output scale. `highest`: what 1 stands for in an MR."""
    image = (signed + 1) / 2
    if modality is not Modality.CT:
        return image * highest
    low, high = CT_LIMITS
    root = image * (high - low) + low
    return root * root.abs() + CT_CENTRE / 1000


class SignedGraph(nn.Module):
    """What is exported of a generator: a slab on the input scale in, slices on the output scale out."""

    def __init__(self, generator: nn.Module, target: Modality, highest: float = TARGET_HIGHEST) -> None:
        super().__init__()
        self.generator, self.target, self.highest = generator, target, highest

    def forward(self, slab: Tensor) -> Tensor:
        """(N, context, H, W) to (N, outputs, H, W)."""
        # The last step in full precision: an image has more grey values than bfloat16 can tell apart.
        with torch.autocast(slab.device.type, enabled=False):
            return to_target(self.generator(from_source(slab)).float(), self.target, self.highest)
