"""Simulated heads as volume nodes."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer

from lesion_heads import HeadScan
from scenes import put_on_grid

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def add_image(image: sitk.Image, name: str, kind: str = "vtkMRMLScalarVolumeNode") -> slicer.vtkMRMLScalarVolumeNode:
    """An image of SimpleITK as a node, in its place."""
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    put_on_grid(node, LPS_TO_RAS @ matrix)
    if not node.IsA("vtkMRMLLabelMapVolumeNode"):
        node.CreateDefaultDisplayNodes()
    return node


def add_head(head: HeadScan, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """A head with lesions."""
    return add_image(head.scan(), name)


def add_outlines(head: HeadScan, name: str = "Outlines") -> slicer.vtkMRMLLabelMapVolumeNode:
    """All its lesions, outlined."""
    return add_image(head.mask(), name, "vtkMRMLLabelMapVolumeNode")
