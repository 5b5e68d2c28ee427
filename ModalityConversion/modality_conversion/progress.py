"""How far a conversion has come, for a bar on the screen or a host process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """One piece of news.

    `stage` is `prepare`, `network` or `finish`, for the command line also `read`, `segment` and `write`; when a model is
    installed, `download` and `install`. `done` of `total` counts tiles in `network` and `segment`, and bytes in `download` and
    `install`, where `total` can be unknown, None; in the other stages, `total` is 1.
    """

    stage: str
    done: int
    total: int | None
    seconds_left: float | None


@dataclass
class Reporter:
    """Passes progress on and stops the work when the caller asks for it."""

    progress: Callable[[Progress], None] | None = None
    cancel: Callable[[], bool] | None = None
    _started: float = field(default_factory=time.monotonic)
    _first: int = 0

    def start(self, stage: str, total: int | None, done: int = 0) -> None:
        """A stage begins, or goes on with another weight file. Raises Cancelled if the caller asked to stop."""
        self._started, self._first = time.monotonic(), done
        self._tell(Progress(stage, done, total, None))

    def advance(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` are finished. Raises Cancelled if the caller asked to stop."""
        elapsed, since = time.monotonic() - self._started, done - self._first
        left = None if total is None or since <= 0 else elapsed / since * (total - done)
        self._tell(Progress(stage, done, total, left))

    def check(self) -> None:
        """Raises Cancelled if the caller asked to stop."""
        if self.cancel is not None and self.cancel():
            raise Cancelled

    def _tell(self, news: Progress) -> None:
        self.check()
        if self.progress is not None:
            self.progress(news)
