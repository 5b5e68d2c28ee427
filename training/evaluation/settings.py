"""The `evaluate` section of a configuration."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from modality_conversion.modality import Modality
from modality_conversion.schema import Crf
from training.config import Settings
from training.data.layouts import AnySource
from training.data.split import Part
from training.evaluation.directions import Direction


def _readable(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        Direction.parse(text)
    return value


Directions = Annotated[tuple[str, ...], AfterValidator(_readable)]
"""Conversions in words, such as `T1->T2`, each of which can be read."""


class LesionSettings(Settings):
    """What counts as a lesion, as shown, as kept, and as invented. See `lesions.py`."""

    smallest: float = Field(0.1, gt=0)
    """Volume in mL below which a lesion is not looked at."""
    visible: float = Field(0.1, gt=0)
    """Least contrast to the surroundings, as a fraction of the scaled range, with which a real MR shows a lesion."""
    visible_hu: float = Field(5.0, gt=0)
    """The same for CT, in HU."""
    kept: float = Field(0.5, gt=0)
    """A lesion is found again if the synthetic scan has at least this fraction of its contrast."""
    band: tuple[float, float] = (0.8, 1.25)
    """Contrast ratios within these two count as right."""
    false: float = Field(0.15, gt=0)
    """An invented lesion stands out by this much more than the real scan does there, as a fraction of the scaled range."""
    false_hu: float = Field(10.0, gt=0)
    """The same for CT, in HU."""
    depth: float = Field(5.0, ge=0)
    """Invented lesions are looked for this many mm below the brain's surface and deeper, where there are no sulci's edges."""


class OutlineSettings(Settings):
    """How models that segment are measured, on the packed cases of `evaluate.cases`."""

    sets: tuple[str, ...] = ()
    """Sets of scans such as `T1+FLAIR`. Empty: all that a case has and the model takes at once, and each alone."""
    smallest: float = Field(0.1, gt=0)
    """mL; smaller parts count neither as there nor as false."""
    overlap: float = Field(0.1, gt=0, le=1)
    """A part is found if at least this fraction of it is outlined."""
    crf: Crf | None = None
    """Also measure each model with this conditional random field. None: as it is alone. `{op: crf}` for the defaults."""

    @field_validator("crf", mode="before")
    @classmethod
    def _as_declared(cls, value: object) -> object:
        """The engine reads its sections strictly, as JSON."""
        return Crf.model_validate_json(json.dumps(value)) if isinstance(value, dict) else value

    @field_validator("sets")
    @classmethod
    def _scans(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            for name in text.split("+"):
                Modality.parse(name)
        return value


class EvaluateSettings(Settings):
    """What is measured, on whom, and where the report goes."""

    folder: Path
    """Folder for `report.html`, `figures.json`, `figures.md` and the pictures."""
    bundles: tuple[Path, ...] = ()
    """Further bundles, measured side by side with the exported one on the same cases."""
    cases: tuple[Path, ...] = ()
    """Folders of packed cases of the test part, simulated or real, as `simulate` and `qc` write them: 1 mm, RAS."""
    scans: tuple[AnySource, ...] = ()
    """Folders of scans in their layouts, each scan taken on its own stored grid. Only people of `part` are measured on."""
    split: Path | None = None
    """File that says who is in which part. None: that of the section `data`, else the one that comes with this package."""
    part: Part = "test"
    """The part of the split that `scans` are taken from."""
    directions: Directions = ()
    """Conversions such as `T1->T2` or `T1+FLAIR->T2`. Empty: from each single scan to each other one that a bundle makes."""
    most: int | None = Field(None, gt=0)
    """At most this many cases of each folder, evenly picked; none: all."""
    device: str = "auto"
    """Where networks run: `auto`, `cpu`, `cuda:0`."""
    lesions: LesionSettings = LesionSettings()
    """What counts as a lesion."""
    outlines: OutlineSettings = OutlineSettings()
    """How models that segment are measured."""


class CalibrateSettings(Settings):
    """From which held-out cases the intervals of the exported bundle are taken. See `calibrate.py`."""

    folder: Path
    """Folder for `calibration.json`."""
    cases: tuple[Path, ...]
    """Folders of packed cases that the weights never saw; best of several people or heads."""
    coverage: float = Field(0.9, gt=0, lt=1)
    """Share of voxels that the interval is to hold."""
    directions: Directions = ()
    """Conversions such as `T1->T2`. Empty: from each single scan to each other one that the bundle makes."""
    most: int | None = Field(None, gt=0)
    """At most this many cases of each folder, evenly picked; none: all."""
    voxels: int = Field(4000, gt=0)
    """How many voxels of each tissue are drawn from a case."""
    least_voxels: int = Field(200, gt=0)
    """A case that shows less of a tissue does not count for it."""
    data: str = ""
    """What the bundle says of these cases; empty: how many there are."""
    device: str = "auto"
    """Where the network runs."""
    seed: int = 0
    """Of the voxels drawn."""
