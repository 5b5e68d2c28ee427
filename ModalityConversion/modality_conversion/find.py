"""The first of two stages: a coarse look at the whole scan that finds where there is anything to segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from .account import Account
from .channels import LabelChannels
from .clean_up import parts_of
from .ensemble import Opener
from .labels import activated, finite
from .modality import Modality
from .pipeline import run_model
from .prepare import Prepared
from .progress import Reporter

if TYPE_CHECKING:
    from .bundle import Bundle
    from .schema import Find


@dataclass(frozen=True)
class Found:
    """Where to segment."""

    within: np.ndarray
    """What was found and the margin around it: bool, (k, j, i), on the first scan's grid."""
    parts: int
    """How many connected parts were found."""
    volume_ml: float
    """Their volume on the coarse grid."""
    source: sitk.Image
    """The first scan."""
    sources: tuple[Modality, ...]
    account: Account

    @property
    def as_told(self) -> dict[str, Any]:
        """For the report."""
        return {"parts": self.parts, "volume_ml": round(self.volume_ml, 3)}


def find(
    images: Mapping[Modality, sitk.Image] | Mapping[str, sitk.Image],
    finder: Bundle,
    declared: Find,
    *,
    device: str,
    mask: sitk.Image | None,
    cancel: Callable[[], bool] | None,
    opener: Opener,
) -> Found:
    """Run the stage that finds: `finder` is `Bundle.finder`, `declared` its section. Raises as `segment` does."""

    def finish(channels: np.ndarray, prepared: Prepared, reporter: Reporter) -> tuple[np.ndarray, int, float]:
        probable = activated(finite(channels, finder.spec), declared.activation)[0]
        if prepared.mask is not None:
            probable = np.where(prepared.mask, probable, 0)
        reporter.check()
        near, parts, volume_ml = around(probable > declared.threshold, declared)
        return prepared.grid_map.inverse_linear(near.astype(np.float32)) > 0.5, parts, volume_ml

    segmentation = finder.spec.segmentation
    assert segmentation is not None  # `ConversionSpec.finder` makes one
    done = run_model(
        images,
        finder,
        None,
        LabelChannels.of(segmentation),
        finish,
        device=device,
        mask=mask,
        progress=None,
        cancel=cancel,
        opener=opener,
    )
    within, parts, volume_ml = done.result
    return Found(within, parts, volume_ml, done.source, done.sources, done.account)


def around(found: np.ndarray, declared: Find) -> tuple[np.ndarray, int, float]:
    """The parts of a coarse mask that are large enough, with the margin around them; their number and volume in mL."""
    spacing = declared.geometry.spacing
    assert spacing is not None  # the schema requires it
    sides = [float(side or 0) for side in spacing]
    voxel_ml = float(np.prod(sides)) / 1000
    parts = parts_of(found, fully=True)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = (sizes > 0) & (sizes * voxel_ml >= declared.smallest_ml)
    inside = kept[parts]
    if not inside.any():
        return inside, 0, 0.0
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing(sides[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    near = sitk.GetArrayViewFromImage(distance) <= declared.margin_mm
    return near | inside, int(kept.sum()), float(sizes[kept].sum() * voxel_ml)
