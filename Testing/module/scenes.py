"""Scans, masks and models for tests of the Slicer module."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import slicer
import vtk

from volumes import rotation

MODULE_FILE = str(Path(__file__).resolve().parents[2] / "ModalityConversion" / "ModalityConversion.py")


def grid(seed: int) -> np.ndarray:
    """A random oblique, anisotropic, possibly left-handed grid: (4, 4), voxel indices to mm in RAS."""
    rng = np.random.default_rng(seed)
    directions = rotation(tuple(rng.uniform(-180, 180, 3)))
    if seed % 3 == 0:
        directions[:, 0] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = directions * rng.uniform(0.4, 6, 3)
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return matrix


def add_scan(
    name: str = "Scan T1",
    shape: tuple[int, int, int] = (12, 40, 36),
    matrix: np.ndarray | None = None,
    dtype: type = np.int16,
    kind: str = "vtkMRMLScalarVolumeNode",
) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume with a ball in it, (k, j, i)."""
    axes = [np.linspace(-1, 1, n) for n in shape]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    values = 1000 * (k**2 + j**2 + i**2 < 0.7) * (1 - 0.3 * (i > 0.1)) + 20
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    slicer.util.updateVolumeFromArray(node, values.astype(dtype))
    put_on_grid(node, np.diag([1.5, 1.5, 4.0, 1.0]) if matrix is None else matrix)
    node.CreateDefaultDisplayNodes()
    return node


def put_on_grid(node: slicer.vtkMRMLVolumeNode, matrix: np.ndarray) -> None:
    """Set a volume's matrix from voxel indices to mm in RAS."""
    values = vtk.vtkMatrix4x4()
    values.DeepCopy(np.asarray(matrix, float).ravel().tolist())
    node.SetIJKToRASMatrix(values)


def ijk_to_ras(node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """A volume's matrix from voxel indices to mm in RAS."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def world(node: slicer.vtkMRMLVolumeNode, index: tuple[float, float, float]) -> np.ndarray:
    """Where a voxel is in the world, its parent transforms applied."""
    local = ijk_to_ras(node) @ np.array([*index, 1.0])
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    return np.array(transform.TransformPoint(local[:3]))


def linear_transform(seed: int) -> slicer.vtkMRMLLinearTransformNode:
    """A random affine transform node."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(tuple(rng.uniform(-90, 90, 3))) * rng.uniform(0.8, 1.2, 3)
    matrix[:3, 3] = rng.uniform(-50, 50, 3)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Linear")
    values = vtk.vtkMatrix4x4()
    values.DeepCopy(matrix.ravel().tolist())
    node.SetMatrixTransformToParent(values)
    return node


def warp() -> slicer.vtkMRMLTransformNode:
    """A transform node that is not linear: a thin-plate spline."""
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for x in (-60, 60):
        for y in (-60, 60):
            for z in (-60, 60):
                source.InsertNextPoint(x, y, z)
                target.InsertNextPoint(x + 0.05 * y, y - 0.04 * z + 3 * (x > 0), z + 2)
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    node.SetAndObserveTransformToParent(spline)
    return node


def fingerprint(node: slicer.vtkMRMLVolumeNode) -> str:
    """A hash of a volume's voxels, grid, parent, name and attributes, to see whether it was changed."""
    digest = hashlib.sha256(slicer.util.arrayFromVolume(node).tobytes())
    digest.update(ijk_to_ras(node).tobytes())
    attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    display = node.GetDisplayNode()
    window = (display.GetWindow(), display.GetLevel()) if display else None
    digest.update(repr((node.GetName(), node.GetTransformNodeID(), sorted(attributes.items()), window)).encode())
    return digest.hexdigest()


def node_ids() -> set[str]:
    """The ids of all nodes of the scene that a user could see or save."""
    nodes = slicer.mrmlScene.GetNodes()
    return {nodes.GetItemAsObject(number).GetID() for number in range(nodes.GetNumberOfItems())}


def private_folders() -> list[Path]:
    """The temporary folders of runs that are there now."""
    return sorted(Path(slicer.app.temporaryPath).glob("ModalityConversion-*"))
