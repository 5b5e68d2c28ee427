"""Local standardisation: what a place is like beside its surroundings, whatever the scanner's gain, offset and shading."""

import torch
from torch import Tensor
from torch.nn import functional

_CELL = 8
"""Pixels; means are taken over cells of this side first, which is all the detail that they have."""
_AIR = 0.02
"""Voxels up to this, of the input's scale of 1, are left out of the means."""
_NOISE = 0.02
"""Deviation that is added to the one that was found, so that air does not become noise."""
_MOST = 3.0
"""Standard scores are cut here."""


def standardise(scans: Tensor, side: int) -> Tensor:
    """Standard scores of each voxel within a square around it, over all slices of the slab, times 1/4.

    `scans`: (N, scans, slices, H, W), float32, H and W multiples of 8; a scan of zeros stays one. The square's side is
    rounded to an odd number of cells of 8 pixels. Divisive normalisation as in Jarrett, ICCV 2009, with the mean and the
    deviation of what is not air; a slab's slices share them, so that neighbouring slabs differ little.
    """
    present = (scans > _AIR).to(scans.dtype)
    inside = scans * present
    sums = torch.stack([present, inside, inside * scans], 1).mean(3).flatten(1, 2)
    cells = 2 * (side // (2 * _CELL)) + 1
    sums = functional.avg_pool2d(functional.avg_pool2d(sums, _CELL), cells, stride=1, padding=cells // 2)
    count, first, second = sums.unflatten(1, (3, -1)).unbind(1)
    mean = first / (count + 1e-3)
    deviation = (second / (count + 1e-3) - mean.square()).clamp_min(0).sqrt() + _NOISE
    mean, deviation = (_up(part)[:, :, None] for part in (mean, deviation))
    return ((scans - mean) / deviation).clamp(-_MOST, _MOST) / 4


def _up(cells: Tensor) -> Tensor:
    return functional.interpolate(cells, scale_factor=_CELL, mode="bilinear", align_corners=False)
