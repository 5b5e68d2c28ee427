"""A picture for a person who reads scans: source, synthetic of each model, real, and errors, in three planes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.compare import default_mask
from modality_conversion.grid import on_grid_of
from training.evaluation.measure import Measured, Task, on_one_scale

HU_SHOWN = (-60.0, 140.0)
"""Window of CT in the pictures: fluid, brain and muscle apart, fat and air black, bone white."""
HU_ERROR = 200.0
"""Error in HU that is full red or blue."""
MR_ERROR = 0.4
"""The same for MR, as a fraction of the scaled range."""
MARGIN = 12.0
"""mm shown around the head."""


@dataclass(frozen=True)
class Slices:
    """What a picture needs of a case: three planes of each column; float16, so that hundreds of cases fit into memory."""

    grey: Mapping[str, Sequence[NDArray[np.float16]]]
    """By column title; 0 is black and 1 is white."""
    error: Mapping[str, Sequence[NDArray[np.float16]]]
    """By column title; -1 is full blue, too dark, and 1 full red, too bright."""
    aspects: tuple[float, float, float]
    """Height of a pixel over its width, by plane."""

    def of_model(self, model: str, models: Collection[str]) -> "Slices":
        """Without the columns of the other models."""
        others = tuple(f", {other}" for other in models if other != model)

        def mine(
            columns: Mapping[str, Sequence[NDArray[np.float16]]],
        ) -> dict[str, Sequence[NDArray[np.float16]]]:
            return {title: planes for title, planes in columns.items() if not title.endswith(others)}

        return Slices(mine(self.grey), mine(self.error), self.aspects) if others else self


def _array(image: sitk.Image) -> NDArray[np.float32]:
    """(z, y, x) in RAS, as float32."""
    array: NDArray[np.float32] = sitk.GetArrayFromImage(sitk.DICOMOrient(image, "RAS")).astype(np.float32)
    return array


def take_slices(task: Task, results: Mapping[str, Measured]) -> Slices:
    """Three planes through the largest lesion that the models were asked about, or through the middle of the brain."""
    truth = _array(task.truth)
    inside = _array(task.brain) > 0 if task.brain is not None else truth > np.percentile(truth, 50)
    middle = _middle(task, results, inside)
    box = _box(task)

    def cut(volume: NDArray[np.floating]) -> list[NDArray[np.float16]]:
        return [np.take(volume, middle[axis], axis)[_without(box, axis)].astype(np.float16) for axis in range(3)]

    def seen(volume: NDArray[np.float32], hounsfield: bool) -> NDArray[np.float32]:
        low, high = HU_SHOWN if hounsfield else np.percentile(volume[inside], (0.5, 99.5))
        low = low if hounsfield else min(low, 0.0)
        return np.clip((volume - low) / max(high - low, 1e-6), 0, 1)

    grey = {f"{name} (source)": cut(seen(_array(scan), name == "CT")) for name, scan in task.scans.items()}
    errors = {}
    for name, result in results.items():
        grey[f"SYNTHETIC {task.direction.target}, {name}"] = cut(seen(_array(result.synthetic), task.in_hu))
        errors[f"error, {name}"] = cut(_error(task, result.synthetic))
    grey[f"{task.direction.target} ({'real' if task.case.real else 'simulated'})"] = cut(seen(truth, task.in_hu))
    (first, *others) = results.values()
    if first.deviation is not None and not others:
        deviation = _array(first.deviation)
        top = float(np.percentile(deviation[inside], 99.5)) or 1.0
        grey["deviation stated"] = cut(np.clip(deviation / top, 0, 1))
    z, y, x = sitk.DICOMOrient(task.truth, "RAS").GetSpacing()[::-1]
    return Slices(grey, errors, (y / x, z / x, z / y))


def _error(task: Task, synthetic: sitk.Image) -> NDArray[np.float32]:
    """From -1, far too dark, to 1, far too bright, (z, y, x) in RAS; 0 where neither scan shows anything."""
    real, made = on_one_scale(task, synthetic)
    error = (made - real) / (HU_ERROR if task.in_hu else MR_ERROR)
    if not task.in_hu:  # of what the fit adds to air, nothing is seen
        error[~(default_mask(task.truth, False)[0] | default_mask(synthetic, False)[0])] = 0
    return np.clip(_array(on_grid_of(task.truth, error.astype(np.float32))), -1, 1)


def _middle(task: Task, results: Mapping[str, Measured], inside: NDArray[np.bool_]) -> tuple[int, int, int]:
    """The voxel, (z, y, x) in RAS, that the planes go through."""
    figures = next(iter(results.values())).row.get("lesions", {})
    shown = [lesion for lesion in figures.get("lesions", ()) if lesion["shown"]]
    oriented = sitk.DICOMOrient(task.truth, "RAS")
    if shown:
        k, j, i = shown[0]["centre"]
        index = oriented.TransformPhysicalPointToIndex(task.truth.TransformIndexToPhysicalPoint((i, j, k)))
        return int(index[2]), int(index[1]), int(index[0])
    z, y, x = np.argwhere(inside).mean(0).astype(int)
    beside = int(10 / oriented.GetSpacing()[0])  # a little to the right of the gap between the halves
    return int(z), int(y), int(min(x + beside, inside.shape[2] - 1))


def _box(task: Task) -> tuple[slice, slice, slice]:
    """The part that shows something, with a margin."""
    source = _array(next(iter(task.scans.values())))
    low, high = np.percentile(source, (2, 98))
    place = np.argwhere(source > low + 0.1 * (high - low))
    margins = [int(MARGIN / step) for step in sitk.DICOMOrient(task.truth, "RAS").GetSpacing()[::-1]]
    if not len(place):
        return (slice(None),) * 3
    first, last = place.min(0), place.max(0)
    z, y, x = (slice(max(0, int(a) - m), int(b) + m + 1) for a, b, m in zip(first, last, margins, strict=True))
    return z, y, x


def _without(box: tuple[slice, slice, slice], axis: int) -> tuple[slice, slice]:
    first, second = (part for other, part in enumerate(box) if other != axis)
    return first, second


def save_picture(slices: Slices, title: str, path: Path) -> None:
    """Write a PNG: one row a plane, one column a volume; then the errors of each model in blue and red."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = [(name, planes, "gray", 0) for name, planes in slices.grey.items()]
    columns += [(name, planes, "RdBu_r", -1) for name, planes in slices.error.items()]
    heights = [
        max(planes[axis].shape[0] * slices.aspects[axis] / planes[axis].shape[1] for _, planes, _, _ in columns)
        for axis in range(3)
    ]
    wide = 3.2
    figure, axes = plt.subplots(
        3,
        len(columns),
        figsize=(wide * len(columns), wide * sum(heights) + 0.7),
        gridspec_kw={"height_ratios": heights, "wspace": 0.02, "hspace": 0.02},
        facecolor="black",
        squeeze=False,
    )
    for axis, row in enumerate(axes):
        for place, (name, planes, colours, low) in zip(row, columns, strict=True):
            plane = planes[axis].astype(np.float32)
            place.imshow(plane, cmap=colours, vmin=low, vmax=1, origin="lower", aspect=slices.aspects[axis])
            place.axis("off")
            if axis == 0:
                place.set_title(name, color="white", fontsize=11)
    top = 1 - 0.6 / (wide * sum(heights) + 0.7)
    figure.suptitle(title, color="white", fontsize=12, y=0.995, va="top")
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=top)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70, facecolor="black")
    plt.close(figure)
