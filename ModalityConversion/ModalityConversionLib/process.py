"""A run of the engine in a process of its own: started, listened to, ended.

Its output goes to files that are read as they grow, which needs no threads and works alike on every system. Its standard
input is a pipe that nobody writes to: it closes when Slicer ends, however that happens, and then the engine stops
(`--stop-with-parent`), also where the Python of Slicer is started through a launcher.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from modality_conversion.errors import Cancelled, ConversionError

from .i18n import tr as _

WORKER = Path(__file__).with_name("worker.py")
_END_S = 2.0


def python() -> str:
    """The Python that has Slicer's packages. Raises ConversionError where it is not found."""
    found = shutil.which("PythonSlicer")
    if found is None and "python" in Path(sys.executable).name.lower():
        found = sys.executable
    if found is None:
        raise ConversionError(_("Slicer's Python (PythonSlicer) was not found. Install Slicer again."))
    return found


class EngineProcess:
    """The engine's command line with these arguments, its output kept in `folder`. Ended when the block ends."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._output = folder / "output.jsonl"
        self._log = folder / "log.txt"
        self._read = 0
        self._rest = b""
        self.result: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        try:
            with self._output.open("wb") as output, self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [python(), str(WORKER), *arguments],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=log,
                    cwd=folder.parent,  # a folder that a process works in cannot be removed on Windows
                    env=environment,
                    creationflags=flags,
                    start_new_session=True,  # so that a launcher and what it launched can be ended together
                )
        except OSError as error:
            raise ConversionError(
                _("The conversion could not be started: {reason}.").format(reason=error.strerror or error)
            ) from None

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def news(self) -> list[dict[str, Any]]:
        """The progress since the last call. The result or the error, where it came, is kept."""
        with self._output.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        self._read += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        news = []
        for line in lines:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if "result" in message:
                    self.result = message["result"]
                elif "error" in message:
                    self._error = message
                else:
                    news.append(message)
        return news

    def finish(self) -> dict[str, Any]:
        """What the process gave, once it has ended. Raises ConversionError with the reason where it gave nothing."""
        self.news()
        code = self._process.wait()
        if self.result is not None and code == 0:
            return self.result
        if self._error is not None:
            if self._error.get("cancelled"):
                raise Cancelled(_("Cancelled."))
            raise ConversionError(str(self._error["error"]))
        raise ConversionError(self._why_it_died(code))

    def finish_text(self) -> str:
        """All that a command printed that does not speak in lines of JSON. Raises ConversionError where it failed."""
        code = self._process.wait()
        if code != 0:
            raise ConversionError(self._why_it_died(code) if not self._complaint() else self._complaint())
        return self._output.read_text(encoding="utf-8")

    def _complaint(self) -> str:
        """The one line in which the engine says what is wrong and what to do; empty where it died otherwise."""
        return self.log().strip().splitlines()[-1] if self._process.returncode in (1, 2) and self.log().strip() else ""

    def end(self) -> None:
        """End the process, wherever it is. It writes nothing but the private folder, so nothing is lost."""
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        if self.is_running:
            self._kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)

    def _kill(self) -> None:
        if sys.platform == "win32":
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(self.pid)],
                creationflags=subprocess.CREATE_NO_WINDOW,
                capture_output=True,
                check=False,
            )
            return
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def log(self) -> str:
        """What the process said on its standard error."""
        try:
            return self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _why_it_died(self, code: int) -> str:
        last = self.log().strip().splitlines()[-1:] or [_("it said nothing")]
        if code in (-9, 137):
            return _(
                "The system ended the conversion, most likely since the memory was full. "
                "Close other programs, or crop the volume first."
            )
        if code < 0 or code > 255:
            return _("The conversion crashed (code {code}): {last}.").format(code=code, last=last[0].rstrip("."))
        return _("The conversion failed (code {code}): {last}.").format(code=code, last=last[0].rstrip("."))
