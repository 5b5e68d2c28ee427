"""A program that starts the command line takes it along when it ends, however it ends: `--stop-with-parent`."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import PACKAGE, Runner, started
from modality_conversion.cli import console
from modality_conversion.image_io import write_image
from volumes import noise

pytestmark = pytest.mark.usefixtures("own_models_only")

PATIENCE_S = 30


@pytest.fixture
def slow(tmp_path: Path) -> tuple:
    """Arguments for a conversion of many batches."""
    write_bundle(
        tmp_path / "models" / "slow",
        lambda path: graphs.conv(path, context=1, features=48, layers=6),
        sampler={"axes": [0, 1, 2], "batch": 1},
    )
    write_image(noise(sitk.Image([200, 200, 200], sitk.sitkFloat32)), tmp_path / "t1.mha")
    out = tmp_path / "out.mha"
    return ("convert", tmp_path / "t1.mha", "--to", "T2", "--out", out, "--progress", "json", "--stop-with-parent")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def wait_for_network(stream: Iterator[str]) -> None:
    for line in stream:
        news = json.loads(line)
        if news.get("stage") == "network" and news["done"] > 2:
            return
    raise AssertionError("the network never ran")


def test_a_conversion_stops_when_its_standard_input_closes(tmp_path: Path, slow: tuple) -> None:
    process = started(*slow, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("whatever\n")  # not the end
    process.stdin.flush()
    wait_for_network(process.stdout)
    closed = time.monotonic()
    process.stdin.close()
    process.stdin = None
    out, err = process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - closed < 5
    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1]) == {"error": "Cancelled; nothing was written.", "cancelled": True}
    assert "Cancelled" in err
    assert files(tmp_path) == ["t1.mha"]


HOST = """
import subprocess, sys, time
process = subprocess.Popen([sys.executable, "-m", "modality_conversion.cli", *sys.argv[1:]], stdin=subprocess.PIPE)
time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="a process is killed the POSIX way")
def test_a_conversion_goes_along_with_a_host_that_is_killed(tmp_path: Path, slow: tuple) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, *map(str, slow)],
        env={**os.environ, "PYTHONPATH": PACKAGE},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert host.stdout is not None
    wait_for_network(host.stdout)
    killed = time.monotonic()
    host.send_signal(signal.SIGKILL)
    rest = host.stdout.read()  # to its end, which comes when the worker, who has the same pipe, is gone too
    host.stdout.close()
    host.wait()
    assert time.monotonic() - killed < 5
    assert json.loads(rest.splitlines()[-1])["cancelled"] is True
    assert files(tmp_path) == ["t1.mha"]


def test_work_that_ends_while_the_host_lives_ends_as_usual(tmp_path: Path) -> None:
    process = started("models", "install", tmp_path / "none", "--stop-with-parent", stdin=subprocess.PIPE)
    assert process.stderr is not None
    assert process.wait(PATIENCE_S) == 1
    assert "There is no" in process.stderr.read()
    with process:
        pass


def test_a_host_that_ends_after_the_work_disturbs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(console, "_wait_for_end_of_input", ended.wait)
    monkeypatch.setattr(console._thread, "interrupt_main", lambda: pytest.fail("interrupted"))
    with console.ended_with_parent(True):
        (watch,) = (thread for thread in threading.enumerate() if thread.name == "stop-with-parent")
    ended.set()
    watch.join(PATIENCE_S)
    assert not watch.is_alive()


