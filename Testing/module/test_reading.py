"""Reading side by side: layouts, links, overlays, shared windows, and the word SYNTHETIC."""

from __future__ import annotations

import pytest
import slicer

from ModalityConversionLib import display, layouts, marks
from ModalityConversionLib.reading import Overlay, Reading
from ModalityConversionLib.synthetic_label import SyntheticLabels
from scenes import add_scan


def add_synthetic(source, name="Scan T1 (synthetic T2)", content="image", date="1", units="arbitrary"):
    node = add_scan(name)
    report = {"modality": "T2", "notice": "Synthetic image. Not for diagnosis.", "date": date, "units": units}
    marks.mark(node, report, content, source)
    display.set_units(node, units)
    return node


def composite(side, plane="Axial"):
    return slicer.app.layoutManager().sliceWidget(layouts.view_name(side, plane)).sliceLogic().GetSliceCompositeNode()


@pytest.fixture
def reading(scene):
    reading = Reading()
    yield reading
    reading.leave()


def test_the_real_scan_stands_left_and_the_synthetic_one_beside_it_linked(reading):
    scan = add_scan()
    synthetic = add_synthetic(scan)
    assert reading.show(synthetic)
    shown = {side: composite(side).GetBackgroundVolumeID() for side in ("Real", "Synthetic")}
    assert shown == {"Real": scan.GetID(), "Synthetic": synthetic.GetID()}
    assert composite("Real").GetLinkedControl()
    assert composite("Synthetic").GetLinkedControl()
    nodes = [slicer.app.layoutManager().sliceWidget(layouts.view_name(s, "Axial")).mrmlSliceNode() for s in shown]
    assert {node.GetViewGroup() for node in nodes} == {layouts.GROUP}
    assert {node.GetOrientation() for node in nodes} == {"Axial"}


@pytest.mark.parametrize(
    ("reference", "arrangement", "count"), [(0, "axial", 2), (0, "planes", 6), (1, "axial", 3), (1, "planes", 9)]
)
def test_two_or_three_volumes_in_one_or_three_planes(reading, reference, arrangement, count):
    scan = add_scan()
    third = add_scan("Real T2") if reference else None
    reading.show(add_synthetic(scan), third, arrangement)
    names = [name for name in slicer.app.layoutManager().sliceViewNames() if name.startswith("Conversion")]
    assert len(names) == count
    if third:
        assert composite("Other").GetBackgroundVolumeID() == third.GetID()


def test_back_returns_the_layout_and_the_cross_hair_of_before(reading):
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    before = crosshair.GetCrosshairMode()
    scan = add_scan()
    reading.show(add_synthetic(scan))
    reading.show(add_synthetic(scan), None, "planes")
    assert crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.ShowBasic
    reading.leave()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    assert crosshair.GetCrosshairMode() == before


def test_toggle_puts_the_real_scan_in_the_synthetic_ones_place(reading):
    scan = add_scan()
    synthetic = add_synthetic(scan)
    reading.show(synthetic)
    reading.toggle(True)
    assert composite("Synthetic").GetBackgroundVolumeID() == scan.GetID()
    reading.toggle(False)
    assert composite("Synthetic").GetBackgroundVolumeID() == synthetic.GetID()


def test_overlays_are_those_of_this_very_conversion(reading):
    scan = add_scan()
    synthetic = add_synthetic(scan, date="1")
    add_synthetic(scan, "Uncertainty of another run", "uncertainty", date="2")
    reading.show(synthetic)
    assert reading.overlays() == [Overlay.none, Overlay.real]
    spread = add_synthetic(scan, "Uncertainty", "uncertainty", date="1")
    assert reading.overlays() == [Overlay.none, Overlay.real, Overlay.uncertainty]
    reading.lay_over(Overlay.uncertainty, 0.4)
    assert composite("Synthetic").GetForegroundVolumeID() == spread.GetID()
    assert composite("Synthetic").GetForegroundOpacity() == pytest.approx(0.4)
    assert not composite("Real").GetForegroundVolumeID()
    reading.lay_over(Overlay.none, 0.4)
    assert not composite("Synthetic").GetForegroundVolumeID()


