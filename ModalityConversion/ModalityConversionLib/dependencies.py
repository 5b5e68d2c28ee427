"""The Python packages that converting needs: which are missing, one question, one installation, no restart.

Nothing is imported here to find out: packages are looked up, and loaded only by the process that converts.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import slicer

from modality_conversion.errors import ConversionError

from . import settings
from .i18n import tr as _

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
_KEPT = ("numpy", "SimpleITK")
"""Slicer's own, which must stay as they are."""
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")
"""Builds of one library that break each other: at most one may be there."""
# Downloads in MB, Linux wheels as PyPI had them in November 2026: onnxruntime 1.31, onnxruntime-gpu 1.31 without the CUDA
# libraries, and the small packages with what they need.
_SIZES = {"onnxruntime": 24, "onnxruntime-gpu": 256, "others": 6}
_SYSTEM32 = Path("C:/Windows/System32")


@dataclass(frozen=True)
class Plan:
    """What would be installed."""

    packages: tuple[str, ...]
    """Requirements as pip takes them."""
    remove_first: tuple[str, ...] = ()
    """Builds of onnxruntime that must go before."""

    @property
    def megabytes(self) -> int:
        """About how much is downloaded."""
        names = {_name(package) for package in self.packages}
        return sum(_SIZES[name] for name in names if name in _SIZES) + (_SIZES["others"] if names - {*_SIZES} else 0)


def missing() -> tuple[str, ...]:
    """The requirements that this Slicer does not meet, as in requirements.txt; () where everything is there."""
    importlib.invalidate_caches()
    return tuple(line for line in _requirements() if not _is_met(line))


def plan(build: str = "onnxruntime") -> Plan:
    """What to install for a build of onnxruntime: `onnxruntime`, `onnxruntime-gpu` or `onnxruntime-directml`."""
    others = tuple(line for line in missing() if _name(line) != "onnxruntime")
    installed = installed_runtimes()
    runtime = next(line for line in _requirements() if _name(line) == "onnxruntime")
    if build == "onnxruntime-gpu":
        runtime = "onnxruntime-gpu[cuda,cudnn]" + runtime[len("onnxruntime") :]
    elif build != "onnxruntime":
        runtime = build
    if installed == (build,):
        too_old = any(_name(line) == "onnxruntime" for line in missing())
        return Plan((runtime, *others) if too_old else others)
    return Plan((runtime, *others), installed)


def installed_runtimes() -> tuple[str, ...]:
    """The builds of onnxruntime that are there; more than one is a broken installation."""
    return tuple(name for name in _RUNTIMES if _version(name) is not None)


def gpu_build() -> str | None:
    """The build for this machine's graphics card, or None where there is no card that it would use."""
    if sys.platform == "linux" and Path("/proc/driver/nvidia/version").exists():
        return "onnxruntime-gpu"
    if sys.platform == "win32":
        return "onnxruntime-gpu" if (_SYSTEM32 / "nvcuda.dll").exists() else None
    return None


def question(plan: Plan) -> str:
    """What the user is asked."""
    listed = ", ".join(_name(package) for package in plan.packages)
    size = _("About {size} MB").format(size=plan.megabytes)
    if any(_name(package) == "onnxruntime-gpu" for package in plan.packages):
        size = _("About {size} MB, and the CUDA libraries that it needs, some GB in all,").format(size=plan.megabytes)
    text = _(
        "Converting needs software that Slicer does not bring: {packages}.\n\n"
        "{size} are downloaded from the Python Package Index and put into Slicer's Python. Slicer's own numpy and "
        "SimpleITK stay as they are. No restart is needed, and it can be removed again under Models.\n\nInstall now?"
    ).format(packages=listed, size=size)
    if plan.remove_first:
        text += "\n\n" + _("{builds} is removed first.").format(builds=", ".join(plan.remove_first))
    return text


