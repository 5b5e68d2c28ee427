"""Twelve directions in four groups, each with figures of its own kind, so that a reader finds a way through them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from training.evaluation.directions import Direction

CTS = ("CT", "CBCT")


class Group(NamedTuple):
    """Directions that are told together."""

    name: str
    """Fit for a file."""
    title: str


MR_REAL = Group("mr_to_mr_real", "MR to MR, people kept out")
MR_SIMULATED = Group("mr_to_mr_simulated", "MR to MR, simulated heads kept out")
TO_CT = Group("to_ct", "To CT")
FROM_CT = Group("from_ct", "From CT")
GROUPS = (MR_REAL, MR_SIMULATED, TO_CT, FROM_CT)


def group_of(row: Mapping[str, Any]) -> Group:
    """The group of a row of figures; of its `direction` and `real`."""
    direction = Direction.parse(row["direction"])
    if direction.target in CTS:
        return TO_CT
    if any(source in CTS for source in direction.sources):
        return FROM_CT
    return MR_REAL if row["real"] else MR_SIMULATED
