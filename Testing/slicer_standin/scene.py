"""A scene as the application makes it at its start: default nodes, module logics, subject hierarchy.

Slicer: Base/QTCore/qSlicerCoreApplication.cxx (setMRMLScene), each module's logic, and for the subject hierarchy
Modules/Loadable/SubjectHierarchy/Widgets/qSlicerSubjectHierarchyPluginLogic.cxx."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import slicer
import vtk

# Module name -> logic class. Those at the start are made with the scene, since they register node classes.
LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Models": "vtkSlicerModelsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}
_LATE = {"Units", "Terminologies", "VolumeRendering", "Plots", "CropVolume"}  # slow, or noisy without Slicer's files
_IN_HIERARCHY = (
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLSequenceNode",
    "vtkMRMLSequenceBrowserNode",
)


class Scene:
    """The scene with the logics that belong to it."""

    def __init__(self, cache: Path) -> None:
        self.node_scene = slicer.vtkMRMLScene()
        scene = self.node_scene
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        scene.AddNode(crosshair)
        self.app_logic = slicer.vtkSlicerApplicationLogic()
        self.app_logic.SetTemporaryPath(tempfile.gettempdir())
        self.app_logic.SetMRMLScene(scene)
        colors = self.app_logic.GetColorLogic()
        colors.SetMRMLScene(scene)
        colors.AddDefaultColorNodes()
        self.app_logic.SetModuleLogic("Colors", colors)
        self._remote = slicer.vtkMRMLRemoteIOLogic()  # reading a scene bundle unpacks it to its cache folder
        cache.mkdir(exist_ok=True)
        self._remote.GetCacheManager().CreateSentinelFileInDirectory(str(cache))
        self._remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLApplicationLogic(self.app_logic)
        self._data_io.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self.app_logic.SetMRMLSceneDataIO(scene, self._remote, self._data_io)
        self.app_logic.SetSliceLogics(vtk.vtkCollection())
        self.app_logic.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self._logics: dict[str, Any] = {"Colors": colors}
        for name in LOGICS:
            if name not in _LATE:
                self.logic(name)
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
        self._tags = [_observe(scene, "NodeAddedEvent", _added), _observe(scene, "NodeAboutToBeRemovedEvent", _leaving)]
        for event in ("EndCloseEvent", "EndImportEvent"):
            self._tags.append(scene.AddObserver(getattr(scene, event), lambda *_: _resolve(scene), 10.0))

    def logic(self, name: str) -> Any:
        """The logic of a module, made when it is first asked for."""
        if name not in self._logics:
            logic = getattr(slicer, LOGICS[name])()
            if hasattr(logic, "SetModuleShareDirectory"):
                logic.SetModuleShareDirectory(str(_share(name)))
            if hasattr(logic, "SetMRMLApplicationLogic"):
                logic.SetMRMLApplicationLogic(self.app_logic)
            logic.SetMRMLScene(self.node_scene)
            with contextlib.suppress(AttributeError):
                self.app_logic.SetModuleLogic(name, logic)
            self._logics[name] = logic
        return self._logics[name]

    def close(self) -> None:
        """Let go of everything; nothing is told that the scene closes, as when Slicer's process ends."""
        for tag in self._tags:
            self.node_scene.RemoveObserver(tag)
        self._logics.clear()


def _share(name: str) -> Path:
    """Slicer's terminology files, which trame-slicer carries; nothing where it is not installed."""
    folder = Path(slicer.__file__).parents[1] / "trame_slicer" / "resources"
    return folder / "terminologies" if name == "Terminologies" else folder


def _observe(scene: Any, event: str, function: Any) -> int:
    function.CallDataType = vtk.VTK_OBJECT
    return int(scene.AddObserver(getattr(scene, event), function))


def _added(scene: Any, event: str, node: Any) -> None:
    if node.IsA("vtkMRMLSubjectHierarchyNode"):
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    elif not scene.IsImporting():
        _add_item(scene, node)


def _add_item(scene: Any, node: Any) -> None:
    if node.GetHideFromEditors() or not any(node.IsA(kind) for kind in _IN_HIERARCHY):
        return
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if not hierarchy.GetItemByDataNode(node):
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


def _leaving(scene: Any, event: str, node: Any) -> None:
    if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
        return
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    if item:
        hierarchy.RemoveItem(item, False, False)


def _resolve(scene: Any) -> None:
    slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    for index in range(scene.GetNumberOfNodes()):
        _add_item(scene, scene.GetNthNode(index))
