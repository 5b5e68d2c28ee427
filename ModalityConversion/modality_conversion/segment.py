"""One scan in, a label map out: the way of `convert`, with labels at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from .account import Account
from .backends import open_backend
from .channels import LabelChannels
from .ensemble import Opener
from .errors import ConversionError
from .find import Found, find
from .grid import on_grid_of
from .labels import far_too_much, label_map, measured
from .modality import Modality
from .pipeline import run_model
from .prepare import Prepared
from .progress import Progress, Reporter
from .report import build_segmentation_report
from .sources import does_not_segment

if TYPE_CHECKING:
    from . import schema
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
    found = None
    if declared.find is not None and bundle.finder is not None:
        found = find(images, bundle.finder, declared.find, device=device, mask=mask, cancel=cancel, opener=opener)
        if not found.parts:
            return _nothing(bundle, declared, found)

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
        within=None if found is None else found.within,
    )
    account = done.account if found is None else _together(found.account, done.account)
    labels = measured(done.result, declared.labels, done.source.GetSpacing())
    if (said := far_too_much(done.result, declared.labels, done.source)) is not None:
        account.warnings.append(said)
    report = build_segmentation_report(bundle, done.sources, labels, done.source, account)
    if found is not None:
        report["found"] = found.as_told
    return Segmentation(on_grid_of(done.source, done.result), report)


def _nothing(bundle: Bundle, declared: schema.Segmentation, found: Found) -> Segmentation:
    """An empty label map: the stage that finds has found nothing."""
    values = [label.value for label in declared.labels]
    empty = np.zeros(found.within.shape, np.uint8 if max(values) < 256 else np.uint16)
    labels = measured(empty, declared.labels, found.source.GetSpacing())
    account = _together(found.account, Account(found.account.device))
    account.warnings.append(
        "Nothing was found on this scan, so nothing was outlined. That is no proof that nothing is there."
    )
    report = build_segmentation_report(bundle, found.sources, labels, found.source, account)
    return Segmentation(on_grid_of(found.source, empty), {**report, "found": found.as_told})


def _together(first: Account, second: Account) -> Account:
    """What happened in both stages."""
    seconds = {"find": first.seconds["total"], **second.seconds}
    seconds["total"] = first.seconds["total"] + second.seconds.get("total", 0.0)
    warnings = list(dict.fromkeys([*first.warnings, *second.warnings]))
    return dataclasses.replace(
        second,
        warnings=warnings,
        tiles=first.tiles + second.tiles,
        batch=second.batch or first.batch,
        seconds=seconds,
    )
