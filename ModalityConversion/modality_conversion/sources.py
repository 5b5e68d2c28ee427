"""The scans of one conversion: accepted or refused, cleaned, and brought onto one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .errors import ConversionError
from .grid import grid_differences, on_grid_of
from .image_io import check_image
from .modality import Modality
from .nifti import place_unknown

if TYPE_CHECKING:
    from .schema import ConversionSpec

# A few voxels out of range are metal, noise or padding; more than this means other units or another kind of scan.
_OUT_OF_RANGE = 0.01


def accept(
    images: Mapping[Modality, sitk.Image], spec: ConversionSpec, target: Modality | None, warnings: list[str]
) -> dict[Modality, sitk.Image]:
    """The scans, float32, all on the first one's grid, in the caller's order.

    Values that are not finite become the scan's smallest value; `warnings` gets a line for each thing the user should know.
    Raises ConversionError, with the reason, for whatever the model was not made for.
    """
    reason = why_unfit(spec, list(images), target)
    if reason:
        raise ConversionError(reason)
    accepted: dict[Modality, sitk.Image] = {}
    for modality, image in images.items():
        check_image(image, f"The {modality} scan")
        if place_unknown(image):
            warnings.append(
                f"The header of the {modality} scan does not say how it lies in space (NIfTI without qform and sform). "
                "Its place is a guess, and left and right may be exchanged: check them."
            )
        accepted[modality] = _cleaned(image, modality, warnings)
        _check_range(accepted[modality], modality, spec)
    return _on_one_grid(accepted, warnings)


def why_unfit(spec: ConversionSpec, given: Sequence[Modality], target: Modality | None) -> str | None:
    """Why a model cannot make `target` from scans of these modalities, with what to do; None if it can.

    A `target` of None is a segmentation.
    """
    if target is None and spec.segmentation is None:
        return does_not_segment(spec)
    if target is not None and target not in spec.targets:
        made = ", ".join(spec.targets) or "no image; it only segments"
        return f"{spec.id} does not make {target}. It makes {made}."
    if not given:
        return "No scan was given. Give at least one."
    for modality in given:
        if modality not in spec.modalities:
            accepted = ", ".join(spec.modalities)
            return f"{spec.id} was not made for {modality}. It takes {accepted}. Choose another model."
    joint = [declared for declared in spec.inputs if declared.modality is not None]
    if not joint and len(given) > 1:
        return f"{spec.id} takes one scan, but {len(given)} were given ({', '.join(given)}). Give one."
    missing = [d.modality for d in joint if d.modality and d.missing == "error" and d.modality not in given]
    if missing:
        return f"{spec.id} needs {', '.join(missing)} too. Add --input {missing[0]}=FILE."
    return None


def does_not_segment(spec: ConversionSpec) -> str:
    """The reason for a model without a `segmentation`."""
    return f"{spec.id} does not segment; it makes {', '.join(spec.targets)}. Choose a model that does."


def _cleaned(image: sitk.Image, modality: Modality, warnings: list[str]) -> sitk.Image:
    """Finite float32 voxels. Background takes the place of what is not a number."""
    array = sitk.GetArrayViewFromImage(image)
    cleaned = image if image.GetPixelID() == sitk.sitkFloat32 else sitk.Cast(image, sitk.sitkFloat32)
    if array.dtype.kind == "f":
        finite = np.isfinite(sitk.GetArrayViewFromImage(cleaned))
        if not finite.any():
            raise ConversionError(f"The {modality} scan has values beyond 1e38, which no scanner gives. Rescale it.")
        if not finite.all():
            values = sitk.GetArrayFromImage(cleaned)
            values[~finite] = values[finite].min()
            cleaned = on_grid_of(image, values)
            warnings.append(
                f"{(~finite).sum()} voxels of the {modality} scan are not finite numbers; they were taken as background."
            )
    view = sitk.GetArrayViewFromImage(cleaned)
    if view.min() == view.max():
        warnings.append(f"The {modality} scan has the same value everywhere; the result says nothing.")
    return cleaned


def _ranges(spec: ConversionSpec, modality: Modality) -> list[tuple[float, float]] | None:
    """The declared ranges of a modality, or None where any value is accepted."""
    ranges = [source.value_range for source in spec.sources if source.modality == modality]
    return None if None in ranges else [declared for declared in ranges if declared is not None]


def _check_range(image: sitk.Image, modality: Modality, spec: ConversionSpec) -> None:
    ranges = _ranges(spec, modality)
    if not ranges:
        return
    array = sitk.GetArrayViewFromImage(image)
    # The lowest value often only fills the corners outside a round field of view.
    array = array[array > array.min()] if array.min() < array.max() else array
    share, (low, high) = min((float(((array < low) | (array > high)).mean()), (low, high)) for low, high in ranges)
    if share > _OUT_OF_RANGE:
        raise ConversionError(
            f"{share:.0%} of the {modality} scan lies outside {low:g} to {high:g}, the values {spec.id} was made for "
            f"(found {array.min():g} to {array.max():g}). Check that it is a {modality} in its own units."
        )


def _on_one_grid(images: dict[Modality, sitk.Image], warnings: list[str]) -> dict[Modality, sitk.Image]:
    first, *others = images
    reference = images[first]
    for modality in others:
        image = images[modality]
        if not grid_differences(reference, image):
            images[modality] = on_grid_of(reference, sitk.GetArrayViewFromImage(image))
            continue
        lowest = float(sitk.GetArrayViewFromImage(image).min())
        images[modality] = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear, lowest)
        covered = sitk.Resample(
            sitk.Cast(image * 0 + 1, sitk.sitkUInt8), reference, sitk.Transform(), sitk.sitkNearestNeighbor
        )
        share = float(sitk.GetArrayViewFromImage(covered).mean())
        if share == 0:
            raise ConversionError(f"The {modality} and the {first} scan lie in different places. Register them first.")
        warnings.append(
            f"The {modality} scan was resampled onto the grid of the {first} scan by their headers; "
            f"it covers {share:.0%} of it."
        )
    return images
