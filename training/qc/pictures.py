"""A picture for each finding: what a person needs to see to agree or not."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.images import nothing, one_millimetre, onto, read_scan
from training.data.layouts.base import CaseFiles, Source
from training.data.load import given_transform, reference_of
from training.data.registration import register
from training.qc.findings import Finding
from training.qc.look import Look, look


def draw(finding: Finding, modality: Modality, case: CaseFiles | None, source: Source | None, path: Path) -> bool:
    """Draw a finding as a PNG of about 900 x 340 pixels; False where the scan cannot be shown."""
    try:
        panels = _panels(finding, modality, case, source)
    except ConfigError:
        return False
    figure = Figure(figsize=(3 * len(panels), 3.4), dpi=100, facecolor="black")
    for number, (title, picture) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        axes.set_title(title, color="white", fontsize=9)
        axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 0.9, 0.02)
    figure.savefig(path, facecolor="black", pil_kwargs={"optimize": True})
    return True


Panel = tuple[str, NDArray[np.floating]]


def _panels(finding: Finding, modality: Modality, case: CaseFiles | None, source: Source | None) -> list[Panel]:
    scan = look(read_scan(finding.scan, modality), finding.scan, modality, finding.person)
    if finding.check == "alignment" and case is not None and source is not None and finding.other is not None:
        return _edges(finding, case, source)
    if finding.other is not None:
        other = look(read_scan(finding.other, modality), finding.other, modality, finding.person)
        return [
            (f"{path.parent.name}/{path.name}", _shown(one, _middle(one)))
            for path, one in ((finding.scan, scan), (finding.other, other))
        ]
    if finding.check in ("ghosts", "background"):
        index = finding.slices[0] if finding.slices else _middle(scan)
        return [
            (f"slice {index}", _shown(scan, index)),
            ("the same, air 10 times brighter", _shown(scan, index, 0.1)),
        ]
    if finding.check == "small":
        shown = scan.area()[list(finding.slices)]
        fullest = [finding.slices[i] for i in np.argsort(-shown)[:3]]
        return [(f"slice {index}: {scan.area()[index]:.0f} cm²", _shown(scan, index)) for index in fullest]
    if finding.slices:
        wanted = [
            finding.slices[i] for i in np.linspace(0, len(finding.slices) - 1, min(3, len(finding.slices))).astype(int)
        ]
        good = [i for i in range(len(scan.slices)) if i not in finding.slices]
        found = [(f"slice {index}: found", _shown(scan, index)) for index in wanted]
        nearest = min(good, key=lambda i: abs(i - wanted[0]), default=None)
        return found if nearest is None else [*found, (f"slice {nearest}: nearest good one", _shown(scan, nearest))]
    return [(f"slice {index}", _shown(scan, index)) for index in (_middle(scan, part) for part in (0.35, 0.5, 0.65))]


def _middle(scan: Look, part: float = 0.5) -> int:
    """A slice so far along the body."""
    shown = np.flatnonzero(scan.area() > 0)
    return int(shown[int(part * (len(shown) - 1))]) if len(shown) else int(part * (len(scan.slices) - 1))


def _shown(scan: Look, index: int, brightest: float = 1.0) -> NDArray[np.floating]:
    """A slice in [0, 1] with square millimetres, patient upright as far as the stored order allows."""
    values = scan.slices[index]
    high = float(np.percentile(scan.slices[scan.body], 99)) if scan.body.any() else float(scan.slices.max())
    picture = np.clip(values / (max(high, 1e-6) * brightest), 0, 1)
    rows = max(1, round(picture.shape[0] * scan.pixel[0]))
    columns = max(1, round(picture.shape[1] * scan.pixel[1]))
    image = sitk.GetImageFromArray(picture.astype(np.float32))
    image.SetSpacing((scan.pixel[1], scan.pixel[0]))
    small = sitk.Resample(image, [columns, rows], sitk.Transform(2, sitk.sitkIdentity), sitk.sitkLinear, (0, 0), (1, 1))
    shown: NDArray[np.floating] = np.clip(sitk.GetArrayFromImage(small), 0, 1)
    return shown


def _edges(finding: Finding, case: CaseFiles, source: Source) -> list[Panel]:
    """Both scans of a pair, and the second as a chess board over the first, where broken outlines show the shift."""
    reference = reference_of(case, source)
    kind = next(kind for kind, path in case.scans.items() if path == finding.other)
    fixed, moving = read_scan(case.scans[reference], reference), read_scan(case.scans[kind], kind)
    transform = register(fixed, moving, source.registration, given_transform(case, reference, kind)).transform
    grid = one_millimetre(fixed)
    first, second = (
        _scaled(sitk.GetArrayFromImage(image), of)
        for image, of in ((onto(grid, fixed), reference), (onto(grid, moving, transform, outside=nothing(kind)), kind))
    )
    body = np.flatnonzero((first > 0.2).any((1, 2)))
    index = int(body[len(body) // 2]) if len(body) else first.shape[0] // 2
    a, b = first[index, ::-1], second[index, ::-1]
    rows, columns = np.indices(a.shape)
    board = np.where((rows // 24 + columns // 24) % 2 == 0, a, b)
    return [(str(reference), a), (str(kind), b), ("both in turn", board)]


def _scaled(values: NDArray[np.floating], modality: Modality) -> NDArray[np.floating]:
    values = values - nothing(modality)
    scaled: NDArray[np.floating] = np.clip(values / max(float(np.percentile(values, 99.5)), 1e-6), 0, 1)
    return scaled
