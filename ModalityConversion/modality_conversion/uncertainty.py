"""An interval in the target's units that holds the true value as often as it says: half-widths, a summary, one line.

Split conformal prediction (Angelopoulos and Bates, Conformal Prediction: A Gentle Introduction, 2023): on held-out cases the
error over the standard deviation that the model gave was ranked; the factor is the rank that the coverage asks for. One
factor a tissue, or wide errors in bone would hide behind narrow ones in air. The promise holds for scans like those
calibrated on, and over all voxels of a tissue, not for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from .errors import ConversionError
from .grid import check_same_grid, on_grid_of
from .modality import Modality
from .tissues import IN_WORDS, tissue_map, tissue_names

if TYPE_CHECKING:
    from .schema import Calibration, ConversionSpec, IntervalFactor


_FEW = 3
"""As many kinds of tissue as a line can name."""


@dataclass(frozen=True)
class TissueInterval:
    """The interval in one kind of tissue, half-widths in target units."""

    tissue: str
    name: str
    """For a person."""
    volume_ml: float
    half_width: float
    """The median over its voxels."""
    widest: float
    """The 95th percentile."""
    measured: float | None
    """Coverage on held-out cases, as the model states it."""
    assumed: bool
    """The model has no factor for this tissue; the widest of its others was taken."""
    in_words: str
    """`±310 HU in bone`."""


@dataclass(frozen=True)
class Interval:
    """How far the truth may be from a synthetic scan."""

    half_width: sitk.Image
    """Float32, target units, on the synthetic scan's grid; 0 outside the head or body."""
    coverage: float
    """Nominal."""
    units: str
    tissues: tuple[TissueInterval, ...]
    """Those that the scan has."""
    data: str
    """On what it was calibrated."""
    verdict: str
    """One line; of more than three tissues it names the narrowest and the widest."""

    def as_dict(self) -> dict[str, Any]:
        """For the report, without the map."""
        return {
            "coverage": self.coverage,
            "units": self.units,
            "verdict": self.verdict,
            "calibrated_on": self.data,
            "tissues": [asdict(tissue) for tissue in self.tissues],
        }


def interval(
    synthetic: sitk.Image, spread: sitk.Image, spec: ConversionSpec, sources: Sequence[Modality], target: Modality
) -> Interval | None:
    """The calibrated interval of a conversion; None where the model has no factor for its target.

    `spread` is one standard deviation, as `convert` gives it. Raises ConversionError where the two lie on different grids.
    """
    check_same_grid(synthetic, spread, "The standard deviation", "the synthetic scan's")
    if spec.calibration is None:
        return None
    chosen = {name: _factor(spec.calibration, sources, target, name) for name in tissue_names(target)}
    known = [entry for entry in chosen.values() if entry is not None]
    if not known:
        return None
    widest = max(known, key=lambda entry: entry.factor)
    units = spec.targets[target].units
    sigma = sitk.GetArrayViewFromImage(spread)
    kinds = tissue_map(synthetic, target)
    voxel_ml = float(np.prod(synthetic.GetSpacing())) / 1000
    widths = np.zeros(sigma.shape, np.float32)
    rows = []
    for number, (name, entry) in enumerate(chosen.items(), start=1):
        where = kinds == number
        count = int(np.count_nonzero(where))
        if not count:
            continue
        used = entry or widest
        here = used.factor * np.maximum(sigma[where], used.floor)
        widths[where] = here
        median, far = (float(value) for value in np.percentile(here, (50, 95)))
        measured = None if entry is None else entry.measured
        said = f"\N{PLUS-MINUS SIGN}{_rounded(median)}{_unit(units)} in {IN_WORDS[name]}"
        rows.append(TissueInterval(name, IN_WORDS[name], count * voxel_ml, median, far, measured, entry is None, said))
    return Interval(
        on_grid_of(synthetic, widths),
        spec.calibration.coverage,
        units,
        tuple(rows),
        spec.calibration.data,
        _verdict(rows, spec.calibration.coverage, spec.targets[target].window if units == "arbitrary" else None),
    )


def why_no_interval(spec: ConversionSpec, target: Modality) -> str | None:
    """Why a model gives no interval for a target, with what to do; None if it does."""
    if spec.output.uncertainty is None:
        return f"{spec.id} does not say how sure it is, so it has no interval. Leave --interval out."
    if spec.calibration is None or not any(entry.target == target for entry in spec.calibration.factors):
        return f"{spec.id} is not calibrated for {target}, so it has no interval. Use --uncertainty instead."
    return None


def require_interval(spec: ConversionSpec, target: Modality) -> None:
    """Raises ConversionError where a model has no interval for a target."""
    reason = why_no_interval(spec, target)
    if reason:
        raise ConversionError(reason)


def _factor(
    calibration: Calibration, sources: Sequence[Modality], target: Modality, tissue: str
) -> IntervalFactor | None:
    """The entry for a tissue: the widest of those of the scans given, else the one for any source."""
    fitting = [entry for entry in calibration.factors if entry.target == target and entry.tissue == tissue]
    own = [entry for entry in fitting if entry.source in sources]
    return max(own or [entry for entry in fitting if entry.source is None], key=lambda e: e.factor, default=None)


def _verdict(rows: Sequence[TissueInterval], coverage: float, window: float | None) -> str:
    """`window`: what says how large a number is where it has no unit."""
    if not rows:
        return "No head or body was found in the synthetic scan, so no interval is given."
    # Of many kinds the ends alone, or nobody reads the line; each is a row of `tissues`.
    ordered = sorted(rows, key=lambda row: row.half_width)
    named, between = (rows, ", ") if len(rows) <= _FEW else ((ordered[0], ordered[-1]), " to ")
    scale = "" if window is None else f" (the display window is {window:g} wide)"
    return f"{coverage * 100:g} % interval: {between.join(row.in_words for row in named)}{scale}."


def _unit(units: str) -> str:
    return "" if units == "arbitrary" else f" {units}"


def _rounded(value: float) -> str:
    """Two digits that count."""
    return f"{float(f'{value:.2g}'):g}"
