"""Lesions, which figures over a whole brain hide: is each still there, as strong as it was, and is any there that was not?

Works on arrays (k, j, i) of one scale: MR as the protocol `slices` scales it, after the affine fit; CT in HU. A lesion's
contrast is its mean minus the median of its surroundings, the brain from 1.5 to 5 mm outside of it without other lesions.
The ratio of contrasts, synthetic over real, is 1 for a lesion as strong as in the real scan and negative for one that is
dark where it should be bright.

Invented lesions are looked for without any network: the local contrast of a scan is the scan smoothed over 1 mm minus the
brain's mean some 8 mm around. Where that of the synthetic scan exceeds that of the real one by more than the limit,
bright or dark, over a lesion's volume, well inside the brain and away from real lesions, something was added. It is a
count to compare models with, not a radiologist's: a ventricle drawn too wide counts too.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.evaluation.settings import LesionSettings

_GAP, _REACH = 1.5, 5.0  # mm; where the surroundings of a lesion begin and end
_FINE, _COARSE = 1.0, 8.0  # mm; deviations of the two Gaussians of the local contrast
_APART = 3.0  # mm; what is nearer to a real lesion belongs to it
_CONNECTED = np.ones((3, 3, 3), bool)

Volume = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Lesion:
    """One connected lesion of the label map. Contrasts are in the scale of the volumes; None without surroundings."""

    volume_ml: float
    centre: tuple[int, int, int]
    """Its middle voxel, (k, j, i)."""
    real: float | None
    synthetic: float | None
    shown: bool
    """Whether the real scan shows it at all."""

    @property
    def ratio(self) -> float | None:
        """Contrast of the synthetic over that of the real scan; None for a lesion that the real one does not show."""
        return self.synthetic / self.real if self.shown and self.real and self.synthetic is not None else None


@dataclass(frozen=True)
class Invented:
    """Something in the synthetic scan that the real one does not have."""

    volume_ml: float
    centre: tuple[int, int, int]
    bright: bool


@dataclass(frozen=True)
class Limits:
    """The settings that depend on the scale of the volumes."""

    visible: float
    false: float


def limits(settings: LesionSettings, hounsfield: bool) -> Limits:
    """Those of CT in HU, or of scaled MR."""
    return Limits(settings.visible_hu, settings.false_hu) if hounsfield else Limits(settings.visible, settings.false)


def find_lesions(
    real: Volume,
    synthetic: Volume,
    lesions: Mask,
    brain: Mask,
    spacing: tuple[float, ...],
    smallest: float,
    seen: Limits,
) -> list[Lesion]:
    """Every lesion of at least `smallest` mL, the largest first. `spacing` is (k, j, i) in mm."""
    labels, _ = ndimage.label(lesions, _CONNECTED)
    voxel_ml = math.prod(spacing) / 1000
    margins = [math.ceil(_REACH / step) + 1 for step in spacing]
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        wide = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margins))
        inside = labels[wide] == number
        volume = int(inside.sum()) * voxel_ml
        if volume < smallest:
            continue
        away = ndimage.distance_transform_edt(~inside, sampling=spacing)
        around = (away >= _GAP) & (away <= _REACH) & brain[wide] & ~lesions[wide]
        there = here = None
        if np.count_nonzero(around) >= 10:
            there, here = (float(v[wide][inside].mean() - np.median(v[wide][around])) for v in (real, synthetic))
        shown = there is not None and abs(there) >= seen.visible
        found.append(Lesion(volume, _middle(inside, wide), there, here, shown))
    return sorted(found, key=lambda lesion: -lesion.volume_ml)


def _middle(inside: Mask, box: tuple[slice, ...]) -> tuple[int, int, int]:
    """The voxel of a part of a box that is nearest to its centre of mass, (k, j, i) of the whole volume."""
    place = np.argwhere(inside)
    k, j, i = (int(n) for n in place[np.abs(place - place.mean(0)).sum(1).argmin()] + [s.start for s in box])
    return k, j, i


def local_contrast(volume: Volume, brain: Mask, spacing: tuple[float, ...]) -> Volume:
    """How far each voxel stands out from the brain around it; 0 outside the brain."""
    weight = brain.astype(np.float32)
    filled = np.where(brain, volume, 0).astype(np.float32)

    def mean(sigma: float) -> Volume:
        widths = [sigma / step for step in spacing]
        within = ndimage.gaussian_filter(weight, widths, truncate=3)
        return ndimage.gaussian_filter(filled, widths, truncate=3) / np.maximum(within, 1e-3)

    return np.where(brain, mean(_FINE) - mean(_COARSE), 0)


def find_invented(
    real: Volume,
    synthetic: Volume,
    lesions: Mask,
    brain: Mask,
    spacing: tuple[float, ...],
    settings: LesionSettings,
    seen: Limits,
) -> list[Invented]:
    """What was invented, the largest first. `spacing` is (k, j, i) in mm."""
    depth = ndimage.distance_transform_edt(np.pad(brain, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    looked_at = depth > settings.depth
    if lesions.any():
        looked_at &= ndimage.distance_transform_edt(~lesions, sampling=spacing) > _APART
    there, here = (local_contrast(volume, brain, spacing) for volume in (real, synthetic))
    # In thick slices there is nothing between a slice and the next, so only the slice itself is opened.
    cross = ndimage.generate_binary_structure(3, 1)
    for axis, step in enumerate(spacing):
        if step > 2:
            cross = cross & (np.arange(3) == 1).reshape([-1 if other == axis else 1 for other in range(3)])
    voxel_ml = math.prod(spacing) / 1000
    found = []
    for sign in (1, -1):
        added = (sign * (here - there) > seen.false) & (sign * here > seen.false) & looked_at
        labels, _ = ndimage.label(ndimage.binary_opening(added, cross), _CONNECTED)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            inside = labels[box] == number
            volume = int(inside.sum()) * voxel_ml
            if volume >= settings.smallest:
                found.append(Invented(volume, _middle(inside, box), sign > 0))
    return sorted(found, key=lambda one: -one.volume_ml)


def lesion_figures(
    real: Volume,
    synthetic: Volume,
    lesions: Mask,
    brain: Mask,
    spacing: tuple[float, ...],
    settings: LesionSettings,
    *,
    hounsfield: bool,
) -> dict[str, Any]:
    """All figures of one case, ready for JSON: `lesions` and `false` one by one, and the counts."""
    seen = limits(settings, hounsfield)
    whole_ml = float(brain.sum()) * math.prod(spacing) / 1000
    # Nothing outside the brain is looked at, and lesions lie in it.
    (box,) = ndimage.find_objects((brain | lesions).astype(np.uint8))
    corner = [s.start for s in box]
    real, synthetic, lesions, brain = (array[box] for array in (real, synthetic, lesions, brain))
    found = find_lesions(real, synthetic, lesions, brain, spacing, settings.smallest, seen)
    false = find_invented(real, synthetic, lesions, brain, spacing, settings, seen)
    return {
        "lesions": [_as_row(lesion, corner) | {"ratio": lesion.ratio} for lesion in found],
        "false": [_as_row(one, corner) for one in false],
        **count([lesion.ratio for lesion in found], settings),
        "brain_ml": whole_ml,
    }


def _as_row(one: Lesion | Invented, corner: list[int]) -> dict[str, Any]:
    return asdict(one) | {"centre": [int(place + start) for place, start in zip(one.centre, corner, strict=True)]}


def count(ratios: list[float | None], settings: LesionSettings) -> dict[str, Any]:
    """Of lesions by their ratios: how many, how many the real scan shows, and the shares of these kept and right."""
    shown = [ratio for ratio in ratios if ratio is not None]
    low, high = settings.band
    return {
        "count": len(ratios),
        "shown": len(shown),
        "recall": float(np.mean([ratio >= settings.kept for ratio in shown])) if shown else None,
        "ratio": float(np.median(shown)) if shown else None,
        "in_band": float(np.mean([low <= ratio <= high for ratio in shown])) if shown else None,
    }
