"""Further scans of a case, for models that read several together: found beside the scan by a pattern."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConversionError
from ..image_io import READABLE, suffix
from ..modality import Modality, read_sidecar

Further = tuple[tuple[Modality, Path], ...]
"""Modality and file of each further scan."""
CASE = "{case}"
"""In a pattern: the scan's name up to its last underscore, `sub-01_ses-2` of `sub-01_ses-2_T1w.nii.gz`."""


@dataclass(frozen=True)
class Pattern:
    """Where the further scan of one modality lies: names with `*`, relative to the scan's folder."""

    modality: Modality
    names: str

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """From `T2={case}_T2w.nii.gz`. Raises ValueError."""
        name, equals, names = text.partition("=")
        if not equals or not names or Path(names).is_absolute():
            raise ValueError(f"{text!r} is not of the form T2=PATTERN, a pattern of names relative to each scan.")
        return cls(Modality.parse(name), names)

    def beside(self, scan: Path) -> Path:
        """The one file that it means for a scan. Raises ConversionError where there is none, or several."""
        stem = scan.name[: len(scan.name) - len(suffix(scan))].rpartition("_")[0]
        if CASE in self.names and not stem:
            raise ConversionError(f"Its name has no underscore, so {CASE} in {self.names!r} means nothing.")
        pattern = self.names.replace(CASE, glob.escape(stem))
        found = [
            path
            for path in sorted(scan.parent.glob(pattern))
            if path.is_file() and path != scan and suffix(path) in READABLE and not read_sidecar(path).get("synthetic")
        ]
        if len(found) != 1:
            names = ", ".join(path.name for path in found[:3])
            what = f"Several files match ({names})" if found else "No file matches"
            raise ConversionError(f"{what}: {pattern!r}, beside the scan, where its {self.modality} should be.")
        return found[0]


def found(scan: Path, patterns: Sequence[Pattern]) -> Further:
    """The further scans of a case. Raises ConversionError where one is missing or not to be told."""
    return tuple((pattern.modality, pattern.beside(scan)) for pattern in patterns)
