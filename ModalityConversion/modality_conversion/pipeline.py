"""The way of scans through a model, whatever comes out: prepare, cut into tiles, run the network, put together, finish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import SimpleITK as sitk

from . import devices
from .account import Account
from .channels import Channels
from .ensemble import Ensemble, Opener
from .errors import ConversionError
from .masks import resolve_mask
from .modality import Modality
from .prepare import Prepared, prepare
from .progress import Progress, Reporter
from .sources import accept

if TYPE_CHECKING:
    from .bundle import Bundle

T = TypeVar("T")

_NO_MEMORY = "There is not enough memory for this volume. Close other programs or crop the scan."


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came out, and what happened on the way."""

    result: T
    sources: tuple[Modality, ...]
    source: sitk.Image
    """The first scan, whose grid the result has."""
    account: Account


def run_model(
    images: Mapping[Modality, sitk.Image] | Mapping[str, sitk.Image],
    bundle: Bundle,
    target: Modality | None,
    channels: Channels,
    finish: Callable[[np.ndarray, Prepared, Reporter], T],
    *,
    device: str,
    mask: sitk.Image | None,
    progress: Callable[[Progress], None] | None,
    cancel: Callable[[], bool] | None,
    opener: Opener,
    within: np.ndarray | None = None,
) -> Outcome[T]:
    """Run a model on scans. `target` is None for a segmentation; `finish` makes the result of the `channels`, fused.
    `within`, bool, (k, j, i), on the first scan's grid, limits where the network runs.

    Raises ConversionError with one line that says what to do, Cancelled when `cancel` said so.
    """
    reporter = Reporter(progress, cancel)
    account = Account(device)
    try:
        named = {Modality.parse(name): image for name, image in images.items()}
    except ValueError as error:
        raise ConversionError(str(error)) from None
    try:
        with account.timed("total"):
            with account.timed("prepare"):
                reporter.start("prepare", 1)
                sources = accept(named, bundle.spec, target, account.warnings)
                bundle.verify_weights()
                account.device, account.fallbacks = devices.choose(
                    device, bundle.spec.weights[0].format, account.warnings
                )
                inside = resolve_mask(bundle.spec.mask, mask, next(iter(sources.values())), account.warnings)
                prepared = prepare(sources, inside, bundle.spec, account.warnings, cancel)
                prepared = prepared if within is None else prepared.within(within)
            with account.timed("network"):
                reporter.advance("prepare", 1, 1)
                fused = Ensemble(bundle, target, channels, opener, reporter, account).run(prepared)
            with account.timed("finish"):
                reporter.start("finish", 1)
                result = finish(fused, prepared, reporter)
    except MemoryError:
        raise ConversionError(_NO_MEMORY) from None
    except RuntimeError as error:  # SimpleITK's own, failed allocations among them
        if "alloc" in str(error).lower():
            raise ConversionError(_NO_MEMORY) from None
        raise ConversionError(f"SimpleITK failed: {str(error).strip().splitlines()[-1]}") from error
    reporter.advance("finish", 1, 1)
    return Outcome(result, tuple(sources), prepared.source, account)
