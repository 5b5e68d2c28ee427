"""DICOM series for tests, made with pydicom alone: whole and right unless the test asks for a fault."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from modality_conversion.phantom import head_phantom

PATIENT = "Müller^Zoë"
WORDS = {"MR": "t1_mprage_sag", "CT": "HEAD 1.0"}
OBLIQUE = (0.9961947, 0.0, 0.08715574, 0.0, 1.0, 0.0, -0.08715574, 0.0, 0.9961947)

Change = Callable[[Dataset, int], None]


def head(size: tuple[int, int, int] = (24, 28, 12), spacing: float = 7.0, oblique: bool = True) -> sitk.Image:
    """A small head, int16, on a grid that no axis of the patient is parallel to."""
    image = sitk.Image(_phantom(size, spacing))
    image.SetOrigin((-80.25, -95.5, 12.75))
    if oblique:
        image.SetDirection(OBLIQUE)
    return image


@functools.cache
def _phantom(size: tuple[int, int, int], spacing: float) -> sitk.Image:
    return sitk.Cast(head_phantom(size, spacing), sitk.sitkInt16)


def write_series(
    folder: Path,
    image: sitk.Image,
    modality: str = "MR",
    change: Change = lambda dataset, k: None,
    study: str | None = None,
    series: str | None = None,
    intercept: int = 0,
    names: str = "IM{:04}.dcm",
    syntax: str = ExplicitVRLittleEndian,
    **tags: Any,
) -> list[Path]:
    """One file a slice; `tags` by keyword, `change` may spoil slice k. Stored values are the image's minus `intercept`."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series, place = study or generate_uid(), series or generate_uid(), generate_uid()
    array = sitk.GetArrayFromImage(image)
    direction = np.reshape(image.GetDirection(), (3, 3))
    paths = []
    for k in range(array.shape[0]):
        dataset = _base(modality, syntax)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, place
        dataset.InstanceNumber = k + 1
        dataset.ImagePositionPatient = _decimal(image.TransformIndexToPhysicalPoint((0, 0, k)))
        dataset.ImageOrientationPatient = _decimal([*direction[:, 0], *direction[:, 1]])
        spacing = image.GetSpacing()
        dataset.PixelSpacing = _decimal([spacing[1], spacing[0]])
        dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimal([spacing[2]])[0]
        dataset.Rows, dataset.Columns = array.shape[1:]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation = 1
        if modality == "CT":
            dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", str(intercept), "HU"
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.PixelData = (array[k] - intercept).astype("<i2").tobytes()
        change(dataset, k)
        path = folder / names.format(k)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _base(modality: str, syntax: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage if modality == "MR" else CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = (
        PATIENT,
        "S3CR3T",
        "19700101",
        "F",
    )
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240102", "101112", "ST1", "ACC1"
    dataset.ReferringPhysicianName, dataset.StudyDescription = "Who^Doctor", "Brain"
    dataset.Modality, dataset.SeriesNumber = modality, 4
    dataset.SeriesDescription = WORDS[modality]
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.DeviceSerialNumber = "Acme", "Tube 3", "77"
    dataset.InstitutionName, dataset.SoftwareVersions, dataset.PatientPosition = "General Hospital", "v1", "HFS"
    dataset.BodyPartExamined, dataset.PositionReferenceIndicator = "HEAD", ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M" if modality == "MR" else "AXIAL"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    if modality == "MR":
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
        dataset.MRAcquisitionType, dataset.RepetitionTime, dataset.EchoTime = "3D", "9", "3"
        dataset.EchoTrainLength = 1
    return dataset


def _decimal(values: Sequence[float]) -> list[str]:
    return [f"{value:.10g}"[:16] for value in values]


def enhanced(folder: Path, paths: Sequence[Path]) -> Path:
    """The slices as one legacy converted enhanced multi-frame file, made by highdicom."""
    import highdicom

    datasets = [pydicom.dcmread(path) for path in paths]
    kind = {
        "MR": highdicom.legacy.LegacyConvertedEnhancedMRImage,
        "CT": highdicom.legacy.LegacyConvertedEnhancedCTImage,
    }[datasets[0].Modality]
    made = kind(datasets, generate_uid(), 4, generate_uid(), 1)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "enhanced.dcm"
    made.save_as(path)
    return path


def gdcm_image(folder: Path) -> sitk.Image:
    """The only series in a folder, as SimpleITK's GDCM reads it."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def synthesised(folder: Path) -> list[Dataset]:
    """The datasets of a written series, by their number."""
    found = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    return sorted(found, key=lambda dataset: int(dataset.InstanceNumber))
