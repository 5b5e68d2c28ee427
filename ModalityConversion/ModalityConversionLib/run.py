"""Work that goes on while Slicer stays alive: driven by a timer in the panel, or by a loop in a script.

The work is a generator that gives way after every few milliseconds. Closing it, at any point, ends the process and removes
the private folder.
"""

from __future__ import annotations

import inspect
import json
import logging
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from enum import Enum
from typing import Any

import qt
import slicer

from modality_conversion.errors import Cancelled, ConversionError
from modality_conversion.progress import Progress

from .i18n import tr as _
from .process import EngineProcess
from .watch import SceneWatch

TICK_MS = 20
_TURN_S = 0.01
"""How long a turn may take where there is more to do at once."""

Steps = Generator[bool, None, Any]
"""Yields True where more can be done at once, False where it waits; returns the outcome."""


class State(str, Enum):
    """Where a run stands."""

    running = "running"
    done = "done"
    cancelled = "cancelled"
    failed = "failed"


class Run(ABC):
    """Something under way. Subclasses give the steps.

    `on_progress(Progress)` is called with news; `on_end(Run)` once, when it is done, cancelled or failed.
    """

    def __init__(
        self,
        on_progress: Callable[[Progress], None] | None = None,
        on_end: Callable[[Any], None] | None = None,
    ) -> None:
        self.state = State.running
        self.outcome: Any = None
        """What the steps returned."""
        self.message = ""
        """Why it failed or was cancelled, for the user."""
        self.log = ""
        """What the process said, for whoever is to help."""
        self._on_progress, self._on_end = on_progress, on_end
        self._timer: qt.QTimer | None = None
        self._watch: SceneWatch | None = None
        self._pending = ""
        self._work = self.steps()

    @abstractmethod
    def steps(self) -> Steps:
        """The work."""

    def undo(self) -> None:  # noqa: B027 - most runs have nothing to do then
        """Called when a run was cancelled in its very last step: take the outcome back."""

    # --- driving it

    def start(self) -> None:
        """Go on in the background, a little with every turn of the event loop."""
        # Qt keeps what it is connected to alive; without the weak reference nothing of a run would ever be freed.
        turn = weakref.WeakMethod(self._turn)

        def tick() -> None:
            alive = turn()
            if alive is not None:
                alive()

        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", tick)
        self._timer.start()

    def wait(self) -> None:
        """Go on until the end, keeping the application alive."""
        while self.state is State.running:
            if not self._turn():
                time.sleep(TICK_MS / 1000)
            slicer.app.processEvents()

    def cancel(self, why: str = "") -> None:
        """End the run now. Nothing of it is left behind."""
        if self.state is not State.running:
            return
        why = why or _("Cancelled.")
        if self._is_at_work:  # asked for by something that the work itself set off
            self._pending = why
        else:
            self._end(State.cancelled, why)

    @property
    def _is_at_work(self) -> bool:
        return inspect.getgeneratorstate(self._work) == inspect.GEN_RUNNING

    def _turn(self) -> bool:
        """Some milliseconds of work; whether there is more to do at once."""
        if self._is_at_work:  # something that the work set off let the event loop go round
            return False
        until = time.monotonic() + _TURN_S
        while self.state is State.running:
            more = self._step()
            if self._pending and self.state is State.running:
                self._end(State.cancelled, self._pending)
            if not more or time.monotonic() > until:
                return more
        return False

    def _step(self) -> bool:
        try:
            return next(self._work)
        except StopIteration as stop:
            self.outcome = stop.value
            if self._pending:
                self.undo()
                self._end(State.cancelled, self._pending)
            else:
                self._end(State.done, "")
        except Cancelled as error:
            self._end(State.cancelled, str(error))
        except ConversionError as error:
            self._end(State.failed, str(error))
        except MemoryError:
            self._end(State.failed, _("Slicer's memory is full. Close other volumes and try again."))
        except Exception as error:
            logging.exception("ModalityConversion: a run failed")
            self._end(State.failed, f"{type(error).__name__}: {error}")
        return False

    def _end(self, state: State, message: str) -> None:
        self.state, self.message = state, message
        if self._timer is not None:
            self._timer.stop()
        self._work.close()
        if self._watch is not None:
            self._watch.stop()
        on_end, self._on_end, self._on_progress = self._on_end, None, None
        if on_end is not None:
            on_end(self)

    # --- for subclasses

    def watch(self, nodes: Sequence[slicer.vtkMRMLNode]) -> None:
        """From now to its end, cancel the run when one of these leaves the scene, the scene closes or Slicer quits."""
        self._watch = SceneWatch(nodes, self.cancel)

    def tell(self, stage: str, done: int, total: int, seconds_left: float | None = None) -> None:
        """Pass on news."""
        if self._on_progress is not None:
            self._on_progress(Progress(stage, done, total, seconds_left))

    def listen(self, process: EngineProcess) -> Generator[bool, None, dict[str, Any]]:
        """Pass on a process's news until it ends; returns its result, or raises why there is none."""
        while process.is_running:
            for news in process.news():
                self.tell(news["stage"], news["done"], news["total"], news.get("seconds_left"))
            yield False
        self.log = process.log()
        return process.finish()

    def answer(self, process: EngineProcess) -> Generator[bool, None, Any]:
        """Wait for a process that prints JSON once; returns it, or raises why there is none."""
        while process.is_running:
            yield False
        self.log = process.log()
        return json.loads(process.finish_text())


def finished(run: Run) -> Any:
    """The outcome of a run that has ended. Raises ConversionError or Cancelled where there is none."""
    if run.state is State.cancelled:
        raise Cancelled(run.message)
    if run.state is State.failed:
        raise ConversionError(run.message)
    return run.outcome
