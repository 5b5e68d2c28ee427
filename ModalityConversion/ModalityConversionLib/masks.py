"""A mask from the scene, a volume, labelmap or segment, on the grid of the scan to convert. No node is changed."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from modality_conversion.errors import ConversionError

from . import resampling, volumes
from .i18n import tr as _


def on_grid_of(scan: slicer.vtkMRMLVolumeNode, mask: slicer.vtkMRMLNode, segment: str = "") -> NDArray[np.uint8]:
    """The mask as 0 and 1, (k, j, i), on the scan's grid, both where their parent transforms put them.

    `segment`: the id of one segment of a segmentation; empty: all of them.
    Raises ConversionError when the mask has nothing there.
    """
    if mask.IsA("vtkMRMLSegmentationNode"):
        parts = _segments(mask, segment)
    elif volumes.why_unfit(mask) is None or mask.IsA("vtkMRMLLabelMapVolumeNode"):
        parts = [_oriented(mask)]
    else:
        raise ConversionError(_("{name} cannot be a mask. Choose a volume or a segment.").format(name=mask.GetName()))
    found = np.zeros(tuple(reversed(volumes.size(scan))), np.uint8)
    for part in parts:
        found |= volumes.voxels(resampling.onto(scan, part, mask, linear=False)) != 0
    if not found.any():
        raise ConversionError(
            _("The mask {name} has nothing within {scan}. Choose another mask, or none.").format(
                name=mask.GetName(), scan=scan.GetName()
            )
        )
    return found


def _oriented(volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkOrientedImageData:
    """A mask volume as an oriented image of 0 and 1."""
    if volume.GetImageData() is None:
        raise ConversionError(_("The mask {name} has no voxels.").format(name=volume.GetName()))
    return _binary(volume.GetImageData(), volume)


def _binary(image: vtk.vtkImageData, volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkOrientedImageData:
    binary = resampling.empty_grid(volume, vtk.VTK_UNSIGNED_CHAR)
    values = volumes.voxels(image)
    volumes.voxels(binary)[:] = np.isfinite(values) & (values != 0)
    return binary


def _segments(node: slicer.vtkMRMLSegmentationNode, wanted: str) -> list[slicer.vtkOrientedImageData]:
    """Segments as binary images, made from copies, so that the user's segmentation gets no new representation."""
    segmentation = node.GetSegmentation()
    ids = [wanted] if wanted else list(segmentation.GetSegmentIDs())
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    images = []
    for id in ids:
        if segmentation.GetSegment(id) is None:
            raise ConversionError(_("The segment chosen as mask is gone from {name}.").format(name=node.GetName()))
        copy = slicer.vtkSegmentation()
        _set_source(copy, segmentation)
        copy.CopySegmentFromSegmentation(segmentation, id)
        if not copy.CreateRepresentation(name):
            raise ConversionError(_("The segment {id} cannot be made into a mask.").format(id=id))
        segment = copy.GetSegment(id)
        image = slicer.vtkOrientedImageData()
        image.DeepCopy(segment.GetRepresentation(name))
        if image.IsEmpty():
            continue
        values = volumes.voxels(image)
        values[:] = values == segment.GetLabelValue()  # segments may share one image, each with a value
        images.append(image)
    return images


def _set_source(copy: slicer.vtkSegmentation, original: slicer.vtkSegmentation) -> None:
    name = (
        original.GetSourceRepresentationName()
        if hasattr(original, "GetSourceRepresentationName")  # Slicer 5.4 and newer
        else original.GetMasterRepresentationName()
    )
    if hasattr(copy, "SetSourceRepresentationName"):
        copy.SetSourceRepresentationName(name)
    else:
        copy.SetMasterRepresentationName(name)
