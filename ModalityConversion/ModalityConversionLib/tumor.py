"""A label map from the engine as a segmentation node, each label with its coded meaning and colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from . import hierarchy, marks, volumes
from .i18n import tr as _

if TYPE_CHECKING:
    from .results import Origin

# Of Slicer's general anatomy colours: mass, oedema, necrosis; then distinct ones for whatever else a model outlines.
_COLOURS = ((144, 238, 144), (140, 224, 228), (216, 191, 216), (250, 250, 225), (255, 182, 193), (230, 158, 140))
_CONTEXT = "Segmentation category and type - DICOM master list"
_NO_REGION = "Anatomic codes - DICOM master list"


def new_segmentation(
    sources: Sequence[slicer.vtkMRMLScalarVolumeNode],
    origin: Origin,
    image: vtk.vtkImageData,
    report: Mapping[str, Any],
    made: list[slicer.vtkMRMLNode],
) -> slicer.vtkMRMLSegmentationNode:
    """Outline the labels of `report["labels"]` in a new segmentation on the first scan's grid.

    `sources` are the scans that were read; `made` gets every new node.
    """
    scan = sources[0]
    name = _("{name} (automatic segmentation)").format(name=scan.GetName())
    unique = slicer.mrmlScene.GenerateUniqueName(name) if slicer.mrmlScene.GetFirstNodeByName(name) else name
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", unique)
    made.append(node)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    values = volumes.voxels(image)
    for number, label in enumerate(report["labels"]):
        colour = [part / 255 for part in _COLOURS[number % len(_COLOURS)]]
        part = _oriented(values == label["value"], origin)
        id = node.AddSegmentFromBinaryLabelmapRepresentation(part, label["name"], colour)
        segment = node.GetSegmentation().GetSegment(id)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminology(label))
    origin.put(node, scan)
    marks.mark(node, report, "segmentation", *sources)
    if node.GetStorageNode() is None:
        node.AddDefaultStorageNode()
    hierarchy.place_beside(node, scan)
    return node


def _oriented(mask: np.ndarray, origin: Origin) -> slicer.vtkOrientedImageData:
    k, j, i = mask.shape
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(origin.matrix[row, column]))
    image.SetGeometryFromImageToWorldMatrix(matrix)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    volumes.voxels(image)[:] = mask
    return image


def terminology(label: Mapping[str, Any]) -> str:
    """A label's codes in the form that Slicer keeps with a segment: context, category, type, modifier, region."""
    codes = label["terminology"]

    def entry(code: Mapping[str, str] | None) -> str:
        return f"{code['scheme']}^{code['value']}^{code['meaning']}" if code else "^^"

    return "~".join((_CONTEXT, entry(codes["category"]), entry(codes["type"]), "^^", _NO_REGION, "^^", "^^"))
