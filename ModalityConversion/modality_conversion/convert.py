"""One scan in, another out: the straight way through the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from .backends import open_backend
from .channels import ImageChannels
from .ensemble import Opener
from .errors import ConversionError
from .finish import finish
from .modality import Modality
from .pipeline import run_model
from .progress import Progress
from .report import build_report

if TYPE_CHECKING:
    from .bundle import Bundle


@dataclass(frozen=True)
class Conversion:
    """A synthetic scan. Not for diagnosis."""

    image: sitk.Image
    """On the source's own grid: size, spacing, origin and direction are the source's."""
    uncertainty: sitk.Image | None
    """One standard deviation, in the target's units, float32; None where the model does not say."""
    report: dict[str, Any]
    """What was done, by which model, on which device, and every warning; see `report.py`."""


def convert(
    images: Mapping[Modality, sitk.Image] | Mapping[str, sitk.Image],
    bundle: Bundle,
    *,
    target: Modality | str,
    device: str = "auto",
    mask: sitk.Image | None = None,
    uncertainty: bool = True,
    progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    opener: Opener = open_backend,
) -> Conversion:
    """Convert a scan with a model.

    `images` maps modality to scan: one entry, or several for a model with joint inputs. `mask` lies on the first scan's
    grid. `cancel` is asked between two batches and stops the work. `uncertainty=False` saves the time for it. `opener`
    loads a weight file on a device; measurements and tests put their own in.

    Raises ConversionError with one line that says what to do, Cancelled when `cancel` said so.
    """
    try:
        wanted = Modality.parse(target)
    except ValueError as error:
        raise ConversionError(str(error)) from None
    done = run_model(
        images,
        bundle,
        wanted,
        ImageChannels.of(bundle.spec, uncertainty),
        lambda channels, prepared, reporter: finish(channels, prepared, bundle.spec, wanted),
        device=device,
        mask=mask,
        progress=progress,
        cancel=cancel,
        opener=opener,
    )
    image, spread = done.result
    return Conversion(image, spread, build_report(bundle, done.sources, wanted, done.source, done.account))
