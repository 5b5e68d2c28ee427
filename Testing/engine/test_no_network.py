"""A conversion stays on its machine: no program of it reaches for the network, and it works where there is none."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import graphs
from bundles import write_bundle
from command import PACKAGE
from dicom_series import head, write_series
from modality_conversion.image_io import write_image

# Python runs this when it starts, in the workers of a batch too. Hooks of the interpreter see what every library in Python
# does, and cannot be taken off again.
WATCH = """
import os, sys
def watch(event, arguments):
    if event == "socket.connect":
        place = arguments[1]
        if not isinstance(place, tuple) or str(place[0]) in ("127.0.0.1", "::1", "localhost"):
            return
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        if arguments[0] in (None, "", "127.0.0.1", "::1", "localhost"):
            return
    elif event not in ("socket.sendto", "urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect"):
        return
    with open(os.environ["WATCHED"], "a") as told:
        told.write(f"{event} {arguments[1:]}\\n")
    raise OSError("The network was asked for.")
sys.addaudithook(watch)
"""


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """What was asked of the network, a line each."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    told = tmp_path / "told"
    told.touch()
    return told


def traced(log: Path) -> list[str]:
    """What watches the calls to the system itself, which libraries in C make too; nothing where it is not allowed."""
    tracer = shutil.which("strace")
    if tracer is None:
        return []
    whole = [tracer, "-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)]
    return whole if subprocess.run([*whole, "true"], capture_output=True, check=False).returncode == 0 else []


def python(tmp_path: Path, *arguments: object, before: list[str] | None = None) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment |= {
        "PYTHONPATH": f"{tmp_path / 'watch'}{os.pathsep}{PACKAGE}",
        "WATCHED": str(tmp_path / "told"),
        "MODALITY_CONVERSION_MODELS": str(tmp_path / "models"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "TMPDIR": str(tmp_path / "temporary"),
    }
    (tmp_path / "temporary").mkdir(exist_ok=True)
    return subprocess.run(
        [*(before or []), sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_watch_sees_what_it_watches_for(tmp_path: Path, watched: Path) -> None:
    words = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/', timeout=1)"
    assert python(tmp_path, "-c", words).returncode == 1
    assert "urllib.Request" in watched.read_text()
    watched.write_text("")
    words = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    assert python(tmp_path, "-c", words).returncode == 1
    assert "socket.connect" in watched.read_text()


def test_no_conversion_reaches_for_the_network_or_leaves_anything_behind(tmp_path: Path, watched: Path) -> None:
    write_bundle(tmp_path / "models" / "copy", graphs.linear)
    study = tmp_path / "in" / "study"
    write_series(study, head(), series="1.2.3", study="1.2")
    write_image(head(), tmp_path / "in" / "x_T1w.nii.gz")
    (tmp_path / "in" / "broken_T1w.nii.gz").write_bytes(b"no scan")
    command, log = ("-m", "modality_conversion.cli"), tmp_path / "calls"
    log.touch()
    before = traced(log)
    for arguments, code in (
        (("convert", study, "--to", "T2", "--out", tmp_path / "series", "--lesion-report", tmp_path / "r.dcm"), 0),
        (("batch", tmp_path / "in", "--to", "T2", "--out", tmp_path / "out", "--workers", 1), 1),
    ):
        done = python(tmp_path, *command, *arguments, before=before)
        assert done.returncode == code, done.stderr
        calls = [line for line in log.read_text().splitlines() if "AF_INET" in line and '"127.0.0.1"' not in line]
        assert calls == []  # onnxruntime reports to its maker, unless forbidden
    assert watched.read_text() == ""
    assert [path for path in (tmp_path / "temporary").rglob("*") if "matplotlib" not in str(path)] == []
    for path in (tmp_path / "out" / ".modality-conversion-batch").rglob("*"):
        assert path.is_file() or stat.S_IMODE(path.stat().st_mode) == 0o700
