"""Packs the scans of a case as training cases: on 1 mm, RAS, on the two scales, as a whole or with the brain alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.grid import on_grid_of
from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.cases import write_case
from training.data.images import LONG, nothing
from training.data.layouts.base import CaseFiles, Source
from training.data.load import LoadedCase, even_out, load_case
from training.data.regions import Region
from training.data.scale import normalise_source, normalise_target, scale_target

HEAD_THRESHOLD = 0.25
"""An MR scan above this fraction of the brain's median belongs to the head, not to air."""
SOFT, BONE = -200.0, 250.0
"""HU; where the body begins in a CT, and where bone begins."""
GROWN = {"tight": 0, "wide": 3, "narrow": -1}
"""mm by which the brain mask of a variant is wider than the brain."""
CTS = (Modality.CT, Modality.CBCT)
Box = tuple[slice, slice, slice]
"""A box of the grid, (z, y, x)."""


def pack(
    case: CaseFiles, source: Source, folder: Path, bad: Mapping[Modality, Sequence[int]] | None = None
) -> list[Path]:
    """Write the packed cases of a case below a folder, `<name>_<variant>` each; gives their folders.

    `bad` names slices to leave out, by scan, numbered along the scan's slice axis as `qc` does. What is left between them
    is packed in pieces. Raises ConfigError, naming the case, where it cannot be packed.
    """
    loaded = load_case(case, source)
    even, warnings = _evened(loaded, source)
    whole = Whole(even, _medians(loaded, even), (*loaded.warnings, *warnings))
    pieces = _planes(loaded, bad or {})
    written: list[Path] = []
    for number, box in enumerate(pieces):
        ending = f"_part{number + 1}" if len(pieces) > 1 else ""
        for variant in source.variants:
            written += _write(_cut(loaded, box), whole, box, source, variant, folder / f"{case.name}_{variant}{ending}")
    if not written:
        raise ConfigError(f"{case.name}: nothing is left to pack once the slices that `qc` drops are out.")
    return written


def slice_axis(image: sitk.Image) -> int:
    """The axis of a stored scan (0 = i) along which its slices lie: that of the thickest voxels, else head to feet."""
    spacing = np.array(image.GetSpacing())
    if spacing.max() > 1.2 * np.median(spacing):
        return int(np.argmax(spacing))
    direction = np.abs(np.array(image.GetDirection()).reshape(3, 3))
    return int(np.argmax(direction[2]))


def _planes(loaded: LoadedCase, bad: Mapping[Modality, Sequence[int]]) -> list[Box]:
    """The boxes of the grid, long enough to learn from, that show no bad slice and are covered by every scan."""
    size = loaded.covered.shape
    boxes = [_covered(loaded.covered)]
    for modality, slices in bad.items():
        scan = sitk.ReadImage(str(loaded.files.scans[modality]))
        axis = slice_axis(scan)
        middle = [(n - 1) / 2 for n in scan.GetSize()]
        back = loaded.transforms[modality].GetInverse()

        def place(
            index: float,
            scan: sitk.Image = scan,
            axis: int = axis,
            middle: list[float] = middle,
            back: sitk.Transform = back,
        ) -> NDArray[np.float64]:
            at = [*middle[:axis], index, *middle[axis + 1 :]]
            point = back.TransformPoint(scan.TransformContinuousIndexToPhysicalPoint(at))
            return np.array(loaded.grid.TransformPhysicalPointToContinuousIndex(point))[::-1]

        along = int(np.argmax(np.abs(place(1) - place(0))))
        gone = np.zeros(size[along], bool)
        for number in slices:
            first, last = sorted((place(number - 0.5)[along], place(number + 0.5)[along]))
            gone[max(0, int(np.ceil(first))) : max(0, int(np.floor(last)) + 1)] = True
        boxes = [piece for box in boxes for piece in _runs(box, along, ~gone)]
    return [box for box in boxes if all(b.stop - b.start >= min(LONG, n) for b, n in zip(box, size, strict=True))]


def _covered(covered: NDArray[np.bool_]) -> Box:
    """The axial planes whose middle half every scan covers; the other axes whole."""
    _, height, width = covered.shape
    middle = covered[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    found = np.flatnonzero(middle.mean((1, 2)) > 0.98)
    if not len(found):
        return slice(0, 0), slice(0, height), slice(0, width)
    return slice(int(found[0]), int(found[-1]) + 1), slice(0, height), slice(0, width)


def _runs(box: Box, axis: int, good: NDArray[np.bool_]) -> list[Box]:
    """The pieces of a box along an axis where every plane is good."""
    inside = np.zeros_like(good)
    inside[box[axis]] = good[box[axis]]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(np.int8), [0]])))
    pieces = []
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        piece = list(box)
        piece[axis] = slice(int(first), int(stop))
        pieces.append((piece[0], piece[1], piece[2]))
    return pieces


