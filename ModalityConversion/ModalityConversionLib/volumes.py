"""Volume nodes as arrays on grids, and why one cannot be converted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from . import marks
from .i18n import tr as _

Matrix = NDArray[np.float64]
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def ijk_to_ras(volume: slicer.vtkMRMLVolumeNode) -> Matrix:
    """The (4, 4) matrix from voxel indices (i, j, k) to mm in RAS, without the parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


class Grid(NamedTuple):
    """A volume's grid as MRML keeps it. A matrix would not do: taken apart again, its last digits differ."""

    spacing: tuple[float, ...]
    """mm along i, j, k."""
    origin: tuple[float, ...]
    """mm, RAS."""
    directions: tuple[float, ...]
    """The 3 x 3 matrix of directions in RAS, row by row."""


def grid(volume: slicer.vtkMRMLVolumeNode) -> Grid:
    """The grid of a volume, without the parent transform."""
    directions = vtk.vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(directions)
    elements = tuple(directions.GetElement(row, column) for row in range(3) for column in range(3))
    return Grid(tuple(volume.GetSpacing()), tuple(volume.GetOrigin()), elements)


def set_grid(volume: slicer.vtkMRMLVolumeNode, grid: Grid) -> None:
    """Put a volume on a grid, bit for bit."""
    volume.SetSpacing(*grid.spacing)
    volume.SetOrigin(*grid.origin)
    directions = vtk.vtkMatrix4x4()
    for number, value in enumerate(grid.directions):
        directions.SetElement(number // 3, number % 3, value)
    volume.SetIJKToRASDirectionMatrix(directions)


def size(volume: slicer.vtkMRMLVolumeNode) -> tuple[int, int, int]:
    """Voxels along i, j and k."""
    i, j, k = volume.GetImageData().GetDimensions()
    return i, j, k


def voxels(image: vtk.vtkImageData) -> NDArray[Any]:
    """The voxels of a scalar image as an array (k, j, i) that shares its memory."""
    from vtk.util.numpy_support import vtk_to_numpy

    i, j, k = image.GetDimensions()
    array: NDArray[Any] = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k, j, i)
    return array


def new_image(shape: tuple[int, int, int], dtype: np.dtype) -> vtk.vtkImageData:
    """An image of a shape (k, j, i), its voxels not set yet, without origin and spacing, as Slicer keeps them."""
    from vtk.util.numpy_support import get_vtk_array_type

    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(shape))
    image.AllocateScalars(get_vtk_array_type(dtype), 1)
    return image


def is_straight(matrix: Matrix, tolerance: float) -> bool:
    """Whether the axes of a finite grid stand at right angles; `tolerance` is on the cosines between them."""
    columns = matrix[:3, :3]
    directions = columns / np.linalg.norm(columns, axis=0)
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=tolerance))


def first_scan() -> slicer.vtkMRMLScalarVolumeNode | None:
    """The first volume in the scene that can be converted, real ones before synthetic ones; None where there is none."""
    fitting = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if why_unfit(node) is None and not node.GetHideFromEditors()
    ]
    real = [node for node in fitting if not marks.is_synthetic(node)]
    return next(iter(real or fitting), None)


def why_unfit(volume: slicer.vtkMRMLVolumeNode | None) -> str | None:
    """Why a volume cannot be converted, with what to do; None if it can. Looks at everything but the voxels' values."""
    if volume is None:
        return _("Choose the volume to convert.")
    name = volume.GetName()
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        return _("{name} is a label map. Choose a scan.").format(name=name)
    if volume.IsA("vtkMRMLTensorVolumeNode") or not volume.IsA("vtkMRMLScalarVolumeNode"):
        return _("{name} is not a scalar volume. Choose a scan.").format(name=name)
    image = volume.GetImageData()
    if image is None or 0 in image.GetDimensions() or image.GetPointData().GetScalars() is None:
        return _("{name} has no voxels. Load it again, or choose another volume.").format(name=name)
    if image.GetNumberOfScalarComponents() != 1:
        return _("{name} holds several numbers in each voxel (colour, vector or 4D). Choose a scalar volume.").format(
            name=name
        )
    return _why_grid_unfit(volume)


def _why_grid_unfit(volume: slicer.vtkMRMLVolumeNode) -> str | None:
    matrix = ijk_to_ras(volume)
    if not np.isfinite(matrix).all() or np.linalg.norm(matrix[:3, :3], axis=0).min() <= 0:
        return _("The grid of {name} is not finite. Repair its spacing, origin and directions.").format(
            name=volume.GetName()
        )
    if not is_straight(matrix, 1e-3):
        return _(
            "{name} has a sheared grid (gantry tilt). Resample it to a straight one first, for example with "
            "Resample Scalar/Vector/DWI Volume."
        ).format(name=volume.GetName())
    return None
