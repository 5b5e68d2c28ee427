"""Test-time variants: the scans mirrored on the network's grid, and what the network made of them mirrored back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .prepare import Prepared

if TYPE_CHECKING:
    from .schema import ConversionSpec

Axes = tuple[int, ...]
"""Axes of the array that the network sees; none for the scans as they are."""


def variants_of(spec: ConversionSpec) -> list[Axes]:
    """What a model declares to be run, the scans as they are first."""
    return [(), *(spec.test_time.flips if spec.test_time is not None else ())]


def mirrored(prepared: Prepared, axes: Axes) -> Prepared:
    """Everything on the network's grid mirrored along these axes; what lies on the source's grid is left."""
    if not axes:
        return prepared

    def flip(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.flip(array, axes))

    return replace(
        prepared,
        volumes={modality: flip(volume) for modality, volume in prepared.volumes.items()},
        mask=None if prepared.mask is None else flip(prepared.mask),
        occupied=None if prepared.occupied is None else flip(prepared.occupied),
    )


def mirrored_back(channels: np.ndarray, axes: Axes) -> np.ndarray:
    """What a mirrored variant gave, (channels, *grid), as it lies in the scans as they are."""
    return np.flip(channels, tuple(axis + 1 for axis in axes)) if axes else channels
