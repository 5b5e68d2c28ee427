"""Conversion of every frame of a sequence, for scripts."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from modality_conversion.errors import ConversionError
from modality_conversion.progress import Progress

from . import hierarchy, marks
from .conversion import Conversion
from .i18n import tr as _
from .request import Request
from .results import discard
from .run import finished


def convert_sequence(
    sequence: slicer.vtkMRMLSequenceNode,
    request: Callable[[slicer.vtkMRMLScalarVolumeNode], Request],
    on_progress: Callable[[Progress], None] | None = None,
) -> slicer.vtkMRMLSequenceNode:
    """Convert the frames one after the other; returns a new sequence with the same index values.

    `request` makes the request for one frame. `on_progress` hears of frames: stage `frame`, done of total.
    Raises ConversionError or Cancelled; then no node is left behind.
    """
    total = sequence.GetNumberOfDataNodes()
    if total == 0 or not sequence.GetNthDataNode(0).IsA("vtkMRMLScalarVolumeNode"):
        raise ConversionError(_("{name} is not a sequence of volumes.").format(name=sequence.GetName()))
    output: slicer.vtkMRMLSequenceNode | None = None
    try:
        for number in range(total):
            if on_progress is not None:
                on_progress(Progress("frame", number, total, None))
            frame = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", sequence.GetName())
            made = []
            try:
                frame.CopyContent(sequence.GetNthDataNode(number))
                run = Conversion(request(frame))
                run.wait()
                results = finished(run)
                made = results.nodes
                if output is None:
                    output = _new_sequence(sequence, results.report)
                output.SetDataNodeAtValue(results.volume, sequence.GetNthIndexValue(number))
            finally:
                discard([*made, frame])
    except BaseException:
        if output is not None:
            discard([output])
        raise
    if on_progress is not None:
        on_progress(Progress("frame", total, total, 0.0))
    return output


def _new_sequence(sequence: slicer.vtkMRMLSequenceNode, report: dict) -> slicer.vtkMRMLSequenceNode:
    name = _("{name} (synthetic {modality})").format(name=sequence.GetName(), modality=report["modality"])
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", slicer.mrmlScene.GenerateUniqueName(name))
    output.SetIndexName(sequence.GetIndexName())
    output.SetIndexUnit(sequence.GetIndexUnit())
    output.SetIndexType(sequence.GetIndexType())
    output.SetNumericIndexValueTolerance(sequence.GetNumericIndexValueTolerance())
    marks.mark(output, report, "sequence", sequence)
    hierarchy.place_beside(output, sequence)
    return output
