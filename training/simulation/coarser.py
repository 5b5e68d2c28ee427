"""A simulated case in larger voxels, for networks that do not need finer ones: smaller on the disk and faster to read."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.regions import Disease
from training.data.structures import TUMOR_REGIONS
from training.simulation.case import Case


def coarser(case: Case, factor: int) -> Case:
    """A case in voxels of `factor` mm: of its scans the mean of each block, of its maps the commonest code, the lowest of
    several; a part of a tumor (`TUMOR_REGIONS`) is where it and the parts within it make up more than half. What does not fill
    a block at the far ends is left off.
    """
    if factor == 1:
        return case
    return replace(
        case,
        sources={modality: _mean(scan, factor) for modality, scan in case.sources.items()},
        targets={modality: _mean(scan, factor) for modality, scan in case.targets.items()},
        region=_commonest(case.region, factor),
        tissue=_commonest(case.tissue, factor),
        disease=_disease(case.disease, factor),
    )


def _blocks(array: NDArray[Any], factor: int) -> NDArray[Any]:
    """(z, factor, y, factor, x, factor)."""
    whole = tuple(slice(0, length // factor * factor) for length in array.shape)
    sides = [part for length in array.shape for part in (length // factor, factor)]
    return array[whole].reshape(sides)


def _mean(scan: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    means: NDArray[np.float32] = _blocks(scan, factor).mean((1, 3, 5))
    return means


def _commonest(codes: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    blocks = _blocks(codes, factor)
    there = np.unique(blocks)
    counts = np.stack([(blocks == code).sum((1, 3, 5)) for code in there])
    commonest: NDArray[np.uint8] = there[counts.argmax(0)]
    return commonest


def _disease(codes: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Nested parts of a tumor by their own shares: a vote among codes would take its border for healthy."""
    found = _commonest(np.where(np.isin(codes, TUMOR_REGIONS["whole"]), Disease.NONE, codes), factor)
    blocks = _blocks(codes, factor)
    for parts in TUMOR_REGIONS.values():  # from the outside in
        found[np.isin(blocks, parts).mean((1, 3, 5)) > 0.5] = parts[0]
    return found
