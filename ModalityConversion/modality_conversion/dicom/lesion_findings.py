"""The lesion check of the engine as a DICOM structured report has it: findings, and the words that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modality import Modality
from .lesion_report import LesionFinding, Nothing, save_lesion_report
from .library import pydicom, quiet
from .read import DicomScan

if TYPE_CHECKING:
    from ..lesion_list import Contrast
    from ..lesions import LesionCheck

_HOUNSFIELD = (Modality.CT, Modality.CBCT)


def findings_of(check: LesionCheck) -> list[LesionFinding]:
    """One finding a lesion, in the order of the check. A contrast is a ratio to the surroundings, on CT a difference in HU."""
    on_ct = [modality in _HOUNSFIELD for modality in check.modalities]
    return [
        LesionFinding(
            lesion.verdict,
            lesion.position,
            lesion.volume_ml,
            _told(lesion.real, on_ct[0]),
            _told(lesion.synthetic, on_ct[1]),
            (on_ct[0], on_ct[1]),
            lesion.reason,
            is_place=check.method == "crude",
        )
        for lesion in check.lesions
    ]


def _told(contrast: Contrast | None, on_ct: bool) -> float | None:
    if contrast is None:
        return None
    return contrast.difference if on_ct else contrast.ratio


def save_lesion_check(
    path: Path,
    check: LesionCheck | None,
    why_unchecked: str | None,
    report: Mapping[str, Any],
    scan: DicomScan,
    synthetic: Path | None = None,
) -> None:
    """Write what the lesion check found as a structured report; where there was no check, a report that says why.

    `synthetic` is the folder of the synthetic series, where that is DICOM. Raises OSError when the disk refuses.
    """
    headers = []
    if synthetic is not None:
        with quiet():
            headers = [pydicom().dcmread(file, stop_before_pixels=True) for file in sorted(synthetic.glob("*.dcm"))]
    if check is None:
        remarks = [why_unchecked or "Lesions were not checked."]
        save_lesion_report(path, [], report, scan, headers, remarks, Nothing.unchecked)
        return
    nothing = Nothing.not_outlined if check.method == "crude" else Nothing.found
    remarks = [check.verdict, *check.warnings]
    save_lesion_report(path, findings_of(check), report, scan, headers, remarks, nothing)
