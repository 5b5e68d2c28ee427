"""A network that sees what tissue is made of: proton density, T1, T2 and HU, from which every contrast follows."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from modality_conversion.modality import Modality
from training.networks.conditional import ConditionalNetSettings, Trunk
from training.networks.contrasts import signal, usual_gain
from training.networks.parts import Finish
from training.simulation.protocols import STANDARD

PROPERTIES = ("pd", "t1", "t2", "hu")
LIMITS = {"pd": (0.0, 1.5), "t1": (100.0, 6000.0), "t2": (3.0, 3000.0)}
"""Proton density relative to water, and ms: what tissue can have; from `training.simulation.tissues`, with room."""
BEGIN = {"pd": 0.5, "t1": 1000.0, "t2": 90.0}
"""What an untrained network says everywhere, so that every equation has a slope there."""


class PropertyNet(nn.Module):
    """Slabs of any subset of scans to maps of properties, and these to every target by its standard protocol's equation.

    Inputs as those of `ConditionalNet`, but for `wanted`: (N, targets) one-hot gives that target alone, (N, 2 * outputs, H,
    W); None gives all of them, (N, targets, 2 * outputs, H, W). Slices, then the logarithm of their variance. No map of a
    property is compared with anything: the contrasts are, so that real scans teach as well as simulated ones. So the
    properties are effective ones: those of one field strength that explain targets of several.
    """

    def __init__(self, settings: ConditionalNetSettings, sources: int, targets: tuple[Modality, ...]) -> None:
        super().__init__()
        self.settings, self.targets = settings, targets
        self.trunk = Trunk(settings, sources, sources)
        detail, head = 2 * settings.detail, 2 * settings.head
        self.detail = nn.Conv2d(settings.features[0], detail, 1)
        self.mix = nn.Conv2d(detail + self.trunk.near_slices, head, 3, padding=1)
        self.last = nn.Conv2d(head, (len(PROPERTIES) + len(targets)) * settings.outputs, 3, padding=1)
        self.finish = Finish(settings.outputs)
        self.sharpen: Tensor
        self.register_buffer("sharpen", settings.sharpening(len(targets)), persistent=False)
        magnetic = [target for target in targets if target is not Modality.CT]
        self.gains = nn.ParameterDict({str(t): nn.Parameter(torch.tensor(math.log(usual_gain(t)))) for t in magnetic})

    def properties(self, slab: Tensor, given: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """`pd`, `t1` and `t2` in ms, `hu` in 1000 HU, each (N, outputs, H, W); log-variances (N, targets, outputs, H, W)."""
        coarse = self.trunk(slab, given)
        detail = functional.interpolate(self.detail(coarse), scale_factor=2, mode="bilinear", align_corners=False)
        mixed = functional.relu(self.mix(torch.cat([detail, self.trunk.near(slab).to(detail.dtype)], 1)))
        with torch.autocast(slab.device.type, enabled=False):
            raw = self.last(mixed.float()).unflatten(1, (-1, self.settings.outputs))
            maps = {}
            for number, name in enumerate(PROPERTIES):
                maps[name] = raw[:, number] if name == "hu" else _within(raw[:, number], name)
            return maps, raw[:, len(PROPERTIES) :]

    def forward(self, slab: Tensor, given: Tensor, wanted: Tensor | None = None) -> Tensor:
        """See the class."""
        maps, log_variance = self.properties(slab, given)
        with torch.autocast(slab.device.type, enabled=False):
            means = torch.stack([self._contrast(target, maps) for target in self.targets], 1)
            if wanted is None:
                return torch.cat([means, log_variance], 2)
            mean, log_variance = ((part * wanted[:, :, None, None, None]).sum(1) for part in (means, log_variance))
            if not self.training:
                mean = self.finish(mean, (wanted @ self.sharpen[:, None])[:, :, None, None])
            return torch.cat([mean, self.finish.smooth(log_variance)], 1)

    def _contrast(self, target: Modality, maps: dict[str, Tensor]) -> Tensor:
        if target is Modality.CT:
            return maps["hu"]
        seen = signal(STANDARD[target].sequence, maps["pd"], maps["t1"], maps["t2"])
        return self.gains[str(target)].exp() * seen


def _within(raw: Tensor, name: str) -> Tensor:
    """A property within its limits; times are learnt by their logarithm."""
    low, high = LIMITS[name]
    if low > 0:
        middle = math.log(BEGIN[name] / low) / math.log(high / low)
        share = torch.sigmoid(raw + math.log(middle / (1 - middle)))
        return low * torch.exp(share * math.log(high / low))
    return high * torch.sigmoid(raw + math.log(BEGIN[name] / (high - BEGIN[name])))