STUCK = """
import sys, time
from pathlib import Path
from modality_conversion.cli.console import ProgressStyle, ended_with_parent, shown, stop_on_signal
from modality_conversion.image_io import replacing
style = ProgressStyle(sys.argv[2])
with shown(style), stop_on_signal(), ended_with_parent(True, style), replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("{}", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("style", ["json", "none"])
def test_work_that_does_not_come_back_is_ended_2_seconds_later(tmp_path: Path, style: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(tmp_path / "out.mha"), style],
        env={**os.environ, "PYTHONPATH": PACKAGE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert len(files(tmp_path)) == 1
    closed = time.monotonic()
    out, err = process.communicate(timeout=PATIENCE_S)  # closes standard input
    assert 1.9 < time.monotonic() - closed < 5
    assert process.returncode == 130
    assert err == "Cancelled; nothing was written.\n"
    assert out == ('{"error": "Cancelled; nothing was written.", "cancelled": true}\n' if style == "json" else "")
    assert files(tmp_path) == []


def test_nobody_who_listens_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A pipe that is full and read by nobody would make the last line wait for ever."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, b"." * 4096):
            pass
    os.set_blocking(writing, True)
    stuck = STUCK.replace('print("{}", flush=True)', "")
    process = subprocess.Popen(
        [sys.executable, "-c", stuck, str(tmp_path / "out.mha"), "json"],
        env={**os.environ, "PYTHONPATH": PACKAGE},
        stdin=subprocess.DEVNULL,
        stdout=writing,
    )
    os.close(writing)
    assert process.wait(PATIENCE_S) == 130
    os.close(reading)
    assert files(tmp_path) == []


def test_a_comparison_stops_too(tmp_path: Path) -> None:
    write_image(noise(sitk.Image([160, 160, 160], sitk.sitkFloat32)), tmp_path / "a.mha")
    process = started("compare", tmp_path / "a.mha", tmp_path / "a.mha", "--stop-with-parent", stdin=subprocess.DEVNULL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert out == ""
    assert "Cancelled" in err


def test_no_standard_input_at_all_is_as_good_as_closed(slow: tuple) -> None:
    if os.name == "nt":
        pytest.skip("a process without standard input is started the POSIX way")
    process = started(*slow, stdin=subprocess.DEVNULL, preexec_fn=lambda: os.close(0))
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130


@pytest.mark.parametrize(("error", "reads"), [(109, [3]), (6, [3, 4096])], ids=["pipe", "no pipe"])
def test_on_windows_a_pipe_is_looked_at_and_never_waited_for(
    monkeypatch: pytest.MonkeyPatch, error: int, reads: list[int]
) -> None:
    """Data comes, then nothing for a while, then the end. What is no pipe is read until it ends."""
    waiting = iter([3, 0])
    asked: list[int] = []

    def peek(handle: object, buffer: None, size: int, read: None, available: Any, left: None) -> int:
        count = next(waiting, None)
        available._obj.value = count or 0
        return count is not None

    kernel = types.SimpleNamespace(PeekNamedPipe=peek)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: error, raising=False)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(get_osfhandle=lambda number: 7))
    monkeypatch.setattr(console, "_POLL_S", 0)
    monkeypatch.setattr(os, "read", lambda number, size: asked.append(size) or b"..." * (size == 3))
    monkeypatch.setattr(sys, "platform", "win32")
    console._wait_for_end_of_input()
    monkeypatch.undo()
    assert asked == reads


# --- models -------------------------------------------------------------------------------------------------------------


def test_an_installation_and_a_removal_tell_a_host_in_json_lines(tmp_path: Path, run: Runner) -> None:
    network = graphs.linear(tmp_path / "net.onnx")
    assert run("models", "init", network, "--from", "T1", "--to", "FLAIR", "--into", tmp_path, "--id", "mine").code == 0
    done = run("models", "install", tmp_path / "mine", "--progress", "json")
    assert done.code == 0
    news = [json.loads(line) for line in done.lines]
    assert all(set(line) == {"stage", "done", "total", "seconds_left"} for line in news[:-1])
    assert {line["stage"] for line in news[:-1]} == {"install"}
    assert news[-2]["done"] == news[-2]["total"] > 0
    place = Path(news[-1]["result"]["path"])
    assert news[-1] == {"result": {"id": "mine", "path": str(place)}}
    assert (place / "configs" / "conversion.json").is_file()

    again = run("models", "install", tmp_path / "mine", "--progress", "json")
    assert again.code == 1
    assert "installed already" in json.loads(again.lines[-1])["error"]
    assert json.loads(again.lines[-1])["cancelled"] is False

    gone = run("models", "remove", "mine", "--progress", "json")
    assert gone.code == 0
    assert [json.loads(line).get("stage") for line in gone.lines] == ["remove", "remove", None]
    assert json.loads(gone.lines[-1]) == {"result": {"id": "mine", "path": str(place)}}
    assert not place.exists()
    assert "error" in json.loads(run("models", "remove", "mine", "--progress", "json").lines[-1])


def test_a_download_that_hangs_ends_with_the_host(tmp_path: Path) -> None:
    """The server takes the call, promises a file and sends a part of it."""
    server = socket.create_server(("127.0.0.1", 0))
    reached = threading.Event()

    def serve() -> None:
        caller, _ = server.accept()
        caller.recv(1 << 16)
        caller.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(2 << 20))
        reached.set()
        caller.recv(1)  # until the other end is gone
        caller.close()

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{server.getsockname()[1]}/model.zip"
    process = started(
        *("models", "install", url, "--sha256", "0" * 64, "--models-dir", tmp_path / "models"),
        *("--progress", "json", "--stop-with-parent"),
        stdin=subprocess.PIPE,
    )
    assert reached.wait(PATIENCE_S)
    assert process.stdout is not None
    first = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [news["stage"] for news in first] == ["download", "download"]
    assert first[1]["total"] == 9000000
    closed = time.monotonic()
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - closed < 5
    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["cancelled"] is True
    thread.join()
    server.close()
    assert not list((tmp_path / "models").glob("[!.]*"))
