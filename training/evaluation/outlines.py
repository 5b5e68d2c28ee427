"""How well a model outlines what it segments, on one case: overlap, distance of surfaces, what was found and what is false."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from numpy.typing import NDArray
from scipy import ndimage

from modality_conversion.bundle import Bundle
from modality_conversion.modality import Modality
from modality_conversion.segment import segment
from training.data.cases import PackedCase
from training.data.structures import HEAD, TUMOR, Structures
from training.evaluation.cases import from_packed
from training.evaluation.settings import OutlineSettings

HEAD_CODE = ("SCT", "69536005")
NEAR = 8
"""Voxels around both outlines in which surfaces are looked at: nothing further away matters."""
ALL_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Task:
    """What a bundle is measured for: regions, outermost first, each with the label values that make it up."""

    structures: Structures
    values: Mapping[str, tuple[int, ...]]
    agent: tuple[str, ...] = ()
    """Regions that only a scan after contrast agent shows."""

    @classmethod
    def of(cls, bundle: Bundle) -> "Task":
        """By the coded meaning of the first label: the head, else a tumor with its labels from the outside in."""
        declared = bundle.spec.segmentation
        if declared is None:
            raise ValueError(f"{bundle.spec.id} does not segment.")
        kind, values = declared.labels[0].terminology.type, [label.value for label in declared.labels]
        if (kind.scheme, kind.value) == HEAD_CODE:
            return cls(HEAD, {"head": tuple(values[:1])})
        names = TUMOR.names[: len(values)]
        return cls(TUMOR, {name: tuple(values[n:]) for n, name in enumerate(names)}, ("enhancing",))


@dataclass(frozen=True)
class Outlined:
    """The figures of one case, ready for JSON, and its maps for the pictures, (z, y, x)."""

    row: dict[str, Any]
    truth: NDArray[np.bool_]
    labels: NDArray[np.integer]
    scan: NDArray[np.float32]


def outline_case(
    bundle: Bundle, task: Task, case: PackedCase, scans: Sequence[Modality], settings: OutlineSettings, device: str
) -> Outlined:
    """Segment these scans of a case and compare with its truth."""
    images = {modality: from_packed(case).scans[modality].image for modality in scans}
    done = segment(images, bundle, device=device)
    labels = sitk.GetArrayFromImage(done.image)
    truth = task.structures.masks(case, np.asarray)
    spacing = [float(step) for step in case.about["spacing"]]
    voxel_ml = float(np.prod(spacing)) / 1000
    regions = {}
    for name, mask in zip(task.structures.names, truth, strict=True):
        if name in task.values and (name not in task.agent or Modality.T1CE in scans):
            regions[name] = region_figures(mask, np.isin(labels, task.values[name]), spacing)
    outermost = np.isin(labels, next(iter(task.values.values())))
    row = {
        "model": bundle.spec.id,
        "scans": "+".join(map(str, scans)),
        "case": case.name,
        "person": case.person,
        "real": case.about["origin"] != "simulated",
        "regions": regions,
        "parts": part_figures(truth[0], outermost, voxel_ml, settings),
        "seconds": done.report["seconds"].get("total"),
        "warnings": done.report["warnings"],
    }
    first = sitk.GetArrayFromImage(next(iter(images.values()))).astype(np.float32)
    return Outlined(row, truth, labels, first)


def region_figures(truth: NDArray[np.bool_], mine: NDArray[np.bool_], spacing: Sequence[float]) -> dict[str, Any]:
    """`dice`; `surface` (mean symmetric surface distance) and `hausdorff95` in mm, by MONAI; volumes in mL.

    None where there is nothing to compare: no Dice of two empty masks, no distance unless both are there.
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    both, sums = int((truth & mine).sum()), int(truth.sum() + mine.sum())
    found: dict[str, Any] = {
        "dice": 2 * both / sums if sums else None,
        "surface": None,
        "hausdorff95": None,
        "truth_ml": float(truth.sum()) * voxel_ml,
        "model_ml": float(mine.sum()) * voxel_ml,
    }
    if truth.any() and mine.any():
        box = _box(truth | mine)
        own, real = (torch.from_numpy(mask[box].astype(np.float32))[None, None] for mask in (mine, truth))
        sides = list(spacing)
        surface = compute_average_surface_distance(own, real, include_background=True, symmetric=True, spacing=sides)
        hausdorff = compute_hausdorff_distance(own, real, include_background=True, percentile=95, spacing=sides)
        found |= {"surface": float(surface), "hausdorff95": float(hausdorff)}
    return found


def part_figures(
    truth: NDArray[np.bool_], mine: NDArray[np.bool_], voxel_ml: float, settings: OutlineSettings
) -> dict[str, Any]:
    """Connected parts: of each true one its volume and whether it was found; of false ones their number and volume.

    A true part is found if at least `overlap` of it is outlined; a part of the model's is false if no true voxel lies in it.
    Parts of either kind count from `smallest` mL on; the volume is that of all false ones, smaller ones too.
    """
    parts, count = ndimage.label(truth, ALL_TOUCHING)
    there = []
    for number in range(1, count + 1):
        inside = parts == number
        volume = float(inside.sum()) * voxel_ml
        if volume >= settings.smallest:
            there.append({"ml": volume, "found": float(mine[inside].mean()) >= settings.overlap})
    own, number_own = ndimage.label(mine, ALL_TOUCHING)
    true_ones = np.unique(own[truth & mine])
    sizes = np.bincount(own.ravel(), minlength=number_own + 1).astype(float) * voxel_ml
    sizes[0] = 0
    sizes[true_ones] = 0
    false = sizes[sizes >= settings.smallest]
    return {"there": there, "false": len(false), "false_ml": float(sizes.sum())}


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(part.start - NEAR, 0), part.stop + NEAR) for part in found)
