"""One image plane of a series: a file of its own, or a frame of an enhanced multi-frame file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What tells volumes of one series apart: always the first ones, the others only where planes would lie upon each other.
ALWAYS_APART = ("ImageType", "EchoTime")
APART_IF_NEEDED = (
    "TemporalPositionIdentifier",
    "StackID",
    "DiffusionBValue",
    "InversionTime",
    "SequenceName",
    "AcquisitionNumber",
    "TriggerTime",
    "AcquisitionTime",
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is needed of a plane to place it, to tell it from others, and to refer to it. Its pixels stay in the file."""

    path: Path
    number: int | None
    """From 1, in a multi-frame file; None in a file of one image."""
    sop_class: str
    instance: str
    """SOPInstanceUID."""
    rows: int
    columns: int
    position: tuple[float, ...]
    """ImagePositionPatient: centre of the first voxel, mm, LPS."""
    orientation: tuple[float, ...]
    """ImageOrientationPatient: direction cosines along a row, then down a column."""
    spacing: tuple[float, ...]
    """PixelSpacing: mm between rows, between columns."""
    thickness: float | None
    """SpacingBetweenSlices, else SliceThickness, mm."""
    slope: float
    intercept: float
    """Either is NaN where the file says something that is no number."""
    told: Mapping[str, str]
    """Text values of the tags that tell volumes apart and say what they are, several values separated by a backslash."""
    unusable: str = ""
    """Why this plane cannot be part of a volume; empty where it can."""


def is_synthetic(frame: Frame) -> bool:
    """Whether the file says that no scanner measured it."""
    return frame.told.get("SyntheticData", "").strip().upper() == "YES"


def text(dataset: Any, keyword: str) -> str:
    """A value as text, several separated by a backslash; empty where there is none."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return "\\".join(str(part) for part in value)
    return str(value)


def numbers(dataset: Any, keyword: str, count: int) -> tuple[float, ...]:
    """`count` numbers; () where they are missing, fewer or more, or no numbers."""
    try:
        values = tuple(float(part) for part in text(dataset, keyword).split("\\"))
    except ValueError:
        return ()
    return values if len(values) == count else ()


def number(dataset: Any, keyword: str) -> float | None:
    """One number, or None."""
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None


def single(dataset: Any, path: Path, told: Mapping[str, str]) -> Frame:
    """The plane of a file that holds one."""
    slope, intercept = _rescale(dataset)
    return Frame(
        path,
        None,
        str(dataset.get("SOPClassUID", "")),
        str(dataset.get("SOPInstanceUID", "")),
        int(dataset.get("Rows") or 0),
        int(dataset.get("Columns") or 0),
        numbers(dataset, "ImagePositionPatient", 3),
        numbers(dataset, "ImageOrientationPatient", 6),
        numbers(dataset, "PixelSpacing", 2),
        number(dataset, "SpacingBetweenSlices") or number(dataset, "SliceThickness"),
        slope,
        intercept,
        told,
        _why_unusable(dataset),
    )


def enhanced(dataset: Any, path: Path, told: Mapping[str, str]) -> Iterator[Frame]:
    """The planes of an enhanced multi-frame file, by its functional groups (DICOM PS3.3, C.7.6.16)."""
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    unusable = _why_unusable(dataset)
    for index, own in enumerate(dataset.get("PerFrameFunctionalGroupsSequence") or []):

        def group(name: str, own: Any = own) -> Any:
            return _first(own, name) or _first(shared, name)

        measures, rescale = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
        content, echo = group("FrameContentSequence"), group("MREchoSequence")
        timing, diffusion = group("MRTimingAndRelatedParametersSequence"), group("MRDiffusionSequence")
        kind = group("MRImageFrameTypeSequence") or group("CTImageFrameTypeSequence")
        slope, intercept = _rescale(rescale)
        own_words = {
            "RescaleSlope": text(rescale, "RescaleSlope"),
            "ImageType": text(kind, "FrameType"),
            "EchoTime": text(echo, "EffectiveEchoTime"),
            "RepetitionTime": text(timing, "RepetitionTime"),
            "TemporalPositionIdentifier": text(content, "TemporalPositionIndex"),
            "StackID": text(content, "StackID"),
            "DiffusionBValue": text(diffusion, "DiffusionBValue"),
            "AcquisitionNumber": text(content, "FrameAcquisitionNumber"),
        }
        yield Frame(
            path,
            index + 1,
            str(dataset.get("SOPClassUID", "")),
            str(dataset.get("SOPInstanceUID", "")),
            int(dataset.get("Rows") or 0),
            int(dataset.get("Columns") or 0),
            numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),
            numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
            numbers(measures, "PixelSpacing", 2),
            number(measures, "SpacingBetweenSlices") or number(measures, "SliceThickness"),
            slope,
            intercept,
            {**told, **{name: value for name, value in own_words.items() if value}},
            unusable,
        )


def _rescale(dataset: Any) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept; 1 and 0 where the file does not say them, NaN where it says no number."""
    values = []
    for keyword, unsaid in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        found = number(dataset, keyword)
        values.append(found if found is not None else math.nan if text(dataset, keyword).strip() else unsaid)
    return values[0], values[1]


def _first(dataset: Any, keyword: str) -> Any:
    """The first item of a sequence, or an empty mapping."""
    items = dataset.get(keyword)
    return items[0] if items else {}


def _why_unusable(dataset: Any) -> str:
    """What no volume can be made of, in words that follow `The series`; empty where nothing speaks against it."""
    if int(dataset.get("SamplesPerPixel") or 1) > 1 or "PALETTE" in text(dataset, "PhotometricInterpretation"):
        return "is in colour, which no scanner measures. Choose the series that it was made from."
    if "MOSAIC" in text(dataset, "ImageType").split("\\"):
        return "is a mosaic, with many slices in one image. Convert it to NIfTI with dcm2niix first."
    if text(dataset, "PhotometricInterpretation") == "MONOCHROME1" and text(dataset, "Modality") != "CT":
        return "is stored inverted (MONOCHROME1): what is dark in it is meant to be shown bright. Export it as MONOCHROME2."
    if dataset.get("ModalityLUTSequence"):
        return "turns its values into units by a table (Modality LUT), which is not read here."
    return ""
