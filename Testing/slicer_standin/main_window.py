"""The main window and its module selector. Slicer: Base/QTApp/qSlicerMainWindow.h,
Base/QTGUI/qSlicerModuleSelectorToolBar.h, qSlicerModulePanel.cxx."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from slicer_standin.pythonqt import emit


class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    _cpp = True
    _signals = ("moduleSelected(QString)",)

    def __init__(self, window: Any) -> None:
        super().__init__(window)
        self._window = window
        self._current = ""

    def selectModule(self, name: str) -> None:
        """What the user does who picks a module: the old panel is left, the new one is made if need be, and entered."""
        if name == self._current:
            return
        module = slicer.app.moduleManager().module(name) if name else None
        if name and module is None:
            return
        left, self._current = self._current, name
        if left and slicer.app.moduleManager().module(left):
            old = slicer.app.moduleManager().module(left).widgetRepresentation()
            old.exit()
            old.setVisible(False)
            old.setParent(None)
        if module is not None:
            widget = module.widgetRepresentation()
            self._window._panel.layout().addWidget(widget)
            widget.setVisible(True)
            widget.enter()
        emit(self, "moduleSelected(QString)", name)

    selectedModule = QtCore.Property(str, lambda self: self._current, selectModule)


class qSlicerMainWindow(QtWidgets.QMainWindow):
    _cpp = True

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._panel = QtWidgets.QWidget()
        self._panel.setLayout(QtWidgets.QVBoxLayout())
        self.setCentralWidget(self._panel)
        self._selector = qSlicerModuleSelectorToolBar(self)
        self.resize(500, 900)
        self.statusBar()

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        return self._selector
