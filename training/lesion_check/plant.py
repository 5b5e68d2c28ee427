"""Faults to find: a lesion erased from a synthetic scan, dimmed in it, or added to it.

The synthetic scan is a simulated head's true target, so that nothing is wrong with it but what is planted. Arrays are
(z, y, x) with cubic voxels, on one scale a modality.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.data.regions import BRAIN_REGIONS, Region, Tissue

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
SMALLEST_ML, LARGEST_ML = 0.1, 30.0
"""Lesions that are tampered with."""
_LARGEST_ADDED_ML = 5.0
_CONNECTED = np.ones((3, 3, 3), bool)
_AROUND_MM = (1.5, 5.0)
_APART_MM = 4.0
_TRUST = {2.0: 1.0, 4.0: 0.1, 8.0: 0.01}
"""Healthy tissue fills a place by Gaussian means of these deviations (mm); the near counts most where there is any."""


@dataclass(frozen=True)
class Site:
    """One lesion that can be tampered with: its voxels, and its contrast on each scan in that scan's scale."""

    voxels: Mask
    volume_ml: float
    real: float
    synthetic: float


@dataclass(frozen=True)
class Head:
    """What is where in a simulated head."""

    region: NDArray[np.uint8]
    tissue: NDArray[np.uint8]
    step: float = 1.0
    """Side of a voxel, mm."""

    @property
    def brain(self) -> Mask:
        """Healthy or not."""
        return np.isin(self.region, BRAIN_REGIONS)

    @property
    def lesions(self) -> Mask:
        """Lesions and tumors."""
        return np.isin(self.region, (Region.LESION, Region.TUMOR))

    @property
    def healthy(self) -> Mask:
        """Healthy grey and white matter."""
        return np.isin(self.tissue, (Tissue.GREY, Tissue.WHITE)) & (self.region == Region.BRAIN)

    def ml(self, voxels: float | np.integer) -> float:
        """The volume of so many voxels."""
        return float(voxels) * self.step**3 / 1000

    def contrast(self, volume: Volume, inside: Mask, healthy: Mask) -> float | None:
        """Mean of a lesion minus the median of healthy tissue 1.5 to 5 mm around it; None without such."""
        box = self.box(inside, _AROUND_MM[1] + 2)
        away = ndimage.distance_transform_edt(~inside[box], sampling=self.step)
        around = (away >= _AROUND_MM[0]) & (away <= _AROUND_MM[1]) & healthy[box]
        if np.count_nonzero(around) < 10:
            return None
        return float(volume[box][inside[box]].mean() - np.median(volume[box][around]))

    def sites(self, real: Volume, synthetic: Volume) -> list[Site]:
        """Every lesion from 0.1 to 30 mL with healthy tissue around it."""
        healthy = self.healthy
        labels, _ = ndimage.label(self.lesions, _CONNECTED)
        found = []
        for number, tight in enumerate(ndimage.find_objects(labels), start=1):
            part = labels[tight] == number
            volume_ml = self.ml(np.count_nonzero(part))
            if not SMALLEST_ML <= volume_ml <= LARGEST_ML:
                continue
            inside = np.zeros(labels.shape, bool)
            inside[tight] = part
            there, here = self.contrast(real, inside, healthy), self.contrast(synthetic, inside, healthy)
            if there is not None and here is not None:
                found.append(Site(inside, volume_ml, there, here))
        return found

    def weakened(self, volume: Volume, inside: Mask, kept: float) -> Volume:
        """A lesion taken away but for the fraction `kept` of it; healthy tissue from around takes its place."""
        box = self.box(inside, 14)
        fill = self._filled(volume[box], self.healthy[box])
        weight = self._soft(ndimage.binary_dilation(inside[box], iterations=max(1, round(1 / self.step))))
        changed = volume.copy()
        changed[box] += (1 - kept) * weight * (fill - volume[box])
        return changed

    def free_place(self, taken: Mask, rng: np.random.Generator) -> Mask | None:
        """A bumpy ball of 0.1 to 5 mL in healthy tissue, away from lesions and from what is `taken`; None without room."""
        busy = self.lesions | taken
        room = self.healthy & ~busy
        places = np.argwhere(room)
        if self.ml(len(places)) < 1:
            return None
        margin = round(_APART_MM / self.step)
        for _ in range(30):
            centre = places[rng.integers(len(places))]
            wanted = np.exp(rng.uniform(np.log(SMALLEST_ML * 1.3), np.log(_LARGEST_ADDED_ML)))
            radii = (3 * wanted * 1000 / (4 * np.pi)) ** (1 / 3) * np.exp(rng.normal(0, 0.15, 3)) / self.step
            box = tuple(
                slice(max(0, int(c - 1.5 * r - 1)), min(n, int(c + 1.5 * r + 2)))
                for c, r, n in zip(centre, radii, room.shape)
            )
            if busy[tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)].any():
                continue
            axes = np.ogrid[box]
            away = np.sqrt(sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii)))
            bumps = ndimage.gaussian_filter(rng.standard_normal(away.shape), 2.5 / self.step)
            inside = (away + 0.15 * bumps / max(float(bumps.std()), 1e-6) < 1) & room[box]
            labels, _ = ndimage.label(inside, _CONNECTED)
            sizes = np.bincount(labels.ravel())[1:]
            if sizes.size and self.ml(sizes.max()) >= SMALLEST_ML:
                where = np.zeros(room.shape, bool)
                where[box] = labels == 1 + int(sizes.argmax())
                return where
        return None

    def added(self, volume: Volume, where: Mask, strength: float, *, grain: bool = False) -> Volume:
        """With a lesion of that contrast put there; with `grain` the noise of what lies below stays."""
        box = self.box(where, 14)
        changed = volume.copy()
        step: Volume | float = strength
        if not grain:
            step = self._filled(volume[box], self.healthy[box] & ~where[box]) + strength - volume[box]
        changed[box] += self._soft(where[box]) * step
        return changed

    def box(self, mask: Mask, margin_mm: float) -> tuple[slice, ...]:
        """The box around a mask, that much wider."""
        (tight,) = ndimage.find_objects(mask.astype(np.uint8))
        margin = int(np.ceil(margin_mm / self.step))
        return tuple(slice(max(0, s.start - margin), s.stop + margin) for s in tight)

    def _filled(self, volume: Volume, healthy: Mask) -> Volume:
        """The mean of the healthy tissue around each voxel."""
        weight = healthy.astype(np.float32)
        total, norm = np.zeros_like(volume), np.full_like(volume, 1e-6)
        for mm, trust in _TRUST.items():
            share = ndimage.gaussian_filter(weight, mm / self.step) + 1e-9
            here = np.clip(share, 0, 0.3) * trust
            total += here * ndimage.gaussian_filter(volume * weight, mm / self.step) / share
            norm += here
        return (total / norm).astype(np.float32)

    def _soft(self, mask: Mask) -> Volume:
        return np.clip(ndimage.gaussian_filter(mask.astype(np.float32), 0.8 / self.step), 0, 1)


def degraded(volume: Volume, hounsfield: bool, rng: np.random.Generator, step: float = 1.0) -> Volume:
    """As a network would give it: a little smoother, its curve a little off, with some noise; the head stays."""
    sigma = float(rng.uniform(0, 1.0)) / step
    smooth = ndimage.gaussian_filter(volume, sigma) if sigma > 0.2 else volume
    noise = rng.standard_normal(volume.shape, np.float32)
    if hounsfield:
        return (smooth + np.float32(rng.normal(0, 2)) + np.float32(rng.uniform(0, 2)) * noise).astype(np.float32)
    top = float(np.percentile(smooth[::2, ::2, ::2], 99.5)) or 1.0
    curved = top * np.maximum(smooth / top, 0) ** np.float32(rng.uniform(0.85, 1.18))
    noisy = curved + np.float32(rng.uniform(0, 0.015) * top) * noise
    return np.where(smooth > 0.01 * top, noisy, curved).astype(np.float32)
