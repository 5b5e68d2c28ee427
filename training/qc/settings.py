"""The `qc` section of a configuration."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from training.config import Settings

Check = Literal["values", "noise", "small", "ghosts", "background", "duplicates", "modality", "alignment"]
CHECKS: tuple[Check, ...] = (
    "values",
    "noise",
    "small",
    "ghosts",
    "background",
    "duplicates",
    "modality",
    "alignment",
)


class QcSettings(Settings):
    """What `qc` looks for, where each limit is, and what is dropped. docs/training/qc.md has the measured recall of each."""

    folder: Path
    """Where the report, its pictures and `verdicts.json` go."""
    checks: tuple[Check, ...] = CHECKS
    """What is looked for."""
    drop: tuple[Check, ...] = ("values", "noise", "small", "ghosts", "duplicates", "modality", "alignment")
    """Findings that keep a scan, a case or slices out of the packed cases. The others are only reported."""
    noise_share: float = Field(default=0.7, gt=0, lt=1)
    """Noise: a slice is mostly noise where its noise has more than this share of the deviation in the body; at 0.71 there is
    as much noise as anatomy."""
    smallest_area: float = Field(default=15.0, ge=0)
    """Small: cm^2 of body that a slice must show."""
    ghost_strength: float = Field(default=0.045, gt=0, lt=1)
    """Ghosts: least strength of a shifted copy of the body, as a fraction of it, in all slices of a scan together. Good scans
    stay below 0.035."""
    ghost_strength_in_slice: float = Field(default=0.2, gt=0, lt=1)
    """Ghosts: the same of a slice by itself, which has less to show."""
    background_noise: float = Field(default=0.08, gt=0)
    """Background: deviation of the noise in the air, as a fraction of the body's median."""
    likeness: float = Field(default=0.92, gt=0, lt=1)
    """Duplicates: correlation of the fine structure of two scans from which they are the same. Two scans of one person in
    one session reach 0.87."""
    largest_offset: float = Field(default=2.0, gt=0)
    """Alignment: mm by which the scans of a case may be out of line. A case that is to be registered is judged after it."""
    pictures: int = Field(default=40, ge=0)
    """Most pictures in the report; the strongest findings of each check come first."""
