"""The two scales: what the network reads, and what it writes.

The source is scaled by the engine's own operations, the ones that `export` declares in the model; the target is scaled to
one standard, so that the network need not guess a unit that MR does not have.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modality_conversion import ops
from modality_conversion.schema import ClipPercentile, MinMax
from training.data.regions import Region

SOURCE_OPS = (
    ClipPercentile(op="clip_percentile", low=0.5, high=99.8, scope="all"),
    MinMax(op="minmax", scope="all"),
)
"""From a scan to the network's input, in [0, 1].

The percentiles are of the whole volume, background included, not of the foreground: its threshold lies above the CSF of
many a T1, and CSF at the edge of a stripped brain must stay apart from the zeros around it. A head fills 15 - 50 % of a
volume, so 99.8 is its own 98.7 - 99.6 percentile.
"""
TARGET_MEDIAN = 0.3
"""What the median of the target within the brain becomes. T2 of CSF is then about 0.9."""
TARGET_HIGHEST = 1.25
"""Targets are cut off here: eyes and fluids, whose exact value nobody reads."""


def normalise_source(volume: NDArray[np.floating]) -> NDArray[np.float32]:
    """A volume on the network's grid, on its input scale; a constant volume becomes zeros."""
    scaled: NDArray[Any] = ops.apply(SOURCE_OPS, "grid", volume.astype(np.float32), ops.Context())
    return scaled


def normalise_target(volume: NDArray[np.floating], region: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale so that the brain's median is `TARGET_MEDIAN`; cut off below 0 and above `TARGET_HIGHEST`."""
    brain = volume[region >= Region.BRAIN]
    if brain.size == 0:
        raise ValueError("The case has no brain, so its target has no scale.")
    return np.clip(volume * (TARGET_MEDIAN / np.median(brain)), 0, TARGET_HIGHEST).astype(np.float32)
