"""What happened during one conversion: collected along the way, told in the report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Account:
    """Filled in by the steps of a conversion."""

    device: str
    """Where the network ran, in the end."""
    fallbacks: tuple[str, ...] = ()
    """Devices that the user named for the case that this one is lost."""
    warnings: list[str] = field(default_factory=list)
    """What the user should know, a sentence each."""
    tiles: int = 0
    """Of one run."""
    runs: int = 1
    """Weight files times variants."""
    batch: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Write down how long the block takes."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - started
