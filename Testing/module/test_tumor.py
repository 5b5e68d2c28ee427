"""The tumor outlined by a model that segments: a segmentation node with coded meanings, in the scan's place."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

import slow
from bundles import write_bundle
from modality_conversion.modality import Modality
from ModalityConversionLib import marks
from ModalityConversionLib.conversion import Conversion
from ModalityConversionLib.request import Request
from ModalityConversionLib.run import finished
from scenes import add_scan, grid, linear_transform
from slicer_standin import wait_until

NEOPLASM = {"scheme": "SCT", "value": "108369006", "meaning": "Neoplasm"}
MORPHOLOGY = {"scheme": "SCT", "value": "49755003", "meaning": "Morphologically abnormal structure"}


@pytest.fixture
def segmenting_model(models_dir):
    """A model that calls a tumor whatever is brighter than 500."""
    return write_bundle(
        models_dir / "bright",
        slow.twice,
        id="bright",
        targets={},
        ops=[{"op": "linear", "stage": "grid", "scale": 1.0, "offset": -500.0}],
        segmentation={
            "labels": [
                {"value": 1, "name": "Tumor", "terminology": {"category": MORPHOLOGY, "type": NEOPLASM}},
                {"value": 2, "name": "The same again", "terminology": {"category": MORPHOLOGY, "type": NEOPLASM}},
            ],
            "activation": "sigmoid",
        },
    )


def segment_array(node, number):
    return slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, node.GetSegmentation().GetNthSegmentID(number))


def test_labels_become_segments_with_codes_in_the_scans_place(scene, segmenting_model):
    scan = add_scan(matrix=grid(11))
    parent = linear_transform(4)
    scan.SetAndObserveTransformNodeID(parent.GetID())
    run = Conversion(Request(scan=scan, modality=Modality.T1, target=None))
    run.wait()
    results = finished(run)
    node = results.segmentation
    assert results.volume is None
    assert node.GetParentTransformNode() is parent
    assert marks.content(node) == "segmentation"
    segment = node.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "Tumor"
    tag = _tag(segment)
    assert "SCT^49755003^Morphologically abnormal structure" in tag
    assert "SCT^108369006^Neoplasm" in tag
    from ModalityConversionLib import masks

    found = masks.on_grid_of(scan, node)
    np.testing.assert_array_equal(found != 0, slicer.util.arrayFromVolume(scan) > 500)


def _tag(segment) -> str:
    import vtk

    value = vtk.reference("")
    segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), value)
    return str(value)


def test_the_option_appears_only_with_a_model_that_segments(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    panel.options.ui.optionsButton.collapsed = False
    assert not panel.options.ui.segmentationCheckBox.visible


def test_both_at_once_by_clicks(panel, copy_model, segmenting_model):
    scan = add_scan()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    panel.options.ui.optionsButton.collapsed = False
    assert panel.options.ui.segmentationCheckBox.visible
    panel.options.ui.segmentationCheckBox.click()
    panel.options.ui.convertButton.click()
    assert wait_until(lambda: not panel.is_running, 40)
    assert panel.run.outcome is not None, panel.run.message
    results = panel.run.outcome
    assert results.volume is not None
    assert results.segmentation.GetSegmentation().GetNumberOfSegments() == 2
    assert "output" not in results.report["segmentation"]
