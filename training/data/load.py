"""Brings the scans of a case to one grid and checks them: read, registered, resampled, with brain, body and labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from modality_conversion.bias_field import n4
from modality_conversion.grid import on_grid_of
from modality_conversion.modality import Modality
from modality_conversion.schema import N4
from training.config import ConfigError
from training.data.images import nothing, one_millimetre, onto, overlap, read_mask, read_scan
from training.data.layouts.base import KINDS, CaseFiles, Source
from training.data.registration import register
from training.data.template import fit_template

ENOUGH = 0.5
"""Smallest share of the reference's field of view that every other scan must cover."""
STRIPPED = 0.2
"""A scan is stripped when at least this share of its voxels is exactly 0 and what is left is no larger than a brain."""
LARGEST_BRAIN = 2.1e6
"""mm^3; a mask of the brain that is larger has the skull in it."""


@dataclass(frozen=True)
class LoadedCase:
    """Images on one grid. `covered`: where every scan has been scanned; masks are bool arrays (z, y, x) on that grid."""

    files: CaseFiles
    reference: Modality
    images: Mapping[Modality, sitk.Image]
    covered: NDArray[np.bool_]
    brain: NDArray[np.bool_] | None
    body: NDArray[np.bool_] | None
    labels: NDArray[np.bool_] | None
    offsets: Mapping[Modality, float]
    """mm by which each scan is out of line with the reference, after registration; where that could be said."""
    transforms: Mapping[Modality, sitk.Transform]
    """Points of the reference to points of each scan."""
    warnings: tuple[str, ...] = field(default=())

    @property
    def grid(self) -> sitk.Image:
        """The grid, as an image."""
        return self.images[self.reference]

    @property
    def whole_head(self) -> bool:
        """Whether more than the brain is there to be seen."""
        if self.brain is None:
            return True
        image = sitk.GetArrayViewFromImage(self.grid)
        near = ndimage.binary_dilation(self.brain, iterations=8)
        return bool((image[~near] != nothing(self.reference)).mean() > 0.01)


def reference_of(case: CaseFiles, source: Source) -> Modality:
    """The scan whose grid the case gets. Raises ConfigError where the case lacks the one asked for."""
    if source.reference is None:
        return next(kind for kind in KINDS if kind in case.scans)
    if source.reference not in case.scans:
        raise ConfigError(f"{case.name} has no {source.reference}, which `reference` names.")
    return source.reference


def given_transform(case: CaseFiles, reference: Modality, other: Modality) -> sitk.Transform:
    """Points of the reference to points of another scan, as the case's transform files say."""
    steps: list[sitk.Transform] = []
    if other in case.to_scan:
        steps.append(sitk.ReadTransform(str(case.to_scan[other])))
    if reference in case.to_scan:
        steps.append(sitk.ReadTransform(str(case.to_scan[reference])).GetInverse())
    # A composite applies its last transform first: from the reference to the common space, and on to the scan.
    return sitk.CompositeTransform(steps) if steps else sitk.Transform(3, sitk.sitkIdentity)


def _to_common(case: CaseFiles, reference: Modality, then: Path | None = None) -> sitk.Transform:
    """Points of the reference to points of the case's common space, and on through the inverse of a transform file."""
    steps: list[sitk.Transform] = []
    if then is not None:
        steps.append(sitk.ReadTransform(str(then)).GetInverse())
    if reference in case.to_scan:
        steps.append(sitk.ReadTransform(str(case.to_scan[reference])).GetInverse())
    return sitk.CompositeTransform(steps) if steps else sitk.Transform(3, sitk.sitkIdentity)


def load_case(case: CaseFiles, source: Source, *, native: Modality | None = None) -> LoadedCase:
    """A case on the 1 mm grid of its reference, RAS; or on the stored grid of the scan `native`.

    Raises ConfigError, naming the case, where a scan cannot be read, where two scans do not show the same place, or where
    they are out of line by more than `source.largest_offset`.
    """
    warnings: list[str] = []
    reference = native or reference_of(case, source)
    scans = {kind: read_scan(path, kind, warnings.append) for kind, path in case.scans.items()}
    grid = scans[reference] if native else one_millimetre(scans[reference])
    transforms: dict[Modality, sitk.Transform] = {reference: sitk.Transform(3, sitk.sitkIdentity)}
    offsets: dict[Modality, float] = {}
    covered = np.ones(grid.GetSize()[::-1], bool)
    for kind, scan in scans.items():
        if kind == reference:
            continue
        start = given_transform(case, reference, kind)
        if source.registration == "none":
            _same_place(case, reference, kind, overlap(grid, scan, start))
        try:
            found = register(scans[reference], scan, source.registration, start)
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise ConfigError(f"{case.name}: {kind} could not be registered to {reference} ({reason}).") from None
        transforms[kind] = found.transform
        inside = overlap(grid, scan, found.transform)
        _same_place(case, reference, kind, inside)
        covered &= inside
        if found.offset is None:
            warnings.append(f"{kind} and {reference} have too little in common to say whether they are in line.")
        elif found.offset > source.largest_offset:
            how = "Ask for `registration: rigid`" if source.registration == "none" else "Leave the case out"
            raise ConfigError(
                f"{case.name}: {kind} is {found.offset:.1f} mm out of line with {reference}"
                f"{', after registration too' if source.registration != 'none' else ''}. {how}, or raise `largest_offset`."
            )
        else:
            offsets[kind] = found.offset
    images = {kind: onto(grid, scan, transforms[kind], outside=nothing(kind)) for kind, scan in scans.items()}
    brain, body = _brain_and_body(case, source, reference, scans[reference], images, warnings)
    labels = _labels(case, grid, reference)
    return LoadedCase(case, reference, images, covered, brain, body, labels, offsets, transforms, tuple(warnings))


