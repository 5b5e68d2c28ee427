"""Which devices there are, why the others do not work, and what `auto` stands for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from modality_conversion import devices
from modality_conversion.backends import onnx
from modality_conversion.errors import ConversionError

Faults = Callable[[str], "str | None"]


def only(*working: str) -> Faults:
    return lambda device: None if device in working else f"{device} does not work: buy another."


@pytest.fixture
def no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_nvidia_cards", list)


# --- auto and names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("working", "best"),
    [
        (("cuda:0", "dml:0", "coreml", "cpu"), "cuda:0"),
        (("dml:0", "coreml", "cpu"), "dml:0"),
        (("coreml", "cpu"), "cpu"),  # CoreML only when it is named
        (("cpu",), "cpu"),
        ((), "cpu"),
    ],
)
def test_auto_is_the_best_device_that_works(
    monkeypatch: pytest.MonkeyPatch, working: tuple[str, ...], best: str
) -> None:
    monkeypatch.setattr(onnx, "fault", only(*working))
    assert devices.resolve("auto", "onnx") == best


def test_auto_survives_a_card_whose_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime lists the provider; only using it shows that it does not load."""
    import onnxruntime

    onnx.fault.cache_clear()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(onnx.PROVIDERS.values()))
    with pytest.warns(UserWarning, match="Specified provider"):
        assert devices.resolve("auto", "onnx") == "cpu"
    onnx.fault.cache_clear()


def test_auto_for_torchscript_is_a_card_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from modality_conversion.backends import torchscript

    monkeypatch.setattr(torchscript, "fault", only("cuda:0"))
    assert devices.resolve("auto", "torchscript") == "cuda:0"
    monkeypatch.setattr(torchscript, "fault", only("cpu"))
    assert devices.resolve("auto", "torchscript") == "cpu"


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("cuda", "cuda:0"), ("CUDA:1", "cuda:1"), (" dml ", "dml:0"), ("cpu", "cpu"), ("coreml", "coreml")],
)
def test_a_name_stands_for_one_device(monkeypatch: pytest.MonkeyPatch, asked: str, meant: str) -> None:
    monkeypatch.setattr(onnx, "fault", only(meant))
    assert devices.resolve(asked, "onnx") == meant


@pytest.mark.parametrize("name", ["gpu", "tpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "", "auto:0", "coreml:1"])
@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, format: str) -> None:
    with pytest.raises(ConversionError, match="Choose auto, cpu, cuda, cuda:1, dml, dml:1 or coreml") as caught:
        devices.resolve(name, format)
    assert repr(name) in str(caught.value)


def test_a_device_that_does_not_work_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "fault", only("cpu"))
    with pytest.raises(ConversionError, match="dml:1 does not work: buy another"):
        devices.resolve("dml:1", "onnx")


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_cpu_is_listed_with_its_cores() -> None:
    cpu = devices.list_devices()[0]
    assert (cpu.name, cpu.available) == ("cpu", True)
    assert "core" in cpu.description


@pytest.mark.usefixtures("no_cards")
@pytest.mark.parametrize(
    ("system", "names"),
    [("linux", ["cpu", "cuda:0"]), ("win32", ["cpu", "cuda:0", "dml:0"]), ("darwin", ["cpu", "coreml"])],
)
def test_each_system_lists_its_own_devices_and_why_they_do_not_work(
    monkeypatch: pytest.MonkeyPatch, system: str, names: list[str]
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(onnx, "fault", only("cpu"))
    found = devices.list_devices()
    assert [device.name for device in found] == names
    assert [device.available for device in found] == [True] + [False] * (len(names) - 1)
    assert all("buy another" in device.reason for device in found[1:])


def test_every_card_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices, "_nvidia_cards", lambda: ["NVIDIA A, 8192 MiB", "NVIDIA B, 16384 MiB"])
    monkeypatch.setattr(devices, "installed", list)
    monkeypatch.setattr(onnx, "fault", only("cpu", "cuda:1"))
    second = devices.list_devices()[2]
    assert second == devices.Device("cuda:1", True, "NVIDIA B, 16384 MiB")


def test_two_onnxruntimes_at_once_are_said_even_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "installed", lambda: ["onnxruntime", "onnxruntime-gpu"])
    cpu = devices.list_devices()[0]
    assert cpu.available
    assert "onnxruntime and onnxruntime-gpu are both installed: pip uninstall" in cpu.reason


# --- what the system says ---------------------------------------------------------------------------------------------


def fake_nvidia_smi(monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> None:
    def run(command: list[str], **_: object) -> SimpleNamespace:
        assert command[0] == "/usr/bin/nvidia-smi"
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(stdout=answer)

    monkeypatch.setattr(devices.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(devices.subprocess, "run", run)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["A, 1 MiB", "B, 2 MiB"]), ("1", ["B, 2 MiB"]), ("1,0", ["B, 2 MiB", "A, 1 MiB"]), ("", [])],
)
def test_cards_are_those_that_the_driver_and_the_environment_show(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    fake_nvidia_smi(monkeypatch, "A, 1 MiB\nB, 2 MiB\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices._nvidia_cards() == expected


@pytest.mark.parametrize(
    "error", [OSError("no"), subprocess.TimeoutExpired("x", 1), subprocess.CalledProcessError(9, "x")]
)
def test_a_driver_that_does_not_answer_shows_no_cards(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    fake_nvidia_smi(monkeypatch, error)
    assert devices._nvidia_cards() == []


def test_without_a_driver_there_are_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.shutil, "which", lambda _: None)
    assert devices._nvidia_cards() == []


def test_a_system_that_says_little_still_has_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    monkeypatch.setattr(devices.platform, "processor", lambda: "")
    monkeypatch.setattr(devices.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(devices, "physical_cores", lambda: 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert devices._processor() == "arm64, 1 core"


def test_of_a_list_the_first_that_works_is_taken_and_the_others_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "fault", only("cuda:1", "cpu"))
    notes: list[str] = []
    assert devices.choose("dml, cuda:1,cpu", "onnx", notes) == ("cuda:1", ("cpu",))
    assert notes == ["dml:0 does not work: buy another. cuda:1 was used instead."]
    with pytest.raises(ConversionError, match="dml:0 does not work"):
        devices.choose("coreml,dml", "onnx", [])
    with pytest.raises(ConversionError, match="names several devices"):
        devices.resolve("cuda:1,cpu", "onnx")
