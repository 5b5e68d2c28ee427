"""Which onnxruntime is installed, why it lacks a device, and what to install instead."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# All of these put the same folder `onnxruntime` in place: the one installed last wins, until one is taken away again.
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")


def installed() -> list[str]:
    """The packages of onnxruntime that are installed; more than one break each other."""
    found = []
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            version(package)
            found.append(package)
    return found


def reinstall() -> str:
    """What to type when the installation is broken."""
    packages = " ".join(installed()) or "onnxruntime"
    return f"pip uninstall {packages}, then pip install modality-conversion[cpu] or modality-conversion[gpu]."


def not_in_this_build(kind: str) -> str:
    """Why the onnxruntime in use has no provider for `cuda`, `dml` or `coreml`, and what to do."""
    packages = installed()
    if kind == "coreml":
        return "coreml needs macOS, where onnxruntime brings it along."
    if kind == "dml" and sys.platform != "win32":
        return "dml (DirectML) needs Windows."
    if kind == "cuda" and sys.platform == "darwin":
        return "cuda needs Linux or Windows."
    if len(packages) > 1:
        return f"{' and '.join(packages)} are both installed and break each other: {reinstall()}"
    if kind == "dml":
        return "onnxruntime-directml is not installed: pip install onnxruntime-directml in place of onnxruntime."
    return (
        "The CUDA build of onnxruntime is not installed: "
        f"pip uninstall {packages[0] if packages else 'onnxruntime'}, then pip install modality-conversion[gpu]."
    )


def why_not_loaded(kind: str, package: Path) -> str:
    """Why a provider that is in the build, in the folder `package`, does not load, and what to do.

    onnxruntime only logs the reason; the system's loader says it again when asked for the same library.
    """
    if kind != "cuda":
        return f"onnxruntime could not load its {kind} part. Update the graphics driver, or use the CPU."
    reason = ""
    library = package / "capi" / "libonnxruntime_providers_cuda.so"
    if library.exists():
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            # Alone, the library always lacks symbols that onnxruntime would give it; that is not the reason.
            reason = "" if "undefined symbol" in str(error) else f" ({error})"
    return (
        f"onnxruntime could not load its CUDA part{reason}. Install the NVIDIA driver, and CUDA and cuDNN with "
        'pip install "onnxruntime-gpu[cuda,cudnn]", or use the CPU.'
    )