def _same_place(case: CaseFiles, reference: Modality, kind: Modality, inside: NDArray[np.bool_]) -> None:
    """Refuse a scan that covers too little of the reference."""
    if inside.mean() < ENOUGH:
        raise ConfigError(
            f"{case.name}: {kind} covers only {inside.mean():.0%} of {reference}, so their grids do not belong together. "
            "Check that both files are of this person; if their headers are of two sessions, ask for `registration: rigid`."
        )


def _mask_on(case: CaseFiles, grid: sitk.Image, transform: sitk.Transform) -> NDArray[np.bool_]:
    assert case.mask is not None
    inside: NDArray[np.bool_] = sitk.GetArrayFromImage(onto(grid, read_mask(case.mask), transform, mask=True)) > 0
    if not inside.any():
        raise ConfigError(f"{case.name}: the mask {case.mask} has nothing on the scan's grid. Is it of this scan?")
    return inside


def _brain_and_body(
    case: CaseFiles,
    source: Source,
    reference: Modality,
    scan: sitk.Image,
    images: Mapping[Modality, sitk.Image],
    warnings: list[str],
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """The brain and the body on the case's grid, each None where it is not known."""
    grid, brain, body = images[reference], None, None
    if case.mask is not None:
        shown = _mask_on(case, grid, _to_common(case, reference, case.from_mask))
        brain, body = (shown, None) if case.mask_shows == "brain" else (None, shown)
    wanted = source.brain
    if wanted == "none":
        return None, body
    voxel = float(np.prod(grid.GetSpacing()))
    if brain is not None and is_too_large(case, source, brain, grid, warnings.append):
        brain = None
    if wanted in ("auto", "mask") and brain is not None:
        return brain, body
    if wanted == "mask":
        raise ConfigError(f"{case.name} has no brain mask. Put one beside the scans, or ask for `brain: template`.")
    if wanted in ("auto", "nonzero"):
        filled = np.logical_and.reduce([sitk.GetArrayViewFromImage(image) != nothing(k) for k, image in images.items()])
        volume = filled.sum() * voxel
        if wanted == "nonzero" or ((~filled).mean() > STRIPPED and volume < LARGEST_BRAIN):
            return largest(filled), body
    return brain_of_template(scan, grid, warnings.append), body


def is_too_large(
    case: CaseFiles, source: Source, brain: NDArray[np.bool_], grid: sitk.Image, warn: Callable[[str], None]
) -> bool:
    """Whether a brain mask on a grid has the skull in it, which is said. Raises ConfigError where it must be used."""
    litres = brain.sum() * float(np.prod(grid.GetSpacing())) / 1e6
    if litres <= LARGEST_BRAIN / 1e6:
        return False
    size = f"The brain mask {case.mask} has {litres:.2f} litres, more than a brain"
    if source.brain == "mask":
        raise ConfigError(f"{case.name}: {size}. Ask for `brain: template`.")
    warn(f"{size}; the template took its place.")
    return True


def brain_of_template(scan: sitk.Image, grid: sitk.Image, warn: Callable[[str], None]) -> NDArray[np.bool_]:
    """The brain on a grid in a scan's space, by the template registered to the scan."""
    fitted = fit_template(scan)
    if fitted.agreement < 0.2:
        warn(f"The template fits badly (agreement {fitted.agreement:.2f}), so the brain mask may be off.")
    inside: NDArray[np.bool_] = sitk.GetArrayFromImage(fitted.brain(grid)) > 0
    return inside


def largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part of a mask, its holes filled: a few zeros and negatives lie within a stripped brain."""
    parts, count = ndimage.label(mask)
    if count > 1:
        mask = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(mask)
    return filled


def _labels(case: CaseFiles, grid: sitk.Image, reference: Modality) -> NDArray[np.bool_] | None:
    """The lesion or tumor on the case's grid; labels lie in the case's common space."""
    if case.labels is None:
        return None
    labels = onto(grid, read_mask(case.labels), _to_common(case, reference), mask=True)
    inside: NDArray[np.bool_] = sitk.GetArrayFromImage(labels) > 0
    return inside


def even_out(image: sitk.Image, mask: NDArray[np.bool_], warnings: list[str]) -> sitk.Image:
    """An MR scan divided by its bias field (N4 as the engine has it, on a grid of about 4 mm, within the mask)."""
    shrink = max(1, round(4 / min(image.GetSpacing())))
    op = N4(op="n4", shrink=shrink, iterations=(40, 40, 30))
    positive = sitk.Clamp(image, sitk.sitkFloat32, 0.0)
    return n4(positive, on_grid_of(image, mask.astype(np.uint8)), op, warnings)
