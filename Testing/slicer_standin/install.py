"""Put the stand-in where a module looks for Slicer, and make it new between tests."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
import vtk
from PySide6 import QtCore

from slicer_standin import dialogs, i18n, packaging, pythonqt, qt
from slicer_standin.dialogs import answers
from slicer_standin.event_loop import process_events
from slicer_standin.packaging import pip

NEWEST = (5, 13, 0)
qt_messages: list[str] = []
_state: dict[str, Any] = {}
_new_in_5_11 = ("executePythonModule", "_startAsyncProcessHandling", "LazyImport", "findChild", "launchConsoleProcess",
                "logProcessOutput", "pip_install", "pip_uninstall")  # fmt: skip


def install(version: tuple[int, int, int] = NEWEST) -> None:
    """Once for each process, before the module under test is imported. A second call changes the version."""
    if "app" not in _state:
        _first_time(version)
    if version != _state.get("version"):
        _state["version"] = version
        _state["app"]._version = version
        _state["app"].setApplicationVersion(".".join(map(str, version)))
        _imitate(version)
    fresh()


def _first_time(version: tuple[int, int, int]) -> None:
    vtk.vtkObject.GlobalWarningDisplayOn()
    QtCore.qInstallMessageHandler(_qt_message)
    sys.modules["qt"] = qt.build()
    from slicer_standin import (
        ctk,
        modules,
        mrml_widget,
        node_selector,
        sample_data,
        scripted_module,
        segment_selector,
        ui_loader,
    )
    from slicer_standin.app import qSlicerApplication
    from slicer_standin.layout import SLICER as layout_classes
    from slicer_standin.parameter_node import build as build_parameter_node

    folder = Path(tempfile.mkdtemp(prefix="slicer-standin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(close)  # while Python, Qt and VTK are all still there
    _state["folder"] = folder
    _state["app"] = qSlicerApplication(folder, version)
    _put("ctk", _module_of("ctk", ctk.WIDGETS))
    _put("slicer.i18n", _module_of("slicer.i18n", {n: getattr(i18n, n) for n in ("tr", "translate", "getContext")}))
    _put("slicer.ScriptedLoadableModule", scripted_module)
    _put("slicer.parameterNodeWrapper", build_parameter_node())
    _put("slicer.modules", types.ModuleType("slicer.modules"))
    _put("slicer.moduleNames", types.ModuleType("slicer.moduleNames"))
    _put("SampleData", _module_of("SampleData", {n: getattr(sample_data, n) for n in _SAMPLE_DATA}))
    widgets: dict[str, Any] = {
        "qMRMLWidget": mrml_widget.qMRMLWidget,
        "qSlicerWidget": mrml_widget.qMRMLWidget,
        "qMRMLNodeComboBox": node_selector.qMRMLNodeComboBox,
        "qMRMLSegmentSelectorWidget": segment_selector.qMRMLSegmentSelectorWidget,
    }
    ui_loader.CUSTOM.update(widgets)
    others: dict[str, Any] = {
        **layout_classes,
        "qSlicerApplication": qSlicerApplication,
        "qSlicerScriptedLoadableModule": modules.qSlicerScriptedLoadableModule,
        "qSlicerScriptedLoadableModuleWidget": modules.qSlicerScriptedLoadableModuleWidget,
    }
    for name, kind in {**widgets, **others}.items():
        setattr(slicer, name, kind)
    _remove_what_slicer_core_adds()
    slicer.app = _state["app"]
    _state["util"] = {name: getattr(slicer.util, name, None) for name in _new_in_5_11}


def _qt_message(kind: Any, context: Any, text: str) -> None:
    """Qt's warnings are kept and printed: in Slicer they stand in the application's log."""
    if "propagateSizeHints" not in text:  # the offscreen platform says this of every window
        qt_messages.append(text)
        print(f"Qt: {text}", file=sys.stderr)  # noqa: T201


_SAMPLE_DATA = ("SampleDataLogic", "SampleDataSource")


def _remove_what_slicer_core_adds() -> None:
    """PyPI's package copies all of slicer.util, and some names of its own, into `slicer`; Slicer does not."""
    for name in [name for name in vars(slicer) if not name.startswith(("_", "vtk", "q", "VTK"))]:
        if name not in ("util", "app", "modules", "moduleNames", "i18n", "ScriptedLoadableModule", *_PACKAGES):
            delattr(slicer, name)
    for name in ("VTKObservationMixin", "quit"):
        if hasattr(slicer, name):
            delattr(slicer, name)


_PACKAGES = ("parameterNodeWrapper", "slicer_core", "mrmlScene")


def _put(name: str, module: types.ModuleType) -> None:
    sys.modules[name] = module
    if name.startswith("slicer."):
        setattr(slicer, name.partition(".")[2], module)


