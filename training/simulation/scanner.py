"""What the scanner adds: slice thickness, bias field, noise."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.simulation.fields import Shape, smooth_field, torch_generator


def slice_matrices(length: int, thickness: float, first: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How `length` planes 1 mm apart become thick slices, and how those become planes again.

    Gives `average` (slices, length): the mean over a box of `thickness` mm around each slice's centre, the first at
    `first` mm, the slices `thickness` apart; and `interpolate` (length, slices): linear between centres, the ends
    repeated. The rows of both sum to 1.
    """
    centres = np.arange(first, length - 1 + 1e-6, thickness)
    planes = np.arange(length)
    # A plane is a box of 1 mm; its share in a slice is how far the two boxes overlap.
    upper = np.minimum(planes + 0.5, centres[:, None] + thickness / 2)
    lower = np.maximum(planes - 0.5, centres[:, None] - thickness / 2)
    average = np.clip(upper - lower, 0, None)
    average /= average.sum(1, keepdims=True)
    place = np.clip((planes - centres[0]) / thickness, 0, len(centres) - 1)
    left = np.minimum(np.floor(place).astype(int), max(len(centres) - 2, 0))
    interpolate = np.zeros((length, len(centres)))
    interpolate[planes, left] = 1 - (place - left)
    if len(centres) > 1:
        interpolate[planes, left + 1] = place - left
    return average.astype(np.float32), interpolate.astype(np.float32)


def along(matrix: NDArray[np.float32], volume: Tensor, axis: int) -> Tensor:
    """Apply a matrix along one axis of a volume."""
    moved = volume.movedim(axis, 0)
    result = torch.from_numpy(matrix) @ moved.reshape(moved.shape[0], -1)
    return result.reshape(-1, *moved.shape[1:]).movedim(0, axis)


def bias_field(shape: Shape, strength: float, rng: np.random.Generator) -> Tensor:
    """A smooth positive factor, about 1; `strength` is the deviation of its logarithm at nodes some 80 mm apart."""
    return torch.exp(strength * smooth_field(shape, rng.uniform(60, 110), torch_generator(rng))[0])


def rician(signal: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """Magnitude of the signal with normal noise of deviation `sigma` in both channels."""
    generator = torch_generator(rng)
    real = signal + sigma * torch.randn(signal.shape, generator=generator)
    return torch.hypot(real, sigma * torch.randn(signal.shape, generator=generator))
