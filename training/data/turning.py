"""Turns and stretches what an item shows, scans and masks alike, so that few heads look like many."""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.nn import functional

from training.config import Settings


class TurnSettings(Settings):
    """How far an item is moved; 0: not at all."""

    degrees: float = Field(0.0, ge=0, le=45)
    """Largest turn about each axis."""
    stretch: float = Field(0.0, ge=0, le=0.5)
    """Largest change of size along each axis, relative."""

    @property
    def nothing(self) -> bool:
        """Whether nothing is ever moved."""
        return self.degrees == 0 and self.stretch == 0


def random_turn(settings: TurnSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    """A turn about x, then y, then z, and before it a stretch along each axis: (3, 3), acting on (x, y, z)."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(rng.uniform(-settings.degrees, settings.degrees, 3))):
        about = np.eye(3)
        one, other = ((1, 2), (2, 0), (0, 1))[axis]
        about[one, one] = about[other, other] = np.cos(angle)
        about[other, one] = np.sin(angle)
        about[one, other] = -np.sin(angle)
        turn = about @ turn
    sizes = 1 + rng.uniform(-settings.stretch, settings.stretch, 3)
    return turn @ np.diag(1 / sizes)


def turned(volumes: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Volumes (n, z, y, x) of cubic voxels, about their middle: what was at `matrix` @ p comes to p. Linear; 0 outside."""
    sides = np.array(volumes.shape[:0:-1], float)  # x, y, z
    theta = torch.zeros(1, 3, 4)
    theta[0, :, :3] = torch.from_numpy(matrix * sides / sides[:, None])  # in halves of each side
    grid = functional.affine_grid(theta, [1, *volumes.shape], align_corners=False)
    stacked = torch.from_numpy(np.ascontiguousarray(volumes))[None]
    found: NDArray[np.float32] = functional.grid_sample(stacked, grid, align_corners=False)[0].numpy()
    return found
