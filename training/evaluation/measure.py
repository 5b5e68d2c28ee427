"""One model on one case in one direction: converted by the engine, compared by the engine's protocols.

An MR target is scored by `slices` in the brain, and once more in the whole head where there is one, whose figures are for
the regions: bone, soft tissue, brain, lesions. A CT target is scored in HU by both SynthRAD protocols in the body. Figures
of different protocols or masks are never put together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion import metrics
from modality_conversion.bundle import Bundle
from modality_conversion.compare import compare, default_mask
from modality_conversion.convert import convert
from modality_conversion.grid import on_grid_of
from modality_conversion.metrics import Comparison, Scored
from modality_conversion.modality import Modality
from training.data.images import nothing
from training.data.regions import BRAIN_REGIONS, Region
from training.evaluation.base_lines import Figures, base_lines_in
from training.evaluation.cases import TestCase
from training.evaluation.directions import Direction
from training.evaluation.lesions import lesion_figures
from training.evaluation.settings import EvaluateSettings

REGION_NAMES = {
    Region.HEAD: "soft tissue",
    Region.BRAIN: "brain",
    Region.LESION: "lesion",
    Region.BONE: "bone",
    Region.TUMOR: "tumor",
}
BONE_HU = 250.0
"""A CT above this shows bone."""
WHOLE_HEAD = "slices, whole head"
"""The name under which the second comparison of an MR stands."""


@dataclass(frozen=True)
class Task:
    """A case in a direction, on the grid of the first scan: what goes in, what should come out, and where to look."""

    case: TestCase
    direction: Direction
    scans: Mapping[Modality, sitk.Image]
    truth: sitk.Image
    brain: sitk.Image | None
    """uint8, only where the truth was scanned; None where nobody knows."""
    regions: sitk.Image | None
    """Codes of `Region`, uint8, only where the truth was scanned."""

    @property
    def in_hu(self) -> bool:
        """Whether the target is in Hounsfield units."""
        return self.direction.target in (Modality.CT, Modality.CBCT)


def make_task(case: TestCase, direction: Direction) -> Task | None:
    """Everything on the grid of the direction's first scan; None where the truth shows nothing of the brain there."""
    first = case.scans[direction.sources[0]]
    truth = case.truths[direction.target]
    covered = sitk.GetArrayFromImage(truth.covers(first)) > 0
    brain = regions = None
    if case.regions is not None:
        codes = sitk.GetArrayFromImage(case.regions.on(first, labels=True)) * covered
        inside = np.isin(codes, BRAIN_REGIONS)
        if not inside.any():
            return None
        brain = on_grid_of(first.image, inside.astype(np.uint8))
        regions = on_grid_of(first.image, codes.astype(np.uint8))
    scans = {name: case.scans[name].on(first, outside=nothing(name)) for name in direction.sources}
    wanted = truth.on(first, outside=nothing(direction.target))
    return Task(case, direction, scans, wanted, brain, regions)


@dataclass(frozen=True)
class BaseLines:
    """What the source itself and the oracle reach on a task. They do not depend on the model."""

    headline: Mapping[str, Scored]
    """In the first comparison, as `compare` has them."""
    regions: Mapping[str, Mapping[int, Figures]]
    """By comparison and region; region 0 is the comparison's whole mask."""


@dataclass(frozen=True)
class Measured:
    """The figures of one conversion, ready for JSON, and its volumes for the pictures."""

    row: dict[str, Any]
    base_lines: BaseLines
    synthetic: sitk.Image
    deviation: sitk.Image | None


def measure(bundle: Bundle, task: Task, settings: EvaluateSettings, base_lines: BaseLines | None = None) -> Measured:
    """Convert and compare. `base_lines`: those of an earlier model on the same task, which saves the time for them."""
    conversion = convert(task.scans, bundle, target=task.direction.target, device=settings.device)
    places = _places(task)
    headline = next(iter(places))
    comparisons: dict[str, Comparison] = {}
    for name, place in places.items():
        comparisons[name] = compare(
            task.truth,
            conversion.image,
            mask=place.mask,
            source=None if base_lines or name != headline else next(iter(task.scans.values())),
            protocol=name if task.in_hu else headline,
            regions=place.regions,
            region_names=_names(place.regions),
        )
    if base_lines is None:
        base_lines = BaseLines(comparisons[headline].base_lines, _in_regions(task, places))
    comparisons[headline] = replace(comparisons[headline], base_lines=base_lines.headline)
    row = {
        "model": bundle.spec.id,
        "direction": str(task.direction),
        "case": task.case.name,
        "real": task.case.real,
        "seconds": conversion.report["seconds"].get("total"),
        "protocol": headline,
        "comparisons": {
            name: _beside(comparison.as_dict(), base_lines.regions.get(name, {}))
            for name, comparison in comparisons.items()
        },
        "warnings": [
            *conversion.report["warnings"],
            *(text for comparison in comparisons.values() for text in comparison.warnings),
        ],
    }
    if task.in_hu:
        row["bone_dice"] = _dice(task, conversion.image)
    if task.brain is not None:
        row["lesions"] = _lesions(task, conversion.image, settings)
    if conversion.uncertainty is not None:
        row["error_correlation"] = _error_correlation(task, conversion.image, conversion.uncertainty)
    return Measured(row, base_lines, conversion.image, conversion.uncertainty)


@dataclass(frozen=True)
class _Place:
    """Where one comparison looks; a mask of None leaves it to `compare`."""

    mask: sitk.Image | None
    regions: sitk.Image | None


