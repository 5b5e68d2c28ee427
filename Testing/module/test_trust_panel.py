""" "Can I trust this?", driven by clicks: verdict, reasons, lesions to go to, the way back, and nothing left behind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer

import heads
from bundles import edit_spec, write_bundle
from heads_in_scene import add_head, add_image, add_outlines
from lesion_heads import Ball, HeadScan
from modality_conversion.lesion_list import VERDICTS
from modality_conversion.modality import Modality
from ModalityConversionLib import marks, results
from ModalityConversionLib.conversion import Conversion
from ModalityConversionLib.reading import Overlay
from ModalityConversionLib.request import Request
from ModalityConversionLib.run import State
from scenes import add_scan, fingerprint, linear_transform, node_ids, private_folders, world
from slicer_standin import wait_until
from test_panel import choose, click_convert, ends, items

BRIGHT, DARK = Ball((20, 40, 25), 7.0, 50.0), Ball((44, 30, 30), 9.0, -60.0)
HEAD = HeadScan((BRIGHT, DARK))
MR = {"units": "arbitrary", "background": 0.0, "window": 200.0, "level": 100.0, "dtype": "float32"}


@pytest.fixture
def dulling_model(models_dir):
    """T1 to T2: its input, but nothing brighter than the brain, so that what is bright is lost; and one that goes back."""
    write_bundle(models_dir / "back", id="back", sources=[{"modality": "T2"}], targets={"T1": MR})
    dull = {"op": "clip", "stage": "grid", "low": 0.0, "high": 100.0}
    return write_bundle(models_dir / "dull", id="dull", ops=[dull], targets={"T2": MR})


def nothing_is_left() -> bool:
    """No private folder; the panel's own question for devices, which has one too, may take its time."""
    return wait_until(lambda: private_folders() == [], 60)


def column(panel, number: int) -> list[str]:
    table = panel.trust.ui.lesionTable
    return [table.item(row, number).text() for row in range(table.rowCount)]


