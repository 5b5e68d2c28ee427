"""The account of one conversion: what goes into the side-car JSON and the headers of every output."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from .account import Account
from .modality import Modality
from .version import __version__

if TYPE_CHECKING:
    from .bundle import Bundle

NOTICE = "Synthetic image. Not for diagnosis."
SEGMENTATION_NOTICE = "Labels made by a model. Not for diagnosis."
DIFFERENCE_NOTICE = "Difference of a synthetic and a real image. Not for diagnosis."
_NOTES = 79
"""Characters that NIfTI has for a line of text."""


def build_report(
    bundle: Bundle, sources: Sequence[Modality], target: Modality, source: sitk.Image, account: Account
) -> dict[str, Any]:
    """The report of a conversion that ended well, ready for JSON. `source` is the scan whose grid the output has."""
    declared = bundle.spec.targets[target]
    return {
        **_marks(NOTICE if declared.caution is None else f"{NOTICE} {declared.caution}"),
        "caution": declared.caution,
        "modality": target.value,
        "units": declared.units,
        "window": declared.window,
        "level": declared.level,
        **_course(bundle, sources, source, account),
    }


def build_segmentation_report(
    bundle: Bundle, sources: Sequence[Modality], labels: list[dict[str, Any]], source: sitk.Image, account: Account
) -> dict[str, Any]:
    """The report of a segmentation that ended well, ready for JSON; `labels` has what each is and how much there is."""
    return {
        **_marks(SEGMENTATION_NOTICE),
        "content": "segmentation",
        "labels": labels,
        **_course(bundle, sources, source, account),
    }


def build_difference_report(
    real: Mapping[str, str], synthetic: Mapping[str, str], units: str, is_fitted: bool, mask: str
) -> dict[str, Any]:
    """The report of a difference volume, ready for JSON. `real` and `synthetic` say the files' name and sha256."""
    return {
        **_marks(DIFFERENCE_NOTICE),
        "content": "difference",
        "definition": "synthetic minus real",
        "affine_fit": is_fitted,
        "units": units,
        "mask": mask,
        "real": dict(real),
        "compared": dict(synthetic),
        "engine_version": __version__,
        "date": _now(),
    }


def _marks(notice: str) -> dict[str, Any]:
    return {"synthetic": True, "not_for_diagnosis": True, "notice": notice}


def _course(bundle: Bundle, sources: Sequence[Modality], source: sitk.Image, account: Account) -> dict[str, Any]:
    """From what, by which model, and how it went."""
    return {
        "source": {
            "modality": [m.value for m in sources],
            "size": list(source.GetSize()),
            "spacing": list(source.GetSpacing()),
        },
        "model": {
            "id": bundle.spec.id,
            "title": bundle.spec.title,
            "version": bundle.spec.version,
            "license": bundle.spec.license,
            "sha256": bundle.hash,
        },
        "engine_version": __version__,
        "device": account.device,
        "date": _now(),
        "tiles": account.tiles,
        "runs": account.runs,
        "batch": account.batch,
        "warnings": list(account.warnings),
        "seconds": {stage: round(value, 3) for stage, value in account.seconds.items()},
    }


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def header_fields(report: Mapping[str, Any]) -> dict[str, str]:
    """The text fields for an image header. `ITK_FileNotes` is all that NIfTI keeps, in at most 79 characters."""
    marks = {"synthetic": "YES", "not_for_diagnosis": "YES"}
    content = report.get("content")
    if content == "difference":
        return {
            "ITK_FileNotes": "DIFFERENCE of a synthetic and a real image, not for diagnosis",
            **marks,
            "content": f"difference, {report['definition']}",
            "units": report["units"],
            "real_file": report["real"]["name"],
            "real_sha256": report["real"]["sha256"],
            "compared_file": report["compared"]["name"],
            "compared_sha256": report["compared"]["sha256"],
            "engine_version": report["engine_version"],
            "date": report["date"],
        }
    model, caution = report["model"], report.get("caution")
    files = report.get("source", {}).get("files", [])
    if content == "segmentation":
        names = "; ".join(f"{label['value']} {' '.join(label['name'].split())}" for label in report["labels"])
        what, said = "SEGMENTATION", {"content": "segmentation", "labels": names}
    else:
        what = f"SYNTHETIC {report['modality']}"
        said = {"modality": report["modality"], "units": report["units"]}
    what += ", FORCED" if report.get("forced") else ""
    return {
        # The side-car file has the model too; that someone opens a lone NIfTI unwarned is worse than not to know the model.
        "ITK_FileNotes": f"{what}, not for diagnosis; {caution or '{id} {version}'.format(**model)}"[:_NOTES],
        **marks,
        **({"caution": caution} if caution else {}),
        **({"forced": "YES"} if report.get("forced") else {}),
        **said,
        "source_file": "; ".join(entry["name"] for entry in files),
        "source_sha256": "; ".join(entry["sha256"] for entry in files),
        "model_id": model["id"],
        "model_version": model["version"],
        "model_sha256": model["sha256"],
        "engine_version": report["engine_version"],
        "device": report["device"],
        "date": report["date"],
    }
