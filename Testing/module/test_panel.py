"""The panel, driven by clicks on a real scene."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import qt
import slicer

from bundles import write_bundle
from modality_conversion.modality import Modality
from ModalityConversionLib import dependencies, layouts, marks
from scenes import MODULE_FILE, add_scan, fingerprint, node_ids, private_folders
from slicer_standin import answers, open_panel, quit_slicer, wait_until


def choose(combo: qt.QComboBox, data: str) -> None:
    """Choose an item as a user does."""
    index = next(n for n in range(combo.count) if combo.itemData(n) == data)
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


def items(combo: qt.QComboBox) -> list[str]:
    return [str(combo.itemData(n)) for n in range(combo.count)]


def ends(panel, seconds: float = 40) -> bool:
    return wait_until(lambda: panel.run is not None and not panel.is_running, seconds)


def click_convert(panel) -> None:
    assert panel.options.ui.convertButton.enabled, panel.options.ui.convertButton.toolTip
    panel.options.ui.convertButton.click()


def test_ct_is_made_only_where_it_is_chosen(panel, copy_model):
    write_bundle(
        copy_model.parent / "t1-to-ct",
        id="t1-to-ct",
        targets={"CT": {"units": "HU", "background": -1024, "window": 400, "level": 40}},
    )
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Patient T1"))
    panel.input.refresh()
    assert items(panel.input.ui.targetCombo) == ["CT", "T2"]
    assert panel.input.ui.targetCombo.currentText == "T2"


def test_a_new_user_has_one_click_to_make(panel, copy_model):
    scan = add_scan("Patient T1")
    open_panel("ModalityConversion")
    panel.input.ui.inputSelector.setCurrentNode(scan)
    assert panel.input.ui.modalityCombo.currentText == "T1"
    assert "Patient T1" in panel.input.ui.modalityHow.text
    assert items(panel.input.ui.targetCombo) == ["T2"]
    before = fingerprint(scan)
    click_convert(panel)
    assert not panel.options.ui.convertButton.enabled
    assert panel.options.ui.progressBar.visible
    assert ends(panel)
    result = panel.run.outcome.volume
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(result), slicer.util.arrayFromVolume(scan))
    assert fingerprint(scan) == before
    assert not panel.options.ui.progressBar.visible
    assert panel.options.ui.convertButton.enabled
    assert panel.reading.reading.layout.is_shown
    assert panel.reading.synthetic is result
    assert result.GetName() in panel.options.ui.messageLabel.text


def test_the_bundled_model_converts_a_head(any_to_any, panel):
    from ModalityConversionLib import models, self_test

    scan = self_test.phantom()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    choose(panel.input.ui.targetCombo, "T2")
    model = panel.input.model
    assert models.is_bundled(model)
    assert model.id == "any-to-any-slab"
    click_convert(panel)
    assert ends(panel, 180), panel.options.ui.stageLabel.text
    assert panel.run.outcome is not None, panel.run.message
    values = slicer.util.arrayFromVolume(panel.run.outcome.volume)
    assert np.isfinite(values).all()
    assert values.std() > 0
    assert panel.run.outcome.uncertainty is not None


def test_without_a_scan_the_button_says_so(panel):
    assert not panel.options.ui.convertButton.enabled
    assert "Choose the volume" in panel.options.ui.convertButton.toolTip


def test_an_unknown_scan_asks_for_its_kind_and_takes_the_answer(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Volume_3"))
    assert "Choose what kind" in panel.options.ui.convertButton.toolTip
    choose(panel.input.ui.modalityCombo, "T1")
    assert panel.options.ui.convertButton.enabled
    assert panel.input.ui.modalityHow.text == "chosen by hand"


def test_a_correction_belongs_to_one_scan(panel, copy_model):
    first, second = add_scan("Volume T1"), add_scan("Other T1")
    panel.input.ui.inputSelector.setCurrentNode(first)
    choose(panel.input.ui.modalityCombo, "FLAIR")
    assert panel.input.modality is Modality.FLAIR
    panel.input.ui.inputSelector.setCurrentNode(second)
    assert panel.input.modality is Modality.T1


def test_a_kind_that_no_model_takes_is_said(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Scan PD"))
    assert items(panel.input.ui.targetCombo) == []
    assert "No installed model" in panel.options.ui.convertButton.toolTip


def test_the_own_model_comes_before_the_bundled_one_and_both_are_offered(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    assert items(panel.input.ui.modelCombo)[0] == "t1-to-t2-copy"
    assert len(items(panel.input.ui.modelCombo)) >= 2


def test_targets_are_what_the_models_reach(panel, models_dir):
    write_bundle(
        models_dir / "to-ct", sources=[{"modality": "T1"}], targets={"CT": {"units": "HU", "background": -1024}}
    )
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    assert set(items(panel.input.ui.targetCombo)) == {"CT", "T2"}
    choose(panel.input.ui.targetCombo, "CT")
    assert items(panel.input.ui.modelCombo) == ["to-ct"]


def test_a_model_removed_while_it_is_selected_is_not_offered_any_more(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    choose(panel.input.ui.modelCombo, "t1-to-t2-copy")
    shutil.rmtree(copy_model)
    panel.options.ui.convertButton.click()
    assert "t1-to-t2-copy" not in items(panel.input.ui.modelCombo)


def test_several_clicks_start_one_run(panel, slow_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    click_convert(panel)
    first = panel.run
    panel.options.ui.convertButton.click()
    panel.convert()
    assert panel.run is first
    panel.options.ui.cancelButton.click()
    assert ends(panel)


def test_cancel_leaves_nothing_and_says_so(panel, slow_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    before = node_ids()
    click_convert(panel)
    wait_until(lambda: bool(private_folders()), 5)
    panel.options.ui.cancelButton.click()
    assert not panel.is_running
    assert panel.options.ui.messageLabel.text == "Cancelled."
    assert node_ids() == before
    assert wait_until(lambda: private_folders() == [], 5)
    assert panel.options.ui.convertButton.enabled


def test_a_failure_is_said_with_log_and_details_to_copy(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    weights = next(copy_model.glob("models/*"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    click_convert(panel)
    assert ends(panel)
    assert "SHA-256" in panel.options.ui.messageLabel.text
    assert panel.options.ui.logButton.visible
    panel.options.ui.copyButton.click()
    copied = qt.QApplication.clipboard().text()
    assert "SHA-256" in copied
    assert "ModalityConversion" in copied
    assert "t1-to-t2-copy" in copied


def test_leaving_the_module_lets_the_run_go_on(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    layout = slicer.app.layoutManager().layout
    click_convert(panel)
    panel.exit()
    assert ends(panel)
    assert panel.run.outcome is not None
    assert slicer.app.layoutManager().layout == layout


def test_closing_the_scene_half_way_ends_the_run_and_the_panel_goes_on(panel, slow_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    click_convert(panel)
    wait_until(lambda: bool(private_folders()), 5)
    slicer.mrmlScene.Clear(0)
    assert not panel.is_running
    assert "scene was closed" in panel.options.ui.messageLabel.text
    assert wait_until(lambda: private_folders() == [], 5)
    scan = add_scan("Next T1")
    panel.input.ui.inputSelector.setCurrentNode(scan)
    assert panel.options.ui.convertButton.enabled


def test_quitting_half_way_ends_the_run(scene, slow_model):
    from slicer_standin import load_module

    load_module(MODULE_FILE)
    panel = open_panel("ModalityConversion").panel
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    click_convert(panel)
    wait_until(lambda: bool(private_folders()), 5)
    quit_slicer()
    assert not panel.is_running
    assert wait_until(lambda: private_folders() == [], 5)


def test_choices_are_saved_with_the_scene(panel, copy_model):
    scan = add_scan()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    choose(panel.input.ui.modalityCombo, "T1")
    choose(panel.input.ui.modelCombo, "t1-to-t2-copy")
    panel.options.ui.uncertaintyCheckBox.click()
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
    assert node.GetNodeReferenceID("inputVolume") == scan.GetID()
    assert node.GetParameter("model") == "t1-to-t2-copy"


def test_a_mask_can_be_a_volume_or_a_segment(panel, copy_model):
    from test_masks import add_mask, add_segment, box

    scan = add_scan()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    write_bundle(copy_model, mask={"use": "optional", "outside": -5})
    panel.options.ui.maskSelector.setCurrentNode(add_mask(scan, box(scan)))
    assert not panel.options.ui.segmentCombo.visible
    click_convert(panel)
    assert ends(panel)
    inside = box(scan)
    values = slicer.util.arrayFromVolume(panel.run.outcome.volume)
    assert (values[~inside] == -5).all()
    np.testing.assert_array_equal(values[inside], slicer.util.arrayFromVolume(scan)[inside])
    segments, _id = add_segment(scan, inside, "Brain")
    panel.options.ui.optionsButton.collapsed = False
    panel.options.ui.maskSelector.setCurrentNode(segments)
    assert panel.options.ui.segmentCombo.visible
    assert [panel.options.ui.segmentCombo.itemText(n) for n in range(2)] == ["all segments", "Brain"]
    choose(panel.options.ui.segmentCombo, _id)
    panel.options.ui.optionsButton.collapsed = True
    assert panel.options.segment == _id


def test_a_mask_with_nothing_in_the_scan_is_said(panel, copy_model):
    from test_masks import add_mask, box

    scan = add_scan()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    panel.options.ui.maskSelector.setCurrentNode(add_mask(scan, 0 * box(scan)))
    click_convert(panel)
    assert ends(panel)
    assert "nothing within" in panel.options.ui.messageLabel.text


def test_uncertainty_is_offered_only_where_the_model_tells_it(panel, copy_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    choose(panel.input.ui.modelCombo, "t1-to-t2-copy")
    assert not panel.options.ui.uncertaintyCheckBox.enabled
    bundled = next(id for id in items(panel.input.ui.modelCombo) if id != "t1-to-t2-copy")
    choose(panel.input.ui.modelCombo, bundled)
    assert panel.options.ui.uncertaintyCheckBox.enabled


def test_only_volumes_made_here_are_offered_as_output(panel, copy_model):
    scan = add_scan()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    click_convert(panel)
    assert ends(panel)
    made = panel.run.outcome.volume
    assert panel.options.ui.outputSelector.nodeCount() == 1
    panel.options.ui.outputSelector.setCurrentNode(made)
    count = len(node_ids())
    click_convert(panel)
    assert ends(panel)
    assert panel.run.outcome.volume is made
    assert len(node_ids()) == count


def test_a_label_map_is_not_offered_and_a_sheared_grid_is_refused_in_the_tooltip(panel, copy_model):
    add_scan("Labels T1", kind="vtkMRMLLabelMapVolumeNode")
    assert panel.input.ui.inputSelector.nodeCount() == 0
    sheared = np.array([[1, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    panel.input.ui.inputSelector.setCurrentNode(add_scan("Tilted T1", matrix=sheared))
    assert not panel.options.ui.convertButton.enabled
    assert "sheared" in panel.options.ui.convertButton.toolTip


def test_missing_software_is_asked_for_once_and_declined_politely(panel, copy_model, monkeypatch):
    monkeypatch.setattr(dependencies, "missing", lambda: ("onnxruntime>=1.20",))
    monkeypatch.setattr(dependencies, "installed_runtimes", lambda: ())
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    answers.queue("Cancel")
    click_convert(panel)
    assert panel.run is None
    assert "onnxruntime" in panel.options.ui.messageLabel.text
    assert len(answers.asked) == 1


def test_the_comparison_with_a_real_target_shows_figures_and_a_difference(panel, copy_model):
    scan, real = add_scan(shape=(12, 40, 36)), add_scan("Real T2", shape=(12, 40, 36))
    panel.input.ui.inputSelector.setCurrentNode(scan)
    click_convert(panel)
    assert ends(panel)
    panel.reading.ui.referenceSelector.setCurrentNode(real)
    panel.reading.ui.measureButton.click()
    assert wait_until(lambda: panel.reading.ui.figuresTable.visible, 30), panel.reading.ui.readingMessage.text
    table = panel.reading.ui.figuresTable
    assert any("PSNR" in table.item(row, 0).text() for row in range(table.rowCount))
    found = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if marks.content(n) == "difference"]
    assert len(found) == 1
    assert np.abs(slicer.util.arrayFromVolume(found[0])).max() < 1e-3
    assert "difference" in items(panel.reading.ui.overlayCombo)


def test_side_by_side_toggle_overlay_and_back_by_clicks(panel, copy_model):
    scan = add_scan()
    panel.input.ui.inputSelector.setCurrentNode(scan)
    layout = slicer.app.layoutManager().layout
    click_convert(panel)
    assert ends(panel)
    ui = panel.reading.ui
    view = slicer.app.layoutManager().sliceWidget(layouts.view_name("Synthetic", "Axial")).sliceLogic()
    composite = view.GetSliceCompositeNode()
    ui.toggleButton.click()
    assert composite.GetBackgroundVolumeID() == scan.GetID()
    ui.toggleButton.click()
    assert composite.GetBackgroundVolumeID() == panel.run.outcome.volume.GetID()
    choose(ui.overlayCombo, "real")
    ui.opacitySlider.value = 30
    assert composite.GetForegroundOpacity() == pytest.approx(0.3)
    choose(ui.arrangementCombo, "planes")
    assert sum(name.startswith("Conversion") for name in slicer.app.layoutManager().sliceViewNames()) == 6
    ui.backButton.click()
    assert slicer.app.layoutManager().layout == layout
    assert not ui.backButton.enabled


def test_a_model_that_needs_a_second_scan_says_so(panel, models_dir):
    inputs = [{"name": None, "role": "image", "modality": name, "missing": "error"} for name in ("T1", "FLAIR")]
    sources = [{"modality": "T1"}, {"modality": "FLAIR"}]
    targets = {"CT": {"units": "HU", "background": -1024}}
    write_bundle(models_dir / "joint", sources=sources, inputs=inputs, targets=targets)
    panel.enter()
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    choose(panel.input.ui.targetCombo, "CT")
    assert not panel.options.ui.convertButton.enabled
    assert "needs FLAIR too" in panel.options.ui.convertButton.toolTip


def test_the_uncertainty_lies_over_the_first_result(panel, uncertain_model):
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    click_convert(panel)
    assert ends(panel)
    view = slicer.app.layoutManager().sliceWidget(layouts.view_name("Synthetic", "Axial")).sliceLogic()
    over = view.GetSliceCompositeNode().GetForegroundVolumeID()
    assert over == panel.run.outcome.uncertainty.GetID()


def test_a_scan_loaded_later_is_chosen_where_none_is(panel, copy_model):
    assert panel.input.scan is None
    scan = add_scan()
    assert wait_until(lambda: panel.input.scan is scan, 5)
    assert wait_until(lambda: panel.options.ui.convertButton.enabled, 5)
    scan.SetName("Renamed FLAIR")
    assert wait_until(lambda: panel.input.modality is Modality.FLAIR, 5)


def test_without_a_main_window_there_is_nothing_to_show_and_no_error(scene, copy_model):
    from slicer_standin import fresh, load_module

    fresh(main_window=False)
    load_module(MODULE_FILE)
    panel = open_panel("ModalityConversion").panel
    assert not panel.reading.reading.layout.is_shown
