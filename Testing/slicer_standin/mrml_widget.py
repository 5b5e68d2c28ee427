"""qMRMLWidget, which holds a scene. Slicer: Libs/MRML/Widgets/qMRMLWidget.h."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets

from slicer_standin.pythonqt import emit


class qMRMLWidget(QtWidgets.QWidget):
    _cpp = True
    _signals = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)