def _cut(loaded: LoadedCase, box: Box) -> LoadedCase:
    """A case within a box of its grid."""

    def cut(mask: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        return None if mask is None else mask[box]

    images = {kind: image[box[2], box[1], box[0]] for kind, image in loaded.images.items()}
    return replace(
        loaded,
        images=images,
        covered=loaded.covered[box],
        brain=cut(loaded.brain),
        body=cut(loaded.body),
        labels=cut(loaded.labels),
    )


def regions(
    loaded: LoadedCase, volumes: Mapping[Modality, NDArray[np.float32]], medians: Mapping[Modality, float]
) -> NDArray[np.uint8]:
    """Region codes of a case, (z, y, x). The head is where a scan shows tissue; bone is known where there is a CT."""
    brain = loaded.brain
    region = np.zeros(loaded.covered.shape, np.uint8)
    head = np.zeros_like(loaded.covered)
    for kind, volume in volumes.items():
        if kind in CTS:
            head |= volume > SOFT
        else:
            level = medians[kind] if kind in medians else float(np.median(volume[volume > 0])) if volume.any() else 0.0
            head |= volume > HEAD_THRESHOLD * level
    region[head if loaded.body is None else head & loaded.body] = Region.HEAD
    for kind in CTS:
        if kind in volumes:
            region[(region == Region.HEAD) & (volumes[kind] > BONE)] = Region.BONE
    if brain is not None:
        region[brain] = Region.BRAIN
    if loaded.labels is not None:
        region[loaded.labels if brain is None else loaded.labels & brain] = loaded.files.labels_show
    return region


@dataclass(frozen=True)
class Whole:
    """What is measured once, on the whole case, so that all its variants and pieces are alike.

    `even`: (z, y, x) of each scan, freed of its bias field where that was asked for. `medians`: of the brain, MR alone.
    """

    even: Mapping[Modality, NDArray[np.float32]]
    medians: Mapping[Modality, float]
    warnings: tuple[str, ...]


def _evened(loaded: LoadedCase, source: Source) -> tuple[dict[Modality, NDArray[np.float32]], list[str]]:
    """The scans as the targets show them, and warnings."""
    warnings: list[str] = []
    mask = loaded.brain if loaded.brain is not None and loaded.brain.any() else loaded.body
    if mask is None:
        mask = sitk.GetArrayFromImage(loaded.grid) > nothing(loaded.reference)
    even = {}
    for kind, image in loaded.images.items():
        if source.n4 != "none" and kind not in CTS:
            image = even_out(image, mask, warnings)
        even[kind] = _values(image, kind)
    return even, warnings


def _medians(loaded: LoadedCase, even: Mapping[Modality, NDArray[np.float32]]) -> dict[Modality, float]:
    """Of the brain on each MR scan. Raises ConfigError where a brain is dark, as outside a scan's field of view."""
    if loaded.brain is None:
        return {}
    inside = loaded.brain & loaded.covered
    if not inside.any():
        raise ConfigError(
            f"{loaded.files.name}: the brain mask is empty where all scans are. Is the mask of these scans?"
        )
    found = {kind: float(np.median(even[kind][inside])) for kind in even if kind not in CTS}
    for kind, median in found.items():
        if not median > 0:
            raise ConfigError(f"{loaded.files.name}: the brain is 0 on {kind}. Is the mask of these scans?")
    return found


def _write(loaded: LoadedCase, whole: Whole, box: Box, source: Source, variant: str, folder: Path) -> list[Path]:
    """Write one variant of one piece; nothing where it would have no brain to show."""
    brain = loaded.brain
    if (brain is None and variant != "whole") or (brain is not None and not brain.any()):
        return []
    volumes = {kind: _values(image, kind) for kind, image in loaded.images.items()}
    evened = {kind: volume[box] for kind, volume in whole.even.items()}
    region = regions(loaded, evened, whole.medians)
    shown = _shown(loaded, variant)
    read_from = evened if source.n4 == "all" else volumes
    sources: dict[Modality, NDArray[np.float32]] = {}
    targets: dict[Modality, NDArray[np.float32]] = {}
    left = np.where(shown, region, Region.BACKGROUND).astype(np.uint8)
    for kind in volumes:
        sources[kind] = normalise_source(np.where(shown, read_from[kind], nothing(kind)), kind)
        if kind == Modality.CT:
            targets[kind] = normalise_target(np.where(shown, evened[kind], nothing(kind)), left, kind)
        elif kind in whole.medians:
            targets[kind] = np.where(shown, scale_target(evened[kind], whole.medians[kind], kind), 0)
    about = {
        "person": loaded.files.person,
        "origin": "paired",
        "case": loaded.files.name,
        "whole_head": variant == "whole" and loaded.whole_head,
        "variant": variant,
        "files": {str(kind): str(path) for kind, path in loaded.files.scans.items()},
        "reference": str(loaded.reference),
        "offsets_mm": {str(kind): round(offset, 2) for kind, offset in loaded.offsets.items()},
        "n4": source.n4,
        "warnings": list(whole.warnings),
    }
    write_case(folder, sources, targets, left, about)
    return [folder]


def _values(image: sitk.Image, kind: Modality) -> NDArray[np.float32]:
    """The voxels; an MR scan has no negative ones."""
    array: NDArray[np.float32] = sitk.GetArrayFromImage(image)
    return array if kind in CTS else np.clip(array, 0, None)


def _shown(loaded: LoadedCase, variant: str) -> NDArray[np.bool_]:
    """What is left of the scans in a variant."""
    if variant == "whole" or loaded.brain is None:
        return np.ones(loaded.covered.shape, bool)
    by = GROWN[variant]
    mask = on_grid_of(loaded.grid, loaded.brain.astype(np.uint8))
    grown = sitk.BinaryDilate(mask, [by] * 3) if by >= 0 else sitk.BinaryErode(mask, [-by] * 3)
    kept: NDArray[np.bool_] = sitk.GetArrayFromImage(grown) > 0
    return kept
