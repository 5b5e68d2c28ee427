"""A voxel's place in the world, and the slice views taken there."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from . import volumes

Place = tuple[float, float, float]
"""mm, RAS, in the world: all parent transforms applied."""


def in_world(volume: slicer.vtkMRMLVolumeNode, voxel: tuple[int, int, int]) -> Place:
    """Where a voxel (i, j, k) of a volume is now. By the voxel, since a volume that was hardened has another grid."""
    local = volumes.ijk_to_ras(volume) @ np.array([*voxel, 1.0])
    way = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume.GetParentTransformNode(), None, way)
    r, a, s = way.TransformPoint(local[:3])
    return r, a, s


def go_to(place: Place) -> None:
    """Take every slice view, and the cross-hair, to a place. Zoom and orientation stay as they are."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *place, slicer.vtkMRMLSliceNode.OffsetJumpSlice)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None:
        crosshair.SetCrosshairRAS(*place)


def in_words(place: Place) -> str:
    """As Slicer writes a place: `R 12.0 A 30.5 S 4.0`."""
    letters = (("R", "L"), ("A", "P"), ("S", "I"))
    return " ".join(f"{pair[value < 0]} {abs(value):.1f}" for value, pair in zip(place, letters))
