"""Nodes brought onto another node's grid, each where its parent transform puts it. No node is changed."""

from __future__ import annotations

import slicer
import vtk

from . import volumes


def oriented(image: vtk.vtkImageData, volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkOrientedImageData:
    """Voxels with the place of a volume, sharing its memory."""
    placed = slicer.vtkOrientedImageData()
    placed.ShallowCopy(image)
    _place(placed, volume)
    return placed


def empty_grid(volume: slicer.vtkMRMLVolumeNode, scalar_type: int) -> slicer.vtkOrientedImageData:
    """An image on a volume's grid, its voxels not set."""
    grid = slicer.vtkOrientedImageData()
    i, j, k = volumes.size(volume)
    grid.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    _place(grid, volume)
    grid.AllocateScalars(scalar_type, 1)
    return grid


def onto(
    target: slicer.vtkMRMLVolumeNode,
    image: slicer.vtkOrientedImageData,
    owner: slicer.vtkMRMLTransformableNode,
    *,
    linear: bool,
    background: float = 0,
) -> slicer.vtkOrientedImageData:
    """An image that belongs to the node `owner`, on the grid of the volume `target`; `background` where it is not."""
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        owner.GetParentTransformNode(), target.GetParentTransformNode(), between
    )
    resampled = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, empty_grid(target, image.GetScalarType()), resampled, linear, False, between, background
    )
    return resampled


def _place(image: slicer.vtkOrientedImageData, volume: slicer.vtkMRMLVolumeNode) -> None:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
