"""`slicer.app.coreIOManager()`, by which slicer.util loads and saves: volumes, segmentations and scenes.
Slicer: Base/QTCore/qSlicerCoreIOManager.h, Modules/Loadable/Volumes/qSlicerVolumesReader.cxx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore

_LABELMAP, _SINGLE_FILE = 1, 8  # vtkSlicerVolumesLogic's loading options


class qSlicerCoreIOManager(QtCore.QObject):
    _cpp = True
    _signals = ("newFileLoaded(qSlicerIO::IOProperties)", "fileSaved(qSlicerIO::IOProperties)")

    def fileType(self, path: str) -> str:
        name = Path(path).name.lower()
        if name.endswith((".mrml", ".mrb")):
            return "SceneFile"
        return "SegmentationFile" if ".seg." in name else "VolumeFile"

    def fileWriterFileType(self, node: Any) -> str:
        return "SegmentationFile" if node.IsA("vtkMRMLSegmentationNode") else "VolumeFile"

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if not Path(path).is_file():
            return False
        if kind == "SceneFile":
            return self._load_scene(path, properties)
        if kind == "SegmentationFile":
            node = slicer.app._scene.logic("Segmentations").LoadSegmentationFromFile(path, True)
        elif kind == "VolumeFile":
            node = self._load_volume(path, properties)
        else:
            return False
        if node is not None:
            loaded.AddItem(node)
        return node is not None

    def _load_volume(self, path: str, properties: dict[str, Any]) -> Any:
        options = _LABELMAP * bool(properties.get("labelmap")) + _SINGLE_FILE * bool(properties.get("singleFile"))
        name = properties.get("name") or Path(path).name.partition(".")[0]
        node = slicer.app._scene.logic("Volumes").AddArchetypeVolume(path, name, options)
        if node is not None and properties.get("show", True) and not node.IsA("vtkMRMLLabelMapVolumeNode"):
            logic = slicer.app.applicationLogic()
            logic.GetSelectionNode().SetReferenceActiveVolumeID(node.GetID())
            logic.PropagateVolumeSelection()
        return node

    def _load_scene(self, path: str, properties: dict[str, Any]) -> bool:
        scene = slicer.mrmlScene
        if path.endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, bool(properties.get("clear"))))
        scene.SetURL(path)
        return bool(scene.Connect() if properties.get("clear") else scene.Import())

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        path = str(properties["fileName"])
        scene = slicer.mrmlScene
        if kind == "SceneFile":
            scene.SetRootDirectory(str(Path(path).parent))
            return bool(scene.WriteToMRB(path) if path.endswith(".mrb") else scene.Commit(path))
        node = scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))
