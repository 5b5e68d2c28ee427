"""One lesion of the report, and the limits by which it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["kept", "lost", "added", "changed", "unclear"]
VERDICTS: tuple[Verdict, ...] = ("lost", "added", "changed", "unclear", "kept")
"""In the order of the report: what needs a look first."""


@dataclass(frozen=True)
class Limits:
    """What is looked at, and when a lesion counts as changed."""

    smallest_ml: float = 0.1
    """Smaller ones are counted, not judged."""
    reach_mm: float = 2.0
    """Two outlines mean one lesion where they touch after one of them has grown by this much."""
    volume_ratio: tuple[float, float] = (0.5, 2.0)
    """Synthetic over real; outside, the size has changed."""
    contrast_ratio: tuple[float, float] = (0.5, 2.0)
    """The same for the contrast, where both scans are of one modality; across modalities contrasts cannot be compared."""
    visible: float = 0.04
    """A lesion shows where it differs from its surroundings by this share of the brain's range of values (its 0.5 to 99.5
    percentiles)."""
    visible_hu: float = 3.0
    """The same on CT, in HU."""
    of_others: float = 0.4
    """Between two modalities that the judge does not know, a known lesion counts as changed where its contrast on the synthetic
    scan is below this share of the median of the other known lesions'; needs `least_others` of them."""
    least_others: int = 3


@dataclass(frozen=True)
class Contrast:
    """How a lesion stands out on one scan."""

    mean: float
    """Its mean, in the scan's units."""
    median: float
    """Its median: a lesion's outline often holds some fluid of a sulcus, which moves the mean alone."""
    around: float
    """The median of a shell around it."""
    ratio: float | None
    """Mean over shell; None on CT, whose zero is water, and where the shell is not above 0."""
    least: float
    """The smallest difference that shows on this scan."""

    @property
    def difference(self) -> float:
        """Lesion minus shell, in the scan's units: HU on CT."""
        return self.mean - self.around

    @property
    def shows(self) -> bool:
        """Whether the scan shows the lesion at all: its mean and its median stand out, to the same side."""
        sides = self.difference, self.median - self.around
        return min(sides) >= self.least or max(sides) <= -self.least

    def as_dict(self) -> dict[str, float | None]:
        """For JSON."""
        return {**asdict(self), "difference": self.difference}


@dataclass(frozen=True)
class Lesion:
    """One lesion, on the real scan, on the synthetic one, or on both."""

    verdict: Verdict
    reason: str
    """Why, for a person."""
    position: tuple[float, float, float]
    """A voxel within it, mm, LPS."""
    voxel: tuple[int, int, int]
    """The same, (i, j, k) of the real scan's grid."""
    volume_ml: float
    """On the real scan; of an added one on the synthetic scan."""
    synthetic_volume_ml: float | None
    """On the synthetic scan, where it was outlined there."""
    real: Contrast | None
    """None where nothing is around it to compare with."""
    synthetic: Contrast | None
    contrast_ratio: float | None
    """Contrast on the synthetic over that on the real scan, each as a share of its surroundings (CT: in HU). Only between
    scans of one modality does 1 mean unchanged; None where the real scan shows none."""
    chance_of_loss: float | None = None
    """How likely the judge of outlined lesions finds it that the synthetic scan does not show it, 0 to 1; None where it was
    not asked. A probability only among simulated heads in which three of ten outlined lesions are lost."""

    def as_dict(self, number: int) -> dict[str, Any]:
        """For JSON."""
        return {
            "number": number,
            "verdict": self.verdict,
            "reason": self.reason,
            "position_lps_mm": [round(value, 3) for value in self.position],
            "voxel_ijk": list(self.voxel),
            "volume_ml": self.volume_ml,
            "synthetic_volume_ml": self.synthetic_volume_ml,
            "contrast_real": self.real.as_dict() if self.real else None,
            "contrast_synthetic": self.synthetic.as_dict() if self.synthetic else None,
            "contrast_ratio": self.contrast_ratio,
            "chance_of_loss": None if self.chance_of_loss is None else round(self.chance_of_loss, 4),
        }


def in_order(lesions: Sequence[Lesion]) -> tuple[Lesion, ...]:
    """What needs a look first, then the largest."""
    return tuple(sorted(lesions, key=lambda one: (VERDICTS.index(one.verdict), -one.volume_ml)))
