"""One scan to convert, and where its result goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..modality import Modality, sidecar_path


@dataclass(frozen=True)
class Case:
    """A scan, known by its place in what was given."""

    id: str
    """For a person: its path below the input, for DICOM with the series; in a table, its `input`."""
    source: Path
    """A file, or the folder of a DICOM series."""
    modality: Modality
    out: PurePosixPath
    """The volume to write, below the output folder; a folder for a DICOM series."""
    model: str
    """A model's id."""
    model_sha256: str
    series: str | None = None
    """A DICOM volume's id."""
    files: tuple[Path, ...] = ()
    """What is read."""
    mask: Path | None = None
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    """Further fields for the side-car JSON."""
    further: tuple[tuple[Modality, Path], ...] = ()
    """Further scans, for a model that reads several; their files are among `files`."""

    siblings: tuple[Path, ...] = ()
    """Of a DICOM volume: every file of its series, so that it is found again without looking through the whole folder."""

    @property
    def account(self) -> PurePosixPath:
        """Where the side-car JSON goes."""
        return account_beside(self.out, self.series is not None)

    @property
    def key(self) -> str:
        """Its name among the records of a run: of what it writes, so that no two cases can share one."""
        return hashlib.sha256(str(self.out).encode("utf-8", "surrogateescape")).hexdigest()[:20]

    def fingerprint(self) -> str:
        """Changes when the input, the model or the question changes. Raises OSError or ValueError where a file is gone."""
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in (*self.files, *self._masks())]
        told: list[Any] = [self.modality.value, self.model, self.model_sha256, self.series, stats]
        if self.further:
            told.append([modality.value for modality, _ in self.further])
        return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogateescape")).hexdigest()

    def _masks(self) -> tuple[Path, ...]:
        return (self.mask,) if self.mask else ()


def account_beside(out: PurePosixPath, is_series: bool) -> PurePosixPath:
    """The side-car JSON of a result. A folder named after a series has dots in its name, which start no ending."""
    return out.with_name(f"{out.name}.json") if is_series else PurePosixPath(sidecar_path(Path(out)).as_posix())


@dataclass(frozen=True)
class Refused:
    """A scan that cannot be a case, or one that failed."""

    id: str
    reason: str
