"""One scan in, another out: the straight way through the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from . import devices
from .account import Account
from .backends import open_backend
from .ensemble import Ensemble, Opener
from .errors import ConversionError
from .finish import finish
from .masks import resolve_mask
from .modality import Modality
from .prepare import prepare
from .progress import Progress, Reporter
from .report import build_report
from .sources import accept

if TYPE_CHECKING:
    from .bundle import Bundle


_NO_MEMORY = "There is not enough memory for this volume. Close other programs or crop the scan."


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
    reporter = Reporter(progress, cancel)
    account = Account(device)
    try:
        wanted = Modality.parse(target)
        named = {Modality.parse(name): image for name, image in images.items()}
    except ValueError as error:
        raise ConversionError(str(error)) from None
    try:
        with account.timed("total"):
            with account.timed("prepare"):
                reporter.start("prepare", 1)
                sources = accept(named, bundle.spec, wanted, account.warnings)
                bundle.verify_weights()
                account.device = devices.resolve(device, bundle.spec.weights[0].format)
                inside = resolve_mask(bundle.spec.mask, mask, next(iter(sources.values())), account.warnings)
                prepared = prepare(sources, inside, bundle.spec, account.warnings, cancel)
            with account.timed("network"):
                reporter.advance("prepare", 1, 1)
                channels = Ensemble(bundle, wanted, uncertainty, opener, reporter, account).run(prepared)
            with account.timed("finish"):
                reporter.start("finish", 1)
                image, spread = finish(channels, prepared, bundle.spec, wanted)
    except MemoryError:
        raise ConversionError(_NO_MEMORY) from None
    except RuntimeError as error:  # SimpleITK's own, failed allocations among them
        if "alloc" in str(error).lower():
            raise ConversionError(_NO_MEMORY) from None
        raise ConversionError(f"SimpleITK failed: {str(error).strip().splitlines()[-1]}") from error
    reporter.advance("finish", 1, 1)
    return Conversion(image, spread, build_report(bundle, tuple(sources), wanted, prepared.source, account))
