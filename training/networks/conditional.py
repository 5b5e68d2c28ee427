"""One network for every direction: slabs of any of several scans in, and the contrast that is asked for out."""

from itertools import pairwise

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from training.config import ConfigError, Settings
from training.networks.local import standardise
from training.networks.parts import Finish, Guided, check_surrounded


class TrunkSettings(Settings):
    """Size of a `Trunk`, and of what goes in and comes out."""

    context: int = Field(9, gt=0)
    """Slices in, of each scan."""
    outputs: int = Field(5, gt=0)
    """Slices out, in the middle of those in."""
    features: tuple[int, ...] = Field((48, 96, 160, 256), min_length=2)
    """Feature maps at 1/2, 1/4, 1/8 ... of the resolution; multiples of 16 are the fastest."""
    blocks: tuple[int, ...] = (1, 1, 1, 2)
    """Residual blocks on the way down at each of these depths; the way up has one at each."""
    local: int = Field(0, ge=0)
    """Side in pixels of the square in which each scan is also standardised, see `local.standardise`, and given beside itself;
    0: it is not. The intensities of MR have no unit, and what is bright somewhere in a head moves those of the brain."""

    @model_validator(mode="after")
    def _blocks_fit(self) -> "TrunkSettings":
        if len(self.blocks) != len(self.features):
            raise ValueError("`blocks` and `features` must be of one length: a number for each depth")
        if self.local and len(self.features) < 3:
            raise ValueError("`local` needs at least three `features`, since it works on cells of 8 pixels")
        return self

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return 2 ** len(self.features)


class ConditionalNetSettings(TrunkSettings):
    """Size of the network."""

    detail: int = 8
    """Feature maps that are handed to the full-resolution end."""
    head: int = 16
    """Feature maps within the full-resolution end."""
    late: bool = False
    """Whether targets part ways only at the full-resolution end, so that one pass of the U-Net serves all of them. Else the
    U-Net's way up knows the target, and each has its own pass."""
    sharpen: float | tuple[float, ...] = 0.0
    """How much each slice is sharpened in plane after training, see `parts.Finish`: of all targets, or of each in order."""

    @model_validator(mode="after")
    def _neighbours(self) -> "ConditionalNetSettings":
        check_surrounded(self.context, self.outputs)
        return self

    def sharpening(self, targets: int) -> Tensor:
        """`sharpen` of each target, (targets,). Raises ConfigError where it is of another number."""
        each = self.sharpen if isinstance(self.sharpen, tuple) else (self.sharpen,) * targets
        if len(each) != targets:
            raise ConfigError(f"`sharpen` has {len(each)} numbers. Give one, or one for each of the {targets} targets.")
        return torch.tensor(each)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    """Convolution and batch normalisation, which folds into it (instance norm is three times slower)."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.03),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def nothing_near(slab: Tensor) -> Tensor:
    """Where no scan of a slab (N, channels, H, W) shows anything within 5 pixels: bool (N, 1, H, W).

    In the empty field around a stripped brain a network that hardly learns from it now and then draws something. Bone that is
    black on a scan lies nearer to tissue than that.
    """
    seen = slab.amax(1, keepdim=True)
    seen = functional.max_pool2d(seen, (11, 1), stride=1, padding=(5, 0))
    seen = functional.max_pool2d(seen, (1, 11), stride=1, padding=(0, 5))
    return seen <= 1 / 256


class Modulation(nn.Module):
    """Scales and shifts each feature map as a code says (FiLM, Perez 2018), from the first step on: a code that at first
    changes nothing is learnt slowly."""

    def __init__(self, code: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(code, 2 * features)
        nn.init.normal_(self.linear.weight, std=0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """(N, features, H, W) and (N, code) to (N, features, H, W)."""
        scale, shift = self.linear(code)[:, :, None, None].chunk(2, 1)
        modulated: Tensor = features * (1 + scale) + shift
        return modulated


class ResidualBlock(nn.Module):
    """Two convolutions beside a straight way; `code` > 0: the first one's features are modulated by it."""

    def __init__(self, features: int, code: int = 0) -> None:
        super().__init__()
        self.first = _convolution(features, features, 3, relu=False)
        self.second = _convolution(features, features, 3, relu=False)
        self.modulation = Modulation(code, features) if code else None

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """(N, features, H, W) to the same shape."""
        inner = self.first(features)
        if self.modulation is not None:
            inner = self.modulation(inner, code)
        return functional.relu(features + self.second(functional.relu(inner)))


