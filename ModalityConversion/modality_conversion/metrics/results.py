"""What a comparison says: figures over voxels, as plain frozen data, as JSON and as rows for a console."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .intensity import AffineFit


@dataclass(frozen=True)
class Scores:
    """Figures over one set of voxels. A figure that cannot be had is nan; one that is not of the protocol is None."""

    voxels: int
    mae: float
    """Mean absolute error, in the comparison's `units`."""
    bias: float
    """Mean of synthetic minus real, in the comparison's `units`."""
    psnr: float
    """dB; inf where the two agree in every voxel."""
    ssim: float | None = None
    ms_ssim: float | None = None


@dataclass(frozen=True)
class Scored:
    """One volume against the real one: as it is, and after the affine fit where the protocol has one."""

    as_is: Scores
    fitted: Scores | None = None
    fit: AffineFit | None = None
    """The line, from and to scaled values."""


@dataclass(frozen=True)
class Region(Scored):
    """One label of the label map, where it lies in the mask. The fit is the whole mask's, not the region's own."""

    value: int = 0
    name: str = ""


@dataclass(frozen=True)
class BetweenSlices:
    """How neighbouring slices fit together (`metrics.slices`); of the scaled volumes before the affine fit."""

    axis: str
    """The slice axis: i, j or k."""
    plane: str
    """What the slices are: axial, coronal or sagittal, whichever is closest."""
    ratio: float
    """R: 1 as the real scan, above 1 flicker, below 1 smeared."""
    step_error: float
    """Mean |d/dz(synthetic) - d/dz(real)| from one slice to the next, in the comparison's `units`."""
    ssim: Mapping[str, float]
    """SSIM of each reformatted plane on its own (7 x 7), by plane, averaged over the mask."""


@dataclass(frozen=True)
class Comparison:
    """A synthetic volume against the real one."""

    protocol: str
    definition: str
    """The protocol in a sentence."""
    units: str
    """Units of `mae`, `bias` and `step_error`."""
    mask: str
    """Where the figures were taken, in words."""
    synthetic: Scored
    between_slices: BetweenSlices | None = None
    base_lines: Mapping[str, Scored] = field(default_factory=dict)
    """`identity` and `oracle`, when the source was given."""
    regions: tuple[Region, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def voxels(self) -> int:
        """How many voxels were compared."""
        return self.synthetic.as_is.voxels

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: plain types; nan and inf are null; figures that are not of the protocol are left out."""
        fields = {"kind": "synthetic-comparison", "not_for_diagnosis": True, **asdict(self), "voxels": self.voxels}
        fields["table"] = [list(row) for row in self.table()]  # for a program that shows it as it is
        cleaned: dict[str, Any] = _plain(fields)
        return cleaned

    def table(self) -> list[tuple[str, str, str]]:
        """Rows for a console: what, the figure as it is, the figure after the affine fit; the first row is the heading."""
        fitted = "after affine fit" if self.synthetic.fitted else ""
        rows = [(f"Synthetic against real, protocol {self.protocol}", "as is", fitted)]
        rows.append((f"Voxels compared ({self.mask})", f"{self.voxels:,}", ""))
        rows += _rows("", self.synthetic, self.units)
        for name, scored in self.base_lines.items():
            rows += _rows(f"Base line {name}: ", scored, self.units)
        for region in self.regions:
            rows.append((f"{region.name}: voxels", f"{region.as_is.voxels:,}", ""))
            rows += _rows(f"{region.name}: ", region, self.units)
        if self.between_slices is not None:
            between = self.between_slices
            rows.append((f"Between {between.plane} slices ({between.axis}): ratio R", _text(between.ratio, 3), ""))
            rows.append(
                (f"Between {between.plane} slices: step error ({self.units})", _text(between.step_error, 4), "")
            )
            rows += [(f"SSIM of {plane} planes", _text(value, 3), "") for plane, value in between.ssim.items()]
        return rows


def _rows(what: str, scored: Scored, units: str) -> list[tuple[str, str, str]]:
    figures = (
        ("mae", f"MAE ({units})", 4),
        ("bias", f"bias ({units})", 4),
        ("psnr", "PSNR (dB)", 2),
        ("ssim", "SSIM", 3),
        ("ms_ssim", "MS-SSIM", 3),
    )
    rows = []
    for name, heading, digits in figures:
        value = getattr(scored.as_is, name)
        if value is not None:
            after = _text(getattr(scored.fitted, name), digits) if scored.fitted else ""
            rows.append((what + heading, _text(value, digits), after))
    return rows


def _text(value: float, digits: int) -> str:
    """The number, with fewer digits after the point the larger it is; `-` for nan."""
    if math.isnan(value):
        return "-"
    digits = digits if abs(value) < 10 or digits < 4 else 1
    return f"{round(value, digits) + 0.0:.{digits}f}"  # adding 0 takes the sign off a zero


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
