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

from .backends.address import Address, is_server
from .backends.installation import installed, reinstall
from .backends.processor import physical_cores
from .errors import ConversionError, ServerLost

# Best first. A card without a working driver fails its test and is passed over. CoreML is taken only when it is named,
# until it has run on a Mac.
_AUTO = {"onnx": ("cuda:0", "dml:0", "cpu"), "torchscript": ("cuda:0", "cpu")}
_NAME = re.compile(r"(auto|cpu|coreml)|(cuda|dml)(:\d+)?")
SERVER = "MODALITY_CONVERSION_SERVER"
"""The environment variable that names a server, for the list of devices."""


@dataclass(frozen=True)
class Device:
    """A place where ONNX models, the bundled ones among them, run or could run."""

    name: str
    """What `--device` takes: `cpu`, `cuda:0`, `dml:0`, `coreml`, `grpc://host:8001`."""
    available: bool
    description: str
    """Model, cores or memory, as far as the system says."""
    reason: str = ""
    """Why it is not available, or what is not right with it, and what to do."""


def list_devices() -> list[Device]:
    """Every device of this kind of machine, those that do not work too, with the reason.

    Also the server that the environment variable MODALITY_CONVERSION_SERVER names. Else nothing is asked of a network.
    """
    from .backends import onnx

    cards = _nvidia_cards()
    found = [_device("cpu", _processor(), onnx.fault)]
    if sys.platform != "darwin":
        found += [_device(f"cuda:{i}", card, onnx.fault) for i, card in enumerate(cards or ["NVIDIA card"])]
    if sys.platform == "win32":
        found.append(_device("dml:0", "DirectML, any graphics card", onnx.fault))
    if sys.platform == "darwin":
        found.append(_device("coreml", "CoreML, Apple's graphics and neural processors", onnx.fault))
    if server := os.environ.get(SERVER, "").strip():
        found.append(_server(server))
    return found


def names(device: str) -> tuple[str, ...]:
    """The devices that are named, the wanted one first, then those for the case that it is lost: `a,b` -> a, b.

    Raises ConversionError for what can be no device.
    """
    wanted = tuple(name.strip() if is_server(name) else name.strip().lower() for name in device.split(","))
    for name in wanted:
        if is_server(name):
            Address.parse(name)
        elif not _NAME.fullmatch(name):
            raise ConversionError(
                f"There is no device {name or device!r}. "
                "Choose auto, cpu, cuda, cuda:1, dml, dml:1 or coreml; or name a server, grpc://HOST:8001."
            )
    return wanted


def choose(device: str, format: str, notes: list[str]) -> tuple[str, tuple[str, ...]]:
    """The first of the named devices that works, as `resolve` gives it, and the names after it.

    `notes` gets why those before it do not work. Raises ConversionError where none does.
    """
    wanted = names(device)
    for number, name in enumerate(wanted[:-1]):
        try:
            return resolve(name, format), wanted[number + 1 :]
        except ConversionError as error:
            reason = error.reason if isinstance(error, ServerLost) else str(error)
            notes.append(f"{reason} {wanted[number + 1]} was used instead.")
    return resolve(wanted[-1], format), ()


def resolve(device: str, format: str) -> str:
    """The device that one name stands for: `auto` -> the best that works, `cuda` -> `cuda:0`, a server as it is.

    `format` is `onnx` or `torchscript`. Raises ConversionError for an unknown name and for a device that does not work.
    """
    wanted, *others = names(device)
    if others:
        raise ConversionError(f"{device!r} names several devices; here only one has its place.")
    if is_server(wanted):
        return _reached(wanted, format)
    fault = _faults(format)
    if wanted == "auto":
        # The CPU is the last: what is wrong with it is wrong with the installation, and said when the model is opened.
        return next(name for name in _AUTO[format] if name == "cpu" or fault(name) is None)
    wanted = f"{wanted}:0" if wanted in ("cuda", "dml") else wanted
    reason = fault(wanted)
    if reason:
        raise ConversionError(reason)
    return wanted


def _reached(server: str, format: str) -> str:
    """The address of a server that answers. Raises ConversionError."""
    from .backends import remote

    if format != "onnx":
        raise ConversionError(f"{server} takes ONNX models only, and this is a {format} one. Choose another device.")
    reason = remote.fault(server)
    if reason is not None:
        raise reason
    return str(Address.parse(server))


def _server(name: str) -> Device:
    from .backends import remote

    reason = remote.fault(name)
    return Device(name, reason is None, "served model", "" if reason is None else str(reason))


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
