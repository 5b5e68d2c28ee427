"""What a run gives becomes nodes, all at once, after everything else went well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from modality_conversion.errors import ConversionError

from . import display, hierarchy, marks, tumor, volumes
from .i18n import tr as _
from .request import Request

GIVEN_NAME = f"{marks.PREFIX}GivenName"
"""Attribute: the name that was given here, to tell it from one that the user chose."""


@dataclass(frozen=True)
class Results:
    """The nodes that a conversion made."""

    volume: slicer.vtkMRMLScalarVolumeNode | None
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None
    interval: slicer.vtkMRMLScalarVolumeNode | None
    """Half-widths of the calibrated interval."""
    segmentation: slicer.vtkMRMLSegmentationNode | None
    consistency: slicer.vtkMRMLScalarVolumeNode | None
    """How far the scan and what came back from its conversion disagree: the size of the difference."""
    report: dict[str, Any]

    @property
    def nodes(self) -> list[slicer.vtkMRMLNode]:
        """Those that there are."""
        every = (self.volume, self.uncertainty, self.interval, self.consistency, self.segmentation)
        return [node for node in every if node is not None]


class Origin:
    """Where the scan was when the run began: its grid, its parent transform, its shape (k, j, i)."""

    def __init__(self, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        self.grid = volumes.grid(scan)
        self.matrix = volumes.ijk_to_ras(scan)
        i, j, k = volumes.size(scan)
        self.shape = (k, j, i)
        self._transform = scan.GetTransformNodeID()
        self._image = scan.GetImageData()
        self._changed = self._image.GetMTime()

    def put(self, node: slicer.vtkMRMLTransformableNode, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Give a result the scan's parent transform, so that both stay together.

        Where the scan was hardened or resampled during the run, the old grid belongs to the old transform.
        Raises ConversionError where that one is gone: then nobody knows where the result lies.
        """
        image = scan.GetImageData()
        is_same = image is self._image and image.GetMTime() == self._changed and volumes.grid(scan) == self.grid
        id = scan.GetTransformNodeID() if is_same else self._transform
        if id and slicer.mrmlScene.GetNodeByID(id) is None:
            raise ConversionError(
                _("{name} was moved while it was converted. Convert it again.").format(name=scan.GetName())
            )
        node.SetAndObserveTransformNodeID(id or None)


def add_to_scene(
    request: Request, origin: Origin, images: Mapping[str, vtk.vtkImageData], report: dict[str, Any]
) -> Results:
    """Make or fill the nodes; when one of them fails, none is left behind."""
    made: list[slicer.vtkMRMLNode] = []
    try:
        volume = segmentation = None

        def new_map(content: str, name: str) -> slicer.vtkMRMLScalarVolumeNode | None:
            """A volume with one of the maps; None where that one was not made."""
            if content not in images:
                return None
            node = _new_volume(name.format(name=request.scan.GetName(), modality=report["modality"]), made)
            _fill(node, images[content], origin, request.sources(report), report, content)
            return node

        uncertainty = new_map("uncertainty", _("{name} (uncertainty of synthetic {modality})"))
        interval = new_map("interval", _("{name} (interval of synthetic {modality})"))
        if "consistency" in images:
            size = volumes.voxels(images["consistency"])
            np.abs(size, out=size)  # where it disagrees is to be seen; an overlay cannot show both ends of a scale
        consistency = new_map("consistency", _("{name} (disagreement of the way back from synthetic {modality})"))
        if consistency is not None:
            told = report.get("consistency", {})
            display.set_units(consistency, "HU" if told.get("units") == "HU" else "arbitrary")
            display.show_as_disagreement(consistency, told.get("large", 0.0))
        if "segmentation" in images:
            labels = report.get("segmentation", report)
            segmentation = tumor.new_segmentation(request.sources(labels), origin, images["segmentation"], labels, made)
        # The user's chosen output comes last, so that it stays as it is when anything before fails.
        if "volume" in images:
            name = _("{name} (synthetic {modality})").format(name=request.scan.GetName(), modality=report["modality"])
            volume = _new_volume(name, made) if request.output is None else _renamed(request.output, name)
            _fill(volume, images["volume"], origin, request.sources(report), report, "image")
            display.show_as_scan(volume, report)
            for spread in (uncertainty, interval):
                if spread is not None:
                    display.show_as_uncertainty(spread, volume)
        _label_views()
        return Results(volume, uncertainty, interval, segmentation, consistency, report)
    except BaseException:
        discard(made)
        raise


def discard(nodes: Iterable[slicer.vtkMRMLNode]) -> None:
    """Remove nodes from the scene, with their display and storage nodes."""
    for node in nodes:
        shown = node.IsA("vtkMRMLDisplayableNode")
        companions = [
            node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes() if shown else 0)
        ]
        companions += [node.GetStorageNode()] if node.IsA("vtkMRMLStorableNode") else []
        for one in (node, *companions):
            if one is not None and one.GetScene() is slicer.mrmlScene:
                slicer.mrmlScene.RemoveNode(one)


def add_storage(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Let a volume be saved as NRRD by the writer that puts a node's attributes, our marks, into the file."""
    if node.GetStorageNode() is None:
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLNRRDStorageNode")
        node.SetAndObserveStorageNodeID(storage.GetID())


def _new_volume(name: str, made: list[slicer.vtkMRMLNode]) -> slicer.vtkMRMLScalarVolumeNode:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", _unique(name))
    made.append(node)
    node.SetAttribute(GIVEN_NAME, node.GetName())
    display.add_display(node)
    return node


def _renamed(node: slicer.vtkMRMLScalarVolumeNode, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume that is filled again; the name that an earlier run gave it would be a lie, one the user chose stays."""
    if node.GetName() in (node.GetAttribute(GIVEN_NAME), None):
        node.SetName("")
        node.SetName(_unique(name))
        node.SetAttribute(GIVEN_NAME, node.GetName())
    return node


def _unique(name: str) -> str:
    taken = slicer.mrmlScene.GetFirstNodeByName(name) is not None
    return slicer.mrmlScene.GenerateUniqueName(name) if taken else name


def _label_views() -> None:
    """A volume that is shown already may now hold something else."""
    labels = getattr(slicer.modules, "modalityConversionLabels", None)
    if labels is not None:
        labels.update()


def _fill(
    node: slicer.vtkMRMLScalarVolumeNode,
    image: vtk.vtkImageData,
    origin: Origin,
    sources: Sequence[slicer.vtkMRMLScalarVolumeNode],
    report: Mapping[str, Any],
    content: str,
) -> None:
    scan = sources[0]
    blocked = node.StartModify()
    try:
        volumes.set_grid(node, origin.grid)
        node.SetAndObserveImageData(image)
        origin.put(node, scan)
        marks.mark(node, report, content, *sources)
        display.set_units(node, report["units"])
    finally:
        node.EndModify(blocked)
    add_storage(node)
    hierarchy.place_beside(node, scan)
    what = report["modality"] if content == "image" else f"{content} of {report['modality']}"
    made_from = " ".join(report.get("source", {}).get("modality", []))
    hierarchy.set_dicom_fields(node, scan, report, f"SYNTHETIC {what} from {made_from}, not for diagnosis")
