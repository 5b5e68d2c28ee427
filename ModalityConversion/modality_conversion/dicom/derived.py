"""What every object made from a series has in common: the source's patient, study and place, and where it came from.

The attributes are those of DICOM PS3.3 (C.7.1.1 Patient, C.7.2.1 General Study, C.7.2.2 Patient Study, C.7.3.1 General
Series, C.7.4.1 Frame of Reference, C.7.5.1 General Equipment, C.7.6.1 General Image, C.12.1 SOP Common).
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..version import __version__
from .frame import Frame, text
from .library import pydicom, quiet
from .read import DicomScan

MAKER = "ModalityConversion"
_READ_AS: dict[str, Callable[[Any], Any]] = {
    "DA": lambda value: pydicom().valuerep.DA(str(value)),
    "TM": lambda value: pydicom().valuerep.TM(str(value)),
    "DS": float,
    "IS": int,
}
ALGORITHM_FAMILY = ("123110", "DCM", "Artificial Intelligence")
SOURCE_FOR_PROCESSING = ("121322", "DCM", "Source image for image processing operation")
ACQUISITION_EQUIPMENT = ("109101", "DCM", "Acquisition Equipment")
SYNTHESIZING_EQUIPMENT = ("109100", "DCM", "Synthesizing Equipment")
# Added to the number of the source's series, so that what belongs together stands together in a list.
NUMBERS = {"image": 9000, "segmentation": 9100, "uncertainty": 9200, "report": 9300}

_PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "OtherPatientIDsSequence",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)
_PLACE = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition", "BodyPartExamined", "Laterality")
_PICTURE = ("BurnedInAnnotation", "RecognizableVisualFeatures")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
# Attributes of type 2: there, be it without a value.
_THERE = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)


def header_of(scan: DicomScan, k: int = 0) -> Any:
    """Every tag of the file that slice k came from, but no pixels, and with each attribute of type 2 at least empty."""
    with quiet():
        dataset = pydicom().dcmread(scan.frames[k].path, stop_before_pixels=True, force=True)
        for keyword in (*_PATIENT_AND_STUDY, *_PLACE, *_PICTURE, *_LOSSY):
            if keyword in dataset and not _is_readable(dataset, keyword):
                del dataset[keyword]
        for keyword in _THERE:
            if keyword not in dataset:
                setattr(dataset, keyword, None)
        if not dataset.get("FrameOfReferenceUID"):
            # Two objects that are made of one such series must still share a place; so it follows from the series.
            dataset.FrameOfReferenceUID = uid_of("frame of reference", scan.volume.series)
    return dataset


def _is_readable(dataset: Any, keyword: str) -> bool:
    """Whether a value can be read and written again at all, whatever it says."""
    try:
        element = dataset[keyword]
        pydicom().dataelem.DataElement(element.tag, element.VR, element.value)
    except Exception:  # pydicom's are of many kinds
        return False
    return True


def without_nonsense(dataset: Any) -> Any:
    """The header, in which dates, times and codes of the patient and the study that break DICOM's rules are empty.

    highdicom reads them, and refuses, in words that quote them.
    """
    for keyword in _PATIENT_AND_STUDY:
        if keyword not in dataset:
            continue
        element = dataset[keyword]
        if element.VR in _READ_AS and not element.is_empty:
            try:
                _READ_AS[element.VR](element.value)
            except (ValueError, TypeError):
                setattr(dataset, keyword, None)
    if text(dataset, "PatientSex") not in ("", "M", "F", "O"):
        dataset.PatientSex = None
    return dataset


def common(source: Any, report: Mapping[str, Any], what: str) -> Any:
    """A dataset with the source's patient, study and place, a series of its own, and the account of the `report`.

    `source` is a header as `header_of` reads it; `what` is a key of `NUMBERS`.
    """
    dataset = pydicom().Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*_PATIENT_AND_STUDY, *_PLACE, *_PICTURE, *_LOSSY):
        if keyword in source:
            setattr(dataset, keyword, source[keyword].value)
    dataset.BurnedInAnnotation = text(source, "BurnedInAnnotation") or "NO"
    if not text(source, "BodyPartExamined") and "Laterality" not in dataset:
        dataset.Laterality = None  # it is not known whether the part is one of two
    moment = when(report, text(source, "TimezoneOffsetFromUTC"))
    if source.get("TimezoneOffsetFromUTC"):
        dataset.TimezoneOffsetFromUTC = source.TimezoneOffsetFromUTC
    for name in ("Series", "Content", "InstanceCreation"):
        setattr(dataset, f"{name}Date", moment.strftime("%Y%m%d"))
        setattr(dataset, f"{name}Time", moment.strftime("%H%M%S"))
    dataset.SeriesInstanceUID = pydicom().uid.generate_uid(prefix=None)
    dataset.SeriesNumber = series_number(source, what)
    dataset.Manufacturer = dataset.ManufacturerModelName = MAKER
    dataset.SoftwareVersions = __version__
    dataset.SyntheticData = "YES"
    dataset.ContributingEquipmentSequence = contributors(source, report, moment)
    return dataset


def when(report: Mapping[str, Any], offset: str = "") -> datetime.datetime:
    """The moment of the conversion, in the source's time zone where it names one (`+0100`), else in this machine's."""
    moment = datetime.datetime.fromisoformat(report["date"])
    try:
        return moment.astimezone(datetime.datetime.strptime(offset, "%z").tzinfo)
    except ValueError:
        return moment.astimezone()


def series_number(source: Any, what: str) -> int:
    """The number of a derived series: that of the source's series and 9000 or more."""
    number = text(source, "SeriesNumber")
    return NUMBERS[what] + (int(number) if number.isdecimal() and int(number) < 1 << 30 else 0)


