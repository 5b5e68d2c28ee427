"""Self-consistency: convert the synthetic scan back and see where that disagrees with the scan it was made from.

Disagreement marks places where something was lost on the way or made up. Agreement proves nothing: a network can hide in
an image what it needs to get back (Chu et al., CycleGAN, a Master of Steganography, 2017), and two directions trained
together can share a mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from . import metrics
from .backends import open_backend
from .compare import default_mask
from .convert import Conversion, convert
from .ensemble import Opener
from .errors import ConversionError
from .grid import on_grid_of
from .modality import Modality
from .progress import Progress
from .same_grid import check_together
from .sources import why_unfit

if TYPE_CHECKING:
    from .bundle import Bundle
    from .catalog import Catalog

_LARGE, _LARGE_HU = 0.2, 100.0
"""A disagreement that a reader should look at: of the scaled range, and for CT in HU."""


@dataclass(frozen=True)
class Consistency:
    """How far a scan and what came back from its conversion disagree."""

    disagreement: sitk.Image
    """Back minus source, float32, on the source's grid; MR after scaling both to [0, 1] and one affine fit, CT in HU."""
    back: Conversion
    """The conversion back."""
    units: str
    """`of the scaled range` or `HU`."""
    mean: float
    """Mean absolute disagreement in the foreground."""
    p95: float
    """Its 95th percentile there."""
    share: float
    """Share of the foreground where it is large."""
    large: float
    """What counts as large."""
    mask: str
    """Where it was taken, in words."""

    @property
    def verdict(self) -> str:
        """One line."""
        number = f"{self.mean:.3f}" if self.units != "HU" else f"{self.mean:.0f}"
        limit = f"{self.large:g} {self.units}"
        return (
            f"Converted back, it differs from the source by {number} {self.units} on average; "
            f"{self.share:.1%} of the {self.mask} by more than {limit}. Agreement does not prove that it is right."
        )

    def as_dict(self) -> dict[str, Any]:
        """For the report, without the map."""
        model = self.back.report["model"]
        return {
            "verdict": self.verdict,
            "units": self.units,
            "mean_absolute": self.mean,
            "p95_absolute": self.p95,
            "share_large": self.share,
            "large": self.large,
            "mask": self.mask,
            "model": {key: model[key] for key in ("id", "version", "sha256")},
            "seconds": self.back.report["seconds"]["total"],
            "warnings": self.back.report["warnings"],
        }


def reverse_model(catalog: Catalog, bundle: Bundle, source: Modality, target: Modality) -> Bundle | None:
    """A model that makes `source` of one `target` scan: the same one if it can, else the best installed; None if none."""
    for candidate in (bundle, *catalog.find(target, source)):
        if why_unfit(candidate.spec, [target], source) is None:
            return candidate
    return None


def require_reverse(catalog: Catalog, bundle: Bundle, source: Modality, target: Modality) -> Bundle:
    """As `reverse_model`; raises ConversionError where there is none."""
    found = reverse_model(catalog, bundle, source, target)
    if found is None:
        raise ConversionError(f"No installed model makes {source} from {target}, so nothing can be converted back.")
    return found


def check_consistency(
    source: sitk.Image,
    synthetic: sitk.Image,
    bundle: Bundle,
    *,
    source_modality: Modality,
    target: Modality,
    mask: sitk.Image | None = None,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    opener: Opener = open_backend,
) -> Consistency:
    """Convert `synthetic` back with `bundle` and compare with `source`, both on one grid.

    `mask` is for a model that takes one, as in `convert`. Raises ConversionError as `convert` does, Cancelled when `cancel`
    said so.
    """
    check_together(source, {"synthetic scan": synthetic}, "source scan", "the source scan's")
    back = convert(
        {target: synthetic},
        bundle,
        target=source_modality,
        device=device,
        mask=mask if bundle.spec.mask.use != "none" else None,
        uncertainty=False,
        progress=progress,
        cancel=cancel,
        opener=opener,
    )
    return _compared(source, back, is_ct=source_modality in (Modality.CT, Modality.CBCT))


def _compared(source: sitk.Image, back: Conversion, *, is_ct: bool) -> Consistency:
    """Where what came back differs from the source. Raises ConversionError where the source shows nothing."""
    inside, where = default_mask(source, is_ct)
    first = sitk.GetArrayViewFromImage(source).astype(np.float64)
    second = sitk.GetArrayViewFromImage(back.image).astype(np.float64)
    numbers = np.isfinite(first)
    inside = inside & numbers
    if not inside.any():
        raise ConversionError("No foreground was found in the source scan, so nothing can be compared.")
    first = np.where(numbers, first, first[numbers].min())
    if not is_ct:
        first, second = (metrics.percentile_scale(volume, inside) for volume in (first, second))
        second = metrics.affine_fit(first, second, inside).apply(second)
    difference = second - first
    difference[~inside] = 0
    sizes = np.abs(difference[inside])
    large = _LARGE_HU if is_ct else _LARGE
    return Consistency(
        on_grid_of(source, difference.astype(np.float32)),
        back,
        "HU" if is_ct else "of the scaled range",
        float(sizes.mean()),
        float(np.percentile(sizes, 95)),
        float(np.mean(sizes > large)),
        large,
        "source scan's foreground" if "foreground" in where else "body" if "body" in where else "brain",
    )
