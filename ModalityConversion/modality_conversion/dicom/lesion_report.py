"""What became of each lesion, as a DICOM structured report: Comprehensive 3D SR, measurement report (TID 1500).

A lesion is a planar region of one point (TID 1410): where it lies in the patient, how large it is, how it stands out on
each scan, and the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .derived import MAKER, series_number, uid_of
from .library import highdicom, pydicom, quiet
from .read import DicomScan
from .sources import headers, signed

Verdict = Literal["kept", "changed", "lost", "added", "unclear"]
# Terms without a standard code stand in a scheme of this software; `99` marks such schemes (PS3.16, chapter 8).
_SCHEME = "99MODCONV"
_VERDICTS = {
    "kept": ("KEPT", "Kept in the synthetic image"),
    "changed": ("CHANGED", "Changed in the synthetic image"),
    "lost": ("LOST", "Lost in the synthetic image"),
    "added": ("ADDED", "Added by the synthetic image"),
    "unclear": ("UNCLEAR", "Cannot be judged"),
}


class Nothing(Enum):
    """What a report says that names no lesion."""

    found = "NONE", "No lesion on either scan"
    not_outlined = "NOT_OUTLINED", "Lesions were not outlined"
    unchecked = "NOT_CHECKED", "Lesions were not checked"


@dataclass(frozen=True)
class LesionFinding:
    """One lesion, as the lesion check found it."""

    verdict: Verdict
    position: tuple[float, float, float]
    """mm, LPS."""
    volume_ml: float
    contrast_real: float | None = None
    """Mean of the lesion divided by its surroundings, on the real scan; on CT minus them, in HU; None where not known."""
    contrast_synthetic: float | None = None
    in_hu: tuple[bool, bool] = (False, False)
    """Whether the contrast on the real and on the synthetic scan is a difference in HU."""
    reason: str = ""
    """Why the verdict, for a person."""
    is_place: bool = False
    """Whether nobody outlined a lesion, and this is but a place to look at."""


def save_lesion_report(
    path: Path,
    findings: Sequence[LesionFinding],
    report: Mapping[str, Any],
    scan: DicomScan,
    synthetic: Sequence[Any] = (),
    remarks: Sequence[str] | None = None,
    nothing: Nothing = Nothing.found,
) -> None:
    """Write a report on `scan` and what was made of it; `synthetic` are the headers of the synthetic series, if it is DICOM.

    `remarks` take the place of the summary; without a finding the report says what `nothing` does. It is marked
    unverified and made by a device.
    """
    with quiet():
        hd, uid = highdicom(), pydicom().uid.generate_uid
        sources = headers(scan)
        place = str(sources[0].FrameOfReferenceUID)
        content = hd.sr.MeasurementReport(
            observation_context=_observer(report),
            procedure_reported=_code("25045-6", "LN", "Unspecified CT")
            if sources[0].get("Modality") == "CT"
            else _code("18755-9", "LN", "MR unspecified body region"),
            imaging_measurements=[_group(n, finding, place) for n, finding in enumerate(findings, 1)]
            or [_nothing(nothing)],
        )
        for words in _remarks(findings, report, remarks):
            content[0].ContentSequence.append(
                hd.sr.TextContentItem(name=_code("121106", "DCM", "Comment"), value=words, relationship_type="CONTAINS")
            )
        dataset = hd.sr.Comprehensive3DSR(
            evidence=[*sources, *synthetic],
            content=content[0],
            series_instance_uid=uid(prefix=None),
            series_number=series_number(sources[0], "report"),
            sop_instance_uid=uid(prefix=None),
            instance_number=1,
            manufacturer=MAKER,
            is_complete=True,
            is_final=False,
            is_verified=False,
        )
        signed(dataset, sources[0], report, f"LESION CHECK of SYNTHETIC {report['modality']} - not for diagnosis")
        dataset.save_as(path, enforce_file_format=True)


def _remarks(findings: Sequence[LesionFinding], report: Mapping[str, Any], remarks: Sequence[str] | None) -> list[str]:
    if remarks is None:
        counts = [f"{sum(f.verdict == verdict for f in findings)} {verdict}" for verdict in _VERDICTS]
        told = ", ".join(counts) if findings else "No lesion was found on either scan; there was nothing to check."
        remarks = [f"Synthetic {report['modality']}: {told}"]
    reasons = [f"Lesion {number}: {finding.reason}" for number, finding in enumerate(findings, 1) if finding.reason]
    return [*remarks, *reasons, report["notice"]]


def _observer(report: Mapping[str, Any]) -> Any:
    hd = highdicom()
    model = report["model"]
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=uid_of(MAKER, report["engine_version"], model["sha256"]),
        name=f"{MAKER} {report['engine_version']}",
        manufacturer_name=MAKER,
        model_name=f"{model['id']} {model['version']}",
    )
    context = hd.sr.ObserverContext(
        observer_type=_code("121007", "DCM", "Device"), observer_identifying_attributes=device
    )
    return hd.sr.ObservationContext(observer_device_context=context)


def _group(number: int, finding: LesionFinding, place: str) -> Any:
    hd = highdicom()
    value, meaning = _VERDICTS[finding.verdict]
    measured = [("118565006", "SCT", "Volume", finding.volume_ml, ("ml", "UCUM", "milliliter"))]
    for name, words, contrast, in_hu in (
        ("CONTRAST_REAL", "Contrast on the real scan", finding.contrast_real, finding.in_hu[0]),
        ("CONTRAST_SYN", "Contrast on the synthetic scan", finding.contrast_synthetic, finding.in_hu[1]),
    ):
        if contrast is not None:
            unit = ("[hnsf'U]", "UCUM", "Hounsfield unit") if in_hu else ("{ratio}", "UCUM", "ratio")
            measured.append((name, _SCHEME, words, contrast, unit))
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=pydicom().uid.generate_uid(prefix=None), identifier=f"Lesion {number}"
        ),
        referenced_region=hd.sr.ImageRegion3D("POINT", np.array([finding.position], dtype=float), place),
        finding_type=_code("PLACE", _SCHEME, "Place to look at")
        if finding.is_place
        else _code("52988006", "SCT", "Lesion"),
        measurements=[
            hd.sr.Measurement(name=_code(*term), value=float(number), unit=_code(*unit))
            for *term, number, unit in measured
        ],
        qualitative_evaluations=[_verdict(value, meaning)],
    )


def _nothing(why: Nothing) -> Any:
    """The one group of a report without a lesion: a report must have one."""
    hd = highdicom()
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=pydicom().uid.generate_uid(prefix=None), identifier="Nothing to check"
        ),
        qualitative_evaluations=[_verdict(*why.value)],
    )


def _verdict(value: str, meaning: str) -> Any:
    return highdicom().sr.QualitativeEvaluation(
        name=_code("VERDICT", _SCHEME, "Verdict of the lesion check"), value=_code(value, _SCHEME, meaning)
    )


def _code(value: str, scheme: str, meaning: str) -> Any:
    return highdicom().sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)
