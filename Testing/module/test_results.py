"""What the nodes say of themselves: synthetic, units, window, study, what Slicer's DICOM export will write."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer

import slow
from bundles import write_bundle
from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from ModalityConversionLib import display, marks
from ModalityConversionLib.conversion import Conversion
from ModalityConversionLib.request import Request
from ModalityConversionLib.run import State, finished
from scenes import add_scan, fingerprint, node_ids


def convert(scan, target=Modality.T2, modality=Modality.T1, **options):
    run = Conversion(Request(scan=scan, modality=modality, target=target, **options))
    run.wait()
    return finished(run)


def test_a_result_says_that_it_is_synthetic_by_what_and_from_what(scene, copy_model):
    scan = add_scan()
    volume = convert(scan).volume
    assert marks.is_synthetic(volume)
    assert not marks.is_synthetic(scan)
    said = {
        name: volume.GetAttribute(f"ModalityConversion.{name}")
        for name in ("Model", "SourceName", "Modality", "Content")
    }
    assert said == {"Model": "t1-to-t2-copy", "SourceName": "Scan T1", "Modality": "T2", "Content": "image"}
    assert "Not for diagnosis" in volume.GetAttribute("ModalityConversion.Notice")
    assert volume.GetNodeReference(marks.SOURCE) is scan
    report = marks.report_of(volume)
    assert report["model"]["id"] == "t1-to-t2-copy"
    assert "files" not in report["source"]
    assert "output" not in report


def test_the_marks_are_in_a_saved_nrrd_file(scene, copy_model, tmp_path):
    volume = convert(add_scan()).volume
    path = tmp_path / "saved.nrrd"
    storage = volume.GetStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(volume)
    header = path.read_bytes().split(b"\n\n")[0].decode("utf-8", "replace")
    assert "ModalityConversion.Synthetic:=1" in header
    assert "ModalityConversion.Model:=t1-to-t2-copy" in header


@pytest.mark.parametrize(
    ("target", "units", "window", "level", "code"),
    [
        ("CT", "HU", 400, 40, "[hnsf'U]"),
        ("PET", "SUV", 10, 5, "{SUVbw}g/ml"),
        ("T2", "arbitrary", 900, 450, "1"),
    ],
)
def test_units_window_and_colour_are_those_of_the_target(scene, models_dir, target, units, window, level, code):
    declared = {"units": units, "background": 0, "dtype": "float32", "window": window, "level": level}
    write_bundle(models_dir / "made", id="made", targets={target: declared})
    volume = convert(add_scan(), target=Modality(target), model="made").volume
    assert volume.GetVoxelValueUnits().GetCodeValue() == code
    shown = volume.GetDisplayNode()
    assert not shown.GetAutoWindowLevel()
    if units == "arbitrary":  # no model knows the scan's units, so the window is the image's own
        assert 100 < shown.GetWindow() < 600
    else:
        assert (shown.GetWindow(), shown.GetLevel()) == (window, level)
    assert shown.GetColorNodeID() == (display.INVERTED_GREY if target == "PET" else display.GREY)


def test_a_result_lies_in_the_scans_study(scene, copy_model):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Patient")
    study = hierarchy.CreateStudyItem(patient, "Study")
    hierarchy.SetItemUID(study, "DICOM", "1.2.3")
    scan = add_scan()
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(scan), study)
    volume = convert(scan).volume
    item = hierarchy.GetItemByDataNode(volume)
    assert hierarchy.GetItemParent(item) == study
    said = {name: hierarchy.GetItemAttribute(item, f"DICOM.{name}") for name in ("Modality", "StudyInstanceUID")}
    assert said == {"Modality": "MR", "StudyInstanceUID": "1.2.3"}
    description = hierarchy.GetItemAttribute(item, "DICOM.SeriesDescription")
    assert description == "SYNTHETIC T2 from T1, not for diagnosis"
    assert len(description) <= 64  # DICOM's LO


def test_the_frame_of_reference_comes_from_the_dicom_database(scene, copy_model):
    slicer.dicomDatabase._add(
        "1.2.840.1", "/archive/1.dcm", {"0020,0052": "1.2.9", "0008,0060": "MR", "0008,103E": "T1 tra"}
    )
    scan = add_scan()
    scan.SetAttribute("DICOM.instanceUIDs", "1.2.840.1")
    volume = convert(scan).volume
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume)
    assert hierarchy.GetItemAttribute(item, "DICOM.FrameOfReferenceUID") == "1.2.9"


def test_a_second_conversion_makes_a_second_volume(scene, copy_model):
    scan = add_scan()
    first, second = convert(scan).volume, convert(scan).volume
    assert first is not second
    assert first.GetName() != second.GetName()


def test_a_chosen_output_is_filled_again(scene, copy_model):
    scan = add_scan()
    first = convert(scan).volume
    slicer.util.updateVolumeFromArray(scan, slicer.util.arrayFromVolume(scan) * 2)
    count = len(node_ids())
    scan.SetName("Another T1")
    again = convert(scan, output=first)
    assert again.volume is first
    assert first.GetName() == "Another T1 (synthetic T2)"
    first.SetName("Mine")
    assert convert(scan, output=first).volume.GetName() == "Mine"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(first), slicer.util.arrayFromVolume(scan))
    assert len(node_ids()) == count


def test_the_users_own_scan_is_never_an_output(scene, copy_model):
    scan, other = add_scan(), add_scan("A real T2")
    before = fingerprint(other)
    for output in (scan, other):
        with pytest.raises(ConversionError, match="Choose another output"):
            Conversion(Request(scan=scan, modality=Modality.T1, target=Modality.T2, output=output))
    assert fingerprint(other) == before


def test_nodes_made_before_a_failure_are_removed(scene, copy_model, monkeypatch):
    from ModalityConversionLib import results

    scan = add_scan()
    before = node_ids()
    monkeypatch.setattr(results.display, "show_as_scan", lambda *_: 1 / 0)
    run = Conversion(Request(scan=scan, modality=Modality.T1, target=Modality.T2))
    run.wait()
    assert run.state is State.failed
    assert node_ids() == before


def test_uncertainty_is_a_volume_of_its_own_with_warm_colours(scene, uncertain_model):
    scan = add_scan()
    results = convert(scan, uncertainty=True)
    spread = results.uncertainty
    assert marks.content(spread) == "uncertainty"
    assert "uncertainty" in spread.GetName()
    assert spread.GetDisplayNode().GetColorNodeID() == display.IRON
    assert spread.GetDisplayNode().GetApplyThreshold()
    assert json.loads(spread.GetAttribute(marks.REPORT)) == results.report


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: None, "Choose the volume"),
        (lambda: add_scan(kind="vtkMRMLLabelMapVolumeNode"), "label map"),
        (lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"), "no voxels"),
        (lambda: _vector(), "not a scalar volume"),
        (lambda: add_scan(matrix=np.array([[1, 0, 0.4, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])), "sheared"),
        (lambda: add_scan(matrix=np.diag([1, np.nan, 2, 1.0])), "not finite"),
    ],
)
def test_what_cannot_be_converted_is_refused_before_anything_begins(scene, copy_model, make, words):
    node = make()
    before = node_ids()
    with pytest.raises(ConversionError, match=words):
        Conversion(Request(scan=node, modality=Modality.T1, target=Modality.T2))
    assert node_ids() == before


def _vector():
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Colour")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    return node


def test_a_further_scan_is_brought_to_where_its_transform_puts_it(scene, models_dir):
    import vtk

    inputs = [{"name": name, "role": "image", "modality": name, "missing": "error"} for name in ("T1", "FLAIR")]
    sources = [{"modality": "T1"}, {"modality": "FLAIR"}]
    write_bundle(models_dir / "joint", slow.second, sources=sources, inputs=inputs)
    first, second = add_scan(), add_scan("Scan FLAIR")
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 3.0)  # two voxels along i
    shift.SetMatrixTransformToParent(matrix)
    second.SetAndObserveTransformNodeID(shift.GetID())
    made = convert(first, further={Modality.FLAIR: second}, model="joint").volume
    expected = np.roll(slicer.util.arrayFromVolume(second), 2, axis=2)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(made)[:, :, 2:], expected[:, :, 2:], atol=1)
    with pytest.raises(ConversionError, match="Two scans"):
        Conversion(Request(first, Modality.T1, Modality.T2, further={Modality.T1: second}))
