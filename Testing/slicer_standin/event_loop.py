"""The event loop, for tests: wait for something, and measure how long it was ever blocked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PySide6 import QtCore


def process_events(seconds: float = 0.0) -> None:
    """Run the event loop for a while, deleting what was asked to be deleted."""
    end = time.monotonic() + seconds
    while True:
        QtCore.QCoreApplication.processEvents(QtCore.QEventLoop.AllEvents, 10)
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
        if time.monotonic() >= end:
            return
        time.sleep(0.001)


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Run the event loop until the condition holds; its value comes back. Too late is a failure."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {getattr(condition, '__name__', condition)}")
        process_events(0.005)


class Blocks:
    """The gaps between ticks of a timer of 5 ms, in seconds."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.PreciseTimer)
        self._timer.connect("timeout()", self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now

    @property
    def longest(self) -> float:
        return max([*self.gaps, time.perf_counter() - self._last if self._timer.active else 0.0])


@contextmanager
def longest_block() -> Iterator[Blocks]:
    """`with longest_block() as blocks: ...`, then `blocks.longest` in seconds."""
    blocks = Blocks()
    blocks._timer.start(5)
    try:
        yield blocks
    finally:
        blocks._tick()
        blocks._timer.stop()
