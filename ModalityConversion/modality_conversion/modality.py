"""The kinds of scan the engine knows, and how a file says which one it is."""

from __future__ import annotations

import json
import re
from enum import Enum
from pathlib import Path
from typing import Any


class Modality(str, Enum):
    """A kind of scan. The value is the name used on the command line and in `conversion.json`."""

    CT = "CT"
    CBCT = "CBCT"
    PET = "PET"
    T1 = "T1"
    T1CE = "T1CE"
    T2 = "T2"
    FLAIR = "FLAIR"
    PD = "PD"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def parse(cls, text: str) -> Modality:
        """The modality named `text`, in upper or lower case.

        Raises ValueError, listing the names, where there is none.
        """
        try:
            return cls(text.strip().upper())
        except ValueError:
            names = ", ".join(member.value for member in cls)
            raise ValueError(f"{text!r} is not a modality this tool knows; use one of {names}.") from None


# A name counts only as a whole word of the file name; words end at any character that is not a letter, digit, `*` or `+`.
_WORDS: tuple[tuple[Modality, tuple[str, ...]], ...] = (
    (Modality.T1CE, ("t1ce", "t1c", "t1c+", "t1gd", "t1post", "t1wks", "t1ks", "t1km", "t1wce", "t1+c")),
    (Modality.FLAIR, ("flair", "t2flair", "t2f", "tirm")),
    (Modality.T1, ("t1", "t1w", "t1n", "mprage", "mp2rage", "spgr", "bravo", "tfl3d")),
    (Modality.T2, ("t2", "t2w", "t2tse", "t2fse")),
    (Modality.PD, ("pd", "pdw", "protondensity")),
    (Modality.CBCT, ("cbct", "conebeam")),
    (Modality.CT, ("ct", "ncct", "cect")),
    (Modality.PET, ("pet", "fdg", "suv")),
)
# Words that make a contrast-enhanced scan of a T1, as in BIDS' `sub-01_ce-gadolinium_T1w`.
_CONTRAST = {"ce", "gd", "gad", "gadolinium", "post", "c", "+c", "c+"}
# Words of scans that only sound like one of ours: maps, diffusion and susceptibility.
_SOMETHING_ELSE = {"map", "t1map", "t2map", "swi", "dwi", "adc", "dti", "perf", "star", "t2star", "t2*", "t2starw"}


def from_name(name: str) -> Modality | None:
    """The modality that a file or node name says, or None where it says none, several, or something else.

    `sub-01_T1w.nii.gz` is T1, `case7-flair.nrrd` is FLAIR. A T2-FLAIR is a FLAIR, a contrast-enhanced T1 is T1CE.
    """
    words = set(re.split(r"[^a-z0-9*+]+", name.lower()))
    if words & _SOMETHING_ELSE:
        return None
    found = {modality for modality, names in _WORDS if words.intersection(names)}
    if words >= {"dark", "fluid"}:
        found.add(Modality.FLAIR)
    if Modality.T1 in found and words & _CONTRAST:
        found.add(Modality.T1CE)
    if Modality.T1CE in found:
        found.discard(Modality.T1)
    if Modality.FLAIR in found:
        found.discard(Modality.T2)
    return found.pop() if len(found) == 1 else None


def sidecar_path(image_path: Path) -> Path:
    """The JSON file that goes with an image: `scan.nii.gz` has `scan.json`, as in BIDS."""
    name = image_path.name
    stem = name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else image_path.stem
    return image_path.with_name(f"{stem}.json")


def from_sidecar(image_path: Path) -> Modality | None:
    """The modality that the image's side-car JSON says, or None.

    Reads `modality` as this tool writes it, else BIDS' `SeriesDescription` and `ProtocolName`.
    """
    fields = read_sidecar(image_path)
    for key in ("modality", "SeriesDescription", "ProtocolName"):
        value = fields.get(key)
        if isinstance(value, str) and (found := from_name(value)) is not None:
            return found
    return None


def read_sidecar(image_path: Path) -> dict[str, Any]:
    """The fields of the image's side-car JSON; {} where there is none that can be read."""
    return read_fields(sidecar_path(image_path))


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a JSON file that anyone may have written; {} where there is none, or no object that can be read."""
    try:
        if not path.is_file():  # a named pipe would never end
            return {}
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def recognise_file(path: Path) -> tuple[Modality, str] | None:
    """The modality of an image file and where that was read: the side-car file, else the file name.

    None if neither says, or they contradict each other.
    """
    told, named = from_sidecar(path), from_name(path.name)
    if told is not None and named is not None and told != named:
        return None
    if told is not None:
        return told, f"the side-car file {sidecar_path(path).name}"
    return None if named is None else (named, f"the file name {path.name}")