class Trunk(nn.Module):
    """A strided residual U-Net: slabs (N, sources * context, H, W) and a code (N, code) to features at half the resolution.

    It begins at half the resolution, where a step is four times cheaper. The way down sees the scans alone; the code comes
    in at the bottom and on the way up.
    """

    def __init__(self, settings: TrunkSettings, sources: int, code: int) -> None:
        super().__init__()
        self.settings, self.sources = settings, sources
        features = settings.features
        self.stem = _convolution(sources * settings.context * (2 if settings.local else 1), features[0], 2, stride=2)
        self.down = nn.ModuleList(_convolution(above, below, 3, stride=2) for above, below in pairwise(features))
        self.encoder = nn.ModuleList(
            nn.ModuleList(
                ResidualBlock(count_features, code if depth == len(features) - 1 else 0)
                for _ in range(settings.blocks[depth])
            )
            for depth, count_features in enumerate(features)
        )
        self.up = nn.ModuleList(_convolution(below, above, 1, relu=False) for above, below in pairwise(features))
        self.merge = nn.ModuleList(Modulation(code, count) for count in features[:-1])
        self.decoder = nn.ModuleList(ResidualBlock(count, code) for count in features[:-1])

    @property
    def near_slices(self) -> int:
        """How many slices `near` gives."""
        return self.sources * (self.settings.outputs + 2)

    def standardised(self, slab: Tensor) -> Tensor:
        """The scans as their own surroundings see them, of the shape of `slab`."""
        scans = slab.float().unflatten(1, (self.sources, self.settings.context))
        return standardise(scans, self.settings.local).flatten(1, 2)

    def near(self, slab: Tensor) -> Tensor:
        """Of each scan the slices asked for and one on either side."""
        context, count = self.settings.context, self.settings.outputs + 2
        first = (context - count) // 2
        return torch.cat([slab[:, s * context + first :][:, :count] for s in range(self.sources)], 1)

    def forward(self, slab: Tensor, code: Tensor, standardised: Tensor | None = None) -> Tensor:
        """See the class. `standardised`: what that method gave, where somebody has it already."""
        if self.settings.local:
            slab = torch.cat([slab, self.standardised(slab) if standardised is None else standardised], 1)
        # In full precision: grey and white matter of a CT are a few steps of bfloat16 apart.
        with torch.autocast(slab.device.type, enabled=False):
            features = self.stem(slab)
        if torch.is_autocast_enabled(slab.device.type):
            features = features.to(torch.get_autocast_dtype(slab.device.type))
        passed = []
        for depth, blocks in enumerate(self.encoder):
            if depth:
                features = self.down[depth - 1](features)
            for block in blocks:
                features = block(features, code)
            passed.append(features)
        for depth in reversed(range(len(self.decoder))):
            larger = functional.interpolate(self.up[depth](features), scale_factor=2, mode="nearest")
            merged = self.merge[depth](larger + passed[depth], code)
            features = self.decoder[depth](merged, code)
        return features


