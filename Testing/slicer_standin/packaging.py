"""`slicer.packaging` (5.11 and newer) and `slicer.util.pip_install`: recorded, never really run.
Slicer: Base/Python/slicer/packaging.py."""

from __future__ import annotations

import logging
import subprocess
import types
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement


@dataclass
class Pip:
    """What a test says of pip, and what pip was asked.

    `missing` are packages to be taken for not installed, until the module installs them; `fails` makes pip fail.
    """

    calls: list[list[str]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    fails: bool = False

    def clear(self) -> None:
        self.calls.clear()
        self.options.clear()
        self.missing.clear()
        self.fails = False

    def install(self, requirements: Any, **options: Any) -> None:
        wanted = requirements.split() if isinstance(requirements, str) else [str(item) for item in requirements]
        self.calls.append(wanted)
        self.options.append(options)
        if self.fails:
            raise subprocess.CalledProcessError(1, ["PythonSlicer", "-m", "pip", "install", *wanted])
        for item in wanted:
            self.missing.discard(_name(item))


pip = Pip()


def _name(requirement: str) -> str:
    return requirement if requirement.startswith("-") else Requirement(requirement).name


def _requirements(given: Any) -> list[Requirement]:
    if isinstance(given, (str, Requirement)):
        given = given.split() if isinstance(given, str) else [given]
    return [item if isinstance(item, Requirement) else Requirement(item) for item in given]


def load_requirements(path: str | Path) -> list[Requirement]:
    lines = [line.strip() for line in Path(path).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def pip_check(req: Any) -> bool:
    for item in _requirements(req):
        if item.marker is not None and not item.marker.evaluate():
            continue
        try:
            if item.name in pip.missing or version(item.name) not in item.specifier:
                return False
        except PackageNotFoundError:
            return False
    return True


def pip_install(
    requirements: Any,
    constraints: Any = None,
    no_deps_requirements: Any = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    logCallback: Any = None,
    completedCallback: Any = None,
) -> list[str] | None:
    if skip_packages is not None and (no_deps_requirements is not None or not blocking):
        raise ValueError("skip_packages goes with neither no_deps_requirements nor blocking=False")
    options = {"constraints": constraints, "no_deps_requirements": no_deps_requirements, "blocking": blocking}
    pip.install(requirements, skip_packages=skip_packages, requester=requester, **options)
    if completedCallback is not None and not blocking:
        completedCallback(0)
    return [] if skip_packages is not None else None


def pip_ensure(
    requirements: Any,
    constraints: Any = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    import slicer

    absent = [item for item in _requirements(requirements) if not pip_check(item)]
    if not absent:
        return None
    names = [str(item) for item in absent]
    if skip_in_testing and slicer.app.testingEnabled():
        logging.info("Testing mode is enabled: skipping pip_ensure for %s", names)
        return None
    if prompt_install:
        title = f"{requester} - Install Python Packages" if requester else "Install Python Packages"
        message = (
            f"{len(absent)} Python packages need to be installed.\n\nThis will modify Slicer's Python environment."
        )
        if not slicer.util.confirmOkCancelDisplay(
            message, title, detailedText="\n".join(f"- {name}" for name in names)
        ):
            raise RuntimeError("User declined package installation")
    return pip_install(names, constraints=constraints, skip_packages=skip_packages, requester=requester)


def pip_uninstall(requirements: Any, **options: Any) -> None:
    pip.calls.append(["uninstall", *_as_list(requirements)])


def isPipInstallInProgress() -> bool:
    return False


def _as_list(given: Any) -> list[str]:
    return given.split() if isinstance(given, str) else [str(item) for item in given]


def build() -> types.ModuleType:
    module = types.ModuleType("slicer.packaging")
    for function in (load_requirements, pip_check, pip_ensure, pip_install, pip_uninstall, isPipInstallInProgress):
        setattr(module, function.__name__, function)
    module.Requirement = Requirement  # type: ignore[attr-defined]
    return module
