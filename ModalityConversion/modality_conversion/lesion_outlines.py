"""Outlines of lesions on one scan, by an installed model that segments it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .grid import on_grid_of
from .labels import lesion_values
from .modality import Modality
from .progress import Progress
from .segment import segment
from .sources import why_unfit

if TYPE_CHECKING:
    from .bundle import Bundle
    from .catalog import Catalog


@dataclass(frozen=True)
class Outlines:
    """Lesions of one scan."""

    image: sitk.Image
    """uint8, 1 where there is a lesion, on the scan's grid."""
    model: str
    """Id and version of the model."""


def outliners(catalog: Catalog, modality: Modality, model: str | None = None) -> list[Bundle]:
    """The models that outline lesions on one scan of a modality alone, best first; only the one named where one is, and else
    none that wants to be named (`segmentation.check_lesions`).

    Raises ConversionError where there is no model of that name.
    """
    if model is None:
        candidates = [bundle for bundle in catalog.segmenters(modality) if _unasked(bundle)]
    else:
        candidates = [catalog.get(model)]
    return [
        bundle for bundle in candidates if why_unfit(bundle.spec, [modality], None) is None and _lesion_values(bundle)
    ]


def outline(
    scan: sitk.Image,
    modality: Modality,
    bundle: Bundle,
    *,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Outlines:
    """Outline the lesions of a scan. Raises as `segment` does."""
    done = segment({modality: scan}, bundle, device=device, progress=progress, cancel=cancel)
    found = np.isin(sitk.GetArrayViewFromImage(done.image), _lesion_values(bundle))
    return Outlines(on_grid_of(scan, found.astype(np.uint8)), f"{bundle.spec.id} {bundle.spec.version}")


def _unasked(bundle: Bundle) -> bool:
    return bundle.spec.segmentation is not None and bundle.spec.segmentation.check_lesions


def _lesion_values(bundle: Bundle) -> list[int]:
    declared = bundle.spec.segmentation
    return lesion_values(declared.labels) if declared is not None else []
