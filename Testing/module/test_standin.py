"""The stand-in itself: that it behaves as Slicer where modules are most often wrong."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for demo_module
pytest.importorskip("PySide6")
pytest.importorskip("slicer")

import numpy as np

import demo_module
import slicer_standin as standin

standin.install()

import ctk  # noqa: E402 - made by install
import qt  # noqa: E402
import slicer  # noqa: E402


@pytest.fixture(autouse=True)
def application() -> Iterator[None]:
    standin.install(standin.NEWEST)
    yield
    standin.check()


@pytest.fixture
def panel(tmp_path: Path) -> Any:
    standin.load_module(demo_module.write(tmp_path))
    return standin.open_panel("Demo")


def volume(name: str) -> Any:
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def test_qt_properties_are_attributes_and_what_does_not_exist_fails() -> None:
    button = qt.QPushButton("hello")
    assert (button.text, button.enabled, button.name) == ("hello", True, "")
    button.enabled, button.text, button.name = False, 3, "b"
    assert (button.text, button.enabled, button.objectName) == ("3", False, "b")
    for wrong in (
        lambda: button.text(),
        lambda: button.nothing,
        lambda: setattr(button, "enable", True),
        lambda: setattr(button, "enabled", None),
        lambda: setattr(button, "clicked", 1),
        lambda: button.connect("clickd()", print),
        lambda: ctk.ctkCollapsibleButton().setCollapsed(True),
        lambda: slicer.qMRMLNodeComboBox().setNodeTypes([]),
        lambda: qt.QVersionNumber,
    ):
        with pytest.raises((AttributeError, TypeError)):
            wrong()
    assert qt.Qt.AlignLeft
    combo = qt.QComboBox()
    combo.addItems(["a", "b"])
    combo.currentIndex = 1
    assert (combo.currentText, combo.count) == ("b", 2)


def test_signals_hand_over_what_the_slot_takes() -> None:
    button, got = qt.QPushButton(), []
    button.checkable = True

    def slot(checked: str = "default") -> None:
        got.append(checked)

    button.connect("clicked()", slot)
    button.connect("clicked(bool)", slot)
    button.clicked.connect(slot)
    button.click()
    assert got == ["default", True, True]
    assert button.disconnect("clicked(bool)", slot)
    assert button.clicked.disconnect(slot)
    assert button.clicked.disconnect(slot) is False
    button.click()
    assert got[3:] == ["default"]


def test_an_exception_in_a_slot_is_recorded_and_does_not_stop_qt() -> None:
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        standin.check()
    standin.errors.clear()


def test_dialogs_take_the_queued_answers_and_fail_without() -> None:
    standin.answers.queue(qt.QMessageBox.Yes, qt.QMessageBox.Cancel, "/data", None, "new name")
    assert slicer.util.confirmYesNoDisplay("Sure?", detailedText="x")
    assert not slicer.util.confirmOkCancelDisplay("And this?")
    assert qt.QFileDialog.getExistingDirectory(None, "Folder") == "/data"
    assert qt.QFileDialog.getOpenFileName(None, "File") == ""
    ok = qt.BoolResult()
    assert qt.QInputDialog.getText(None, "Name", "New:", qt.QLineEdit.Normal, "", ok) == "new name"
    assert ok
    assert [item.text for item in standin.answers.asked][:2] == ["Sure?", "And this?"]
    with pytest.raises(standin.UnansweredError):
        qt.QMessageBox.question(None, "t", "nobody answers")
    standin.answers.unanswered.clear()
    standin.answers.queue(lambda box: setattr(box, "dontShowAgain", True) or qt.QMessageBox.Ok)
    box = ctk.ctkMessageBox()
    box.standardButtons = qt.QMessageBox.Ok | qt.QMessageBox.Cancel
    box.dontShowAgainSettingsKey = "Demo/DontAsk"
    assert box.exec_() == qt.QMessageBox.Ok
    assert slicer.util.messageBox("again", dontShowAgainSettingsKey="Demo/DontAsk") == qt.QMessageBox.Ok


def test_the_panel_follows_the_scene_and_its_parameter_node(panel: Any) -> None:
    node, selector = panel._parameterNode, panel.ui.inputSelector
    assert panel.events == ["enter"]
    assert selector.mrmlScene() is slicer.mrmlScene
    first = volume("A")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "L")
    assert selector.nodeCount() == 1
    selector.setCurrentNode(first)
    assert node.inputVolume is first
    second = volume("B")
    node.inputVolume = second
    assert selector.currentNodeID == second.GetID()
    slicer.mrmlScene.RemoveNode(second)
    assert selector.currentNode() is first
    assert node.inputVolume is first
    panel.ui.slider.value = 7.5
    panel.ui.speedBox.currentIndex = 0
    panel.ui.flagBox.checked = False
    assert (node.threshold, node.speed.name, node.flag, node.target) == (7.5, "SLOW", False, "T2")
    raw = node.parameterNode
    assert (raw.GetParameter("threshold"), raw.GetParameter("speed"), raw.GetParameter("flag")) == (
        "7.5",
        "SLOW",
        "False",
    )
    assert raw.GetNodeReferenceID("inputVolume") == first.GetID()
    for name, value in (("threshold", 11.0), ("target", "PD"), ("name", None), ("flag", 1)):
        with pytest.raises((ValueError, TypeError)):
            setattr(node, name, value)


def test_the_scene_closes_and_the_panel_goes_on(panel: Any) -> None:
    panel.ui.inputSelector.setCurrentNode(volume("A"))
    slicer.mrmlScene.Clear(0)
    assert panel._parameterNode.inputVolume is None
    assert panel.ui.inputSelector.nodeCount() == 0
    panel.ui.inputSelector.setCurrentNode(volume("C"))
    assert panel._parameterNode.inputVolume.GetName() == "C"


def test_a_saved_scene_brings_the_choices_back(panel: Any, tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    chosen = slicer.util.addVolumeFromArray(array, name="A")
    panel._parameterNode.inputVolume, panel._parameterNode.threshold = chosen, 4.5
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    panel._parameterNode.threshold = 1.0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    restored = panel.logic.getParameterNode()
    assert (restored.inputVolume.GetName(), restored.threshold) == ("A", 4.5)
    assert slicer.util.arrayFromVolume(restored.inputVolume).sum() == array.sum()


@pytest.mark.parametrize(("version", "heard"), [((5, 10, 0), ["A"]), ((5, 13, 0), ["A", "B"])])
def test_renaming_the_current_node_counts_as_a_change_from_5_12_on(version: Any, heard: list[str]) -> None:
    standin.install(version)
    selector, seen = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    node = volume("A")
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda current: seen.append(current.GetName()))
    selector.setMRMLScene(slicer.mrmlScene)
    node.SetName("B")
    assert seen == heard


def test_a_button_that_fails_shows_the_error_and_reload_works(panel: Any) -> None:
    standin.answers.queue(qt.QMessageBox.Yes, qt.QMessageBox.Ok)
    panel.ui.applyButton.click()
    assert "broken" in standin.answers.asked[1].text
    assert len(standin.errors) == 1
    standin.errors.clear()
    panel.onReload()
    assert "cleanup" in panel.events
    assert slicer.modules.DemoWidget is not panel
    assert slicer.util.getModuleWidget("Demo") is slicer.modules.DemoWidget
    slicer.modules.DemoInstance.runTest(msec=10)
    assert slicer.demoTested
    assert [source.sampleName for source in slicer.modules.sampleDataSources["Demo"]] == ["D"]
    standin.quit_slicer()
    assert not hasattr(slicer.modules, "demo")


def test_a_wrong_form_is_refused(tmp_path: Path) -> None:
    wrong = {
        "noProperty": demo_module.FORM.replace('"addEnabled"', '"addEnbled"'),
        "noClass": demo_module.FORM.replace("ctkSliderWidget", "ctkSlidrWidget"),
        "noSignal": demo_module.FORM.replace("mrmlSceneChanged(", "mrmlSceneChange("),
    }
    for name, form in wrong.items():
        path = demo_module.write(tmp_path / name, form).parent / "Resources" / "UI" / "Demo.ui"
        with pytest.raises(RuntimeError):
            slicer.util.loadUI(str(path))


def test_the_layout_has_slice_views_on_real_nodes() -> None:
    manager, seen = slicer.app.layoutManager(), []
    manager.connect("layoutChanged(int)", seen.append)
    before = manager.layout
    view = '<item><view class="vtkMRMLSliceNode" singletontag="{0}"><property name="viewlabel">{0}</property></view></item>'
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(
        4711, f'<layout type="horizontal">{view.format("McLeft")}{view.format("McRight")}</layout>'
    )
    manager.setLayout(4711)
    assert manager.layout == 4711
    assert seen[-1] == 4711
    assert "McLeft" in manager.sliceViewNames()
    left = manager.sliceWidget("McLeft")
    node = volume("A")
    left.sliceLogic().GetSliceCompositeNode().SetBackgroundVolumeID(node.GetID())
    assert left.mrmlSliceNode().GetLayoutName() == "McLeft"
    assert left.visible
    left.sliceView().cornerAnnotation().SetText(1, "SYNTHETIC")
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(node.GetID())
    slicer.app.applicationLogic().PropagateVolumeSelection()
    manager.layout = before
    assert not left.visible
    assert seen[-1] == before


def test_segments_hierarchy_and_dicom() -> None:
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    segmentation.GetSegmentation().AddEmptySegment("tumor", "Tumor")
    picked: list[str] = []
    selector = slicer.qMRMLSegmentSelectorWidget()
    selector.connect("currentSegmentChanged(QString)", picked.append)
    selector.setMRMLScene(slicer.mrmlScene)
    selector.setCurrentNode(segmentation)
    assert selector.currentSegmentID() == "tumor"
    assert picked[-1] == "tumor"
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    node = volume("A")
    assert hierarchy.GetItemByDataNode(node)
    slicer.mrmlScene.RemoveNode(node)
    assert len(slicer.util.getSubjectHierarchyItemChildren()) == 1
    slicer.dicomDatabase._add("1.2", "/a.dcm", {"0008,0060": "MR", "0020,000E": "9"})
    assert slicer.dicomDatabase.instanceValue("1.2", "0008,0060") == "MR"
    assert slicer.dicomDatabase.filesForSeries("9") == ["/a.dcm"]


def test_pip_is_recorded_and_old_versions_have_no_packaging() -> None:
    standin.pip.missing.add("onnxruntime")
    standin.answers.queue(qt.QMessageBox.Ok)
    slicer.packaging.pip_ensure("onnxruntime>=1.20", requester="Demo")
    assert standin.pip.calls == [["onnxruntime>=1.20"]]
    assert slicer.packaging.pip_check("onnxruntime>=1.20")
    standin.pip.fails = True
    with pytest.raises(subprocess.CalledProcessError):
        slicer.util.pip_install("x")
    standin.install((5, 6, 2))
    slicer.util.pip_install("y z")
    assert standin.pip.calls == [["y", "z"]]
    assert (slicer.app.majorVersion, slicer.app.minorVersion) == (5, 6)
    with pytest.raises(ImportError):
        import slicer.packaging as _  # noqa: F401
    with pytest.raises(TypeError):
        slicer.util.pip_install("y", requester="Demo")


def test_the_event_loop_is_measured() -> None:
    done: list[int] = []
    with standin.longest_block() as blocks:
        qt.QTimer.singleShot(10, lambda: (time.sleep(0.12), done.append(1)))
        standin.wait_until(lambda: done, 5)
    assert blocks.longest >= 0.12
    with pytest.raises(AssertionError):
        standin.wait_until(lambda: False, 0.05)
