"""`slicer.app`. Slicer: Base/QTCore/qSlicerCoreApplication.h, Base/QTGUI/qSlicerApplication.h; the command options:
Base/QTCore/qSlicerCoreCommandOptions.h, Base/QTGUI/qSlicerCommandOptions.h."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from slicer_standin.custom import prop
from slicer_standin.pythonqt import emit

_OS = {"linux": "linux", "darwin": "macosx", "win32": "win"}


class qSlicerCommandOptions(QtCore.QObject):
    _cpp = True
    testingEnabled = QtCore.Property(bool, lambda self: self.__dict__.get("_testing", False))
    noMainWindow = QtCore.Property(bool, lambda self: self.__dict__.get("_no_window", False))
    runPythonAndExit = prop(bool, "runPythonAndExit", False)
    noSplash = prop(bool, "noSplash", True, writable=False)
    additionalModulePaths = prop("QStringList", "additionalModulePaths", [], writable=False)


class qSlicerApplication(QtWidgets.QApplication):
    """One for the whole test session; `_reset` gives it a new scene, new settings and new folders."""

    _cpp = True
    _signals = ("startupCompleted()", "renderPaused(bool)", "mrmlSceneChanged(vtkMRMLScene*)")

    def __init__(self, folder: Path, version: tuple[int, int, int]) -> None:
        super().__init__(["Slicer"])
        self._options = qSlicerCommandOptions()
        self._folder, self._version = folder, version
        self._scene: Any = None
        self._layout_manager: Any = None
        self._module_manager: Any = None
        self._io_manager: Any = None
        self._settings: Any = None
        self._paused = 0
        self.setOrganizationName("slicer.org")
        self.setOrganizationDomain("www.slicer.org")
        self.setApplicationName("Slicer")
        self.setApplicationVersion(".".join(map(str, version)))
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, str(folder / "settings"))
        home = folder / "Slicer"
        (home / "bin").mkdir(parents=True)
        script = home / "bin" / "PythonSlicer"  # Slicer puts its bin folder on PATH, and this is found there
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        script.chmod(0o755)
        os.environ["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        self.__dict__["_temporaryPath"] = str(folder / "temporary")
        self.__dict__["_extensionsInstallPath"] = str(folder / "extensions")

    slicerHome = QtCore.Property(str, lambda self: str(self._folder / "Slicer"))
    temporaryPath = prop(str, "temporaryPath", tempfile.gettempdir())
    cachePath = QtCore.Property(str, lambda self: str(self._folder / "cache"))
    defaultScenePath = prop(str, "defaultScenePath", str(Path.home()))
    extensionsInstallPath = prop(str, "extensionsInstallPath", "")
    slicerUserSettingsFilePath = QtCore.Property(str, lambda self: self.userSettings().fileName())
    majorVersion = QtCore.Property(int, lambda self: self._version[0])
    minorVersion = QtCore.Property(int, lambda self: self._version[1])
    mainApplicationName = QtCore.Property(str, lambda self: "Slicer")
    revision = QtCore.Property(str, lambda self: "33241")
    repositoryRevision = QtCore.Property(str, lambda self: "0000000")
    releaseType = QtCore.Property(str, lambda self: "Stable")
    isInstalled = QtCore.Property(bool, lambda self: True)
    os = QtCore.Property(str, lambda self: _OS[sys.platform])
    arch = QtCore.Property(str, lambda self: {"x86_64": "amd64", "AMD64": "amd64"}.get(platform.machine(), "arm64"))
    platform = QtCore.Property(str, lambda self: f"{_OS[sys.platform]}-amd64")
    documentationBaseUrl = QtCore.Property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")
    documentationVersion = QtCore.Property(str, lambda self: "latest")
    applicationLocaleName = QtCore.Property(str, lambda self: "en_US")

    def mrmlScene(self) -> Any:
        return self._scene.node_scene

    def applicationLogic(self) -> Any:
        return self._scene.app_logic

    def moduleLogic(self, name: str) -> Any:
        return self._scene.app_logic.GetModuleLogic(name)

    def layoutManager(self) -> Any:
        return self._layout_manager

    def moduleManager(self) -> Any:
        return self._module_manager

    def coreIOManager(self) -> Any:
        return self._io_manager

    ioManager = coreIOManager

    def commandOptions(self) -> qSlicerCommandOptions:
        return self._options

    def userSettings(self) -> QtCore.QSettings:
        if self._settings is None:
            self._settings = QtCore.QSettings()
        return self._settings

    settings = userSettings

    def revisionUserSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings(str(self._folder / "settings" / "revision.ini"), QtCore.QSettings.IniFormat)

    @staticmethod
    def testingEnabled() -> bool:
        app: Any = QtCore.QCoreApplication.instance()
        return bool(app.commandOptions().testingEnabled)

    @staticmethod
    def translate(context: str, text: str) -> str:
        return text

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    environment = startupEnvironment

    def dicomDatabase(self) -> Any:
        import slicer

        return slicer.dicomDatabase

    def setRenderPaused(self, pause: bool) -> None:
        self._paused = max(0, self._paused + (1 if pause else -1))
        emit(self, "renderPaused(bool)", self._paused > 0)

    def pauseRender(self) -> None:
        self.setRenderPaused(True)

    def resumeRender(self) -> None:
        self.setRenderPaused(False)

    @staticmethod
    def restart() -> None:
        raise AssertionError("the module asked Slicer to restart")