class ConditionalNet(nn.Module):
    """A strided residual U-Net (`Trunk`) with a small end at full resolution.

    Inputs: `slab` (N, sources * context, H, W), the slices of each scan in turn, zeros for one that is not there; `given`
    (N, sources), 1 for each that is; `wanted` (N, targets), one-hot. Output (N, 2 * outputs, H, W): slices, then the
    logarithm of their variance.

    Each target has maps of its own at the end of the U-Net. They go up to full resolution by linear interpolation, which
    leaves no pattern of blocks, and meet the slices themselves there, so that fine detail passes by: as they are, and times
    a gain that the U-Net gives for each place. Locally one contrast is nearly a straight line of the other (as in Gharbi,
    SIGGRAPH 2017), which a network learns in far fewer steps than the edges themselves.
    """

    def __init__(
        self, settings: ConditionalNetSettings, sources: int, floors: tuple[float, ...], tissues: int = 0
    ) -> None:
        """`floors`: the lowest value that each target can have; `tissues`: classes of the auxiliary output, 0: none."""
        super().__init__()
        self.settings, self.sources = settings, sources
        features, code = settings.features, sources + len(floors)
        self.trunk = Trunk(settings, sources, sources if settings.late else code)
        self.detail = nn.Conv2d(features[0], len(floors) * (settings.detail + sources), 1)
        self.local_gain = nn.Conv2d(features[0], len(floors) * sources, 1) if settings.local else None
        if self.local_gain is not None:  # at first the scans pass as they are
            nn.init.zeros_(self.local_gain.weight)
            nn.init.zeros_(self.local_gain.bias)
        self.tissue = nn.Conv2d(features[0], tissues, 1) if tissues else None
        self.mix = nn.Conv2d(settings.detail + settings.outputs + self.trunk.near_slices, settings.head, 3, padding=1)
        self.mixed = Modulation(code, settings.head)
        self.last = nn.Conv2d(settings.head, 2 * settings.outputs, 3, padding=1)
        self.finish = Finish(settings.outputs)
        self.sharpen: Tensor
        self.register_buffer("sharpen", settings.sharpening(len(floors)), persistent=False)
        self.floors: Tensor
        self.register_buffer("floors", torch.tensor(floors), persistent=False)

    def forward(self, slab: Tensor, given: Tensor, wanted: Tensor, item: Tensor | None = None) -> Tensor | Guided:
        """See the class; in training with tissues, these beside it at half the resolution.

        `item` (M,), for a network whose targets part late: the item of the batch that each row of `wanted` (M, targets) is
        asked of; the output then has M rows.
        """
        standardised = self.trunk.standardised(slab) if self.settings.local else None
        coarse = self.trunk(slab, given if self.settings.late else torch.cat([given, wanted], 1), standardised)
        own = self.detail(coarse).unflatten(1, (wanted.shape[1], -1))
        near = passing = self.trunk.near(slab)
        if self.local_gain is not None and standardised is not None:
            own = torch.cat([own, self.local_gain(coarse).unflatten(1, (wanted.shape[1], -1))], 2)
            passing = torch.cat([near, self.trunk.near(standardised)], 1)
        if item is not None:
            own, near, passing, given = own[item], near[item], passing[item], given[item]
        code = torch.cat([given, wanted], 1)
        own = (own * wanted[:, :, None, None, None].to(own.dtype)).sum(1)
        full = functional.interpolate(own, scale_factor=2, mode="bilinear", align_corners=False)
        detail, gain = full[:, : self.settings.detail], full[:, self.settings.detail :]
        passed = self._passed(passing, gain.float())
        mixed = self.mix(torch.cat([detail, passed.to(detail.dtype), near.to(detail.dtype)], 1))
        mixed = functional.relu(self.mixed(mixed, code))
        # The last step works in full precision: an image has more grey values than bfloat16 can tell apart.
        with torch.autocast(slab.device.type, enabled=False):
            mean, log_variance = self.last(mixed.float()).chunk(2, 1)
            mean = mean + passed
            if not self.training:
                # No signal is lower. Cut here, not by the declared operations: those would call a value that was cut
                # certain, and leave dark specks in the map of deviations.
                floor, sharpen = ((wanted @ each[:, None])[:, :, None, None] for each in (self.floors, self.sharpen))
                mean = torch.maximum(self.finish(mean, sharpen), floor)
                empty = nothing_near(slab)
                mean = torch.where(empty if item is None else empty[item], floor, mean)
            output = torch.cat([mean, self.finish.smooth(log_variance)], 1)
        if self.training and self.tissue is not None:
            return Guided(output, self.tissue(coarse))
        return output

    def _passed(self, near: Tensor, gain: Tensor) -> Tensor:
        """Slices (N, scans * (outputs + 2), H, W) times their gains (N, scans, H, W), added up."""
        slices = near.float().unflatten(1, (gain.shape[1], -1))[:, :, 1:-1]
        return (slices * gain[:, :, None]).sum(1)
