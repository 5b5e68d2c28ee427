"""Heads whose lesions are outlined: those that are there and that both scans show, and a few planted on both scans.

From such heads the engine's judge of outlined lesions is fitted, and on others it is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from modality_conversion.lesion_contrast import least_difference
from modality_conversion.lesion_features import head_zone
from modality_conversion.lesion_finder import Discriminant, find
from modality_conversion.lesion_judge import CLASSES, traits
from modality_conversion.lesion_list import Limits
from modality_conversion.lesion_match import parts
from modality_conversion.lesions import MARGIN_MM
from modality_conversion.modality import Modality
from training.data.regions import Region
from training.lesion_check.plant import Head, Mask, Volume, degraded
from training.lesion_check.samples import Rows
from training.lesion_check.scenes import Scene, image, strength, visible

_PLANTED = 4
_KEPT = (0.0, 0.0, 0.0, 0.1, 0.25, 0.3)
"""Of a lesion to lose; most are erased."""
_LOSSES = (0, 1, 1, 1, 1, 2, 3)
"""Lesions lost in one head."""
_GUESSED = 0.5
"""How often the brain is what the crude finder takes for it, as where nobody outlined it; else it is all of the head."""
_GRAINY = 0.5
"""How often the tissue in the place of a lost lesion is as grainy as that around it."""


@dataclass(frozen=True)
class Known:
    """A pair of scans without a fault, and its lesions."""

    head: Head
    """Its regions, with the planted lesions."""
    real: Volume
    synthetic: Volume
    outlines: tuple[Mask, ...]

    @property
    def mask(self) -> Mask:
        """All outlines."""
        every: Mask = np.any(self.outlines, axis=0)
        return every


def outlined(scene: Scene, source: Modality, target: Modality, rng: np.random.Generator) -> Known | None:
    """The lesions of a head that both scans show, and up to four planted on both; None without any."""
    head = scene.head
    real, synthetic = scene.scans[source], degraded(scene.truths[target], target is Modality.CT, rng, head.step)
    limits = visible(real, head, source), visible(synthetic, head, target)
    outlines = [
        site.voxels
        for site in head.sites(real, synthetic)
        if abs(site.real) >= limits[0] and abs(site.synthetic) >= limits[1]
    ]
    taken = np.zeros(real.shape, bool)
    # Lesions of one head are alike, give or take a third.
    strengths = strength(real, head, source, rng), strength(synthetic, head, target, rng)
    for _ in range(_PLANTED):
        where = head.free_place(taken, rng)
        if where is None:
            break
        taken |= where
        each = [float(one) * rng.uniform(0.67, 1.33) for one in strengths]
        each = [float(np.sign(one) * max(abs(one), least)) for one, least in zip(each, limits)]
        real = head.added(real, where, each[0], grain=True)
        synthetic = head.added(synthetic, where, each[1])
        outlines.append(where)
    if not outlines:
        return None
    healthy = replace(head, region=np.where(taken, np.uint8(Region.LESION), head.region))
    return Known(healthy, real, synthetic, tuple(outlines))


def known_rows(scene: Scene, source: Modality, target: Modality, rng: np.random.Generator) -> Rows | None:
    """What the judge is told of each lesion of a pair, and whether it was kept (0) or lost (1); None without any."""
    known = outlined(scene, source, target, rng)
    if known is None:
        return None
    head, synthetic = known.head, known.synthetic
    wanted = min(len(known.outlines), int(rng.choice(_LOSSES)))
    gone = np.zeros(known.mask.shape, bool)
    for number in rng.permutation(len(known.outlines))[:wanted]:
        where = known.outlines[number]
        synthetic = head.weakened(synthetic, where, float(rng.choice(_KEPT)))
        if rng.random() < _GRAINY:
            synthetic = _grainy(synthetic, where, head, rng)
        gone |= where
    scans, kinds = (known.real, synthetic), (source, target)
    spacing = (head.step,) * 3
    brain = _brain(scans, kinds, head.step, rng)
    if brain is None:
        return None
    limits = Limits()
    smallest = limits.smallest_ml / head.ml(1)
    lesions, _ = parts(known.mask, spacing, MARGIN_MM, smallest)
    first, second = (
        least_difference(scan, brain, kind is Modality.CT, limits) for scan, kind in zip(scans, kinds, strict=True)
    )
    told = traits(scans, kinds, (first, second), lesions, known.mask, brain, spacing)
    lost = [bool((gone[part.box] & part.inside).any()) for part in lesions]
    usable = [number for number, row in enumerate(told) if row is not None]
    if not usable:
        return None
    rows = np.stack([row for row in told if row is not None])
    return rows, np.array([lost[number] for number in usable], np.uint8)


def limits_of_judge(by: Discriminant, pairs: Sequence[Rows], false_alarms: float, left: float) -> dict[str, float]:
    """The least chances of `lost`, which leaves so many kept lesions a pair called lost, and of `unclear`, which leaves that
    share of the lost ones called kept.
    """
    chances, lost = _chances(by, pairs)
    wrong = np.sort(chances[~lost])[::-1]
    allowed = int(false_alarms * len(pairs))
    highest = min(0.999, float(wrong[allowed]) + 1e-4) if len(wrong) > allowed else 0.5
    lowest = float(np.quantile(chances[lost], left)) if lost.any() else 0.5
    return {"lost": highest, "unclear": min(lowest, highest)}


def judged(by: Discriminant, pairs: Sequence[Rows], limits: Mapping[str, float]) -> dict[str, Any]:
    """What the judge says of kept and of lost lesions, as counts."""
    chances, lost = _chances(by, pairs)
    said = {
        "lost": chances >= limits["lost"],
        "unclear": (chances >= limits["unclear"]) & (chances < limits["lost"]),
        "kept": chances < limits["unclear"],
    }
    truth = {"kept": ~lost, "lost": lost}
    return {"volumes": len(pairs)} | {
        f"{name} lesions": {word: int((said[word] & which).sum()) for word in said} for name, which in truth.items()
    }


def _chances(by: Discriminant, pairs: Sequence[Rows]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    values = np.concatenate([rows for rows, _ in pairs]).astype(np.float32)
    return by(values)[:, CLASSES.index("lost")], np.concatenate([lost for _, lost in pairs]).astype(bool)


def _brain(
    scans: tuple[Volume, Volume], kinds: tuple[Modality, Modality], step: float, rng: np.random.Generator
) -> Mask | None:
    real, synthetic = (image(scan, step) for scan in scans)
    if rng.random() >= _GUESSED:
        return head_zone(real, kinds[0])
    found = find(real, synthetic, kinds)
    return None if found is None else found.brain


def _grainy(volume: Volume, where: Mask, head: Head, rng: np.random.Generator) -> Volume:
    """With noise in the place of a lesion that is as strong as the fine grain of the healthy tissue around it."""
    box = head.box(where, 14)
    part, healthy = volume[box], head.healthy[box]
    grain = part - ndimage.gaussian_filter(part, 1.0)
    if np.count_nonzero(healthy) < 10:
        return volume
    noise = ndimage.gaussian_filter(rng.standard_normal(part.shape), 0.5)
    soft = ndimage.gaussian_filter(where[box].astype(np.float32), 0.5)
    changed = volume.copy()
    changed[box] += (soft * noise / noise.std() * grain[healthy].std()).astype(np.float32)
    return changed
