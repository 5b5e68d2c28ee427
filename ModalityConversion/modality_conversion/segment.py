"""One scan in, a label map out: the way of `convert`, with labels at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from .backends import open_backend
from .channels import LabelChannels
from .ensemble import Opener
from .errors import ConversionError
from .grid import on_grid_of
from .labels import label_map, measured
from .modality import Modality
from .pipeline import run_model
from .prepare import Prepared
from .progress import Progress, Reporter
from .report import build_segmentation_report
from .sources import does_not_segment

if TYPE_CHECKING:
    from .bundle import Bundle


@dataclass(frozen=True)
class Segmentation:
    """Labels that a model gave a scan. Not for diagnosis."""

    image: sitk.Image
    """The label map, uint8 or uint16, on the first scan's own grid: size, spacing, origin and direction are its own."""
    report: dict[str, Any]
    """What was done, by which model, on which device, every warning, and for each label its meaning and its volume."""


def segment(
    images: Mapping[Modality, sitk.Image] | Mapping[str, sitk.Image],
    bundle: Bundle,
    *,
    device: str = "auto",
    mask: sitk.Image | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    opener: Opener = open_backend,
) -> Segmentation:
    """Segment a scan with a model whose declaration has a `segmentation`.

    `images` maps modality to scan: one entry, or several for a model with joint inputs. `mask` lies on the first scan's
    grid. `cancel` is asked between two batches and stops the work. `opener` loads a weight file on a device; measurements
    and tests put their own in.

    Raises ConversionError with one line that says what to do, Cancelled when `cancel` said so.
    """
    declared = bundle.spec.segmentation
    if declared is None:
        raise ConversionError(does_not_segment(bundle.spec))

    def finish(channels: np.ndarray, prepared: Prepared, reporter: Reporter) -> np.ndarray:
        return label_map(channels, prepared, bundle.spec, reporter.check)

    done = run_model(
        images,
        bundle,
        None,
        LabelChannels.of(declared),
        finish,
        device=device,
        mask=mask,
        progress=progress,
        cancel=cancel,
        opener=opener,
    )
    labels = measured(done.result, declared.labels, done.source.GetSpacing())
    report = build_segmentation_report(bundle, done.sources, labels, done.source, done.account)
    return Segmentation(on_grid_of(done.source, done.result), report)