def contributors(source: Any, report: Mapping[str, Any], moment: datetime.datetime) -> list[Any]:
    """The scanner that measured, and this software that made the result of it (ContributingEquipmentSequence)."""
    scanner = pydicom().Dataset()
    scanner.PurposeOfReferenceCodeSequence = [code(*ACQUISITION_EQUIPMENT)]
    for keyword in (
        "InstitutionName",
        "StationName",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "SoftwareVersions",
    ):
        if source.get(keyword):
            setattr(scanner, keyword, source[keyword].value)
    scanner.Manufacturer = text(source, "Manufacturer") or "unknown"
    maker = pydicom().Dataset()
    maker.PurposeOfReferenceCodeSequence = [code(*SYNTHESIZING_EQUIPMENT)]
    maker.Manufacturer = maker.ManufacturerModelName = MAKER
    maker.SoftwareVersions = [report["engine_version"], f"model {_model(report)}"[:64]]
    maker.ContributionDateTime = moment.strftime("%Y%m%d%H%M%S%z")
    maker.ContributionDescription = derivation(report)
    return [scanner, maker]


def derivation(report: Mapping[str, Any]) -> str:
    """What was done, in at most 1024 characters."""
    sources = " and ".join(report["source"]["modality"])
    made = f"Synthetic {report['modality']}" if "modality" in report else "Labels"
    words = (
        f"{made} made from {sources} by the model {_model(report)} (SHA-256 {report['model']['sha256']}) "
        f"with {MAKER} {report['engine_version']}. {report['notice']}"
    )
    return words[:1024]


def algorithm(report: Mapping[str, Any]) -> Any:
    """The model as an item of an algorithm identification (DICOM PS3.3, 10.16)."""
    item = pydicom().Dataset()
    item.AlgorithmFamilyCodeSequence = [code(*ALGORITHM_FAMILY)]
    item.AlgorithmName = report["model"]["id"][:64]
    item.AlgorithmVersion = report["model"]["version"][:64]
    item.AlgorithmParameters = f"weights SHA-256 {report['model']['sha256']}; device {report['device']}"
    item.AlgorithmSource = MAKER
    return item


def references(frames: Iterable[Frame]) -> list[Any]:
    """What was made of which images (SourceImageSequence); frames of one file together."""
    items: dict[str, Any] = {}
    for frame in frames:
        item = items.get(frame.instance)
        if item is None:
            item = items[frame.instance] = pydicom().Dataset()
            item.ReferencedSOPClassUID = frame.sop_class
            item.ReferencedSOPInstanceUID = frame.instance
            item.PurposeOfReferenceCodeSequence = [code(*SOURCE_FOR_PROCESSING)]
            item.SpatialLocationsPreserved = "YES"
        if frame.number is not None:
            item.ReferencedFrameNumber = [*_listed(item.get("ReferencedFrameNumber")), frame.number]
    return list(items.values())


def code(value: str, scheme: str, meaning: str) -> Any:
    """An item of a code sequence."""
    item = pydicom().Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def uid_of(*words: str) -> str:
    """A unique identifier that follows from these words, always the same (PS3.5, B.2: a UUID under 2.25)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(words)).int}"


def decimals(values: Iterable[float]) -> list[Any]:
    """Numbers as DICOM's decimal strings, of at most 16 characters; those that were read from such come back the same."""
    make = pydicom().valuerep.DSfloat
    return [make(float(value), auto_format=True) for value in values]


def _listed(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(value)] if isinstance(value, (int, str)) else [int(part) for part in value]


def _model(report: Mapping[str, Any]) -> str:
    return f"{report['model']['id']} {report['model']['version']}"
