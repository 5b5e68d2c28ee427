"""Nodes brought onto another node's grid, each where its parent transform puts it. No node is changed."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from . import volumes


def oriented(image: vtk.vtkImageData, volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkOrientedImageData:
    """Voxels with the place of a volume, sharing its memory."""
    placed = slicer.vtkOrientedImageData()
    placed.ShallowCopy(image)
    _place(placed, volume)
    return placed


def empty_grid(
    volume: slicer.vtkMRMLVolumeNode, scalar_type: int, extent: tuple[int, ...] | None = None
) -> slicer.vtkOrientedImageData:
    """An image on a volume's grid, its voxels not set; `extent` (first i, last i, first j, ...) for a part of it."""
    grid = slicer.vtkOrientedImageData()
    i, j, k = volumes.size(volume)
    grid.SetExtent(*(extent or (0, i - 1, 0, j - 1, 0, k - 1)))
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
    grid = empty_grid(target, image.GetScalarType())
    return resampled(image, grid, between(owner, target), linear=linear, background=background)


def beside(volume: slicer.vtkMRMLScalarVolumeNode, other: slicer.vtkMRMLScalarVolumeNode) -> vtk.vtkImageData:
    """A scan on another volume's grid: as it is where it lies there already, else resampled (linear), its lowest value
    where it has none."""
    same_place = (
        other.GetTransformNodeID() == volume.GetTransformNodeID()
        and volumes.size(other) == volumes.size(volume)
        and volumes.grid(other) == volumes.grid(volume)
    )
    if same_place:
        return other.GetImageData()
    image = oriented(other.GetImageData(), other)
    lowest = float(volumes.voxels(other.GetImageData()).min())
    return onto(volume, image, other, linear=True, background=lowest)


def between(
    owner: slicer.vtkMRMLTransformableNode, target: slicer.vtkMRMLTransformableNode
) -> vtk.vtkAbstractTransform:
    """The way from the space of one node's points to that of another's, in mm, whatever their parent transforms."""
    way = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        owner.GetParentTransformNode(), target.GetParentTransformNode(), way
    )
    return way


def matrix_between(
    owner: slicer.vtkMRMLTransformableNode, target: slicer.vtkMRMLTransformableNode
) -> volumes.Matrix | None:
    """The same as a (4, 4) matrix; None where it is not linear."""
    first, second = owner.GetParentTransformNode(), target.GetParentTransformNode()
    parents = [(first, second), (second, first)]
    if not all(one is None or one.IsTransformToNodeLinear(other) for one, other in parents):
        return None
    way = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(first, second, way)
    return np.array([[way.GetElement(row, column) for column in range(4)] for row in range(4)])


def resampled(
    image: slicer.vtkOrientedImageData,
    grid: slicer.vtkOrientedImageData,
    way: vtk.vtkAbstractTransform,
    *,
    linear: bool,
    background: float = 0,
) -> slicer.vtkOrientedImageData:
    """An image on another grid; `way` leads from its space to that of the grid."""
    result = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, grid, result, linear, False, way, background
    )
    return result


def _place(image: slicer.vtkOrientedImageData, volume: slicer.vtkMRMLVolumeNode) -> None:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
