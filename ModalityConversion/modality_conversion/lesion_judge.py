"""Whether a lesion that was outlined on the real scan is on a synthetic one of another modality too.

Across modalities nobody knows what contrast to expect, and around a lesion there is often more than one tissue, so that no
single difference decides. How the lesion and its surroundings are on both scans, and how the other known lesions of the
head are, goes into a small network, a few thousand numbers fitted on simulated heads with planted faults
(`training.lesion_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from .lesion_contrast import SHELL_MM, shell
from .lesion_features import SOURCES
from .lesion_finder import Discriminant, read
from .lesion_match import Part
from .modality import Modality

WEIGHTS = Path(__file__).with_name("lesion_judge.json")
CLASSES = ("kept", "lost")
"""What a lesion can be; the order of the network's outputs. One of which less than a third is left counts as lost."""
KINDS = (Modality.CT, Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR)
"""Modalities that it was fitted on."""
_FURTHER_MM = (5.0, 10.0)
_WITHIN = (10, 25, 50, 75, 90)
_AROUND = (10, 25, 75, 90)
_FURTHER = (25, 50, 75)
_MOST_OTHERS = 10


@cache
def judge() -> Discriminant:
    """The one that comes with the program; `threshold` has the least chance of `lost`, and of `unclear`."""
    return read(WEIGHTS)


def knows(kinds: tuple[Modality, Modality]) -> bool:
    """Whether it was fitted on such a pair: two modalities."""
    return kinds[0] is not kinds[1] and all(kind in KINDS for kind in kinds)


def chances_of_loss(rows: Sequence[np.ndarray | None]) -> list[float | None]:
    """Of `traits`, for each lesion how likely it is that the synthetic scan does not show it, 0 to 1; None stays None."""
    usable = [number for number, row in enumerate(rows) if row is not None]
    found: list[float | None] = [None] * len(rows)
    if usable:
        values = np.stack([row for row in rows if row is not None])
        for number, chances in zip(usable, judge()(values)):
            found[number] = float(chances[CLASSES.index("lost")])
    return found


def traits(
    scans: tuple[np.ndarray, np.ndarray],
    kinds: tuple[Modality, Modality],
    least: tuple[float, float],
    lesions: Sequence[Part],
    mask: np.ndarray,
    brain: np.ndarray,
    spacing: Sequence[float],
) -> list[np.ndarray | None]:
    """What the network is told of each lesion, float32; None where nothing is around it to compare with.

    `scans`: the real and the synthetic one, (k, j, i); `least`: the smallest difference that shows on each, in its units;
    `mask`: all outlines; `brain`: where surroundings are looked for; `spacing`: mm, in array order.
    """
    own: list[np.ndarray | None] = []
    contrasts = np.full((len(lesions), 2), np.nan)
    volume_ml = float(np.prod(spacing)) / 1000
    for number, part in enumerate(lesions):
        near, far = (
            shell(part.inside, brain[part.box], mask[part.box], spacing, reach) for reach in (SHELL_MM, _FURTHER_MM)
        )
        if near is None or min(least) <= 0:  # a scan without contrast in the brain says nothing
            own.append(None)
            continue
        far = near if far is None else far
        columns = [np.array([np.log(part.voxels * volume_ml)])]
        for side, (scan, unit) in enumerate(zip(scans, least)):
            values = scan[part.box].astype(np.float64)
            found, contrasts[number, side] = _on_one_scan(values, part.inside, near, far, unit)
            columns.append(found)
        around = [scan[part.box][near | far].astype(np.float64) for scan in scans]
        columns.append(np.array([_correlation(*around)]))
        own.append(np.concatenate(columns))
    codes = np.array([float(kind is one) for kind in kinds for one in SOURCES])
    return [
        None if row is None else np.concatenate([row, _others(contrasts, number), codes]).astype(np.float32)
        for number, row in enumerate(own)
    ]


def _on_one_scan(
    values: np.ndarray, inside: np.ndarray, near: np.ndarray, far: np.ndarray, unit: float
) -> tuple[np.ndarray, float]:
    """A lesion and what is around it, in units of the least difference that shows; and its mean contrast alone."""
    lesion, around, further = (values[where] for where in (inside, near, far))
    level = float(np.median(around))
    mean = float(lesion.mean() - level) / unit
    steps = np.concatenate(
        [
            [mean],
            (np.percentile(lesion, _WITHIN) - level) / unit,
            (np.percentile(around, _AROUND) - level) / unit,
            (np.percentile(further, _FURTHER) - level) / unit,
        ]
    )
    shares = [np.mean(around < lesion.mean()), np.mean(around < np.median(lesion)), np.mean(further < lesion.mean())]
    return np.concatenate([_short(steps), shares]), mean


def _others(contrasts: np.ndarray, number: int) -> np.ndarray:
    """How the other known lesions stand out: their number, and on each scan the median, with its sign and without."""
    rest = np.delete(contrasts, number, axis=0)
    rest = rest[np.isfinite(rest).all(1)]
    if not len(rest):
        return np.zeros(5)
    medians = np.concatenate([np.median(rest, axis=0), np.median(abs(rest), axis=0)])
    return np.concatenate([[np.log1p(min(len(rest), _MOST_OTHERS))], _short(medians)])


def _short(values: np.ndarray) -> np.ndarray:
    """Large ones made smaller, their sign kept."""
    shortened: np.ndarray = np.sign(values) * np.log1p(np.abs(values))
    return shortened


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if first.size < 3 or not first.std() or not second.std():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
