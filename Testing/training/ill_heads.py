"""Packed cases of small made-up heads with a tumor, for tests of segmentation: a ball, in it another with a rim and a core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from modality_conversion.modality import Modality
from training.data.cases import write_case
from training.data.regions import Disease, Region, Tissue

SHAPE = (48, 64, 64)
FOUR = (Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR)
LEVELS = {
    # brain, oedema, core, enhancing part
    Modality.T1: (0.5, 0.42, 0.33, 0.38),
    Modality.T1CE: (0.5, 0.42, 0.3, 0.95),
    Modality.T2: (0.35, 0.65, 0.75, 0.7),
    Modality.FLAIR: (0.4, 0.85, 0.65, 0.7),
    Modality.CT: (0.5, 0.45, 0.5, 0.52),
}


def ill_head(rng: np.random.Generator, healthy: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(z, y, x): where the head is, and `Disease` codes."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    middle = [n / 2 for n in SHAPE]
    head = np.sqrt(((z - middle[0]) / 22) ** 2 + ((y - middle[1]) / 28) ** 2 + ((x - middle[2]) / 26) ** 2) < 1
    disease = np.zeros(SHAPE, np.uint8)
    if not healthy:
        centre = [m + rng.uniform(-8, 8) for m in middle]
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip((z, y, x), centre, strict=True)))
        for radius, code in ((10, Disease.OEDEMA), (6.5, Disease.ENHANCING), (4, Disease.CORE)):
            disease[(distance < radius * rng.uniform(0.9, 1.1)) & head] = code
    return head, disease


def write_ill_heads(
    folder: Path,
    count: int = 4,
    *,
    seed: int = 0,
    healthy: int = 0,
    modalities: tuple[Modality, ...] = FOUR,
    disease_maps: bool = True,
) -> Path:
    """Write cases without targets; the last `healthy` of them without a tumor."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        head, disease = ill_head(rng, healthy=number >= count - healthy)
        order = {0: 0, Disease.OEDEMA: 1, Disease.CORE: 2, Disease.ENHANCING: 3}
        place = np.vectorize(order.get)(disease)
        sources = {}
        for modality in modalities:
            clean = np.where(head, np.array(LEVELS[modality])[place], 0)
            noisy = gaussian_filter(clean, 0.5) + rng.normal(0, 0.01, SHAPE) * head
            sources[modality] = np.clip(noisy, 0, 1)
        region = np.where(head, np.where(disease > 0, Region.TUMOR, Region.BRAIN), Region.BACKGROUND).astype(np.uint8)
        tissue = np.where(head, Tissue.GREY, Tissue.NONE).astype(np.uint8)
        about = {"person": f"head {seed}-{number}", "origin": "simulated"}
        maps = disease if disease_maps else None
        write_case(folder / f"case_{number}", sources, {}, region, about, tissue, maps)
    return folder
