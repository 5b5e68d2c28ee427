"""Masks from the scene, wherever they lie, and the nodes they come from left alone."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from modality_conversion.errors import ConversionError
from ModalityConversionLib import masks
from scenes import add_scan, fingerprint, grid, ijk_to_ras, linear_transform


def add_mask(scan, values, kind="vtkMRMLLabelMapVolumeNode"):
    node = slicer.mrmlScene.AddNewNodeByClass(kind, "Mask")
    slicer.util.updateVolumeFromArray(node, values.astype(np.uint8))
    matrix = vtk.vtkMatrix4x4()
    scan.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)
    return node


def box(scan) -> np.ndarray:
    values = np.zeros(slicer.util.arrayFromVolume(scan).shape, bool)
    values[3:8, 10:25, 5:30] = True
    return values


def add_segment(scan, values, name, segmentation=None):
    node = segmentation or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segments")
    image = slicer.vtkOrientedImageData()
    k, j, i = values.shape
    image.SetDimensions(i, j, k)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    from vtk.util.numpy_support import vtk_to_numpy

    vtk_to_numpy(image.GetPointData().GetScalars())[:] = values.ravel()
    matrix = vtk.vtkMatrix4x4()
    scan.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return node, node.AddSegmentFromBinaryLabelmapRepresentation(image, name, [1, 0, 0])


@pytest.mark.parametrize("kind", ["vtkMRMLLabelMapVolumeNode", "vtkMRMLScalarVolumeNode"])
def test_a_mask_volume_on_the_scans_grid_comes_as_it_is(scene, kind):
    scan = add_scan(matrix=grid(4))
    mask = add_mask(scan, 7 * box(scan), kind)
    before = fingerprint(mask)
    np.testing.assert_array_equal(masks.on_grid_of(scan, mask), box(scan))
    assert fingerprint(mask) == before


def test_one_segment_or_all_of_them(scene):
    scan = add_scan(matrix=grid(7))
    first = box(scan)
    second = np.zeros_like(first)
    second[9:11, 30:38, 30:34] = True
    node, one = add_segment(scan, first, "One")
    add_segment(scan, second, "Two", node)
    np.testing.assert_array_equal(masks.on_grid_of(scan, node, one), first)
    np.testing.assert_array_equal(masks.on_grid_of(scan, node), first | second)


def test_a_closed_surface_gives_a_mask_and_gains_no_labelmap(scene):
    scan = add_scan(shape=(40, 40, 40), matrix=np.diag([1, 1, 1, 1.0]))
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(20, 20, 20)
    sphere.SetRadius(9)
    sphere.SetThetaResolution(32)
    sphere.SetPhiResolution(32)
    sphere.Update()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Surface")
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    node.GetSegmentation().SetSourceRepresentationName(surface)
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Ball", [1, 0, 0])
    found = masks.on_grid_of(scan, node)
    assert abs(found.sum() - 4 / 3 * np.pi * 9**3) < 0.08 * found.sum()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    assert not node.GetSegmentation().ContainsRepresentation(name)


def test_a_mask_under_another_transform_lands_where_it_is_seen(scene):
    scan = add_scan(matrix=np.diag([1.5, 1.5, 4.0, 1.0]))
    mask = add_mask(scan, box(scan))
    parent = linear_transform(2)
    mask.SetAndObserveTransformNodeID(parent.GetID())
    scan.SetAndObserveTransformNodeID(parent.GetID())
    np.testing.assert_array_equal(masks.on_grid_of(scan, mask), box(scan))
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 3.0)  # two voxels along i
    shift.SetMatrixTransformToParent(matrix)
    scan.SetAndObserveTransformNodeID(None)
    mask.SetAndObserveTransformNodeID(shift.GetID())
    np.testing.assert_array_equal(masks.on_grid_of(scan, mask), np.roll(box(scan), 2, axis=2))


def test_a_coarser_mask_is_brought_onto_the_scans_grid(scene):
    scan = add_scan(shape=(20, 40, 40), matrix=np.diag([1, 1, 2, 1.0]))
    coarse = add_scan("Coarse", shape=(5, 10, 10), matrix=np.diag([4, 4, 8, 1.0]))
    mask = add_mask(coarse, np.ones((5, 10, 10)))
    found = masks.on_grid_of(scan, mask)
    assert found.shape == (20, 40, 40)
    assert found.mean() > 0.8


def test_a_mask_elsewhere_or_empty_or_gone_is_refused(scene):
    scan = add_scan()
    far = add_mask(scan, box(scan))
    far.SetOrigin(5000, 0, 0)
    with pytest.raises(ConversionError, match="nothing within"):
        masks.on_grid_of(scan, far)
    with pytest.raises(ConversionError, match="nothing within"):
        masks.on_grid_of(scan, add_mask(scan, 0 * box(scan)))
    node, _ = add_segment(scan, box(scan), "One")
    with pytest.raises(ConversionError, match="is gone"):
        masks.on_grid_of(scan, node, "no such segment")
    assert ijk_to_ras(scan).shape == (4, 4)