def install(plan: Plan, wheels: Path | None = None) -> None:
    """Install a plan, from a folder of wheel files where one is given, else from the network.

    Raises ConversionError when that fails; a build of onnxruntime that was removed to make room is then brought back.
    """
    if sys.version_info < (3, 10):  # noqa: UP036 - Slicer up to 5.8 has Python 3.9
        raise ConversionError(_("Converting needs Slicer 5.10 or newer: this one's Python is too old."))
    if not plan.packages:
        return
    before = _all_packages()
    try:
        if plan.remove_first:
            slicer.util.pip_uninstall(" ".join(plan.remove_first))
        with _constraints() as constraints:
            _pip(list(plan.packages), constraints, wheels)
    except (subprocess.CalledProcessError, RuntimeError, OSError) as error:
        logging.error("ModalityConversion: pip failed: %s", error)
        _bring_back(plan.remove_first)
        raise ConversionError(
            _(
                "The installation failed. Check the network and the proxy settings, or install from a folder of wheel "
                "files (Models, Software). Details are in the application log."
            )
        ) from error
    finally:
        importlib.invalidate_caches()
        new = sorted(_all_packages() - before)
        settings.set_installed_packages([*settings.installed_packages(), *new])
    left = missing()
    if left:
        raise ConversionError(
            _("After the installation these are still missing: {packages}. See the application log.").format(
                packages=", ".join(left)
            )
        )


def _bring_back(builds: tuple[str, ...]) -> None:
    """Install again what was removed to make room, where its successor did not come."""
    for build in builds[:1]:
        try:
            slicer.util.pip_install([build])
        except (subprocess.CalledProcessError, RuntimeError, OSError):
            logging.exception("ModalityConversion: %s could not be brought back", build)


def current_build() -> str:
    """The build that is there, the CPU build where none is."""
    return next(iter(installed_runtimes()), "onnxruntime")


def uninstall() -> list[str]:
    """Remove the packages that this module installed; returns their names. Raises ConversionError when pip fails."""
    names = [name for name in settings.installed_packages() if _version(name) is not None]
    if names:
        try:
            slicer.util.pip_uninstall(" ".join(names))
        except (subprocess.CalledProcessError, RuntimeError) as error:
            raise ConversionError(_("pip could not remove {names}.").format(names=", ".join(names))) from error
    settings.set_installed_packages([])
    return names


def _pip(packages: list[str], constraints: Path, wheels: Path | None) -> None:
    packaging = getattr(slicer, "packaging", None)
    if packaging is None:
        try:
            packaging = importlib.import_module("slicer.packaging")  # Slicer 5.11 and newer
        except ImportError:
            packaging = None
    if packaging is not None and wheels is None:
        packaging.pip_ensure(
            packages,
            constraints=str(constraints),
            prompt_install=False,
            prompt_restart=False,
            requester="ModalityConversion",
        )
        return
    arguments = [*packages, "--constraint", str(constraints)]
    if wheels is not None:
        arguments += ["--no-index", "--find-links", str(wheels)]
    slicer.util.pip_install(arguments)


@contextmanager
def _constraints() -> Iterator[Path]:
    """A file that pins what must stay."""
    with tempfile.TemporaryDirectory(prefix="ModalityConversion-pip-") as folder:
        path = Path(folder) / "constraints.txt"
        pins = [f"{name}=={version}" for name in _KEPT if (version := _version(name)) is not None]
        path.write_text("\n".join(pins) + "\n", encoding="utf-8")
        yield path


def _requirements() -> list[str]:
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _name(requirement: str) -> str:
    return requirement.split(">=")[0].split("[")[0].strip()


def _is_met(requirement: str) -> bool:
    name, _separator, wanted = requirement.partition(">=")
    names = _RUNTIMES if name.strip() == "onnxruntime" else (name.strip(),)
    versions = [version for version in map(_version, names) if version is not None]
    return any(_numbers(version) >= _numbers(wanted) for version in versions)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """`1.26.0rc1` as (1, 26, 0): enough for the `>=` of requirements.txt."""
    numbers = []
    for part in version.strip().split("."):
        digits = "".join(character for character in part if character.isdecimal())
        if not digits or not part[0].isdecimal():
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _all_packages() -> set[str]:
    names = (distribution.metadata["Name"] for distribution in importlib.metadata.distributions())
    return {name for name in names if name}
