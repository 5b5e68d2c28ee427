"""What a check has found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.qc.settings import Check


@dataclass(frozen=True)
class Finding:
    """One fault of one scan: `value` beyond `limit`, in the units that `says` names. `slices`: empty for the whole scan.

    `other` is the second scan of a pair; `case` the case's name where the fault is between its scans.
    """

    check: Check
    scan: Path
    person: str
    says: str
    value: float
    limit: float
    slices: tuple[int, ...] = ()
    other: Path | None = None
    case: str | None = None
    picture: str | None = None
    """File of the picture, beside the report."""

    def about(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "check": self.check,
            "scan": str(self.scan),
            "person": self.person,
            "says": self.says,
            "value": round(self.value, 4),
            "limit": self.limit,
            "slices": list(self.slices),
            "other": str(self.other) if self.other else None,
            "case": self.case,
            "picture": self.picture,
        }

    @property
    def excess(self) -> float:
        """How far beyond its limit it is, to put the worst first."""
        return abs(self.value - self.limit) / max(abs(self.limit), 1e-6)
