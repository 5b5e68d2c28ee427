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


def build_report(
    bundle: Bundle, sources: Sequence[Modality], target: Modality, source: sitk.Image, account: Account
) -> dict[str, Any]:
    """The report of a conversion that ended well, ready for JSON. `source` is the scan whose grid the output has."""
    declared = bundle.spec.targets[target]
    return {
        "synthetic": True,
        "not_for_diagnosis": True,
        "notice": NOTICE,
        "modality": target.value,
        "units": declared.units,
        "window": declared.window,
        "level": declared.level,
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
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "tiles": account.tiles,
        "batch": account.batch,
        "warnings": list(account.warnings),
        "seconds": {stage: round(value, 3) for stage, value in account.seconds.items()},
    }


def header_fields(report: Mapping[str, Any]) -> dict[str, str]:
    """The text fields for an image header. `ITK_FileNotes` is all that NIfTI keeps, in at most 79 characters."""
    model = report["model"]
    files = report.get("source", {}).get("files", [])
    return {
        "ITK_FileNotes": f"SYNTHETIC {report['modality']}, not for diagnosis; {model['id']} {model['version']}"[:79],
        "synthetic": "YES",
        "not_for_diagnosis": "YES",
        "modality": report["modality"],
        "units": report["units"],
        "source_file": "; ".join(entry["name"] for entry in files),
        "source_sha256": "; ".join(entry["sha256"] for entry in files),
        "model_id": model["id"],
        "model_version": model["version"],
        "model_sha256": model["sha256"],
        "engine_version": report["engine_version"],
        "device": report["device"],
        "date": report["date"],
    }
