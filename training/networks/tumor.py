"""Networks that outline a tumor in two stages: one that finds it on a coarse grid, one that outlines it at full size.

Each is told which scans it is given, so that zeros in the place of one are no tissue. What needs contrast agent to be seen is
never there without it: the logits of such a structure are far below 0 where the scan with agent is not given.
"""

from typing import Literal

import torch
from monai.networks.nets import BasicUNet, DynUNet
from monai.networks.utils import pixelshuffle
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from training.config import Settings
from training.networks.conditional import Trunk, TrunkSettings
from training.networks.conditional_volume import CodedUnet, CodedUnetSettings
from training.networks.parts import InFullPrecision
from training.networks.volume import VolumeNetSettings

NEVER = -40.0
"""A logit whose probability is 0 in float32, and is still a number in half precision."""
_RARE = -4.6
"""The logit of one in a hundred, where what looks at whole heads begins (Lin et al., Focal loss for dense object detection,
ICCV 2017, section 4.1)."""
_ACTIVATION = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
_BATCH_NORM = ("batch", {"momentum": 0.03})
# A batch holds few heads, each with other scans missing, so that its statistics say little of the next one.
_GROUP_NORM = ("group", {"num_groups": 8})


class FinderSettings(Settings):
    """Size of the network that finds, and what counts as found."""

    features: tuple[int, int, int, int, int, int] = (16, 24, 32, 40, 48, 16)
    """MONAI BasicUNet's features at five depths, the first at half the coarse resolution, then those of its last layer."""
    size: tuple[int, int, int] = (64, 64, 64)
    """Voxels that it sees at once, (z, y, x); multiples of 32."""
    spacing: float = Field(3.0, gt=1)
    """Side of its voxels in mm."""
    threshold: float = Field(0.3, gt=0, lt=1)
    """Probability from which something is found."""
    smallest_ml: float = Field(0.15, ge=0)
    """A find below this volume in mL counts for nothing."""
    margin: float = Field(12.0, ge=0)
    """mm around what was found in which the tumor is outlined."""

    @model_validator(mode="after")
    def _halves(self) -> "FinderSettings":
        if any(side % 32 for side in self.size):
            raise ValueError("the sides of `size` must be multiples of 32")
        if any(count % 8 for count in self.features):
            raise ValueError("`features` must be multiples of 8")
        return self


class OutlineNetSettings(TrunkSettings):
    """Size of the network that outlines in slabs; with `context` and `outputs` 1 it is a 2D network."""

    features: tuple[int, ...] = Field((24, 48, 80, 128), min_length=2)
    """Feature maps at 1/2, 1/4, 1/8 ... of the resolution."""
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    """Residual blocks on the way down at each of these depths."""
    detail: int = 16
    """Feature maps that are handed to the full-resolution end."""
    head: int = 24
    """Feature maps within the full-resolution end."""

    @model_validator(mode="after")
    def _centred(self) -> "OutlineNetSettings":
        if self.context < self.outputs or (self.context - self.outputs) % 2:
            raise ValueError("`context` must be `outputs` or an even number more")
        return self


def without_agent(given: Tensor, agent: tuple[bool, ...], place: int | None) -> Tensor:
    """What is added to the logits of each structure, (N, structures).

    `agent`: which of them need contrast agent; `place`: of the scan with agent in `given`, None: there is never one.
    """
    needs = torch.tensor(agent, dtype=given.dtype, device=given.device)
    missing = torch.ones_like(given[:, :1]) if place is None else 1 - given[:, place : place + 1]
    return NEVER * missing * needs


class Finder(nn.Module):
    """`coarse` (N, sources, D, H, W) and `given` (N, sources) to logits (N, 1, D, H, W).

    A U-Net of blocks of two voxels a side, which is several times cheaper and still tells a find from a neighbour.
    """

    def __init__(self, settings: FinderSettings, sources: int) -> None:
        super().__init__()
        first = settings.features[0]
        self.stem = nn.Conv3d(2 * sources, first, 2, stride=2)
        self.unet = BasicUNet(
            spatial_dims=3,
            in_channels=first,
            out_channels=1,
            features=settings.features,
            act=_ACTIVATION,
            norm=_GROUP_NORM,
        )
        # A tumor is few of a head's voxels; without this the first hundreds of steps learn nothing else.
        nn.init.constant_(self.unet.final_conv.bias, _RARE)
        self.unet.down_4 = InFullPrecision(self.unet.down_4)

    def forward(self, coarse: Tensor, given: Tensor) -> Tensor:
        """See the class."""
        logits = self.unet(self.stem(_with_code(coarse, given))).float()
        return functional.interpolate(logits, scale_factor=2, mode="trilinear", align_corners=False)


