"""Packed cases of small made-up heads, for tests that train: nested balls with folded cortex, each case another head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from modality_conversion.modality import Modality
from training.data.cases import write_case
from training.data.regions import Region, Tissue

SHAPE = (40, 64, 64)
FOUR = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)
VALUES = {
    # none, CSF, grey, white, bone, soft, fat, air, lesion; on the output scale
    Modality.CT: (-1.0, 0.01, 0.04, 0.028, 1.0, 0.04, -0.08, -1.0, 0.02),
    Modality.T1: (0.0, 0.15, 0.42, 0.6, 0.08, 0.4, 0.9, 0.0, 0.4),
    Modality.T2: (0.0, 0.9, 0.4, 0.28, 0.05, 0.2, 0.5, 0.0, 0.6),
    Modality.FLAIR: (0.0, 0.08, 0.45, 0.36, 0.05, 0.25, 0.5, 0.0, 0.8),
}


def _tissues(rng: np.random.Generator) -> np.ndarray:
    """(z, y, x) of `Tissue` codes."""
    z, y, x = (
        (axis - size / 2) / (size / 2 * rng.uniform(0.85, 1.0))
        for axis, size in zip(np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]], SHAPE, strict=True)
    )
    folds = gaussian_filter(rng.standard_normal(SHAPE), 2.0)
    radius = np.sqrt(z**2 + y**2 + x**2) + 0.25 * folds / folds.std() * 0.3
    plain = np.sqrt(z**2 + y**2 + x**2)
    tissue = np.zeros(SHAPE, np.uint8)
    for limit, code in ((0.95, Tissue.FAT), (0.9, Tissue.SOFT), (0.85, Tissue.BONE), (0.75, Tissue.CSF)):
        tissue[plain < limit] = code
    inside = plain < 0.7
    tissue[inside & (radius < 0.68)] = Tissue.GREY
    tissue[inside & (radius < 0.5)] = Tissue.WHITE
    tissue[plain < 0.2] = Tissue.CSF
    centre = [rng.integers(size // 3, 2 * size // 3) for size in SHAPE]
    lesion = sum((axis - c) ** 2 for axis, c in zip(np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]], centre, strict=True))
    tissue[(lesion < 9) & (tissue == Tissue.WHITE)] = Tissue.LESION
    return tissue


def _regions(tissue: np.ndarray) -> np.ndarray:
    region = np.full(tissue.shape, Region.HEAD, np.uint8)
    region[tissue == Tissue.NONE] = Region.BACKGROUND
    region[tissue == Tissue.BONE] = Region.BONE
    region[np.isin(tissue, (Tissue.CSF, Tissue.GREY, Tissue.WHITE))] = Region.BRAIN
    region[tissue == Tissue.LESION] = Region.LESION
    return region


def write_heads(folder: Path, count: int = 3, *, seed: int = 0, modalities: tuple[Modality, ...] = FOUR) -> Path:
    """Write cases with every modality as source, its contrast a little off, and as target."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        tissue = _tissues(rng)
        sources, targets = {}, {}
        for modality in modalities:
            clean = gaussian_filter(np.array(VALUES[modality], np.float32)[tissue], 0.6)
            targets[modality] = clean
            curve = rng.uniform(0.8, 1.25)
            seen = (clean + 1.024) / 4.095 if modality is Modality.CT else np.clip(clean, 0, 1) ** curve
            noisy = seen + rng.normal(0, 0.01, SHAPE) * (tissue > 0)
            sources[modality] = np.clip(noisy, 0, 1)
        about = {"person": f"head {seed}-{number}", "origin": "simulated"}
        write_case(folder / f"case_{number}", sources, targets, _regions(tissue), about, tissue)
    return folder
