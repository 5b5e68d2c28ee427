"""The `qt` module: every Qt class that PythonQt wraps in Slicer, and no other. CTK:
Libs/Scripting/Python/Core/Python/qt/__init__.py.in; PythonQt: generated_cpp_515/*_init.cpp."""

from __future__ import annotations

import types
from pathlib import Path

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets

from slicer_standin import dialogs, pythonqt
from slicer_standin.ui_loader import QUiLoader

# PySide6 has these names, PythonQt has not.
_ABSENT = frozenset(Path(__file__).with_name("qt_absent.txt").read_text().split())


def build() -> types.ModuleType:
    """Make the module; PySide's classes are changed on the way."""
    pythonqt.apply(QtCore, QtGui, QtWidgets, QtNetwork, QtUiTools)
    dialogs.apply()
    module = types.ModuleType("qt", "The stand-in's qt module")
    for source in (QtNetwork, QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if name.startswith("Q") and name not in _ABSENT:
                setattr(module, name, getattr(source, name))
    module.QUiLoader = QUiLoader  # type: ignore[attr-defined]
    module.BoolResult = dialogs.BoolResult  # type: ignore[attr-defined]
    return module