def _places(task: Task) -> dict[str, _Place]:
    """By comparison, the headline first. MR: the brain, with its lesions; then the whole head. CT: the body, twice."""
    if task.in_hu:
        return dict.fromkeys(("synthrad2023", "synthrad2025"), _body(task))
    found = {"slices": _Place(task.brain, _only(task.regions, (Region.LESION, Region.TUMOR)))}
    if task.case.whole_head and task.regions is not None:
        regions = _with_head(task)
        mask = on_grid_of(task.truth, (sitk.GetArrayViewFromImage(regions) > 0).astype(np.uint8))
        found[WHOLE_HEAD] = _Place(mask, regions)
    return found


def _body(task: Task) -> _Place:
    body, _ = default_mask(task.truth, is_ct=True)
    mask = on_grid_of(task.truth, body.astype(np.uint8))
    regions = None
    if task.regions is not None:
        codes = sitk.GetArrayFromImage(task.regions) * body
        regions = on_grid_of(task.truth, codes) if codes.any() else None
    return _Place(mask, regions)


def _in_regions(task: Task, places: Mapping[str, _Place]) -> dict[str, dict[int, Figures]]:
    """The base lines of every comparison whose regions are known; synthrad2025 has the regions of synthrad2023."""
    real, source = (sitk.GetArrayViewFromImage(image) for image in (task.truth, next(iter(task.scans.values()))))
    found = {}
    for name, place in places.items():
        if place.mask is None or place.regions is None or name == "synthrad2025":
            continue
        inside = sitk.GetArrayViewFromImage(place.mask) > 0
        codes = sitk.GetArrayViewFromImage(place.regions)
        parts = {0: inside} | {int(code): codes == code for code in np.unique(codes) if code}
        found[name] = base_lines_in(real, source, inside, parts, name if task.in_hu else "slices")
    return found


def _beside(comparison: dict[str, Any], base_lines: Mapping[int, Figures]) -> dict[str, Any]:
    """A comparison ready for JSON, the base lines set beside the model in its whole mask and in its regions."""
    if not comparison["base_lines"] and 0 in base_lines:
        comparison["base_lines"] = base_lines[0]
    for region in comparison["regions"]:
        if region["value"] in base_lines:
            region["base_lines"] = base_lines[region["value"]]
    return comparison


def _names(regions: sitk.Image | None) -> dict[int, str] | None:
    return None if regions is None else {int(code): name for code, name in REGION_NAMES.items()}


def _only(regions: sitk.Image | None, codes: tuple[Region, ...]) -> sitk.Image | None:
    """A map of these regions alone; None where there is none of them."""
    if regions is None:
        return None
    array = sitk.GetArrayFromImage(regions)
    array[~np.isin(array, codes)] = Region.BACKGROUND
    return on_grid_of(regions, array) if array.any() else None


def _with_head(task: Task) -> sitk.Image:
    """The map of regions; where it knows the brain alone, the rest of the real scan's foreground is soft tissue."""
    assert task.regions is not None
    codes = sitk.GetArrayFromImage(task.regions)
    if not np.isin(codes, (Region.HEAD, Region.BONE)).any():
        codes[default_mask(task.truth, is_ct=False)[0] & (codes == Region.BACKGROUND)] = Region.HEAD
    return on_grid_of(task.truth, codes)


def _dice(task: Task, synthetic: sitk.Image) -> float | None:
    """Dice of what is above `BONE_HU`, in the body; None where the real scan has no such voxel."""
    body, _ = default_mask(task.truth, is_ct=True)
    real, made = (sitk.GetArrayViewFromImage(image)[body] > BONE_HU for image in (task.truth, synthetic))
    return 2 * int((real & made).sum()) / int(real.sum() + made.sum()) if real.any() else None


def on_one_scale(task: Task, synthetic: sitk.Image) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The real and the synthetic scan on one scale: CT as they are; MR as `slices` scales them, after the affine fit."""
    real, made = (sitk.GetArrayFromImage(image).astype(np.float64) for image in (task.truth, synthetic))
    if task.in_hu:
        return real, made
    inside = default_mask(task.truth)[0] if task.brain is None else sitk.GetArrayViewFromImage(task.brain) > 0
    real, made = (metrics.percentile_scale(volume, inside) for volume in (real, made))
    return real, metrics.affine_fit(real, made, inside).apply(made)


def _lesions(task: Task, synthetic: sitk.Image, settings: EvaluateSettings) -> dict[str, Any]:
    assert task.brain is not None
    assert task.regions is not None
    real, made = on_one_scale(task, synthetic)
    codes = sitk.GetArrayViewFromImage(task.regions)
    return lesion_figures(
        real,
        made,
        np.isin(codes, (Region.LESION, Region.TUMOR)),
        sitk.GetArrayViewFromImage(task.brain) > 0,
        task.truth.GetSpacing()[::-1],
        settings.lesions,
        hounsfield=task.in_hu,
    )


def _error_correlation(task: Task, synthetic: sitk.Image, deviation: sitk.Image) -> float | None:
    """Pearson correlation of the deviation that the model states with the error that it makes, in the brain or body."""
    real, made = on_one_scale(task, synthetic)
    inside = default_mask(task.truth)[0] if task.brain is None else sitk.GetArrayViewFromImage(task.brain) > 0
    stated, error = sitk.GetArrayViewFromImage(deviation)[inside], np.abs(made - real)[inside]
    # A deviation that is the same everywhere, but for rounding, knows nothing.
    if any(values.std() <= 1e-6 * np.abs(values).max() for values in (stated, error)):
        return None
    return float(np.corrcoef(stated, error)[0, 1])
