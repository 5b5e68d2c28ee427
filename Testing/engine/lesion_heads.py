"""Small heads with lesions whose place, size and strength are known, on any grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from volumes import filled

SIZE = (64, 72, 56)
"""(i, j, k), 2.5 mm."""
BRAIN, SKULL, SCALP, CSF = 100.0, 8.0, 160.0, 30.0


@dataclass(frozen=True)
class Ball:
    """A lesion: centre (i, j, k), radius in mm, value that it adds."""

    centre: tuple[int, int, int]
    radius: float
    value: float


@dataclass(frozen=True)
class HeadScan:
    """A head: scalp, skull, brain with folds and ventricles; then lesions."""

    balls: tuple[Ball, ...] = ()
    step: float = 2.5
    gain: float = 1.0
    seed: int = 0
    noise: float = 1.0
    grid: sitk.Image | None = field(default=None)

    def __post_init__(self) -> None:
        if self.grid is None:
            grid = sitk.Image(SIZE, sitk.sitkFloat32)
            grid.SetSpacing([self.step] * 3)
            grid.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
            grid.SetOrigin((70.0, 80.0, -60.0))
            object.__setattr__(self, "grid", grid)

    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """k, j, i as open grids."""
        k, j, i = np.ogrid[tuple(slice(0, n) for n in reversed(SIZE))]
        return k, j, i

    def where(self, ball: Ball) -> np.ndarray:
        """bool (k, j, i)."""
        k, j, i = self.places()
        a, b, c = ball.centre
        return ((i - a) ** 2 + (j - b) ** 2 + (k - c) ** 2) * self.step**2 <= ball.radius**2

    def mask(self, *balls: Ball) -> sitk.Image:
        """Outlines of these lesions, or of all."""
        inside = np.zeros(SIZE[::-1], np.uint8)
        for ball in balls or self.balls:
            inside[self.where(ball)] = 1
        assert self.grid is not None
        return filled(self.grid, inside)

    def array(self) -> np.ndarray:
        """Values (k, j, i), float32."""
        k, j, i = self.places()
        middle = [(n - 1) / 2 for n in SIZE]
        radius = np.sqrt(sum(((axis - m) / (m * 0.95)) ** 2 for axis, m in zip((i, j, k), middle)))
        # Folds that are not the same left and right, front and back, up and down.
        folds = np.sin(i / 3.1 + 1) * np.sin(j / 3.7 + i / 17) * np.sin(k / 2.9 + j / 13)
        values = np.zeros(SIZE[::-1], np.float32)
        values[radius < 1] = SCALP
        values[radius < 0.9] = SKULL
        values[radius < 0.82] = BRAIN
        values[(radius < 0.82) & (radius > 0.72) & (folds > 0.2)] = CSF
        values[(radius < 0.72) & (radius > 0.55) & (folds > 0.1)] = 0.8 * BRAIN
        ventricle = ((i - middle[0] - 4) / 4) ** 2 + ((j - middle[1] + 6) / 10) ** 2 + ((k - middle[2] - 5) / 5) ** 2
        values[ventricle < 1] = CSF
        for ball in self.balls:
            values[self.where(ball)] += ball.value
        noise = np.random.default_rng(self.seed).normal(0, self.noise, values.shape)
        return (self.gain * np.where(values > 0, values + noise, 0)).astype(np.float32)

    def scan(self) -> sitk.Image:
        """The head as an image."""
        assert self.grid is not None
        return filled(self.grid, self.array())

    def brain(self) -> sitk.Image:
        """A mask of the brain."""
        k, j, i = self.places()
        middle = [(n - 1) / 2 for n in SIZE]
        radius = np.sqrt(sum(((axis - m) / (m * 0.95)) ** 2 for axis, m in zip((i, j, k), middle)))
        assert self.grid is not None
        return filled(self.grid, (radius < 0.82).astype(np.uint8))
