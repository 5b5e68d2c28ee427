"""Scans handed to the engine as files in one space: that of the main scan, without its parent transform.

The engine knows no transforms. A further scan under another one is written where that puts it: as stored with another matrix
wherever the two are linear and leave right angles, so that the engine resamples it as any other; else resampled here.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality

from . import metaimage, resampling, volumes
from .i18n import tr as _

_PIECE = 1 << 15
"""Voxels resampled between two breaths: with a warp some 10 ms."""
_STRAIGHT = 1e-5
"""How far from right angles the axes may be: at most 0.003 mm over a head."""


def write(
    scan: slicer.vtkMRMLScalarVolumeNode,
    node: slicer.vtkMRMLScalarVolumeNode,
    modality: Modality,
    path: Path,
    warnings: list[str],
) -> Generator[bool, None, None]:
    """Write the voxels of `node` to a file, in the space of the scan `scan`; gives way after every piece.

    `warnings` gets what the user should know. Raises ConversionError where the two lie apart, or the disk refuses.
    """
    array, matrix = volumes.voxels(node.GetImageData()), volumes.ijk_to_ras(node)
    if node.GetTransformNodeID() != scan.GetTransformNodeID():
        between = resampling.matrix_between(node, scan)
        if between is not None and volumes.is_straight(between @ matrix, _STRAIGHT):
            matrix = between @ matrix
        else:
            array, share = yield from _resampled(scan, node)
            matrix = volumes.ijk_to_ras(scan)
            warnings.append(
                _(
                    "The {modality} scan was brought onto the grid of the main scan by their transforms; "
                    "it covers {share:.0%} of it."
                ).format(modality=modality, share=share)
            )
    for _fraction in metaimage.write(array, matrix, path):
        yield True


def _resampled(
    scan: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode
) -> Generator[bool, None, tuple[NDArray[np.float32], float]]:
    """The voxels of `node` on the grid of `scan`, float32 (k, j, i), its lowest value where it has none; and its share."""
    placed = resampling.empty_grid(node, vtk.VTK_FLOAT)
    source, target = volumes.voxels(node.GetImageData()), volumes.voxels(placed)
    lowest = np.inf
    for plane, values in zip(target, source, strict=True):
        with np.errstate(over="ignore"):
            plane[:] = values
        lowest = min(lowest, float(np.min(plane, where=np.isfinite(plane), initial=np.inf)))
        yield True
    if lowest == np.inf:
        raise ConversionError(_("{name} has no number in any voxel.").format(name=node.GetName()))
    for plane in target:  # as the engine does with what is not a number
        plane[~np.isfinite(plane)] = lowest
        yield True

    i, j, k = volumes.size(scan)
    rows = min(j, max(1, _PIECE // i))
    between = resampling.between(node, scan)
    found = np.empty((k, j, i), np.float32)
    covered = 0
    for plane_number in range(k):
        for first in range(0, j, rows):
            last = min(first + rows, j)
            grid = resampling.empty_grid(scan, vtk.VTK_FLOAT, (0, i - 1, first, last - 1, plane_number, plane_number))
            piece = volumes.voxels(resampling.resampled(placed, grid, between, linear=True, background=np.nan))[0]
            there = np.isfinite(piece)
            covered += int(there.sum())
            found[plane_number, first:last] = np.where(there, piece, lowest)
            yield True
    if not covered:
        raise ConversionError(
            _("{name} and {scan} lie in different places. Register them first.").format(
                name=node.GetName(), scan=scan.GetName()
            )
        )
    return found, covered / found.size
