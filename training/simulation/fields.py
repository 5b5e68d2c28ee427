"""Smooth random fields, the raw material of texture, deformation, bias and blobs. All in torch, float32, (z, y, x)."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, int, int]


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """A torch generator that follows from a numpy one, so that one seed rules both."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def smooth_field(shape: Shape, step: float, generator: torch.Generator, channels: int = 1) -> Tensor:
    """Random values every `step` voxels, linear between: (channels, z, y, x), mean about 0, deviation at nodes 1."""
    nodes = [max(2, int(np.ceil(size / step)) + 1) for size in shape]
    coarse = torch.randn(1, channels, *nodes, generator=generator)
    return functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0]


def white_noise(shape: Shape, generator: torch.Generator) -> Tensor:
    """Independent standard normal values, (z, y, x)."""
    return torch.randn(shape, generator=generator)


def gaussian_blur(volume: Tensor, sigma: float) -> Tensor:
    """Blur (z, y, x) with a Gaussian of `sigma` voxels along all axes; edges are repeated."""
    if sigma < 0.15:
        return volume
    radius = max(1, int(3 * sigma + 0.5))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float32) / sigma) ** 2)
    kernel /= kernel.sum()
    blurred = volume
    for axis in range(3):
        first, last = blurred.narrow(axis, 0, 1), blurred.narrow(axis, volume.shape[axis] - 1, 1)
        padded = torch.cat([first] * radius + [blurred] + [last] * radius, axis)
        blurred = torch.zeros_like(volume)
        for offset, weight in enumerate(kernel.tolist()):
            blurred.add_(padded.narrow(axis, offset, volume.shape[axis]), alpha=weight)
    return blurred
