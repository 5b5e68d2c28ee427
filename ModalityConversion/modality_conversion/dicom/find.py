"""Every volume in a folder of DICOM files, by headers alone: no pixel is read, nothing of the patient is kept."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..dicom_modality import TAGS
from ..errors import Cancelled, ConversionError
from ..image_io import READABLE, suffix
from .frame import ALWAYS_APART, APART_IF_NEEDED, Frame, enhanced, single, text
from .library import pydicom, quiet
from .split import volumes_of
from .volume import DicomVolume

SUFFIXES = (".dcm", ".dicom", ".ima")
_SCANNERS = ("CT", "MR", "PT")
_IMAGES = {  # storage classes that are images by nature: one without an image in it is damaged
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.128",
}
_DIRECTORY = "1.2.840.10008.1.3.10"
_TOLD = tuple(dict.fromkeys((*TAGS, "SyntheticData", "RescaleSlope", *ALWAYS_APART, *APART_IF_NEEDED)))
_READ = [
    *_TOLD,
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "ImagesInAcquisition",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
# Files from before there was a preamble start with a small element of group 0008, or 0002.
_BARE_STARTS = {struct.pack("<HH", group, element) for group in (2, 8) for element in (0, 1, 5, 8, 0x12, 0x16, 0x18)}


@dataclass
class Listing:
    """What a folder holds."""

    folder: Path
    volumes: list[DicomVolume]
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    """DICOM files that cannot be read, and what is wrong, in words that follow the file's name."""
    others: int = 0
    """DICOM files that are no scans: reports, segmentations, presentation states, documents."""
    foreign: int = 0
    """Files that are no DICOM."""
    is_one_file: bool = False
    """Whether a file was given, not a folder."""


@dataclass
class _Series:
    """A series while its files come in."""

    frames: list[Frame] = field(default_factory=list)
    patients: set[str] = field(default_factory=set)
    promised: int = 0


def is_dicom(path: Path) -> bool:
    """Whether a path is a folder, or a file that is named or starts like DICOM."""
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return True
    return suffix(path) not in READABLE and _starts_like_dicom(path)


def holds_dicom(folder: Path) -> bool:
    """Whether any file in a folder or below it is DICOM; stops at the first."""
    return any(is_dicom(path) for path in files_below(folder))


def find_volumes(
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancel: Callable[[], bool] = lambda: False,
    only: Sequence[Path] | None = None,
) -> Listing:
    """Every volume in a folder and the folders below it, or in one file; series by their first file's name.

    `only` are the files to look at, where that is known: of one series, `DicomVolume.siblings`. `progress` is told of files
    done of all. Raises ConversionError where the folder is missing or pydicom is not installed, Cancelled where `cancel`
    said so. What is wrong with a single file or series stands in the listing.
    """
    pydicom()
    if not path.exists():
        raise ConversionError(f"{path} does not exist. Check the path.")
    files = list(only) if only is not None else [path] if path.is_file() else list(files_below(path))
    listing = Listing(path if path.is_dir() else path.parent, [], is_one_file=path.is_file())
    series: dict[tuple[str, str], _Series] = {}
    with quiet():
        for done, file in enumerate(files):
            if cancel():
                raise Cancelled
            if done % 50 == 0:
                progress(done, len(files))
            _add(file, listing, series)
        progress(len(files), len(files))
        for (study, uid), found in series.items():
            mixed = len(found.patients) > 1
            refusal = f"mixes images of {len(found.patients)} patients. Sort them out first." if mixed else ""
            listing.volumes += volumes_of(uid, study, found.frames, listing.folder, refusal, found.promised)
    return listing


def files_below(folder: Path) -> Iterator[Path]:
    """Files in a folder and below, sorted by folder and name; hidden ones, and what links lead to, are left out."""

    def refuse(error: OSError) -> None:
        raise ConversionError(f"{error.filename} cannot be read: {error.strerror}. Check your rights.") from None

    for at, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(at, name) for name in sorted(names) if not name.startswith("."))


def _add(path: Path, listing: Listing, series: dict[tuple[str, str], _Series]) -> None:
    """Put one file where it belongs."""
    try:
        if not _starts_like_dicom(path):
            if path.suffix.lower() in SUFFIXES:
                listing.damaged.append((path, "is no DICOM file, or was damaged"))
            listing.foreign += 1
            return
        dataset = pydicom().dcmread(path, stop_before_pixels=True, specific_tags=_READ, force=True)
        kind, modality = text(dataset, "SOPClassUID"), text(dataset, "Modality")
        if kind == _DIRECTORY or "DirectoryRecordSequence" in dataset:
            listing.others += 1
            return
        keys = text(dataset, "StudyInstanceUID"), text(dataset, "SeriesInstanceUID")
        if not kind or not all(keys):
            listing.damaged.append((path, "is damaged or was cut short"))
            return
        has_image = bool(dataset.get("Rows") and dataset.get("Columns"))
        if modality not in _SCANNERS or (not has_image and kind not in _IMAGES):
            listing.others += 1
            return
        frames = list(_frames(dataset, path)) if has_image else []
        if not frames:
            listing.damaged.append((path, "is damaged or was cut short: it has no image"))
            return
        said = int(text(dataset, "NumberOfFrames") or 1)
        if frames[0].number is not None and said != len(frames):
            told = f"is damaged: it says that it has {said} frames and describes {len(frames)}"
            listing.damaged.append((path, told))
            return
        found = series.setdefault(keys, _Series())
        found.frames += frames
        found.patients.add(text(dataset, "PatientID"))
        with contextlib.suppress(ValueError):
            found.promised = max(found.promised, int(text(dataset, "ImagesInAcquisition") or 0))
    except OSError as error:
        listing.damaged.append((path, f"cannot be read: {error.strerror or 'the disk refuses'}"))
    except Exception as error:  # whatever a broken file makes of the reader, it must not end the listing
        listing.damaged.append((path, f"is damaged or was cut short ({type(error).__name__})"))


def _frames(dataset: Any, path: Path) -> Iterable[Frame]:
    told = {name: value for name in _TOLD if (value := text(dataset, name))}
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return enhanced(dataset, path, told)
    return [single(dataset, path, told)]


def _starts_like_dicom(path: Path) -> bool:
    try:
        if not path.is_file():  # a named pipe would never end
            return False
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or (path.suffix.lower() in ("", *SUFFIXES) and start[:4] in _BARE_STARTS)
