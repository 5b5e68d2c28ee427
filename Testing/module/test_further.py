"""Several scans of one person in one conversion: chosen by clicks, refused in words, brought to one place."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from scipy import ndimage

import slow
from bundles import write_bundle
from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from ModalityConversionLib import marks
from ModalityConversionLib.conversion import Conversion
from ModalityConversionLib.request import Request
from ModalityConversionLib.run import State, finished
from scenes import (
    add_scan,
    fingerprint,
    grid,
    ijk_to_ras,
    linear_transform,
    node_ids,
    private_folders,
    put_on_grid,
    warp,
)
from slicer_standin import longest_block, open_panel, wait_until
from test_panel import choose, click_convert, ends, items


@pytest.fixture
def joint_model(models_dir):
    """A model that reads a T1 and a FLAIR together and returns the FLAIR as a T2."""
    return write_joint(models_dir)


def write_joint(models_dir, **overrides):
    inputs = [{"name": name, "role": "image", "modality": name, "missing": "zeros"} for name in ("T1", "FLAIR")]
    sources = [{"modality": "T1"}, {"modality": "FLAIR"}]
    fields = {"sources": sources, "inputs": inputs, "title": "Joint", **overrides}
    return write_bundle(models_dir / "joint", slow.second, **fields)


def add(panel, scan, number: int = 1) -> None:
    """Choose a further scan as a user does."""
    panel.further.ui.moreButton.collapsed = False
    getattr(panel.further.ui, f"furtherSelector{number}").setCurrentNode(scan)


def file_in_study(patient: str, *scans, study: str = "Study") -> None:
    """Put volumes into a study of a patient, as DICOM import does."""
    names = slicer.vtkMRMLSubjectHierarchyConstants
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    root = hierarchy.GetItemByName(patient) or hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
    hierarchy.SetItemAttribute(root, names.GetSubjectHierarchyLevelAttributeName(), names.GetDICOMLevelPatient())
    item = hierarchy.CreateStudyItem(root, study)
    hierarchy.SetItemAttribute(item, names.GetSubjectHierarchyLevelAttributeName(), names.GetDICOMLevelStudy())
    for scan in scans:
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(scan), item)


def buttons(panel) -> list[str]:
    found = [getattr(panel.further.ui, f"suggestButton{number}") for number in (1, 2, 3)]
    return [button.text for button in found if not button.isHidden()]


# --- by clicks --------------------------------------------------------------------------------------------------------


def test_a_second_scan_goes_in_and_the_result_lies_on_the_main_one_and_names_both(panel, joint_model):
    scan, other = add_scan("Anna T1"), add_scan("Anna FLAIR")
    slicer.util.updateVolumeFromArray(other, slicer.util.arrayFromVolume(other) // 2 + 7)
    panel.input.ui.inputSelector.setCurrentNode(scan)
    assert panel.further.ui.moreButton.collapsed
    add(panel, other)
    assert panel.further.ui.furtherCombo1.currentText == "FLAIR"
    assert "Anna FLAIR" in panel.further.ui.furtherHow1.text
    assert panel.further.ui.moreButton.text == "More scans of this patient (1)"
    before = fingerprint(scan), fingerprint(other)
    click_convert(panel)
    assert ends(panel)
    made = panel.run.outcome.volume
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(made), slicer.util.arrayFromVolume(other))
    np.testing.assert_array_equal(ijk_to_ras(made), ijk_to_ras(scan))
    assert (fingerprint(scan), fingerprint(other)) == before
    assert made.GetAttribute("ModalityConversion.SourceName") == "Anna T1; Anna FLAIR"
    assert made.GetAttribute("ModalityConversion.SourceModality") == "T1 FLAIR"
    sources = [made.GetNthNodeReference(marks.SOURCE, number) for number in range(3)]
    assert sources == [scan, other, None]
    assert panel.reading.reading.real is scan


def test_an_output_filled_again_names_the_sources_of_this_time(panel, joint_model):
    scan, other = add_scan("Anna T1"), add_scan("Anna FLAIR")
    panel.input.ui.inputSelector.setCurrentNode(scan)
    add(panel, other)
    click_convert(panel)
    assert ends(panel)
    made = panel.run.outcome.volume
    panel.options.ui.outputSelector.setCurrentNode(made)
    add(panel, None)
    click_convert(panel)
    assert ends(panel)
    assert panel.run.outcome.volume is made
    assert made.GetNumberOfNodeReferences(marks.SOURCE) == 1
    assert made.GetAttribute("ModalityConversion.SourceName") == "Anna T1"


def test_a_model_for_one_scan_says_that_it_uses_no_other(panel, copy_model):
    scan, other = add_scan("Anna T1"), add_scan("Anna FLAIR")
    panel.input.ui.inputSelector.setCurrentNode(scan)
    choose(panel.input.ui.modelCombo, "t1-to-t2-copy")
    add(panel, other)
    assert "reads one scan at a time" in panel.further.ui.moreNote.text
    assert "not read by this model" in panel.further.ui.moreButton.text
    click_convert(panel)
    assert ends(panel)
    made = panel.run.outcome.volume
    assert made.GetAttribute("ModalityConversion.SourceName") == "Anna T1"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(made), slicer.util.arrayFromVolume(scan))


def test_with_a_second_scan_a_model_that_reads_it_is_the_default_and_the_users_choice_stays(
    panel, copy_model, joint_model
):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    assert set(items(panel.input.ui.modelCombo)) >= {"joint", "t1-to-t2-copy"}
    add(panel, add_scan("Anna FLAIR"))
    assert panel.input.model.id == "joint"
    choose(panel.input.ui.modelCombo, "t1-to-t2-copy")
    assert panel.input.model.id == "t1-to-t2-copy"


def empty(name: str):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    image = vtk.vtkImageData()
    image.SetDimensions(0, 0, 0)
    node.SetAndObserveImageData(image)
    return node


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda scan: scan, "chosen twice"),
        (lambda scan: add_scan("Other T1"), "Two scans are given as T1: Anna T1 and Other T1"),
        (lambda scan: add_scan("Anna T2"), "Anna T2 is a T2, which is what is to be made"),
        (lambda scan: empty("Hollow FLAIR"), "Hollow FLAIR has no voxels"),
        (lambda scan: add_scan("Volume_3"), "Choose what kind of scan Volume_3 is"),
        (lambda scan: add_scan("Anna PD"), "does not read a PD; it reads T1, FLAIR"),
    ],
)
def test_what_cannot_go_in_is_refused_in_words_before_anything_starts(panel, joint_model, make, words):
    scan = add_scan("Anna T1")
    panel.input.ui.inputSelector.setCurrentNode(scan)
    choose(panel.input.ui.modelCombo, "joint")
    add(panel, make(scan))
    assert not panel.options.ui.convertButton.enabled
    assert words in panel.options.ui.convertButton.toolTip
    panel.convert()
    assert panel.run is None
    assert words in panel.options.ui.messageLabel.text
    add(panel, None)
    assert panel.options.ui.convertButton.enabled


def test_two_further_scans_of_one_kind_and_one_node_twice_are_refused(panel, joint_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    choose(panel.input.ui.modelCombo, "joint")
    flair = add_scan("Anna FLAIR")
    add(panel, flair, 1)
    add(panel, flair, 2)
    assert "chosen twice" in panel.options.ui.convertButton.toolTip
    add(panel, add_scan("Late FLAIR"), 2)
    assert "given as FLAIR: Anna FLAIR and Late FLAIR" in panel.options.ui.convertButton.toolTip


def test_what_a_further_scan_is_can_be_corrected_for_that_scan_alone(panel, joint_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    choose(panel.input.ui.modelCombo, "joint")
    add(panel, add_scan("Volume_3"))
    choose(panel.further.ui.furtherCombo1, "FLAIR")
    assert panel.options.ui.convertButton.enabled, panel.options.ui.convertButton.toolTip
    assert panel.further.ui.furtherHow1.text == "chosen by hand"
    add(panel, add_scan("Volume_4"))
    assert "Choose what kind of scan Volume_4 is" in panel.options.ui.convertButton.toolTip


def test_scans_of_the_same_study_are_offered_and_go_in_only_by_a_click(panel, joint_model):
    scan, flair, other = add_scan("Anna T1"), add_scan("Anna FLAIR"), add_scan("Bert FLAIR")
    add_scan("Loose FLAIR")
    file_in_study("Anna", scan, flair, add_scan("Anna PD"), add_scan("Anna T1 late"), add_scan("Anna T2"))
    file_in_study("Bert", other)
    panel.input.ui.inputSelector.setCurrentNode(scan)
    choose(panel.input.ui.modelCombo, "joint")
    panel.further.ui.moreButton.collapsed = False
    assert buttons(panel) == ["Add Anna FLAIR (FLAIR)"]
    assert panel.further.chosen == ()
    panel.further.ui.suggestButton1.click()
    assert [one.volume for one in panel.further.chosen] == [flair]
    assert buttons(panel) == []
    assert panel.options.ui.convertButton.enabled


def test_synthetic_volumes_and_models_for_one_scan_bring_no_offer(panel, copy_model, joint_model):
    scan, made = add_scan("Anna T1"), add_scan("Anna FLAIR")
    marks.mark(made, {"modality": "FLAIR"}, "image", scan)
    file_in_study("Anna", scan, made)
    panel.input.ui.inputSelector.setCurrentNode(scan)
    choose(panel.input.ui.modelCombo, "joint")
    panel.further.ui.moreButton.collapsed = False
    assert buttons(panel) == []
    file_in_study("Anna", scan, add_scan("Late FLAIR"), study="Later")
    panel.refresh()
    assert buttons(panel) == ["Add Late FLAIR (FLAIR)"]
    choose(panel.input.ui.modelCombo, "t1-to-t2-copy")
    assert buttons(panel) == []


def test_a_scan_filed_under_another_patient_is_pointed_out(panel, joint_model):
    scan, other = add_scan("Anna T1"), add_scan("Bert FLAIR")
    file_in_study("Anna", scan)
    file_in_study("Bert", other)
    panel.input.ui.inputSelector.setCurrentNode(scan)
    add(panel, other)
    assert "Bert FLAIR is filed under another patient" in panel.further.ui.moreNote.text


def test_another_main_scan_takes_the_former_ones_companions_out_and_says_so(panel, joint_model):
    anna, flair, bert, late = (add_scan(name) for name in ("Anna T1", "Anna FLAIR", "Bert T1", "Anna T1 late"))
    file_in_study("Anna", anna, flair, late)
    file_in_study("Bert", bert)
    panel.input.ui.inputSelector.setCurrentNode(anna)
    add(panel, flair)
    panel.input.ui.inputSelector.setCurrentNode(late)  # of the same study
    assert [one.volume for one in panel.further.chosen] == [flair]
    panel.input.ui.inputSelector.setCurrentNode(bert)
    assert panel.further.chosen == ()
    assert "Taken out, since another scan is converted: Anna FLAIR" in panel.further.ui.moreNote.text


def test_three_places_open_one_after_the_other(panel, joint_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    boxes = [getattr(panel.further.ui, f"slot{number}") for number in (1, 2, 3)]
    panel.further.ui.moreButton.collapsed = False
    assert [box.visible for box in boxes] == [True, False, False]
    add(panel, add_scan("Anna FLAIR"), 1)
    assert [box.visible for box in boxes] == [True, True, False]


def test_a_further_scan_removed_from_the_scene_is_gone_from_the_panel(panel, joint_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    flair = add_scan("Anna FLAIR")
    add(panel, flair)
    slicer.mrmlScene.RemoveNode(flair)
    assert wait_until(lambda: panel.further.ui.moreButton.text == "More scans of this patient", 5)
    assert panel.further.chosen == ()
    assert panel.options.ui.convertButton.enabled


def test_a_mask_or_output_removed_from_the_scene_is_not_replaced_by_another_volume(panel, joint_model):
    scan, mask = add_scan("Anna T1"), add_scan("Mask")
    first, second = add_scan("Made T2"), add_scan("Made T2 too")
    for made in (first, second):
        marks.mark(made, {"modality": "T2"}, "image", scan)
    panel.input.ui.inputSelector.setCurrentNode(scan)
    panel.options.ui.maskSelector.setCurrentNode(mask)
    panel.options.ui.outputSelector.setCurrentNode(second)
    slicer.mrmlScene.RemoveNode(mask)
    slicer.mrmlScene.RemoveNode(second)
    assert wait_until(lambda: panel.options.ui.convertButton.enabled, 5)
    assert panel.options.ui.maskSelector.currentNode() is None
    assert panel.options.ui.outputSelector.currentNode() is None


def test_a_further_scan_renamed_is_recognised_anew(panel, joint_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    choose(panel.input.ui.modelCombo, "joint")
    other = add_scan("Volume_3")
    add(panel, other)
    other.SetName("Anna FLAIR")
    assert wait_until(lambda: panel.options.ui.convertButton.enabled, 5)


def test_further_scans_are_saved_with_the_scene(panel, joint_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    other = add_scan("Volume_3")
    add(panel, other)
    choose(panel.further.ui.furtherCombo1, "FLAIR")
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
    assert node.GetNodeReferenceID("further1") == other.GetID()
    assert node.GetParameter("furtherModality1") == "FLAIR"
    panel.bind(None)
    assert panel.further.chosen == ()
    open_panel("ModalityConversion").initializeParameterNode()
    assert [(one.volume, one.modality) for one in panel.further.chosen] == [(other, Modality.FLAIR)]


def test_removing_a_further_scan_ends_the_run(panel, joint_model, monkeypatch):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    flair = add_scan("Anna FLAIR")
    add(panel, flair)
    before = node_ids() - {flair.GetID(), flair.GetDisplayNodeID()}
    click_convert(panel)
    slicer.mrmlScene.RemoveNode(flair)
    assert not panel.is_running
    assert "Anna FLAIR was removed" in panel.options.ui.messageLabel.text
    assert wait_until(lambda: private_folders() == [], 5)
    assert {id for id in node_ids() if "Volume" in id and "Display" not in id} <= before


def test_a_further_scan_cannot_be_the_mask(panel, joint_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Anna T1"))
    flair = add_scan("Anna FLAIR")
    add(panel, flair)
    panel.options.ui.maskSelector.setCurrentNode(flair)
    assert "mask is the scan itself" in panel.options.ui.convertButton.toolTip


# --- to one place -----------------------------------------------------------------------------------------------------


def convert(scan, **options):
    run = Conversion(Request(scan=scan, modality=Modality.T1, target=Modality.T2, **options))
    run.wait()
    return finished(run)


def expected_on(scan, other) -> tuple[np.ndarray, np.ndarray]:
    """`other` at the voxels of `scan`, by scipy, and where it covers them; through the world, each with its parent."""
    k, j, i = slicer.util.arrayFromVolume(scan).shape
    indices = np.stack(np.meshgrid(np.arange(i), np.arange(j), np.arange(k), indexing="ij"), -1).reshape(-1, 3)
    local = indices @ ijk_to_ras(scan)[:3, :3].T + ijk_to_ras(scan)[:3, 3]
    way = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        scan.GetParentTransformNode(), other.GetParentTransformNode(), way
    )
    there = np.array([way.TransformPoint(point) for point in local])
    back = np.linalg.inv(ijk_to_ras(other))
    places = (there @ back[:3, :3].T + back[:3, 3])[:, ::-1]
    values = slicer.util.arrayFromVolume(other)
    found = ndimage.map_coordinates(values.astype(float), places.T, order=1, mode="nearest")
    inside = ((places > -0.45) & (places < np.array(values.shape) - 0.55)).all(1)
    outside = ((places < -0.55) | (places > np.array(values.shape) - 0.45)).any(1)
    shape = (i, j, k)
    return found.reshape(shape).T, np.where(inside, 1, np.where(outside, -1, 0)).reshape(shape).T


def rigid(seed: int):
    node = linear_transform(seed)
    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    array = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    u, _, v = np.linalg.svd(array[:3, :3])
    array[:3, :3] = u @ v
    matrix.DeepCopy(array.ravel().tolist())
    node.SetMatrixTransformToParent(matrix)
    return node


@pytest.mark.parametrize("kind", ["headers", "rigid", "affine", "warp", "warp on the main one"])
def test_a_scan_on_another_grid_lands_where_the_world_has_it(scene, joint_model, kind):
    scan = add_scan("Anna T1", shape=(10, 30, 28), matrix=np.diag([2.0, 2.0, 5.0, 1]))
    tilted = grid(4)
    tilted[:3, :3] *= np.array([1.5, 1.7, 3.0]) / np.linalg.norm(tilted[:3, :3], axis=0)
    other = add_scan("Anna FLAIR", shape=(16, 34, 40), matrix=tilted)
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(0, 800, (16, 34, 40)), 2) - 300
    slicer.util.updateVolumeFromArray(other, field.astype(np.int16))
    centre = ijk_to_ras(scan) @ [14, 15, 5, 1] - tilted @ [20, 17, 8, 1]
    tilted[:3, 3] += centre[:3]
    put_on_grid(other, tilted)
    if kind == "rigid":
        mine, theirs = rigid(3), rigid(8)
        scan.SetAndObserveTransformNodeID(mine.GetID())
        other.SetAndObserveTransformNodeID(theirs.GetID())
        # Put the two together again in the world.
        matrix = vtk.vtkMatrix4x4()
        theirs.GetMatrixTransformToParent(matrix)
        to = np.array(mine.GetTransformToParent().TransformPoint((ijk_to_ras(scan) @ [14, 15, 5, 1])[:3]))
        at = np.array(theirs.GetTransformToParent().TransformPoint((tilted @ [20, 17, 8, 1])[:3]))
        for row in range(3):
            matrix.SetElement(row, 3, matrix.GetElement(row, 3) + to[row] - at[row])
        theirs.SetMatrixTransformToParent(matrix)
    elif kind == "affine":
        sheared = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Sheared")
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy([1.1, 0.2, 0, 3, 0, 0.9, 0.1, -2, 0.05, 0, 1, 4, 0, 0, 0, 1])
        sheared.SetMatrixTransformToParent(matrix)
        other.SetAndObserveTransformNodeID(sheared.GetID())
    elif kind.startswith("warp"):
        (scan if "main" in kind else other).SetAndObserveTransformNodeID(warp().GetID())
    before = fingerprint(scan), fingerprint(other)
    results = convert(scan, further={Modality.FLAIR: other})
    wanted, covered = expected_on(scan, other)
    found = slicer.util.arrayFromVolume(results.volume)
    assert 0.2 < (covered == 1).mean() < 1
    np.testing.assert_allclose(found[covered == 1], wanted[covered == 1], atol=0.6)
    assert (found[covered == -1] == field.astype(np.int16).min()).all()
    assert (fingerprint(scan), fingerprint(other)) == before
    np.testing.assert_array_equal(ijk_to_ras(results.volume), ijk_to_ras(scan))
    assert results.volume.GetParentTransformNode() is scan.GetParentTransformNode()
    assert any("FLAIR" in warning and "covers" in warning for warning in results.report["warnings"])


@pytest.mark.parametrize("warped", [False, True])
def test_scans_that_lie_apart_are_refused_and_nothing_is_left(scene, joint_model, warped):
    scan, other = add_scan("Anna T1"), add_scan("Anna FLAIR", matrix=np.diag([1.5, 1.5, 4, 1]) + np.eye(4, k=3) * 900)
    if warped:
        other.SetAndObserveTransformNodeID(warp().GetID())
    before = node_ids()
    with pytest.raises(ConversionError, match="different places"):
        convert(scan, further={Modality.FLAIR: other})
    assert node_ids() == before
    assert private_folders() == []


def test_missing_numbers_in_a_warped_scan_do_not_spread(scene, joint_model):
    scan, other = add_scan("Anna T1"), add_scan("Anna FLAIR", dtype=np.float64)
    values = slicer.util.arrayFromVolume(other)
    values[5, 10:14, 10:14] = np.nan
    values[2, 2, 2] = np.inf
    other.SetAndObserveTransformNodeID(warp().GetID())
    found = slicer.util.arrayFromVolume(convert(scan, further={Modality.FLAIR: other}).volume)
    assert np.isfinite(found).all()
    assert found.min() >= 19.5
    assert found.max() <= 1020.5


def test_a_scan_without_a_number_is_refused(scene, joint_model):
    scan, other = add_scan("Anna T1"), add_scan("Anna FLAIR", dtype=np.float32)
    slicer.util.arrayFromVolume(other)[:] = np.nan
    other.SetAndObserveTransformNodeID(warp().GetID())
    with pytest.raises(ConversionError, match="no number"):
        convert(scan, further={Modality.FLAIR: other})


def test_a_warped_scan_does_not_hold_the_event_loop(scene, joint_model):
    scan, other = add_scan("Anna T1", shape=(12, 320, 320)), add_scan("Anna FLAIR", shape=(60, 320, 320))
    other.SetAndObserveTransformNodeID(warp().GetID())
    longest = []
    for _attempt in range(3):  # other tests on the same cores hold it up, too
        run = Conversion(Request(scan, Modality.T1, Modality.T2, further={Modality.FLAIR: other}))
        run.start()
        with longest_block() as blocks:
            assert wait_until(lambda run=run: run.state is not State.running, 60)
        assert run.state is State.done, run.message
        longest.append(blocks.longest)
        if longest[-1] <= 0.1:
            break
    assert min(longest) <= 0.1


@pytest.mark.parametrize(
    ("further", "words"),
    [
        ({Modality.T1: "other"}, "Two scans"),
        ({Modality.FLAIR: "scan"}, "chosen twice"),
        ({Modality.T2: "other"}, "what is to be made"),
    ],
)
def test_scripts_are_refused_in_the_same_words(scene, joint_model, further, words):
    nodes = {"scan": add_scan("Anna T1"), "other": add_scan("Anna FLAIR")}
    with pytest.raises(ConversionError, match=words):
        Conversion(
            Request(nodes["scan"], Modality.T1, Modality.T2, further={m: nodes[name] for m, name in further.items()})
        )
