"""What an MR scanner adds: slice thickness and pixel size, bias field, noise, movement, ghosts, spikes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.simulation.fields import Shape, smooth_field, torch_generator

Matrix = NDArray[np.float32]


def slice_matrices(length: int, thickness: float, first: float) -> tuple[Matrix, Matrix]:
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


def along(matrix: Matrix, volume: Tensor, axis: int) -> Tensor:
    """Apply a matrix along one axis of a volume."""
    moved = volume.movedim(axis, 0)
    result = torch.from_numpy(matrix).to(volume.device) @ moved.reshape(moved.shape[0], -1)
    return result.reshape(-1, *moved.shape[1:]).movedim(0, axis)


@dataclass(frozen=True)
class Grid:
    """The voxels that a scanner measures: along each coarse axis the matrices there and back; none: 1 mm."""

    axes: tuple[tuple[int, Matrix, Matrix], ...] = ()
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def of(cls, shape: Shape, spacing: tuple[float, float, float], rng: np.random.Generator) -> "Grid":
        """Voxels of this size in mm (z, y, x), at a random place; a size up to 1 mm is 1 mm."""
        axes = []
        for axis, step in enumerate(spacing):
            if step > 1.01:
                axes.append(
                    (axis, *slice_matrices(shape[axis], step, float(rng.uniform(0, min(step, shape[axis] - 1)))))
                )
        return cls(tuple(axes), spacing)

    def measured(self, volume: Tensor) -> Tensor:
        """The volume on the scanner's voxels."""
        for axis, average, _ in self.axes:
            volume = along(average, volume, axis)
        return volume

    def shown(self, volume: Tensor) -> Tensor:
        """Back on voxels of 1 mm, linear, as the engine resamples."""
        for axis, _, interpolate in reversed(self.axes):
            volume = along(interpolate, volume, axis)
        return volume


def random_spacing(
    thickness: tuple[float, float], chance_of_pixels: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Thick slices, mostly axial, and sometimes coarse pixels too; mm (z, y, x)."""
    spacing = [1.0, 1.0, 1.0]
    if rng.random() < chance_of_pixels:
        spacing = [float(rng.uniform(1.0, 1.6))] * 3
    spacing[int(rng.choice(3, p=[0.66, 0.16, 0.18]))] = float(rng.uniform(*thickness))
    return spacing[0], spacing[1], spacing[2]


def bias_field(shape: Shape, strength: float, rng: np.random.Generator, device: torch.device | str = "cpu") -> Tensor:
    """A smooth positive factor, about 1; `strength` is the deviation of its logarithm at nodes some 80 mm apart."""
    generator = torch_generator(rng, device)
    return torch.exp(strength * smooth_field(shape, float(rng.uniform(60, 110)), generator)[0])


def rician(signal: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """Magnitude of the signal with normal noise of deviation `sigma` in both channels."""
    generator = torch_generator(rng, signal.device)

    def noise() -> Tensor:
        return torch.randn(signal.shape, generator=generator, device=signal.device)

    return torch.hypot(noise().mul_(sigma).add_(signal), noise().mul_(sigma))


FAULTS = ("motion", "ghosting", "spike")


def fault(volume: Tensor, kind: str, rng: np.random.Generator, severity: float = 1.0) -> Tensor:
    """The volume with one of `FAULTS`, made by TorchIO; `severity` 1 is what a radiologist still accepts."""
    import torchio as tio  # slow to import, and most scans have no fault

    if kind == "motion":
        count = int(rng.integers(1, 4))
        made: tio.Transform = tio.Motion(
            degrees=rng.uniform(-3, 3, (count, 3)) * severity,
            translation=rng.uniform(-2.5, 2.5, (count, 3)) * severity,
            times=np.sort(rng.uniform(0.15, 0.85, count)),
            image_interpolation="linear",
        )
    elif kind == "ghosting":
        made = tio.Ghosting(
            num_ghosts=int(rng.integers(2, 8)),
            axis=int(rng.choice([1, 2])),
            intensity=float(rng.uniform(0.25, 0.9)) * severity,
            restore=0.02,
        )
    elif kind == "spike":
        made = tio.Spike(
            spikes_positions=rng.uniform(0.25, 0.75, (int(rng.integers(1, 3)), 3)),
            intensity=float(rng.uniform(0.05, 0.25)) * severity,
        )
    else:
        raise ValueError(f"There is no fault {kind!r}; there are: {', '.join(FAULTS)}.")
    return made(volume[None].cpu())[0].clamp_min(0).to(volume.device, torch.float32)
