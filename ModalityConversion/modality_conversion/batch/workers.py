"""Several worker processes, each on its share of the cores, fed until there is nothing left."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..backends.address import is_server
from ..backends.processor import ENVIRONMENT, physical_cores

_MEMORY_A_WORKER = 2 << 30
_TRIES = 2
# Every library that starts threads of its own asks one of these.
_LIBRARIES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
THREADS = (*_LIBRARIES, ENVIRONMENT)
"""The environment variables that say how many threads a worker has."""

Request = Mapping[str, Any]
Answer = Mapping[str, Any]
"""`{"done": true}` or `{"error": "..."}`."""


def default_workers(device: str) -> int:
    """One for each physical core that has 2 GiB of memory; a graphics card takes one.

    A server takes as many as the CPU: it joins their requests.
    """
    first = device.split(",")[0].strip().lower()
    if first not in ("auto", "cpu") and not is_server(first):
        return 1
    return max(1, min(physical_cores() or 1, _memory() // _MEMORY_A_WORKER))


def share_of_threads(workers: int) -> int:
    """Threads for each of so many workers, so that together they use each core once."""
    return max(1, (physical_cores() or os.cpu_count() or 1) // workers)


def environment(workers: int) -> dict[str, str]:
    """The environment of a worker. A number of threads that the user has set is left as it is."""
    threads = str(share_of_threads(workers))
    package = str(Path(__file__).resolve().parents[2])
    return {
        **dict.fromkeys(THREADS, threads),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", "")))),
    }


def work(
    requests: Iterable[Request],
    workers: int,
    prepare: Callable[[Request], Request],
    settle: Callable[[Request, Answer], None],
    cancel: Callable[[], bool],
    command: tuple[str, ...] = (sys.executable, "-m", "modality_conversion.batch.worker"),
) -> None:
    """Have all requests answered by `workers` processes.

    `prepare` is called before a request is handed over, `settle` with its answer; both one at a time, in the caller's
    thread. A worker that dies is replaced and its request tried once more. When `cancel` says so, all workers are ended.
    """
    waiting: list[tuple[Request, int]] = [(request, 1) for request in requests][::-1]
    answers: queue.Queue[tuple[_Worker, Answer | None]] = queue.Queue()
    crew: list[_Worker] = []
    busy = 0

    def hand_out(worker: _Worker) -> bool:
        if not waiting:
            return False
        request, tried = waiting.pop()
        worker.take(prepare(request), tried)
        return True

    try:
        for _ in range(min(workers, len(waiting))):
            crew.append(_Worker(command, environment(workers), answers))
            busy += hand_out(crew[-1])
        while busy:
            try:
                worker, answer = answers.get(timeout=0.2)
            except queue.Empty:
                if cancel():
                    return
                continue
            if worker.request is None:
                continue  # it ended with nothing to do, which it was told to
            request, tried = worker.request, worker.tried
            worker.request = None
            busy -= 1
            if answer is None:
                crew.remove(worker)
                code = worker.end()
                if tried < _TRIES:
                    waiting.append((request, tried + 1))
                else:
                    settle(request, {"error": _obituary(code)})
                worker = _Worker(command, environment(workers), answers)
                crew.append(worker)
            else:
                settle(request, answer)
            if cancel():
                return
            busy += hand_out(worker)
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process, and the thread that listens to it."""

    def __init__(self, command: tuple[str, ...], surroundings: dict[str, str], answers: queue.Queue) -> None:
        self.request: Request | None = None
        self.tried = 0
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=surroundings,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._listen, args=(answers,), daemon=True).start()

    def take(self, request: Request, tried: int) -> None:
        """Hand over a request. Where the process is gone, listening to it tells."""
        self.request, self.tried = request, tried
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def end(self) -> int:
        """End the process, the hard way if need be; returns its exit code."""
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        if self.request is not None:
            self._process.terminate()
        try:
            return self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _listen(self, answers: queue.Queue) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                answers.put((self, json.loads(line)))
            except ValueError:
                break
        answers.put((self, None))


def _obituary(code: int) -> str:
    how = f"by signal {-code}" if code < 0 else f"with code {code}"
    return (
        f"The process that converted it ended {how}, twice. It may need more memory than there is; try fewer workers."
    )


def _memory() -> int:
    """Bytes of memory that are free for us, or more than any machine has where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return 1 << 50
