"""A regression's mean, refined by rectified flow (Liu et al., ICLR 2023) in a few steps: texture, not truth."""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from monai.networks.nets import BasicUNet
from monai.networks.schedulers import RFlowScheduler
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from training.config import Settings
from training.networks.parts import Guided
from training.networks.slab import SlabNet

STEPS = 1000
"""How a moment between noise and image is counted, as MONAI's schedulers do."""
TILE = 256
"""Side of the square of noise that is repeated over a slice."""


class FlowSettings(Settings):
    """Size of the network that refines, and how."""

    features: tuple[int, int, int, int, int, int] = (32, 32, 64, 128, 128, 32)
    """MONAI BasicUNet's features at five depths, then those of its last, full layer."""
    steps: int = Field(2, ge=1, le=4)
    """Steps from noise to image."""
    spread: float = Field(0.2, gt=0)
    """What a deviation of 1 stands for of the difference between target and mean, on the output scale; about its own deviation
    where there is tissue."""


@lru_cache
def _scheduler(steps: int) -> RFlowScheduler:
    """MONAI's scheduler for so many steps. Not kept in the network: it is a module without a module's inside."""
    scheduler = RFlowScheduler(num_train_timesteps=STEPS, use_discrete_timesteps=True)
    scheduler.set_timesteps(steps)
    return scheduler


class Flowed(NamedTuple):
    """What a `FlowRefiner` gives while it learns."""

    given: Tensor | Guided
    """What the regression gave."""
    velocity: Tensor
    """Where the flow would go, (N, outputs, H, W)."""
    wanted: Tensor
    """Where it should go."""


class FlowRefiner(nn.Module):
    """A `SlabNet` and a U-Net that gives, for a moment between noise and image, where to go from there.

    What flows is the difference of the target from the mean, so that leaving it out is the mean itself. The noise that it
    begins with is fixed, and the same in every slice: the same scan gives the same image, and neighbouring slices fit.
    """

    def __init__(self, mean: SlabNet, settings: FlowSettings) -> None:
        super().__init__()
        self.mean, self.settings = mean, settings
        context, outputs = mean.settings.context, mean.settings.outputs
        self.velocity_net = BasicUNet(
            spatial_dims=2,
            in_channels=4 * (context + 2 * outputs) + 1,
            out_channels=4 * outputs,
            features=settings.features,
            act=("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
            norm=("batch", {"momentum": 0.03}),
        )
        self.noise: Tensor
        noise = torch.randn(TILE, TILE, generator=torch.Generator().manual_seed(2026))
        self.register_buffer("noise", noise, persistent=False)

    def velocity(self, flowing: Tensor, moment: Tensor, slab: Tensor, mean: Tensor) -> Tensor:
        """From noise to image, (N, outputs, H, W), at `moment` (N,) of `STEPS`: those of noise, 0 of the image."""
        seen = functional.pixel_unshuffle(torch.cat([slab, mean, flowing], 1), 2)
        when = (moment.float() / STEPS)[:, None, None, None] + torch.zeros_like(seen[:, :1])
        found: Tensor = functional.pixel_shuffle(self.velocity_net(torch.cat([seen, when], 1)), 2).float()
        return found

    def fixed_noise(self, like: Tensor) -> Tensor:
        """The noise of slices of this shape (N, outputs, H, W)."""
        rows, columns = (torch.arange(like.shape[axis], device=like.device) % TILE for axis in (2, 3))
        return self.noise[rows][:, columns].to(like.dtype) + torch.zeros_like(like)

    def texture(self, slab: Tensor, mean: Tensor) -> Tensor:
        """What is added to the mean, (N, outputs, H, W)."""
        flowing = self.fixed_noise(mean)
        scheduler = _scheduler(self.settings.steps)
        for moment, following in pairwise([*scheduler.timesteps.tolist(), 0]):
            at = torch.zeros_like(mean[:, 0, 0, 0]) + moment
            flowing, _ = scheduler.step(self.velocity(flowing, at, slab, mean), moment, flowing, following)
        return self.settings.spread * flowing

    def forward(self, slab: Tensor, target: Tensor | None = None) -> Tensor | Guided | Flowed:
        """Means and log-variances of the regression; with the target (N, outputs, H, W) what the flow learns from, too."""
        given: Tensor | Guided = self.mean(slab)
        if target is None:
            return given
        output = given.output if isinstance(given, Guided) else given
        mean = output.detach().float().chunk(2, 1)[0]  # the flow must not move the mean
        residual = (target - mean) / self.settings.spread
        noise = torch.randn(len(mean), 1, *mean.shape[2:]).to(mean) + torch.zeros_like(mean)
        scheduler = _scheduler(self.settings.steps)
        moment = scheduler.sample_timesteps(mean)
        flowing = scheduler.add_noise(original_samples=residual, noise=noise, timesteps=moment)
        return Flowed(given, self.velocity(flowing, moment, slab, mean), residual - noise)


class FlowGraph(nn.Module):
    """What is exported: means, refined by as much as the input `texture` says, then log-variances."""

    def __init__(self, network: FlowRefiner) -> None:
        super().__init__()
        self.network = network

    def forward(self, slab: Tensor, texture: Tensor) -> Tensor:
        """(N, context, H, W) and (1,), 0 for the mean itself, 1 for all of the texture, to (N, 2 * outputs, H, W)."""
        with torch.autocast(slab.device.type, enabled=False):
            mean, log_variance = self.network.mean(slab).chunk(2, 1)
            refined = mean + texture.reshape(-1)[0] * self.network.texture(slab, mean)
            return torch.cat([refined.clamp_min(self.network.mean.floor), log_variance], 1)
