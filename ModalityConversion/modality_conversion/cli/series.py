"""`modality-conversion series`: what a folder of DICOM holds, and what of it can be converted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..dicom import DicomVolume, find_volumes
from ..errors import Cancelled
from . import options
from .console import stop_on_signal


def series(
    folder: Annotated[Path, typer.Argument(help="A folder of DICOM files, or one file.")],
    as_json: options.AsJson = False,
) -> None:
    """List the volumes in a folder of DICOM, with the name that `convert --series` takes. Says nothing of the patient."""
    with stop_on_signal() as asked_to_stop:
        listing = find_volumes(folder, cancel=asked_to_stop)
        if asked_to_stop():
            raise Cancelled
    if as_json:
        told = {
            "volumes": [_told(volume) for volume in listing.volumes],
            "damaged": [{"file": str(path), "reason": reason} for path, reason in listing.damaged],
            "other_objects": listing.others,
            "other_files": listing.foreign,
        }
        typer.echo(json.dumps(told, indent=2))
        return
    for volume in listing.volumes:
        typer.echo(str(volume))
        for line in ([f"The series {volume.refusal}"] if volume.refusal else []) + list(volume.notes):
            typer.echo(f"    {line}")
    for path, reason in listing.damaged:
        typer.echo(f"{path} {reason}.")
    typer.echo(f"{len(listing.volumes)} volumes, {listing.others} other DICOM objects, {listing.foreign} other files.")


def _told(volume: DicomVolume) -> dict[str, Any]:
    found, first = volume.found, volume.frames[0]
    return {
        "id": volume.id,
        "series": volume.series,
        "modality": found.modality.value if found.modality else None,
        "why": found.why,
        "description": first.told.get("SeriesDescription", ""),
        "slices": len(volume.frames),
        "rows": first.rows,
        "columns": first.columns,
        "synthetic": volume.is_synthetic,
        "refusal": f"The series {volume.refusal}" if volume.refusal else None,
        "notes": list(volume.notes),
    }
