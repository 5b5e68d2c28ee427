"""Progress for a person (a bar) or a host process (JSON lines), and a clean stop on Ctrl-C, on SIGTERM or with the parent."""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import Cancelled, in_words
from ..image_io import remove_partial_files
from ..progress import Progress
from . import EXIT_CANCELLED

_GRACE_S = 2.0
"""How long the work may take to stop after the parent went away, before it is stopped the hard way."""
_POLL_S = 0.2
_BROKEN_PIPE = 109  # Windows' ERROR_BROKEN_PIPE


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
def ended_with_parent(wanted: bool, style: ProgressStyle = ProgressStyle.none) -> Iterator[None]:
    """If `wanted`: when standard input closes, the work in this block is asked to stop, just as by Ctrl-C.

    If it goes on for 2 s all the same, the process ends with exit code 130, leaving no half-written file behind.
    Whoever starts this process with a pipe for its standard input so takes it along, however they end.
    """
    finished = threading.Event()

    def watch() -> None:
        _wait_for_end_of_input()
        if finished.is_set():
            return
        _thread.interrupt_main()
        if not finished.wait(_GRACE_S):
            _end_at_once(style)

    if wanted:
        threading.Thread(target=watch, name="stop-with-parent", daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def _wait_for_end_of_input() -> None:
    """Returns once standard input is closed at its other end. What comes through it until then is thrown away."""
    with contextlib.suppress(OSError):  # there is none, which is as good as closed
        if sys.platform == "win32":
            # A read that waits locks the pipe's handle there, and the C runtime of any library that is loaded meanwhile
            # would wait for that lock; so look now and then.
            import ctypes
            import msvcrt

            kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            handle, waiting = ctypes.c_void_p(msvcrt.get_osfhandle(0)), ctypes.c_ulong()
            while kernel.PeekNamedPipe(handle, None, 0, None, ctypes.byref(waiting), None):
                if not (waiting.value and os.read(0, waiting.value)):
                    time.sleep(_POLL_S)
            if ctypes.get_last_error() == _BROKEN_PIPE:
                return
        # Not through sys.stdin, whose lock Python would miss when it shuts down while this thread still waits.
        while os.read(0, 1 << 12):
            pass


def _end_at_once(style: ProgressStyle) -> None:
    """End the process from a thread beside one that does not come back from what it does."""
    remove_partial_files()

    def last_words() -> None:
        with contextlib.suppress(OSError, ValueError):
            if style is ProgressStyle.json:
                json_line(error=str(Cancelled()), cancelled=True)
            sys.stderr.write(f"{Cancelled()}\n")
            sys.stderr.flush()

    speaker = threading.Thread(target=last_words, daemon=True)  # a pipe that nobody reads could hold it up for ever
    speaker.start()
    speaker.join(_POLL_S)
    os._exit(EXIT_CANCELLED)


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
            is_stop = isinstance(error, KeyboardInterrupt)
            message = "KeyboardInterrupt" if is_stop else in_words(error)
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


def announce(report: Mapping[str, Any], out: Path, what: str) -> None:
    """Say what was made, for a person."""
    model = report["model"]
    for warning in report["warnings"]:
        sys.stderr.write(f"Note: {warning}\n")
    sys.stdout.write(
        f"{out}: {what} by {model['id']} {model['version']} on {report['device']} "
        f"in {report['seconds']['total']:.1f} s. {report['notice']}\n"
    )


def announce_labels(report: Mapping[str, Any], out: Path) -> None:
    """Say what was segmented, and how much there is of it."""
    announce(report, out, "segmentation")
    for label in report["labels"]:
        sys.stdout.write(f"{label['value']:5} {label['name']}: {label['volume_ml']:.2f} mL\n")


def announce_trust(report: Mapping[str, Any]) -> None:
    """Say, a line each, how far the result can be believed: interval, consistency, lesions."""
    for key in ("interval", "consistency", "lesion_check"):
        if key in report:
            sys.stdout.write(f"{report[key]['verdict']}\n")
            for warning in report[key].get("warnings", ()):
                sys.stderr.write(f"Note: {warning}\n")


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
