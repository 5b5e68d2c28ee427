"""One case, converted into a folder of its own: the volume, its account, a picture, and a manifest that says where they go."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..catalog import Catalog
from ..convert import Conversion, convert
from ..errors import ConversionError
from ..foreground import foreground
from ..gate_pass import add_to_report, pass_gate
from ..image_io import read_image, save_image, save_json, scan_hash
from ..modality import Modality
from ..report import header_fields
from .case import account_beside
from .store import MANIFEST, flush_all

PICTURES = "figures"


def do(request: Mapping[str, Any], cancel: Callable[[], bool]) -> None:
    """Do what a request says; see `request_of` in `run`. Raises ConversionError, Cancelled."""
    from ..dicom import choose, find_volumes, read_volume

    folder, source, modality = Path(request["folder"]), Path(request["source"]), request["modality"]
    bundle = Catalog(tuple(map(Path, request["models_dirs"]))).get(request["model"])
    if bundle.hash != request["model_sha256"]:
        raise ConversionError(f"The model {bundle.spec.id} was exchanged meanwhile. Start the same command again.")
    scan = None
    if request["series"]:
        listing = find_volumes(source, cancel=cancel, only=list(map(Path, request.get("siblings", ()))) or None)
        scan = read_volume(choose(listing, request["series"]), cancel=cancel)
        image, name, sha256 = scan.image, f"DICOM series {scan.volume.id}", scan.sha256
    else:
        image, name, sha256 = read_image(source), source.name, scan_hash(source)
    images = {Modality(modality): image}
    account = [{"modality": modality, "name": name, "sha256": sha256}]
    for other, path in request["further"]:
        images[Modality(other)] = read_image(path)
        account.append({"modality": other, "name": Path(path).name, "sha256": scan_hash(Path(path))})
    mask = read_image(request["mask"]) if request["mask"] else None
    notes: list[str] = []
    verdict = pass_gate(images, bundle.spec, force=request["force"], notes=notes)
    result = convert(images, bundle, target=request["target"], device=request["device"], mask=mask, cancel=cancel)
    report = result.report
    add_to_report(report, verdict, force=request["force"], notes=notes)
    report["source"]["files"] = account
    if scan is not None:
        report["warnings"][:0] = scan.volume.notes

    place = PurePosixPath(request["out"])
    moves = [("volume", place), ("account.json", account_beside(place, scan is not None))]
    if scan is not None:
        from ..dicom.write import write_series

        (folder / "volume").mkdir()
        write_series(folder / "volume", result.image, report, scan, cancel)
    else:
        ending = "".join(Path(place.name).suffixes[-2:]) if place.name.endswith(".nii.gz") else place.suffix
        save_image(result.image, folder / f"volume{ending}", header_fields(report))
        moves[0] = (f"volume{ending}", place)
    save_json({**report, **request["sidecar"]}, folder / "account.json")
    if _picture(folder / "picture.png", image, modality, result):
        moves.append(("picture.png", PurePosixPath(PICTURES, f"{request['key']}.png")))
    record = {
        "id": request["id"],
        "fingerprint": request["fingerprint"],
        "out": request["out"],
        "from": modality,
        "model": f"{report['model']['id']} {report['model']['version']}",
        "device": report["device"],
        "seconds": report["seconds"]["total"],
        "date": report["date"],
        "warnings": report["warnings"],
        "picture": moves[-1][1].as_posix() if len(moves) > 2 else None,
        "features": features(image, result),
    }
    manifest = {"moves": [[staged, final.as_posix()] for staged, final in moves], "record": record}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    flush_all(folder)


def features(image: sitk.Image, result: Conversion) -> dict[str, float]:
    """Numbers by which one result can be told from the others of a run.

    `uncertainty`: mean of one standard deviation over the foreground, as a share of the display window; only where the model
    says it. `head_ml`: volume of the foreground. `mean`, `spread`: mean and standard deviation of the result there.
    """
    source = np.nan_to_num(sitk.GetArrayViewFromImage(image).astype(np.float32))
    inside = foreground(source)
    if not inside.any():
        return {}
    made = sitk.GetArrayViewFromImage(result.image)[inside].astype(np.float64)
    found = {
        "head_ml": float(inside.sum() * np.prod(image.GetSpacing()) / 1000),
        "mean": float(made.mean()),
        "spread": float(made.std()),
    }
    if result.uncertainty is not None:
        sure = sitk.GetArrayViewFromImage(result.uncertainty)[inside]
        found["uncertainty"] = float(sure.mean() / result.report["window"])
    return found


def _picture(path: Path, image: sitk.Image, modality: str, result: Conversion) -> bool:
    """Draw the case; False where matplotlib is missing, or nothing can be drawn of such a scan."""
    from ..figure import save_conversion_figure

    try:
        save_conversion_figure(path, image, Modality(modality), result)
    except ConversionError:
        return False
    return True