def is_seen_in_every_view(place: np.ndarray) -> bool:
    """Whether each slice view's plane goes through a place (RAS, world)."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    normals = [[node.GetSliceToRAS().GetElement(row, 2) for row in range(3)] for node in nodes]
    origins = [[node.GetSliceToRAS().GetElement(row, 3) for row in range(3)] for node in nodes]
    return all(abs(np.dot(normal, place - origin)) < 0.01 for normal, origin in zip(normals, np.array(origins)))


def test_a_lost_lesion_is_said_and_a_click_on_its_row_goes_there(panel, dulling_model):
    scan, outlines = add_head(HEAD, "Patient T1"), add_outlines(HEAD)
    parent = linear_transform(5)
    for node in (scan, outlines):
        node.SetAndObserveTransformNodeID(parent.GetID())
    panel.input.ui.inputSelector.setCurrentNode(scan)
    choose(panel.input.ui.modelCombo, "dull")
    assert not panel.trust.ui.lesionTable.visible
    panel.options.ui.checkLesionsCheckBox.click()
    panel.options.ui.convertBackCheckBox.click()
    panel.options.ui.lesionsSelector.setCurrentNode(outlines)
    before = fingerprint(scan), fingerprint(outlines)
    click_convert(panel)
    assert ends(panel, 90)
    assert panel.run.state is State.done, panel.run.message
    assert (fingerprint(scan), fingerprint(outlines)) == before

    ui, made = panel.trust.ui, panel.run.outcome
    assert ui.verdictLabel.text.startswith("DO NOT RELY ON IT: lesions: 1 lost")
    assert ui.intervalLabel.text == "no calibrated interval"
    assert "Converted back" in ui.backLabel.text
    assert column(panel, 0) == ["lost", "kept"]
    assert column(panel, 2)[0] > "1.3"
    assert column(panel, 3)[0] < "1.1"
    for row, ball in enumerate((BRIGHT, DARK)):
        place = world(scan, ball.centre)
        assert not is_seen_in_every_view(place)
        ui.lesionTable.setCurrentCell(row, 1)
        assert is_seen_in_every_view(place)
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        np.testing.assert_allclose(crosshair.GetCrosshairRAS(), place, atol=1e-3)
        assert [float(part) for part in column(panel, 4)[row].split()[1::2]] == pytest.approx(np.abs(place), abs=0.051)

    way_back = made.consistency
    assert way_back.GetParentTransformNode() is parent
    assert marks.is_synthetic(way_back)
    assert way_back.GetAttribute("ModalityConversion.NotForDiagnosis") == "1"
    values = slicer.util.arrayFromVolume(way_back)
    assert values.min() == 0
    assert values[HEAD.where(BRIGHT)].mean() > 0.15 > 3 * np.median(values)
    choose(panel.reading.ui.overlayCombo, Overlay.consistency.value)
    shown = [node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
    assert way_back.GetID() in shown

    parent_moved = linear_transform(9)
    made.volume.SetAndObserveTransformNodeID(parent_moved.GetID())  # as when both are registered to an atlas later
    ui.lesionTable.cellClicked.emit(0, 0)
    assert is_seen_in_every_view(world(made.volume, BRIGHT.centre))


def test_a_forced_conversion_says_so_and_what_the_scan_looks_like(panel, models_dir):
    write_bundle(models_dir / "gated", id="gated", gate={"trained_on": "Whole heads."}, targets={"T2": MR})
    panel.input.ui.inputSelector.setCurrentNode(add_image(heads.head("T1CE"), "Scan T1"))
    choose(panel.input.ui.modelCombo, "gated")
    click_convert(panel)
    assert ends(panel, 60)
    assert "looks like T1CE" in panel.options.ui.messageLabel.text
    assert "tick Unfit scans" in panel.options.ui.messageLabel.text
    assert panel.trust.ui.verdictLabel.text.startswith("Nothing to judge yet")
    panel.options.ui.forceCheckBox.click()
    click_convert(panel)
    assert ends(panel, 60)
    assert "the model was not made for this scan (forced)" in panel.trust.ui.verdictLabel.text
    assert "Forced: The scan given as T1 looks like T1CE" in panel.trust.ui.whyLabel.text
    assert panel.trust.ui.seenLabel.text.startswith("given as T1, looks like: T1CE")
    panel.reading.ui.resultSelector.setCurrentNode(None)
    assert panel.trust.ui.verdictLabel.text.startswith("Nothing to judge yet")
    assert not panel.trust.ui.whyLabel.visible


def test_of_a_calibrated_model_the_interval_is_told_and_lies_over_the_result(panel, uncertain_model):
    levels = [f"{level}_{place}" for place in ("deep", "outer") for level in ("dark", "middle", "bright")]
    factors = [{"target": "T2", "tissue": tissue, "factor": 2.0, "floor": 3.0, "cases": 4} for tissue in levels]
    calibration = {"coverage": 0.9, "factors": factors, "data": "four heads"}
    edit_spec(uncertain_model, lambda fields: fields.update(calibration=calibration))
    panel.enter()
    panel.input.ui.inputSelector.setCurrentNode(add_head(HEAD, "Scan T1"))
    choose(panel.input.ui.modelCombo, "t1-to-t2-unsure")
    click_convert(panel)
    assert ends(panel, 60)
    made = panel.run.outcome
    assert panel.run.state is State.done, panel.run.message
    assert panel.trust.ui.intervalLabel.text.startswith("90 % interval: \N{PLUS-MINUS SIGN}")
    assert "Calibrated on: four heads" in panel.trust.ui.intervalLabel.text
    known = panel.run.outcome.volume
    tissues = marks.report_of(known)["interval"]["tissues"]
    assert [line.split(" in ", 1)[1] for line in panel.trust.ui.intervalLabel.toolTip.splitlines()] == [
        tissue["name"] for tissue in tissues
    ]
    assert len(tissues) > 1
    spread, width = (slicer.util.arrayFromVolume(node) for node in (made.uncertainty, made.interval))
    inside = width > 0
    assert inside.any()
    np.testing.assert_allclose(width[inside], 2 * np.maximum(spread[inside], 3), rtol=1e-5)
    assert made.interval.GetAttribute("ModalityConversion.NotForDiagnosis") == "1"
    shown = [node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")]
    assert made.interval.GetID() in shown
    assert made.uncertainty.GetID() not in shown


def add_synthetic(source, head, name="Scan T1 (synthetic T2)"):
    """A volume as a conversion leaves it, without the time that one takes."""
    node = add_head(head, name)
    report = {"modality": "T2", "notice": "Synthetic.", "units": "arbitrary", "source": {"modality": ["T1"]}}
    marks.mark(node, report, "image", source)
    return node


def test_lesions_are_checked_later_too_and_against_a_real_scan_of_the_target(panel, copy_model):
    scan, wrong = add_head(HEAD, "Scan T1"), add_head(HEAD, "Somebody's FLAIR")
    synthetic = add_synthetic(scan, HeadScan((DARK,), seed=1))
    real = add_head(HeadScan((DARK,), seed=2), "Real T2")
    real.SetSpacing(2.6, 2.6, 2.6)  # another grid
    ui = panel.trust.ui
    assert not ui.checkButton.enabled
    panel.reading.ui.resultSelector.setCurrentNode(synthetic)
    assert ui.verdictLabel.text.startswith("NOT CHECKED")
    assert "only names places to look at" in ui.checkButton.toolTip
    panel.reading.ui.referenceSelector.setCurrentNode(wrong)
    assert not ui.checkButton.enabled
    assert "is a FLAIR, not a T2" in ui.checkButton.toolTip
    panel.reading.ui.referenceSelector.setCurrentNode(real)
    panel.options.ui.lesionsSelector.setCurrentNode(add_outlines(HEAD))
    before = node_ids(), fingerprint(scan), fingerprint(real)
    ui.checkButton.click()
    assert ui.checkButton.text == "Cancel the check"
    assert wait_until(lambda: not panel.trust.is_checking, 90)
    assert ui.trustMessage.text == ""
    assert "lost" in ui.verdictLabel.text
    found = list(zip(column(panel, 0), column(panel, 5)))
    assert [verdict for verdict, against in found if against == "T1"] == ["lost", "kept"]
    assert {against for _verdict, against in found} == {"T1", "T2"}
    assert column(panel, 0) == sorted(column(panel, 0), key=VERDICTS.index)
    assert (node_ids(), fingerprint(scan), fingerprint(real)) == before
    assert nothing_is_left()
    kept = marks.lesion_check_of(synthetic)
    assert kept["not_for_diagnosis"] is True
    assert "/" not in json.dumps(kept)
    marks.mark(synthetic, marks.report_of(synthetic), "image", scan)  # filled again by another conversion
    assert marks.lesion_check_of(synthetic) == {}


REPORTS = {
    "{}": "NOT CHECKED",
    "no JSON": "NOT CHECKED",
    '{"gate": null, "interval": null, "lesion_check": null}': "NOT CHECKED",
    '{"lesion_check": {"lesions": [{}]}}': "cannot be read",
    '{"gate": {"findings": [{"severity": "warn"}]}}': "cannot be read",
}


def test_a_report_of_another_version_does_not_stop_the_panel(panel, copy_model):
    scan = add_scan()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    for report, words in REPORTS.items():
        synthetic = add_scan("Scan T1 (synthetic T2)")
        marks.mark(synthetic, {}, "image", scan)
        synthetic.SetAttribute(marks.REPORT, report)
        panel.reading.ui.resultSelector.setCurrentNode(synthetic)
        panel.reading.ui.resultSelector.nodeActivated.emit(synthetic)  # a click; all have one name
        assert words in panel.trust.ui.verdictLabel.text, report
        assert not panel.trust.ui.lesionTable.visible
        assert not panel.trust.ui.checkButton.enabled
        assert "does not say from what it was made" in panel.trust.ui.checkButton.toolTip
        assert panel.options.ui.convertButton.enabled


def test_a_check_that_is_cancelled_or_fails_leaves_nothing(panel, copy_model):
    scan = add_head(HEAD, "Scan T1")
    synthetic = add_synthetic(scan, HEAD)
    panel.reading.ui.resultSelector.setCurrentNode(synthetic)
    before = fingerprint(synthetic), node_ids()
    assert nothing_is_left()
    panel.trust.ui.checkButton.click()
    wait_until(lambda: bool(private_folders()), 20)
    panel.trust.ui.checkButton.click()
    assert not panel.trust.is_checking
    assert panel.trust.ui.trustMessage.text == "Cancelled."
    assert panel.trust.ui.checkButton.text == "Check lesions now"
    upside_down = slicer.util.arrayFromVolume(synthetic)[::-1].copy()
    slicer.util.updateVolumeFromArray(synthetic, upside_down)
    before = fingerprint(synthetic), node_ids()
    panel.trust.ui.checkButton.click()
    assert wait_until(lambda: not panel.trust.is_checking, 60)
    assert "mirrored (upside down)" in panel.trust.ui.trustMessage.text
    assert (fingerprint(synthetic), node_ids()) == before
    assert nothing_is_left()


def test_the_way_back_is_offered_only_where_a_model_goes_back(panel, models_dir):
    there = {"CT": {"units": "HU", "background": -1024}}
    write_bundle(models_dir / "to-ct", id="to-ct", sources=[{"modality": "T1"}], targets=there)
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    choose(panel.input.ui.targetCombo, "CT")
    box = panel.options.ui.convertBackCheckBox
    assert not box.enabled
    assert "No installed model makes T1 from CT" in box.toolTip
    write_bundle(models_dir / "back", id="back", sources=[{"modality": "CT"}], targets={"T1": MR})
    panel.enter()
    assert "CT" in items(panel.input.ui.targetCombo)
    assert box.enabled


def test_the_scan_itself_is_no_outline_of_lesions(panel, copy_model):
    scan = add_scan()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    panel.options.ui.lesionsSelector.setCurrentNode(scan)
    assert panel.options.ui.convertButton.enabled  # nobody asked for the check
    panel.options.ui.checkLesionsCheckBox.click()
    assert not panel.options.ui.convertButton.enabled
    assert "outline of lesions is the scan itself" in panel.options.ui.convertButton.toolTip


def test_cancelling_a_run_with_checks_leaves_nothing(panel, slow_model):
    scan, outlines = add_scan(shape=(12, 40, 36)), add_scan("Outlines", shape=(12, 40, 36))
    panel.input.ui.inputSelector.setCurrentNode(scan)
    panel.options.ui.checkLesionsCheckBox.click()
    panel.options.ui.lesionsSelector.setCurrentNode(outlines)
    before = node_ids()
    assert nothing_is_left()
    click_convert(panel)
    wait_until(lambda: bool(private_folders()), 20)
    slicer.mrmlScene.RemoveNode(outlines)
    assert not panel.is_running
    assert "Outlines was removed" in panel.options.ui.messageLabel.text
    assert node_ids() < before
    assert nothing_is_left()


def test_a_map_made_before_a_failure_is_removed(scene, dulling_model, monkeypatch):
    scan = add_scan()
    before = node_ids()
    monkeypatch.setattr(results.display, "show_as_scan", lambda *_: 1 / 0)
    run = Conversion(Request(scan=scan, modality=Modality.T1, target=Modality.T2, model="dull", convert_back=True))
    run.wait()
    assert run.state is State.failed
    assert "ZeroDivisionError" in run.message
    assert node_ids() == before


# --- what the image says before a conversion --------------------------------------------------------------------------


def looked(panel) -> None:
    panel.input.ui.lookButton.click()
    assert panel.input.ui.modalityHow.text == "Looking at the image"
    assert wait_until(lambda: not panel.input.is_looking, 60)


def test_the_image_itself_can_be_asked_and_names_a_scan_that_nothing_names(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_image(heads.head("T1"), "Volume_3"))
    looked(panel)
    assert panel.input.modality is Modality.T1
    assert panel.input.ui.modalityHow.text.startswith("by the image: T1 (")
    assert panel.options.ui.convertButton.enabled
    assert nothing_is_left()


def test_the_image_may_not_know_and_never_overrules_the_name(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_image(heads.noise(), "Volume_3"))
    looked(panel)
    assert panel.input.modality is None
    assert not panel.options.ui.convertButton.enabled
    panel.input.ui.inputSelector.setCurrentNode(add_image(heads.head("T2"), "Patient T1"))
    assert "looks like" not in panel.input.ui.modalityHow.text
    looked(panel)
    assert panel.input.modality is Modality.T1
    assert "the image looks like: T2 (" in panel.input.ui.modalityHow.text
