"""`slicer.modules` and the module manager. Slicer: Base/QTCore/qSlicerModuleManager.h, qSlicerAbstractCoreModule.h,
Base/QTGUI/qSlicerScriptedLoadableModule.cxx, qSlicerScriptedLoadableModuleWidget.cxx, Base/Python/slicerqt.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from slicer_standin.custom import prop
from slicer_standin.mrml_widget import qMRMLWidget
from slicer_standin.pythonqt import emit
from slicer_standin.scene import LOGICS


class qSlicerLoadableModule(QtCore.QObject):
    """A module of Slicer's own, of which there is the logic only."""

    _cpp = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self._module_name = name

    name = QtCore.Property(str, lambda self: self._module_name)
    title = QtCore.Property(str, lambda self: self._module_name)

    def logic(self) -> Any:
        return slicer.app._scene.logic(self._module_name)

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    _cpp = True

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.setLayout(QtWidgets.QVBoxLayout())
        self._module, self._entered = module, False
        self._python: Any = None
        self.setMRMLScene(slicer.mrmlScene)
        self._instantiate()

    def _instantiate(self) -> None:
        name = self._module.name
        self._python = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._python)

    moduleName = QtCore.Property(str, lambda self: self._module.name)
    isEntered = QtCore.Property(bool, lambda self: self._entered)

    def self(self) -> Any:
        return self._python

    def reload(self) -> None:
        self._instantiate()
        self._python.setup()

    def enter(self) -> None:
        self._entered = True
        getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        self._entered = False
        getattr(self._python, "exit", lambda: None)()


class qSlicerScriptedLoadableModule(QtCore.QObject):
    _cpp = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._widget: Any = None
        self._python: Any = None

    name = QtCore.Property(str, lambda self: self._path.stem)
    path = QtCore.Property(str, lambda self: str(self._path))
    title = prop(str, "title", "")
    categories = prop("QStringList", "categories", [])
    contributors = prop("QStringList", "contributors", [])
    associatedNodeTypes = prop("QStringList", "associatedNodeTypes", [])
    dependencies = prop("QStringList", "dependencies", [])
    helpText = prop(str, "helpText", "")
    acknowledgementText = prop(str, "acknowledgementText", "")
    extensions = prop("QVariantMap", "extensions", {})
    icon = prop(QtGui.QIcon, "icon", QtGui.QIcon())
    hidden = prop(bool, "hidden", False)
    index = prop(int, "index", -1)
    widgetRepresentationCreationEnabled = prop(bool, "widgetRepresentationCreationEnabled", True)

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def logic(self) -> Any:
        return None

    def createNewWidgetRepresentation(self) -> Any:
        widget = qSlicerScriptedLoadableModuleWidget(self)
        widget.self().setup()
        return widget

    def widgetRepresentation(self) -> Any:
        if self._widget is None and self.widgetRepresentationCreationEnabled:
            widget = qSlicerScriptedLoadableModuleWidget(self)
            self._widget = widget
            widget.self().setup()
        return self._widget


class qSlicerModuleFactoryManager(QtCore.QObject):
    _cpp = True
    _signals = ("modulesRegistered(QStringList)", "modulesLoaded(QStringList)", "moduleLoaded(QString)")

    def __init__(self, manager: Any) -> None:
        super().__init__()
        self._manager = manager

    def loadedModuleNames(self) -> list[str]:
        return list(self._manager._modules)

    def isLoaded(self, name: str) -> bool:
        return name in self._manager._modules


class qSlicerModuleManager(QtCore.QObject):
    _cpp = True
    _signals = ("moduleLoaded(QString)", "moduleAboutToBeUnloaded(QString)")

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}
        self._factory = qSlicerModuleFactoryManager(self)
        for name in ("Colors", *LOGICS):
            self._add(qSlicerLoadableModule(name))

    def factoryManager(self) -> qSlicerModuleFactoryManager:
        return self._factory

    def module(self, name: str) -> Any:
        return self._modules.get(name)

    def modulesNames(self) -> list[str]:
        return list(self._modules)

    def _add(self, module: Any) -> None:
        name = module.name
        self._modules[name] = module
        setattr(slicer.modules, name.lower(), module)
        setattr(slicer.moduleNames, name, name)
        emit(self, "moduleLoaded(QString)", name)

    def _load(self, path: Path) -> qSlicerScriptedLoadableModule:
        """Import a scripted module by its file and make its instance, as the module factory does."""
        name = path.stem
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        source = importlib.util.module_from_spec(spec)
        sys.modules[name] = source
        spec.loader.exec_module(source)
        module = qSlicerScriptedLoadableModule(path)
        instance = getattr(source, name)(module)
        module._python = instance
        setattr(slicer.modules, f"{name}Instance", instance)
        if not hasattr(source, f"{name}Widget"):
            module.widgetRepresentationCreationEnabled = False
        self._add(module)
        getattr(instance, "setup", lambda: None)()
        return module

    def _unload(self, name: str) -> None:
        """What happens to a scripted module when Slicer quits: cleanup, then its traces go."""
        module = self._modules[name]
        emit(self, "moduleAboutToBeUnloaded(QString)", name)
        del self._modules[name]
        if module._widget is not None:
            module._widget.setParent(None)
            module._widget.deleteLater()
        for attribute in (f"{name}Instance", f"{name}Widget", name.lower()):
            if hasattr(slicer.modules, attribute):
                delattr(slicer.modules, attribute)
        getattr(slicer, "selfTests", {}).pop(name, None)
        folder = str(Path(module.path).parent)
        for loaded in [key for key, value in sys.modules.items() if _lies_in(value, folder)]:
            del sys.modules[loaded]
        if folder in sys.path:
            sys.path.remove(folder)

    def _scripted(self) -> list[str]:
        return [name for name, item in self._modules.items() if isinstance(item, qSlicerScriptedLoadableModule)]


def _lies_in(module: Any, folder: str) -> bool:
    """Is this Python module a part of the scripted module (and not of the engine beside it)?"""
    path = getattr(module, "__file__", None) or ""
    return path.startswith(folder) and "modality_conversion" not in path
