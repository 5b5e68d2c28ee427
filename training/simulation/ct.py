"""What a CT scanner and its viewer add: kernel, noise, streaks, a head rest, and windows."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from training.simulation.fields import Shape, gaussian_blur, smooth_field, torch_generator, white_noise
from training.simulation.tissues import AIR_HU

WINDOWS = {"brain": (0.0, 80.0), "wide brain": (-40.0, 120.0), "soft": (-160.0, 240.0), "bone": (-500.0, 1300.0)}
"""Lowest and highest HU of the windows that scans are stored in."""


def kernel(volume: Tensor, rng: np.random.Generator) -> Tensor:
    """A soft kernel blurs, a sharp one overshoots at edges."""
    if rng.random() < 0.3:
        smooth = gaussian_blur(volume, 0.9)
        return volume + float(rng.uniform(0.2, 0.9)) * (volume - smooth)
    return gaussian_blur(volume, float(rng.uniform(0.3, 0.9)))


def grain(volume: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """Noise of deviation `sigma` HU, its grain as coarse as the kernel, stronger behind the base of the skull. In place."""
    generator = torch_generator(rng, volume.device)
    noise = white_noise((volume.shape[0], volume.shape[1], volume.shape[2]), generator)
    size = float(rng.choice([0.0, 0.6, 1.0]))
    if size:
        noise = gaussian_blur(noise, (0.3 * size, size, size))
        noise /= noise[::3, ::3, ::3].std()
    # Per slice: where more bone absorbs, fewer photons arrive.
    dense = (volume[:, ::2, ::2] > 300).float().mean((1, 2)).sqrt()
    strength = sigma * (0.7 + dense / dense.mean().clamp_min(1e-3) * 0.3)
    return volume.add_(noise.mul_(strength[:, None, None]))


def streaks(volume: Tensor, rng: np.random.Generator) -> Tensor:
    """Dark and bright bands in plane, smooth across, strongest low in the head: bone hardens the beam. In place."""
    generator = torch_generator(rng, volume.device)
    shape: Shape = (volume.shape[0], 1, 1)
    dense = (volume[:, ::2, ::2] > 700).float().mean((1, 2))
    amount = float(rng.uniform(3, 14)) * dense / dense.max().clamp_min(1e-4)
    angle = float(rng.normal(0, 0.25))
    y = torch.arange(volume.shape[1], device=volume.device)[:, None]
    x = torch.arange(volume.shape[2], device=volume.device)[None]
    across = (np.cos(angle) * y + np.sin(angle) * x).clamp_min(0).long()
    profile = smooth_field((volume.shape[0], int(across.max()) + 1, 2), 6, generator)[0, :, :, 0]
    inside = (volume > -300).float()
    return volume.add_(profile[:, across] * amount.view(shape) * inside)


def head_rest(volume: Tensor, rng: np.random.Generator) -> Tensor:
    """A curved shell with foam behind the head, where there is air. In place."""
    _, height, width = volume.shape
    y = torch.arange(height, device=volume.device)[:, None].float()
    x = torch.arange(width, device=volume.device)[None].float()
    head = (volume[:, :, ::2] > -300).any(2).any(0).nonzero()
    if len(head) == 0:
        return volume
    back, radius = float(head.min()), width * float(rng.uniform(0.5, 0.9))
    lowest = back - float(rng.uniform(1, 7))
    distance = ((y - lowest - radius) ** 2 + (x - width * float(rng.uniform(0.45, 0.55))) ** 2).sqrt() - radius
    behind = y < lowest + float(rng.uniform(20, 90))
    shell = (distance.abs() < float(rng.uniform(0.8, 2))) & behind
    foam = (distance < 0) & (distance > -float(rng.uniform(2, 8))) & behind
    air = volume < -900
    volume.masked_fill_(air & foam, float(rng.uniform(-980, -900)))
    return volume.masked_fill_(air & shell, float(rng.uniform(-700, 100)))


def random_window(rng: np.random.Generator, eight_bit: float) -> tuple[str, Callable[[Tensor], Tensor]]:
    """One of `WINDOWS` by name, and what it does to HU; a fraction `eight_bit` is stored as 0 .. 255, its HU lost."""
    name = str(rng.choice(list(WINDOWS), p=[0.35, 0.2, 0.35, 0.1]))
    low, high = WINDOWS[name]
    if rng.random() < eight_bit:
        return f"{name}, 8 bit", lambda volume: ((volume.clamp(low, high) - low) * (255 / (high - low))).round()
    return name, lambda volume: volume.clamp(low, high)


def outside_value(rng: np.random.Generator) -> float:
    """What a tool writes where it has cut a CT away: air, zero, or the lowest number."""
    return float(rng.choice([AIR_HU, 0.0, -1024.0], p=[0.45, 0.35, 0.2]))
