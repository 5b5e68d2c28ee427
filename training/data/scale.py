"""The two scales of every modality: what a network reads, and what it writes.

A source is scaled by the engine's own operations, the ones that `export` declares in the model. A target is scaled to one
standard, so that the network need not guess a unit that MR does not have.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modality_conversion import ops
from modality_conversion.modality import Modality
from modality_conversion.schema import Clip, ClipPercentile, Linear, MinMax, Op, Power
from training.data.regions import BRAIN_REGIONS

MR_SOURCE_OPS: tuple[Op, ...] = (
    ClipPercentile(op="clip_percentile", low=0.5, high=99.8, scope="all"),
    MinMax(op="minmax", scope="all"),
)
"""From an MR scan to the network's input, in [0, 1].

The percentiles are of the whole volume, background included, not of the foreground: its threshold lies above the CSF of
many a T1, and CSF at the edge of a stripped brain must stay apart from the zeros around it. A head fills 15 - 50 % of a
volume, so 99.8 is its own 98.7 - 99.6 percentile.
"""

CT_RANGE = (-1024.0, 3071.0)
"""HU; what twelve bits hold. Padding outside a scanner's circle, often -2000 or -3024, becomes air."""
CT_CENTRE = -20.0
"""HU where the curve of a CT is steepest: between fat and water, where little lies."""
_LOWEST = -(((CT_CENTRE - CT_RANGE[0]) / 1000) ** 0.5)
_HIGHEST = ((CT_RANGE[1] - CT_CENTRE) / 1000) ** 0.5
CT_LIMITS = (_LOWEST, _HIGHEST)
"""The ends of the curve's root, in roots of 1000 HU, that become 0 and 1."""

CT_SOURCE_OPS: tuple[Op, ...] = (
    Clip(op="clip", low=CT_RANGE[0], high=CT_RANGE[1]),
    Linear(op="linear", scale=1 / 1000, offset=-CT_CENTRE / 1000),
    Power(op="power", exponent=0.5),
    Linear(op="linear", scale=1 / (_HIGHEST - _LOWEST), offset=-_LOWEST / (_HIGHEST - _LOWEST)),
)
"""From HU to the network's input, in [0, 1], the same for every CT, so that a windowed one keeps its place.

A root on both sides of `CT_CENTRE` gives soft tissue the room it needs: 10 HU between grey and white matter are 0.8 % of
the scale, three times as much as on a straight line, and 2 to 3 HU of noise stay above the step of float16.
"""

TARGET_MEDIAN: Mapping[Modality, float] = {
    Modality.T1: 0.5,
    Modality.T1CE: 0.5,
    Modality.T2: 0.3,
    Modality.FLAIR: 0.4,
    Modality.PD: 0.5,
}
"""What the median of an MR target within the brain becomes. CSF on T2 is then about 0.9, fat on T1 about 1."""
TARGET_HIGHEST = 1.25
"""MR targets are cut off here: eyes, fluids and vessels, whose exact value nobody reads."""

_OUTPUT_UNITS = 1000.0
TARGET_SCALE: Mapping[Modality, float] = dict.fromkeys((*TARGET_MEDIAN, Modality.CT), _OUTPUT_UNITS)
"""Network output times this is the voxel value: HU for CT, arbitrary units for MR.

One number for all, so that a model with several targets can declare it: `output.ops` do not depend on the target.
"""


def source_ops(modality: Modality) -> tuple[Op, ...]:
    """The engine's operations (stage `grid`) from a scan to the network's input."""
    return CT_SOURCE_OPS if modality is Modality.CT else MR_SOURCE_OPS


def normalise_source(volume: NDArray[np.floating], modality: Modality) -> NDArray[np.float32]:
    """A volume on the network's grid, on its input scale [0, 1]; a constant MR volume becomes zeros."""
    scaled: NDArray[Any] = ops.apply(source_ops(modality), "grid", volume.astype(np.float32), ops.Context())
    return scaled


def declared_ops(sources: Sequence[Modality]) -> list[dict[str, Any]]:
    """`ops` as `conversion.json` writes them, for a model that reads these modalities.

    Where they need different operations, each is declared for the modalities it is for.
    """
    readers: dict[tuple[Op, ...], list[Modality]] = {}
    for modality in sources:
        readers.setdefault(source_ops(modality), []).append(modality)
    return [
        op.model_copy(update={"modalities": tuple(group) if len(readers) > 1 else None}).model_dump(
            mode="json", exclude_none=True
        )
        for chain, group in readers.items()
        for op in chain
    ]


def normalise_target(
    volume: NDArray[np.floating], region: NDArray[np.uint8], modality: Modality
) -> NDArray[np.float32]:
    """A volume on the network's output scale.

    MR: scaled so that the brain's median is `TARGET_MEDIAN`, cut off below 0 and above `TARGET_HIGHEST`. CT: HU / 1000,
    cut off outside `CT_RANGE`.
    """
    if modality is Modality.CT:
        return (np.clip(volume, *CT_RANGE) / TARGET_SCALE[modality]).astype(np.float32)
    brain = volume[np.isin(region, BRAIN_REGIONS)]
    if brain.size == 0:
        raise ValueError("The case has no brain, so its target has no scale.")
    return scale_target(volume, float(np.median(brain)), modality)


def scale_target(volume: NDArray[np.floating], median: float, modality: Modality) -> NDArray[np.float32]:
    """An MR volume whose brain has the given median, on the network's output scale."""
    if not median > 0:
        raise ValueError(f"The brain's median on {modality} is {median:g}, so the target has no scale.")
    return np.clip(volume * (TARGET_MEDIAN[modality] / median), 0, TARGET_HIGHEST).astype(np.float32)
