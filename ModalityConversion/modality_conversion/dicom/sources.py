"""A series as highdicom wants to see it: headers of its images, and its grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..version import __version__
from .derived import MAKER, contributors, decimals, header_of, when, without_nonsense
from .frame import text
from .library import highdicom, pydicom
from .read import DicomScan


def headers(scan: DicomScan) -> list[Any]:
    """A header for each slice, in order; one alone for a multi-frame file. All share the values of the first slice's file."""
    first = without_nonsense(header_of(scan))
    if scan.frames[0].number is not None:
        more = (without_nonsense(header_of(scan, k)) for k in _first_slices(scan))
        return [first] if len(scan.volume.paths) == 1 else list(more)
    # Elements are shared among the headers, so those that differ must not be there yet.
    shared = pydicom().Dataset()
    shared.update(first)
    for keyword in ("SOPInstanceUID", "SOPClassUID", "ImagePositionPatient", "ImageOrientationPatient"):
        shared.pop(keyword, None)
    found = []
    for frame in scan.frames:
        header = pydicom().Dataset()
        header.update(shared)
        header.SOPInstanceUID, header.SOPClassUID = frame.instance, frame.sop_class
        header.ImagePositionPatient = decimals(frame.position)
        header.ImageOrientationPatient = decimals(frame.orientation)
        found.append(header)
    return found


def _first_slices(scan: DicomScan) -> list[int]:
    paths = [frame.path for frame in scan.frames]
    return [paths.index(path) for path in scan.volume.paths]


def on_grid(scan: DicomScan, array: np.ndarray) -> Any:
    """These voxels, (k, j, i), as highdicom takes them: image by image as they are, else as its volume on the scan's grid.

    Only the first way tells it which image each plane was made of.
    """
    numbers = [frame.number for frame in scan.frames]
    if set(numbers) == {None}:
        return array
    image = scan.image
    direction = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction[:, ::-1], image.GetOrigin()  # (k, j, i) there, (i, j, k) here
    place = str(header_of(scan).FrameOfReferenceUID)
    return highdicom().Volume(array, affine, coordinate_system="PATIENT", frame_of_reference_uid=place)


def maker() -> dict[str, Any]:
    """Who made the object, as highdicom's arguments."""
    return {
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": __version__,
        "device_serial_number": "none",
    }


def signed(dataset: Any, source: Any, report: Mapping[str, Any], description: str) -> Any:
    """The dataset with what highdicom does not fill in: the series' name and date, the contributing equipment."""
    moment = when(report, text(source, "TimezoneOffsetFromUTC"))
    dataset.SeriesDescription = description[:64]
    dataset.SeriesDate, dataset.SeriesTime = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    if text(source, "BodyPartExamined"):
        dataset.BodyPartExamined = text(source, "BodyPartExamined")
    own = contributors(source, report, moment)
    dataset.ContributingEquipmentSequence = [*own, *dataset.get("ContributingEquipmentSequence", [])]
    return dataset


def algorithm_of(report: Mapping[str, Any]) -> Any:
    """The model as highdicom's algorithm identification."""
    from pydicom.sr.coding import Code

    model = report["model"]
    return highdicom().AlgorithmIdentificationSequence(
        name=model["id"][:64],
        family=Code("123110", "DCM", "Artificial Intelligence"),
        version=model["version"][:64],
        source=MAKER,
        parameters={"weights SHA-256": model["sha256"]},
    )
