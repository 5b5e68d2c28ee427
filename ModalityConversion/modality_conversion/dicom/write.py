"""A synthetic volume as a DICOM series: MR or CT images, one file a slice, in the source's study.

MR Image Storage and CT Image Storage (DICOM PS3.3, A.4 and A.3), not Secondary Capture, so that archives and viewers
treat them as scans. SyntheticData and the algorithm are beyond the two objects of old, which PS3.4 allows (Standard
Extended SOP Class).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import Cancelled, ConversionError
from ..modality import Modality
from .derived import algorithm, common, decimals, derivation, header_of, references
from .library import pydicom, quiet
from .read import DicomScan

_CT, _MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
_HOUNSFIELD = {Modality.CT, Modality.CBCT}
_RESONANCE = {Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD}
_LOWEST, _HIGHEST = -32768, 32767
_FEWEST_DIGITS = 6


def check_writable(target: Modality) -> None:
    """Raises ConversionError for a target that has no image object here."""
    if target not in _HOUNSFIELD | _RESONANCE:
        raise ConversionError(
            f"A synthetic {target} cannot be written as DICOM: the object asks for facts of an injection that never was. "
            "Give --out a name that ends in .nii.gz, .nii, .nrrd or .mha."
        )


def write_series(
    folder: Path,
    image: sitk.Image,
    report: Mapping[str, Any],
    scan: DicomScan,
    cancel: Callable[[], bool] = lambda: False,
) -> None:
    """Write `image`, which lies on the grid of `scan`, into an empty folder, with the account in `report`.

    CT: Hounsfield units, signed 16 bits, rescale slope 1 and intercept 0. MR: unsigned 16 bits over the volume's range,
    with the rescale that gives the values back to 1/65535 of the range; with slope 1 where they are whole numbers.
    Raises ConversionError for a target without an object, Cancelled where `cancel` said so, OSError when the disk refuses.
    """
    target = Modality(report["modality"])
    check_writable(target)
    if image.GetSize() != scan.image.GetSize():
        raise ConversionError("The synthetic volume does not lie on the series' grid; nothing was written.")
    array = sitk.GetArrayViewFromImage(image)
    is_ct = target in _HOUNSFIELD
    slope, intercept = (1.0, 0.0) if is_ct else rescale(array)
    with quiet():
        base = _base(scan, report, target, slope, intercept)
        make_uid = pydicom().uid.generate_uid
        for k, frame in enumerate(scan.frames):
            if cancel():
                raise Cancelled
            base.SOPInstanceUID = base.file_meta.MediaStorageSOPInstanceUID = make_uid(prefix=None)
            base.InstanceNumber = k + 1
            base.ImagePositionPatient = decimals(frame.position)
            base.ImageOrientationPatient = decimals(frame.orientation)
            base.SourceImageSequence = references([frame])
            base.PixelData = stored(array[k], slope, intercept, is_ct).tobytes()
            base.save_as(folder / f"IM{k + 1:05}.dcm", enforce_file_format=True)


def rescale(array: np.ndarray) -> tuple[float, float]:
    """Slope and intercept that bring these values into unsigned 16 bits, each exact in few decimal digits."""
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind in "iu" and high - low <= 65535:
        return 1.0, min(low, 0.0) if high - min(low, 0.0) <= 65535 else low
    intercept = 0.0 if 0 <= low <= high / 10 else _rounded(low, down=True)
    span = (high - intercept) / 65535
    return (_rounded(span, down=False) if span > 0 else 1.0), intercept


def stored(plane: np.ndarray, slope: float, intercept: float, is_ct: bool) -> np.ndarray:
    """The stored values of a plane, little endian, 16 bits; what does not fit is clipped."""
    values = np.rint((plane.astype(np.float64) - intercept) / slope)
    if is_ct:
        return values.clip(_LOWEST, _HIGHEST).astype("<i2")
    return values.clip(0, 65535).astype("<u2")


def _rounded(value: float, down: bool) -> float:
    """The next number below or above with few digits, which a decimal string of 16 characters holds exactly."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - _FEWEST_DIGITS + 1)
    steps = np.floor(value / unit) if down else np.ceil(value / unit)
    return float(f"{steps * unit:.{_FEWEST_DIGITS}g}")


def _base(scan: DicomScan, report: Mapping[str, Any], target: Modality, slope: float, intercept: float) -> Any:
    """All that every slice shares."""
    source = header_of(scan)
    dataset = common(source, report, "image")
    is_ct = target in _HOUNSFIELD
    dataset.SOPClassUID = _CT if is_ct else _MR
    dataset.Modality = "CT" if is_ct else "MR"
    made_from = " and ".join(report["source"]["modality"])
    dataset.SeriesDescription = f"SYNTHETIC {target} from {made_from} - not for diagnosis"[:64]
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if is_ct else "OTHER"]
    dataset.DerivationDescription = derivation(report)
    dataset.DerivationAlgorithmSequence = [algorithm(report)]
    dataset.ImageComments = report["notice"]
    dataset.AcquisitionNumber = None
    _grid(dataset, scan)
    _pixels(dataset, scan, is_ct, slope, intercept)
    dataset.WindowCenter, dataset.WindowWidth = decimals([report["level"], max(report["window"], 1)])
    if is_ct:
        dataset.KVP = None
    else:
        # RM: a research mode, since none of the sequences that measure made it; it has no echo and no repetition time.
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", None
        dataset.MRAcquisitionType = source.get("MRAcquisitionType")
        dataset.RepetitionTime = dataset.EchoTime = dataset.EchoTrainLength = None
    dataset.file_meta = _file_meta(dataset)
    return dataset


def _grid(dataset: Any, scan: DicomScan) -> None:
    """Sizes as the source's header says them; positions come slice by slice."""
    frame = scan.frames[0]
    dataset.PixelSpacing = decimals(frame.spacing)
    distance = scan.image.GetSpacing()[2]
    thickness = header_of(scan).get("SliceThickness") if frame.number is None else None
    dataset.SliceThickness = thickness if thickness else decimals([distance])[0]
    dataset.SpacingBetweenSlices = decimals([distance])[0]


def _pixels(dataset: Any, scan: DicomScan, is_ct: bool, slope: float, intercept: float) -> None:
    frame = scan.frames[0]
    dataset.Rows, dataset.Columns = frame.rows, frame.columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1 if is_ct else 0
    dataset.RescaleIntercept, dataset.RescaleSlope = decimals([intercept, slope])
    dataset.RescaleType = "HU" if is_ct else "US"


def _file_meta(dataset: Any) -> Any:
    meta = pydicom().dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.TransferSyntaxUID = pydicom().uid.ExplicitVRLittleEndian
    meta.ImplementationVersionName = "MODALITYCONV"
    return meta
