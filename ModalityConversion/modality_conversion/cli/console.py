"""Progress for a person (a bar) or a host process (JSON lines), and a clean stop on Ctrl-C or SIGTERM."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from ..errors import Cancelled
from ..progress import Progress


class ProgressStyle(str, Enum):
    """How progress is shown."""

    bar = "bar"
    json = "json"
    none = "none"


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C or SIGTERM came. A second one ends the process as usual.

    Outside the main thread, where Python allows no handlers, the caller's own stay.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def libraries_silenced() -> Iterator[None]:
    """Keep what C libraries write to standard error off the screen: they complain in lines of their own, then raise too."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextlib.contextmanager
def shown(style: ProgressStyle) -> Iterator[Callable[[Progress], None]]:
    """Where to send progress. In JSON style an error that leaves the block becomes the last line."""
    if style is ProgressStyle.json:
        try:
            yield lambda news: json_line(
                stage=news.stage, done=news.done, total=news.total, seconds_left=_rounded(news.seconds_left)
            )
        except BaseException as error:  # a host process waits for a last line, whatever happened
            message = " ".join(str(error).split()) or type(error).__name__
            json_line(error=message, cancelled=isinstance(error, (Cancelled, KeyboardInterrupt)))
            raise
    elif style is ProgressStyle.bar:
        with _bar() as tell:
            yield tell
    else:
        yield lambda news: None


def json_line(**fields: Any) -> None:
    """One line of JSON on standard output, at once."""
    sys.stdout.write(json.dumps(fields) + "\n")  # ASCII, which every pipe can carry
    sys.stdout.flush()


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(news: Progress) -> None:
            if news.stage not in tasks:
                tasks[news.stage] = bar.add_task(news.stage, total=news.total)
            bar.update(tasks[news.stage], completed=news.done, total=news.total)

        yield tell
