"""Conversion from scripts, of volumes and of sequences."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from modality_conversion.errors import Cancelled, ConversionError
from ModalityConversionLib import dependencies, marks
from scenes import MODULE_FILE, add_scan, node_ids, private_folders
from slicer_standin import load_module


@pytest.fixture
def logic(scene):
    load_module(MODULE_FILE)
    import sys

    return sys.modules["ModalityConversion"].ModalityConversionLogic()


def test_one_line_converts_a_volume(logic, copy_model):
    scan = add_scan()
    results = logic.convert(scan, target="T2")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(results.volume), slicer.util.arrayFromVolume(scan))
    assert results.uncertainty is None
    assert results.report["model"]["id"] == "t1-to-t2-copy"


def test_progress_is_told_and_may_cancel(logic, copy_model):
    news = []
    logic.convert(add_scan(), target="T2", progress=news.append)
    assert news[0].stage == "read"

    def stop(item):
        raise Cancelled("Enough.")

    scan = add_scan("Another T1")
    before = node_ids()
    with pytest.raises(Cancelled):
        logic.convert(scan, target="T2", progress=stop)
    assert node_ids() == before
    assert private_folders() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "T2", "source": "T9"}, "not a modality"),
        ({"target": "XX"}, "not a modality"),
        ({"target": "CT"}, "No installed model makes CT"),
        ({"target": "T2", "model": "no-such"}, "no model"),
        ({"target": "T2", "device": "toaster"}, "no device"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_ones(logic, copy_model, options, words):
    scan = add_scan()
    before = node_ids()
    with pytest.raises(ConversionError, match=words):
        logic.convert(scan, **options)
    assert node_ids() == before


def test_nothing_and_the_unknown_are_refused(logic, copy_model):
    with pytest.raises(ConversionError, match="Choose the volume"):
        logic.convert(None, target="T2")
    with pytest.raises(ConversionError, match="source="):
        logic.convert(add_scan("Volume_1"), target="T2")


def test_missing_software_is_named(logic, copy_model, monkeypatch):
    monkeypatch.setattr(dependencies, "missing", lambda: ("onnxruntime>=1.20",))
    with pytest.raises(ConversionError, match="onnxruntime"):
        logic.convert(add_scan(), target="T2")


def add_sequence(count: int, kind: str = "vtkMRMLScalarVolumeNode"):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Series T1")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for number in range(count):
        frame = add_scan(f"Frame {number}", shape=(5, 12, 10), kind=kind)
        slicer.util.updateVolumeFromArray(frame, slicer.util.arrayFromVolume(frame) + number)
        sequence.SetDataNodeAtValue(frame, str(number * 0.5))
        slicer.mrmlScene.RemoveNode(frame)
    return sequence


def test_a_sequence_in_a_sequence_out(logic, copy_model):
    sequence = add_sequence(3)
    before = node_ids()
    made = logic.convert(sequence, target="T2")
    assert made.IsA("vtkMRMLSequenceNode")
    assert made.GetNumberOfDataNodes() == 3
    assert [made.GetNthIndexValue(n) for n in range(3)] == ["0", "0.5", "1.0"] or [
        float(made.GetNthIndexValue(n)) for n in range(3)
    ] == [0, 0.5, 1]
    assert (made.GetIndexName(), made.GetIndexUnit()) == ("time", "s")
    for number in range(3):
        np.testing.assert_array_equal(
            slicer.util.arrayFromVolume(made.GetNthDataNode(number)),
            slicer.util.arrayFromVolume(sequence.GetNthDataNode(number)),
        )
        assert marks.is_synthetic(made.GetNthDataNode(number))
    added = [slicer.mrmlScene.GetNodeByID(id) for id in node_ids() - before]
    assert [node for node in added if node.IsA("vtkMRMLVolumeNode")] == []


def test_an_empty_sequence_and_one_of_models_are_refused(logic, copy_model):
    with pytest.raises(ConversionError, match="not a sequence of volumes"):
        logic.convert(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Empty T1"), target="T2")


def test_a_sequence_takes_no_output_volume(logic, copy_model):
    chosen = add_scan("Mine")
    with pytest.raises(ConversionError, match="Leave the output"):
        logic.convert(add_sequence(1), target="T2", output=chosen)
    assert chosen.GetScene() is slicer.mrmlScene


def test_a_sequence_that_fails_half_way_leaves_nothing(logic, copy_model):
    sequence = add_sequence(3)
    before = node_ids()
    seen = []

    def stop(item):
        seen.append(item)
        if item.stage == "frame" and item.done == 2:
            raise Cancelled("Enough.")

    with pytest.raises(Cancelled):
        logic.convert(sequence, target="T2", progress=stop)
    assert [item.done for item in seen] == [0, 1, 2]
    assert node_ids() == before
