"""Where a conversion can run on this machine, why not elsewhere, and which device `auto` stands for."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .backends.installation import installed, reinstall
from .backends.processor import physical_cores
from .errors import ConversionError

# Best first. A card without a working driver fails its test and is passed over. CoreML is taken only when it is named,
# until it has run on a Mac.
_AUTO = {"onnx": ("cuda:0", "dml:0", "cpu"), "torchscript": ("cuda:0", "cpu")}
_NAME = re.compile(r"(auto|cpu|coreml)|(cuda|dml)(:\d+)?")


@dataclass(frozen=True)
class Device:
    """A place where ONNX models, the bundled ones among them, run or could run."""

    name: str
    """What `--device` takes: `cpu`, `cuda:0`, `dml:0`, `coreml`."""
    available: bool
    description: str
    """Model, cores or memory, as far as the system says."""
    reason: str = ""
    """Why it is not available, or what is not right with it, and what to do."""


def list_devices() -> list[Device]:
    """Every device of this kind of machine, those that do not work too, with the reason."""
    from .backends import onnx

    cards = _nvidia_cards()
    found = [_device("cpu", _processor(), onnx.fault)]
    if sys.platform != "darwin":
        found += [_device(f"cuda:{i}", card, onnx.fault) for i, card in enumerate(cards or ["NVIDIA card"])]
    if sys.platform == "win32":
        found.append(_device("dml:0", "DirectML, any graphics card", onnx.fault))
    if sys.platform == "darwin":
        found.append(_device("coreml", "CoreML, Apple's graphics and neural processors", onnx.fault))
    return found


def resolve(device: str, format: str) -> str:
    """The device that a name stands for: `auto` -> the best that works, `cuda` -> `cuda:0`.

    `format` is `onnx` or `torchscript`. Raises ConversionError for an unknown name and for a device that does not work.
    """
    wanted = device.strip().lower()
    if not _NAME.fullmatch(wanted):
        raise ConversionError(f"There is no device {device!r}. Choose auto, cpu, cuda, cuda:1, dml, dml:1 or coreml.")
    fault = _faults(format)
    if wanted == "auto":
        # The CPU is the last: what is wrong with it is wrong with the installation, and said when the model is opened.
        return next(name for name in _AUTO[format] if name == "cpu" or fault(name) is None)
    wanted = f"{wanted}:0" if wanted in ("cuda", "dml") else wanted
    reason = fault(wanted)
    if reason:
        raise ConversionError(reason)
    return wanted


def _faults(format: str) -> Callable[[str], str | None]:
    if format == "torchscript":
        from .backends import torchscript

        return torchscript.fault
    from .backends import onnx

    return onnx.fault


def _device(name: str, description: str, fault: Callable[[str], str | None]) -> Device:
    reason = fault(name)
    packages = installed()
    if reason is None and len(packages) > 1:
        return Device(name, True, description, f"{' and '.join(packages)} are both installed: {reinstall()}")
    return Device(name, reason is None, description, reason or "")


def _processor() -> str:
    """Such as `AMD EPYC 7543, 32 cores, 128 GB`."""
    cores = physical_cores() or os.cpu_count() or 1
    parts = [_processor_name(), f"{cores} core{'s' if cores > 1 else ''}"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB")
    return ", ".join(parts)


def _processor_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"model name\s*:\s*(.+)", information.read_text(errors="replace"))
        if found:
            return found[1]
    return platform.processor() or platform.machine() or "CPU"


def _nvidia_cards() -> list[str]:
    """Such as `NVIDIA RTX A4000, 16376 MiB`, in the driver's order; empty where no driver says so."""
    program = shutil.which("nvidia-smi")
    if not program:
        return []
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    cards = [line.strip() for line in answer.splitlines() if line.strip()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return cards
    chosen = [int(index) for index in visible.split(",") if index.strip().isdecimal()]
    return [cards[index] for index in chosen if index < len(cards)]