class SlabOutline(nn.Module):
    """`slab` (N, sources * context, H, W) and `given` (N, sources) to logits (N, structures * outputs, H, W).

    The strided residual U-Net of `conditional` from half the resolution down, and a small end at full resolution that sees
    the slices themselves.
    """

    def __init__(self, settings: OutlineNetSettings, sources: int, agent: tuple[bool, ...], place: int | None) -> None:
        """`agent` and `place`: see `without_agent`."""
        super().__init__()
        self.settings, self.sources, self.agent, self.place = settings, sources, agent, place
        self.trunk = Trunk(settings, sources, sources)
        self.near_count = min(settings.context, settings.outputs + 2)
        self.detail = nn.Conv2d(settings.features[0], settings.detail, 1)
        self.mix = nn.Conv2d(settings.detail + sources * self.near_count, settings.head, 3, padding=1)
        self.last = nn.Conv2d(settings.head, len(agent) * settings.outputs, 3, padding=1)

    def forward(self, slab: Tensor, given: Tensor) -> Tensor:
        """See the class."""
        coarse = self.detail(self.trunk(slab, given))
        full = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        context, count = self.settings.context, self.near_count
        first = (context - count) // 2
        near = torch.cat([slab[:, s * context + first :][:, :count] for s in range(self.sources)], 1)
        logits: Tensor = self.last(functional.relu(self.mix(torch.cat([full, near.to(full.dtype)], 1)))).float()
        shift = without_agent(given, self.agent, self.place).repeat_interleave(self.settings.outputs, 1)
        return logits + shift[:, :, None, None]


class VolumeOutline(nn.Module):
    """`patch` (N, sources, D, H, W) and `given` (N, sources) to logits (N, structures, D, H, W)."""

    def __init__(self, settings: VolumeNetSettings, sources: int, agent: tuple[bool, ...], place: int | None) -> None:
        """`agent` and `place`: see `without_agent`."""
        super().__init__()
        self.agent, self.place = agent, place
        norm = _BATCH_NORM if settings.norm == "batch" else ("instance", {"affine": True})
        if settings.kind == "basic":
            self.unet: nn.Module = BasicUNet(
                spatial_dims=3,
                in_channels=2 * sources,
                out_channels=len(agent),
                features=settings.features,
                act=_ACTIVATION,
                norm=norm,
            )
        else:
            depths = len(settings.features)
            self.unet = DynUNet(
                spatial_dims=3,
                in_channels=2 * sources,
                out_channels=len(agent),
                kernel_size=[3] * depths,
                strides=[1, *[2] * (depths - 1)],
                upsample_kernel_size=[2] * (depths - 1),
                filters=settings.features,
                norm_name=norm,
            )

    def forward(self, patch: Tensor, given: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.unet(_with_code(patch, given)).float()
        return logits + without_agent(given, self.agent, self.place)[:, :, None, None, None]


class BlocksNetSettings(CodedUnetSettings):
    """Size of the 3D network that outlines on two cores; `features` begin at half the resolution."""

    kind: Literal["blocks"] = "blocks"
    """Blocks of two voxels a side are what its first layer looks at and its last one answers for."""
    features: tuple[int, ...] = Field((32, 64, 96, 128), min_length=2)
    """See `CodedUnetSettings`."""
    size: tuple[int, int, int] = (64, 96, 96)
    """See `CodedUnetSettings`."""

    @property
    def multiple(self) -> int:
        """See `CodedUnetSettings`."""
        return 2 * super().multiple


class BlocksOutline(CodedUnet):
    """`patch` (N, sources, D, H, W) and `given` (N, sources) to logits (N, structures, D, H, W)."""

    def __init__(self, settings: BlocksNetSettings, sources: int, agent: tuple[bool, ...], place: int | None) -> None:
        """`agent` and `place`: see `without_agent`."""
        super().__init__(sources, settings.features, sources, settings.groups, stride=2)
        self.agent, self.place = agent, place
        self.last = nn.Conv3d(settings.features[0], 8 * len(agent), 1)
        nn.init.constant_(self.last.bias, _RARE)

    def forward(self, patch: Tensor, given: Tensor) -> Tensor:
        """See the class."""
        logits = pixelshuffle(self.last(self.features(patch, given)), spatial_dims=3, scale_factor=2).float()
        return logits + without_agent(given, self.agent, self.place)[:, :, None, None, None]


class Staged(nn.Module):
    """Both stages, which learn side by side: neither waits for the other's mistakes."""

    def __init__(self, find: nn.Module, outline: nn.Module) -> None:
        super().__init__()
        self.find, self.outline = find, outline

    def forward(self, coarse: Tensor, source: Tensor | None, given: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of what is found in the first items, as many as `coarse` has, and of what is outlined in all, if asked."""
        return self.find(coarse, given[: len(coarse)]), None if source is None else self.outline(source, given)


def _with_code(volume: Tensor, given: Tensor) -> Tensor:
    """The scans, and beside each a volume of 1 where it is given."""
    code = given[:, :, None, None, None].expand(-1, -1, *volume.shape[2:])
    return torch.cat([volume, code.to(volume.dtype)], 1)
