"""A table of scans: CSV or tab-separated, with a heading.

Columns: `input` (a file, or a folder of DICOM; relative to the table), and, where wanted, `from`, `series`, `mask`,
`output` (relative to the output folder), and for further scans of the same person one named after each modality: `T2`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import ConversionError
from ..image_io import WRITABLE, suffix
from ..modality import Modality

_COLUMNS = ("input", "from", "series", "mask", "output")
_FURTHER = {modality.value.lower(): modality for modality in Modality}


@dataclass(frozen=True)
class Row:
    """One row; `fault` says what is wrong with it."""

    id: str
    source: Path
    modality: Modality | None = None
    series: str | None = None
    mask: Path | None = None
    place: PurePosixPath | None = None
    fault: str = ""
    further: tuple[tuple[Modality, Path], ...] = ()
    """Further scans of the same person."""


def rows(path: Path) -> Iterator[Row]:
    """The rows of a table. Raises ConversionError where it is no table or has no column `input`."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise ConversionError(f"{path} is no folder and no table. Give a folder, a .csv or a .tsv.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConversionError(f"{path} cannot be read as a table ({type(error).__name__}). Save it as UTF-8.") from None
    try:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        names = [(name or "").strip().lower() for name in reader.fieldnames or []]
        unknown = sorted(set(names) - set(_COLUMNS) - set(_FURTHER))
        if "input" not in names or unknown:
            wrong = f"columns that are not known ({', '.join(unknown)})" if unknown else "no column `input`"
            raise ConversionError(f"{path} has {wrong}. Its columns can be {', '.join(_COLUMNS)}, and modalities.")
        reader.fieldnames = names
        found = list(reader)
    except csv.Error as error:
        raise ConversionError(f"{path} is no table that can be read: {error}. Save it again.") from None
    for number, row in enumerate(found, 2):
        values = {name: (row.get(name) or "").strip() for name in (*_COLUMNS, *_FURTHER)}
        if any(values.values()):
            yield _row(path, number, values, row)


def _row(path: Path, number: int, values: dict[str, str], row: dict) -> Row:
    id = values["input"] or f"row {number}"
    source = path.parent / values["input"]
    mask = path.parent / values["mask"] if values["mask"] else None
    try:
        if None in row:
            raise ValueError(f"Row {number} has more fields than the table has columns.")
        if any("\0" in value for value in values.values()):
            raise ValueError(f"Row {number} has a NUL in it, which no name has.")
        if not values["input"]:
            raise ValueError(f"Row {number} has no input.")
        modality = Modality.parse(values["from"]) if values["from"] else None
        place = _place(values["output"]) if values["output"] else None
        if place and not source.is_dir() and suffix(Path(place)) not in WRITABLE:
            raise ValueError(f"The output {place} is not of a kind that can be written. Use {', '.join(WRITABLE)}.")
    except ValueError as error:
        return Row(id, source, fault=str(error))
    further = tuple((other, path.parent / values[name]) for name, other in _FURTHER.items() if values[name])
    return Row(id, source, modality, values["series"] or None, mask, place, further=further)


def _place(text: str) -> PurePosixPath:
    place = PurePosixPath(text.replace("\\", "/"))
    if any(ord(letter) < 32 for letter in text):
        raise ValueError(f"The output {text!r} has letters that no name should have.")
    if (
        not place.parts
        or place.is_absolute()
        or ".." in place.parts
        or ":" in place.parts[0]
        or place.parts[0].startswith(".")
    ):
        raise ValueError(f"The output {text} does not lie in the output folder. Give a path below it.")
    return place