def _module_of(name: str, members: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


def _imitate(version: tuple[int, int, int]) -> None:
    """Take from slicer.util what a version before 5.11 has not, and slicer.packaging with it; or give it back."""
    util: Any = slicer.util
    for name, value in _state["util"].items():
        setattr(util, name, value)
    if version >= (5, 11, 0):
        _put("slicer.packaging", packaging.build())
        return
    sys.modules["slicer.packaging"] = None  # type: ignore[assignment] # so that importing it fails
    if hasattr(slicer, "packaging"):
        del slicer.packaging
    for name in ("executePythonModule", "_startAsyncProcessHandling", "LazyImport"):
        if hasattr(util, name):
            delattr(util, name)
    newest = _state["util"]

    def launchConsoleProcess(
        args: Any, useStartupEnvironment: bool = True, updateEnvironment: Any = None, cwd: Any = None
    ) -> Any:
        return newest["launchConsoleProcess"](args, useStartupEnvironment, updateEnvironment, cwd)

    def logProcessOutput(proc: Any) -> None:
        newest["logProcessOutput"](proc)

    def findChild(widget: Any, name: str) -> Any:
        return newest["findChild"](widget, name)

    def pip_install(requirements: Any) -> None:
        pip.install(requirements)

    def pip_uninstall(requirements: Any) -> None:
        packaging.pip_uninstall(requirements)

    for function in (launchConsoleProcess, logProcessOutput, findChild, pip_install, pip_uninstall):
        setattr(util, function.__name__, function)


def fresh(main_window: bool = True, testing: bool = False) -> None:
    """Everything as after a start of Slicer: scene, layout, modules, settings, answers, what pip was asked.

    `main_window` False is Slicer started with --no-main-window, `testing` True with --testing.
    """
    from slicer_standin.dicom_database import ctkDICOMDatabase
    from slicer_standin.io_manager import qSlicerCoreIOManager
    from slicer_standin.layout import qSlicerLayoutManager
    from slicer_standin.main_window import qSlicerMainWindow
    from slicer_standin.modules import qSlicerModuleManager
    from slicer_standin.scene import Scene

    close()
    app = _state["app"]
    app.userSettings().clear()
    app._options.__dict__.update(_testing=testing, _no_window=not main_window)
    app.__dict__["_temporaryPath"] = tempfile.mkdtemp(dir=_state["folder"], prefix="temporary-")
    scene = Scene(Path(app.cachePath))
    app._scene, app._paused = scene, 0
    slicer.mrmlScene = scene.node_scene
    app._layout_manager = qSlicerLayoutManager(scene.node_scene, scene.app_logic)
    for names in (slicer.modules, slicer.moduleNames):
        for name in [name for name in vars(names) if not name.startswith("__")]:
            delattr(names, name)
    app._module_manager = qSlicerModuleManager()
    app._io_manager = qSlicerCoreIOManager()
    slicer.dicomDatabase = ctkDICOMDatabase()
    slicer.selfTests = {}
    _state["window"] = qSlicerMainWindow() if main_window else None
    if main_window:
        _state["window"].show()


def close() -> None:
    """End what runs: modules are left and cleaned up, the scene is cleared, windows go. Then forget what was asked."""
    app = _state["app"]
    if app._module_manager is not None:
        if _state.get("window") is not None:
            _state["window"].moduleSelector().selectModule("")
        for name in app._module_manager._scripted():
            app._module_manager._unload(name)
    if app._scene is not None:
        app._scene.close()
        app._layout_manager.viewport().deleteLater()
        app._layout_manager.deleteLater()
        app._layout_manager._observing.clear()
    app._scene = app._layout_manager = app._module_manager = None
    if _state.get("window") is not None:
        _state["window"].close()
        _state["window"].deleteLater()
        _state["window"] = None
    process_events()
    answers.clear()
    pip.clear()
    pythonqt.errors.clear()
    i18n.asked.clear()
    qt_messages.clear()


def check() -> None:
    """Fail if an exception left a slot, a modal dialog found no answer, or an answer was never asked for."""
    problems = list(pythonqt.errors)
    problems += [f"unanswered {item.kind} dialog: {item.title!r} {item.text!r}" for item in answers.unanswered]
    if answers.waiting:
        problems.append(f"answers that nothing asked for: {list(answers.waiting)}")
    if problems:
        raise AssertionError("\n".join(problems))


def load_module(path: str | Path, startup_completed: bool = True) -> Any:
    """Load a scripted module by its .py file; its object, as in `slicer.modules`, comes back."""
    module = slicer.app.moduleManager()._load(Path(path))
    if startup_completed:
        pythonqt.emit(slicer.app, "startupCompleted()")
    return module


def open_panel(name: str) -> Any:
    """Show a module's panel as the user does; the Python widget comes back, after setup() and enter()."""
    window = _state["window"]
    module = slicer.app.moduleManager().module(name)
    if window is not None:
        window.moduleSelector().selectModule(name)
    else:
        widget = module.widgetRepresentation()
        widget.show()
        widget.enter()
    process_events()
    return module.widgetRepresentation().self()


def quit_slicer() -> None:
    """Quit: aboutToQuit is emitted and each scripted module is unloaded. Use fresh() before anything else."""
    app = _state["app"]
    app.aboutToQuit.emit()
    for name in app._module_manager._scripted():
        app._module_manager._unload(name)


__all__ = ["answers", "check", "close", "dialogs", "fresh", "install", "load_module", "open_panel", "quit_slicer"]