def test_windows_follow_each_other_only_where_the_units_agree(reading):
    scan = add_scan("Real CT")
    display.set_units(scan, "HU")
    synthetic = add_synthetic(scan, units="HU")
    mr = add_scan("Real T2")
    reading.show(synthetic, mr)
    assert synthetic.GetDisplayNode().GetWindow() == scan.GetDisplayNode().GetWindow()
    before = mr.GetDisplayNode().GetWindow()
    scan.GetDisplayNode().AutoWindowLevelOff()
    scan.GetDisplayNode().SetWindowLevel(1500, 300)
    assert (synthetic.GetDisplayNode().GetWindow(), synthetic.GetDisplayNode().GetLevel()) == (1500, 300)
    synthetic.GetDisplayNode().SetWindowLevel(80, 40)
    assert (scan.GetDisplayNode().GetWindow(), scan.GetDisplayNode().GetLevel()) == (80, 40)
    assert mr.GetDisplayNode().GetWindow() == before


def test_a_synthetic_volume_without_its_scan_cannot_be_shown_beside_it(reading):
    scan = add_scan()
    synthetic = add_synthetic(scan)
    slicer.mrmlScene.RemoveNode(scan)
    assert not reading.show(synthetic)


def test_the_word_synthetic_stands_in_every_view_that_shows_one_and_in_no_other(reading):
    labels = SyntheticLabels()
    try:
        scan = add_scan()
        synthetic = add_synthetic(scan)
        reading.show(synthetic)
        slicer.app.processEvents()
        real, made = (layouts.view_name(side, "Axial") for side in ("Real", "Synthetic"))
        assert set(labels.texts()) == {made}
        assert labels.texts()[made] == "SYNTHETIC T2\nnot for diagnosis"
        synthetic.SetAttribute(marks.CAUTION, "Simulated training data, not validated against real T2.")
        labels.update()
        assert labels.texts()[made].splitlines()[2:] == ["Simulated training data, not validated", "against real T2."]
        reading.toggle(True)
        assert labels.texts() == {}
        reading.toggle(False)
        composite("Real").SetForegroundVolumeID(synthetic.GetID())
        composite("Real").SetForegroundOpacity(0.5)
        assert set(labels.texts()) == {made, real}
        composite("Real").SetForegroundOpacity(0)
        assert set(labels.texts()) == {made}
        renderer = (
            slicer.app.layoutManager().sliceWidget(made).sliceView().renderWindow().GetRenderers().GetItemAsObject(0)
        )
        words = [
            p.GetInput()
            for p in (
                renderer.GetViewProps().GetItemAsObject(n) for n in range(renderer.GetViewProps().GetNumberOfItems())
            )
            if p.IsA("vtkTextActor")
        ]
        assert any("SYNTHETIC T2" in text for text in words)
    finally:
        labels.remove()


def test_the_word_goes_with_the_scene(reading):
    labels = SyntheticLabels()
    try:
        reading.show(add_synthetic(add_scan()))
        assert labels.texts()
        slicer.mrmlScene.Clear(0)
        assert labels.texts() == {}
    finally:
        labels.remove()


def test_a_view_of_another_extent_looks_at_the_same_place(reading):
    import numpy as np

    scan = add_scan()
    reference = add_scan("Real T2", shape=(30, 30, 30), matrix=np.diag([2.0, 2.0, 2.0, 1.0]))
    reading.show(add_synthetic(scan), reference)
    nodes = [
        slicer.app.layoutManager().sliceWidget(layouts.view_name(side, "Axial")).mrmlSliceNode()
        for side in ("Real", "Synthetic", "Other")
    ]
    assert len({round(node.GetSliceOffset(), 6) for node in nodes}) == 1
    scales = {round(node.GetFieldOfView()[0] / node.GetDimensions()[0], 4) for node in nodes}
    assert len(scales) == 1


def test_a_new_reading_finds_the_views_of_a_former_one(reading):
    scan = add_scan()
    synthetic = add_synthetic(scan)
    reading.show(synthetic)
    second = Reading()
    assert second.layout.is_shown
    second.layout.back()
    assert not second.layout.is_shown


def test_the_word_follows_a_volume_that_is_filled_again(reading, copy_model):
    from modality_conversion.modality import Modality
    from ModalityConversionLib.conversion import Conversion
    from ModalityConversionLib.request import Request
    from ModalityConversionLib.run import finished

    slicer.modules.modalityConversionLabels = labels = SyntheticLabels()
    try:
        scan = add_scan()
        empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
        red = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
        red.SetBackgroundVolumeID(empty.GetID())
        assert "Red" not in labels.texts()
        run = Conversion(Request(scan=scan, modality=Modality.T1, target=Modality.T2, output=empty))
        run.wait()
        assert finished(run).volume is empty
        assert "Red" in labels.texts()
    finally:
        labels.remove()
