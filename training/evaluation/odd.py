"""The verb `odd`: scans out of the ordinary, and what is made of them beside what is made of the usual one."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.bundle import Bundle
from modality_conversion.convert import convert
from modality_conversion.modality import Modality
from training.evaluation.cases import TestCase
from training.evaluation.odd_scans import CHANGES
from training.evaluation.picture import HU_SHOWN

Cell = tuple[str, NDArray[np.float32], NDArray[np.float32]]
"""A title, an axial and a sagittal slice, 0 black and 1 white."""
SHOWN_MM = 1.0


def odd(bundle: Bundle, cases: list[TestCase], folder: Path, report: Callable[[str], None] = lambda _: None) -> None:
    """Write a picture for each case and source, and `odd.json`: how far each answer is from that to the usual scan.

    The distance is PSNR in dB where both scans show the head, range: the 0.5 - 99.5 percentiles of the usual answer (CT: 2000
    HU). A scan that was cut or thickened cannot give the same; what counts is that none falls out of line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for case in cases:
        readable = {entry.modality for entry in bundle.spec.sources}
        for source, scan in case.scans.items():
            targets = [target for target in bundle.spec.targets if target != source]
            if source in readable and targets:
                picture = folder / f"{case.name}_{source}.jpg"
                rows += [row | {"case": case.name} for row in _one(bundle, scan.image, source, targets, picture)]
                report(f"{case.name}, from {source}: {picture}")
    (folder / "odd.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _one(
    bundle: Bundle, image: sitk.Image, source: Modality, targets: list[Modality], picture: Path
) -> Iterator[dict[str, Any]]:
    usual = sitk.DICOMOrient(image, "RAS")
    shown = _display_grid(usual)
    lines: list[list[Cell]] = []
    first: dict[Modality, sitk.Image] = {}
    for name, change in CHANGES.items():
        scan = change(usual, source)
        line = [_cell(name, scan, shown, source)]
        for target in targets:
            made = convert({source: scan}, bundle, target=target).image
            line.append(_cell(f"SYNTHETIC {target}", made, shown, target))
            row = {"scan": name, "source": str(source), "target": str(target)}
            first.setdefault(target, made)
            yield row | {"psnr_to_usual": _distance(first[target], made, scan, target)}
        lines.append(line)
    _draw(lines, f"From {source}: {picture.stem}. Synthetic, not for diagnosis", picture)


def _display_grid(image: sitk.Image) -> sitk.Image:
    """Cubes of 1 mm over the whole of a scan."""
    size = [round(count * step / SHOWN_MM) for count, step in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([SHOWN_MM] * 3)
    grid.SetOrigin(image.GetOrigin())
    grid.SetDirection(image.GetDirection())
    return grid


def _on(grid: sitk.Image, image: sitk.Image) -> NDArray[np.float32]:
    """(z, y, x) on a grid; not a number where the image has no voxel."""
    found: NDArray[np.float32] = sitk.GetArrayFromImage(
        sitk.Resample(sitk.Cast(image, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, float("nan"))
    )
    return found


def _cell(title: str, image: sitk.Image, grid: sitk.Image, modality: Modality) -> Cell:
    values = _on(grid, image)
    known = values[np.isfinite(values)]
    low, high = HU_SHOWN if modality is Modality.CT else np.percentile(known, (1, 99.5))
    grey: NDArray[np.float32] = np.nan_to_num(np.clip((values - low) / max(high - low, 1e-6), 0, 1), nan=0.25)
    depth, _, width = grey.shape
    return title, grey[int(0.55 * depth)], grey[:, :, int(0.56 * width)]


def _distance(usual: sitk.Image, made: sitk.Image, scan: sitk.Image, target: Modality) -> float | None:
    """See `odd`; None where the patient was turned away from the usual place."""
    if not np.allclose(np.abs(np.array(scan.GetDirection())).max(0), 1, atol=1e-3):
        return None
    wanted = sitk.GetArrayFromImage(usual).astype(np.float32)
    found = _on(usual, made)
    low, high = (-1000.0, 1000.0) if target is Modality.CT else np.percentile(wanted, (0.5, 99.5))
    inside = np.isfinite(found) & (wanted > low + 0.1 * (high - low))
    if not inside.any():
        return None
    error = float(np.mean(((found - wanted)[inside] / (high - low)) ** 2))
    return round(-10 * float(np.log10(max(error, 1e-12))), 2)


def _draw(lines: list[list[Cell]], title: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = 2 * len(lines[0])
    figure, axes = plt.subplots(
        len(lines), columns, figsize=(1.35 * columns, 1.5 * len(lines)), facecolor="black", squeeze=False
    )
    for row, line in zip(axes, lines, strict=True):
        planes = [(name if n == 0 else "", plane) for name, *both in line for n, plane in enumerate(both)]
        for place, (name, plane) in zip(row, planes, strict=True):
            place.imshow(plane, cmap="gray", vmin=0, vmax=1, origin="lower")
            place.set_title(name, color="white", fontsize=7, loc="left", pad=2)
            place.axis("off")
    figure.suptitle(title, color="white", fontsize=9, y=0.998)
    figure.subplots_adjust(left=0.003, right=0.997, bottom=0.003, top=0.975, wspace=0.02, hspace=0.13)
    figure.savefig(path, dpi=80, facecolor="black", pil_kwargs={"quality": 80})
    plt.close(figure)
