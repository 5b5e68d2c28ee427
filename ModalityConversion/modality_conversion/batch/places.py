"""Where the results of a batch go, and what must not be in their way: inputs, another case's result, what is the user's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..image_io import real_path
from ..modality import Modality, read_fields, sidecar_path
from .case import Case

_FILES = ("summary.html", "cases.tsv", "dataset_description.json", ".bidsignore")
_FOLDERS = ("figures", ".modality-conversion-batch")
_OURS = frozenset((*_FILES, *_FOLDERS))
"""Names at the top of the output folder that the run itself writes. Results may lie below a folder called `figures`."""


def series_folder(volume: str, target: Modality) -> str:
    """The folder's name for what is made of a DICOM volume. The identifier comes from a file, which may say anything."""
    return f"synthetic-{target}_{re.sub(r'[^0-9A-Za-z.]', '_', volume)}"


class Places:
    """The places taken by the cases of a run, so that no two write to one."""

    def __init__(self) -> None:
        self._taken: dict[PurePosixPath, str] = {}
        self._above: dict[PurePosixPath, str] = {}

    def take(self, case: Case) -> str | None:
        """Take the places of a case; or why not, and then none is taken."""
        mine = (case.out, case.account)
        if any(place.as_posix() in _OURS or place.parts[0] in _FILES for place in mine):
            return f"Its result would have the name {case.out}, or its side-car would, which the batch needs. Choose another."
        for place in mine:
            other = self._taken.get(place) or self._above.get(place)
            other = other or next((self._taken[folder] for folder in place.parents if folder in self._taken), None)
            if other is not None:
                return (
                    f"Its result would have the same name as that of {other}, or its side-car would, or lie inside it."
                )
        for place in mine:
            self._taken[place] = case.id
            self._above.update(dict.fromkeys(place.parents, case.id))
        return None


class Inputs:
    """All that the cases of a run read."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._read: set[Path] = set()
        for case in cases:
            files = (*case.files, *case.siblings, *((case.mask,) if case.mask else ()))
            self._read.update(real_path(path) for path in files)
            if case.series is None:
                self._read.update(real_path(sidecar_path(path)) for path in files)
        self._above = {folder for path in self._read for folder in path.parents}

    def harmed_by(self, case: Case, out: Path) -> str | None:
        """Why the result of a case would take the place of an input, or of a folder that holds one; else None."""
        for place in (real_path(out / case.out), real_path(out / case.account)):
            if place in self._read or place in self._above:
                return f"Its result would take the place of {place}, which is read. Choose another name for the output."
        return None


def in_the_way(case: Case, out: Path) -> str | None:
    """What is at the places of a result that this tool did not put there, with what to do; None where nothing is."""
    place, account = out / case.out, out / case.account
    ours = read_fields(account).get("synthetic") is True
    if account.exists() and not ours:
        return f"{account} is there already and not from this tool. Move it, or choose another output."
    if case.series is None:
        return f"{place} is a folder. Move it, or choose another output." if place.is_dir() else None
    if place.is_dir() and (ours or not any(place.iterdir())):
        return None
    if place.exists():
        return f"{place} is there already and not from this tool. Move it, or choose another output."
    return None
