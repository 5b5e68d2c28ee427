"""Smooth random fields, the raw material of texture, deformation, bias and blobs. All in torch, float32, (z, y, x).

Fields are made on the device of their generator, so that a whole simulation can run on a graphics card.
"""

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, int, int]


def torch_generator(rng: np.random.Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator that follows from a numpy one, so that one seed rules both."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**62)))


def smooth_field(
    shape: Shape, step: float | tuple[float, float, float], generator: torch.Generator, channels: int = 1
) -> Tensor:
    """Random values every `step` voxels (one number, or one for each axis), linear between: (channels, z, y, x).

    Mean about 0, deviation at nodes 1.
    """
    steps = (step,) * 3 if isinstance(step, (int, float)) else step
    nodes = [max(2, int(np.ceil(size / width)) + 1) for size, width in zip(shape, steps, strict=True)]
    coarse = torch.randn(channels, *nodes, generator=generator, device=generator.device)
    # Axis by axis, the last one slowest to grow: three times as fast as trilinear interpolation at once.
    z, y, x = (_between(count, size, coarse.device) for count, size in zip(nodes, shape, strict=True))
    planes = (y @ (coarse @ x.T)).reshape(channels, nodes[0], -1)
    return (z @ planes).reshape(channels, *shape)


def _between(nodes: int, size: int, device: torch.device) -> Tensor:
    """Weights (size, nodes) of linear interpolation whose ends are the first and the last node."""
    place = torch.linspace(0, nodes - 1, size, device=device)[:, None]
    return (1 - (place - torch.arange(nodes, device=device)).abs()).clamp_min(0)


def white_noise(shape: Shape, generator: torch.Generator) -> Tensor:
    """Independent standard normal values, (z, y, x)."""
    return torch.randn(shape, generator=generator, device=generator.device)


def gaussian_kernel(sigma: float) -> list[float]:
    """Weights of a Gaussian of `sigma` voxels, out to three of them."""
    radius = max(1, int(3 * sigma + 0.5))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return [float(weight) for weight in kernel / kernel.sum()]


def gaussian_blur(volume: Tensor, sigma: float | tuple[float, float, float]) -> Tensor:
    """Blur (z, y, x) with a Gaussian of `sigma` voxels, one number or one for each axis; edges are repeated."""
    sigmas = (sigma,) * 3 if isinstance(sigma, (int, float)) else sigma
    for axis, width in enumerate(sigmas):
        if width >= 0.15:
            volume = _blur_axis(volume, gaussian_kernel(width), axis)
    return volume


def _blur_axis(volume: Tensor, kernel: list[float], axis: int) -> Tensor:
    radius, size = len(kernel) // 2, volume.shape[axis]
    first, last = volume.narrow(axis, 0, 1), volume.narrow(axis, size - 1, 1)
    padded = torch.cat([first] * radius + [volume] + [last] * radius, axis)
    blurred = padded.narrow(axis, radius, size) * kernel[radius]
    for offset in range(radius):  # the kernel is even: two shifts share a weight
        pair = padded.narrow(axis, offset, size) + padded.narrow(axis, 2 * radius - offset, size)
        blurred.add_(pair, alpha=kernel[offset])
    return blurred
