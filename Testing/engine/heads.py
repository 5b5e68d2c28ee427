"""Simulated heads for tests of recognition: one person nobody trained on, six kinds of scan on voxels of 3 mm, and a T1 whose
vessels are bright because fresh blood flows in (`T1_inflow`).

`simulated_heads.npz` is made of SynthSeg's label map 17 (Apache-2.0, Billot et al. 2023) by `training.recognise.heads`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

FILE = Path(__file__).with_name("simulated_heads.npz")
RECOGNISER = Path(__file__).resolve().parents[2] / "Resources" / "Models" / "recogniser"


@lru_cache
def _stored() -> dict[str, np.ndarray]:
    with np.load(FILE) as held:
        return {name: held[name].astype(np.float32) for name in held.files}


def voxels(kind: str, stripped: bool = False) -> np.ndarray:
    """A scan (z, y, x) toward superior, anterior and right, with a little noise; HU, or arbitrary units from 0."""
    volume = _stored()[kind].copy()
    noise = np.random.default_rng(0).normal(0, 1, volume.shape)
    volume = np.abs(volume + noise) if kind != "CT" else volume * 20 - 1000 + 6 * noise
    if stripped:
        share = _stored()["brain"] / 100
        volume = volume * share if kind != "CT" else (volume + 1000) * share - 1000
    return volume


def placed(volume: np.ndarray, spacing: float = 3.0) -> sitk.Image:
    """Voxels as `voxels` gives them, as an image whose header says where they point."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume, np.float32))
    image.SetSpacing((spacing,) * 3)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetOrigin((40.0, -20.0, 7.0))
    return image


def head(kind: str, stripped: bool = False) -> sitk.Image:
    """A scan."""
    return placed(voxels(kind, stripped))


def knee(is_ct: bool = True) -> sitk.Image:
    """Two legs with a joint: cylinders of skin, fat, muscle and bone; CT or MR."""
    tissue = (30, -95, 50, 900, 150) if is_ct else (0.5, 0.9, 0.3, 0.05, 0.8)
    volume = np.full((70, 44, 80), -1000.0 if is_ct else 0.0, np.float32)
    z, y, x = np.ogrid[:70, :44, :80]
    for middle in (20, 60):
        far = np.hypot(y - 22, x - middle) / (17 - 0.03 * z)
        wide = 0.25 + 0.35 * np.exp(-(((z - 35) / 9) ** 2))
        for reach, value in zip((1.0, 0.93, 0.82, wide, wide - 0.08), tissue, strict=True):
            volume[np.broadcast_to(far < reach, volume.shape)] = value
    return placed(volume + np.random.default_rng(0).normal(0, 8 if is_ct else 0.01, volume.shape))


def noise() -> sitk.Image:
    """Nothing but noise."""
    return placed(np.random.default_rng(1).normal(100, 20, (50, 60, 55)))
