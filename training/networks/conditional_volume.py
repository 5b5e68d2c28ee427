"""One 3D network for every direction: patches of any of several scans in, the contrast that is asked for out."""

from itertools import pairwise

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from training.config import Settings
from training.networks.parts import Guided


class CodedUnetSettings(Settings):
    """Size of the network, and of what it sees."""

    features: tuple[int, ...] = Field((32, 64, 128, 256, 320), min_length=2)
    """Feature maps at each depth, each half the resolution of the one above."""
    groups: int = Field(8, gt=0)
    """Groups of feature maps that are normalised together (Wu, ECCV 2018); `features` must be multiples."""
    size: tuple[int, int, int] = (96, 128, 128)
    """Size of a patch in voxels, (z, y, x)."""

    @model_validator(mode="after")
    def _fits(self) -> "CodedUnetSettings":
        if any(count % self.groups for count in self.features):
            raise ValueError(f"`features` must be multiples of `groups` ({self.groups})")
        if any(side % self.multiple for side in self.size):
            raise ValueError(f"the sides of `size` must be multiples of {self.multiple}")
        return self

    @property
    def multiple(self) -> int:
        """The sides of a patch must be multiples of this."""
        return 2 ** (len(self.features) - 1)


class ConditionalVolumeNetSettings(CodedUnetSettings):
    """`features` begin at the full resolution; voxels are of 1 mm."""


class VolumeBlock(nn.Module):
    """Two convolutions beside a straight way; a code scales and shifts what is normalised (FiLM, Perez 2018).

    After the norm, not before it and not as constant volumes beside the scans: the norm takes every constant out again.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, code: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, outputs) for _ in range(2))
        self.past = nn.Conv3d(inputs, outputs, stride, stride) if stride > 1 or inputs != outputs else nn.Identity()
        self.code = nn.Linear(code, 2 * outputs)
        nn.init.normal_(self.code.weight, std=0.3)
        nn.init.zeros_(self.code.bias)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """(N, inputs, D, H, W) and (N, code) to (N, outputs, D, H, W), each side divided by the stride."""
        scale, shift = self.code(code)[:, :, None, None, None].chunk(2, 1)
        inner = functional.leaky_relu(self.norms[0](self.first(features)) * (1 + scale) + shift, 0.01)
        inner = self.norms[1](self.second(inner))
        return functional.leaky_relu(inner + self.past(features), 0.01)


class CodedUnet(nn.Module):
    """A residual 3D U-Net with strided convolutions, told by a code what it sees: to be completed by what it answers."""

    def __init__(self, sources: int, features: tuple[int, ...], code: int, groups: int, stride: int = 1) -> None:
        """`features`: at each depth, the first at 1 / `stride` of the resolution."""
        super().__init__()
        self.stem = VolumeBlock(sources, features[0], stride, code, groups)
        self.down = nn.ModuleList(VolumeBlock(above, below, 2, code, groups) for above, below in pairwise(features))
        self.up = nn.ModuleList(nn.ConvTranspose3d(below, above, 2, 2) for above, below in pairwise(features))
        self.merge = nn.ModuleList(VolumeBlock(2 * count, count, 1, code, groups) for count in features[:-1])

    def features(self, patch: Tensor, code: Tensor) -> Tensor:
        """(N, sources, D, H, W) and (N, code) to the first of `features` maps, at 1 / `stride` of the resolution."""
        passed = [self.stem(patch, code)]
        for block in self.down:
            passed.append(block(passed[-1], code))
        features = passed.pop()
        for depth in reversed(range(len(passed))):
            features = self.merge[depth](torch.cat([self.up[depth](features), passed[depth]], 1), code)
        return features


class ConditionalVolumeNet(CodedUnet):
    """Inputs: `patch` (N, sources, D, H, W), zeros for a scan that is not there; `given` (N, sources), 1 for each that is;
    `wanted` (N, targets), one-hot. Output (N, 2, D, H, W): the mean and the logarithm of the variance.
    """

    def __init__(
        self, settings: ConditionalVolumeNetSettings, sources: int, floors: tuple[float, ...], tissues: int = 0
    ) -> None:
        """`floors`: the lowest value that each target can have; `tissues`: classes of the auxiliary output, 0: none."""
        super().__init__(sources, settings.features, sources + len(floors), settings.groups)
        self.tissues = tissues
        self.last = nn.Conv3d(settings.features[0], 2 + tissues, 1)
        self.floors: Tensor
        self.register_buffer("floors", torch.tensor(floors), persistent=False)

    def forward(self, patch: Tensor, given: Tensor, wanted: Tensor) -> Tensor | Guided:
        """See the class; in training with tissues, their logits beside it at full resolution."""
        answer = self.last(self.features(patch, torch.cat([given, wanted], 1)))
        output = answer[:, :2].float()
        if self.training:
            return Guided(output, answer[:, 2:]) if self.tissues else output
        # No signal is lower. Cut here, not by the declared operations: those would call a value that was cut certain.
        floor = (wanted @ self.floors[:, None])[:, :, None, None, None]
        return torch.cat([torch.maximum(output[:, :1], floor), output[:, 1:]], 1)
