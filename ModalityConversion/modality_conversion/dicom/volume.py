"""A volume found in a DICOM series, before its pixels are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..dicom_modality import Found, from_dicom
from .frame import Frame, is_synthetic


@dataclass(frozen=True)
class DicomVolume:
    """Planes of one series that belong together, in the order in which they are stacked."""

    id: str
    """SeriesInstanceUID; with `#1`, `#2`, ... where the series holds several volumes."""
    series: str
    study: str
    frames: tuple[Frame, ...]
    folder: Path
    """Where they were found."""
    refusal: str = ""
    """Why no volume can be made of them, in words that follow `The series`; empty where one can."""
    notes: tuple[str, ...] = ()
    """What the user should know, a sentence each."""
    siblings: tuple[Path, ...] = ()
    """Every file of the series, those of its other volumes too, in the order in which they were found."""

    @property
    def found(self) -> Found:
        """What kind of scan the tags say it is."""
        return from_dicom(self.frames[0].told)

    @property
    def is_synthetic(self) -> bool:
        """Whether the series says of itself that no scanner measured it."""
        return is_synthetic(self.frames[0])

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(frame.path for frame in self.frames))

    def __str__(self) -> str:
        """For a person who has to choose. Says nothing of the patient."""
        told = self.frames[0].told
        kind = self.found.modality or told.get("Modality") or "unknown"
        words = " ".join(told.get("SeriesDescription", "").split())
        planes = f"{len(self.frames)} slice{'s' if len(self.frames) > 1 else ''}"
        marks = (", synthetic" if self.is_synthetic else "") + (", cannot be used" if self.refusal else "")
        return f"{self.id} ({kind}{f', {words!r}' if words else ''}, {planes}{marks})"


def listed(volumes: Sequence[DicomVolume], most: int = 8) -> str:
    """Volumes on one line, for an error message."""
    more = [f"and {len(volumes) - most} more"] if len(volumes) > most else []
    return "; ".join([*map(str, volumes[:most]), *more])
