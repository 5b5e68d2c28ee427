"""What can go wrong in a step, in words: memory that is not there, values that are no numbers, a signal to stop."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from training.config import RunError

_NO_MEMORY = re.compile(r"out of memory|can.t allocate memory|not enough memory|DefaultCPUAllocator", re.IGNORECASE)
_WORKER_LOST = re.compile(r"DataLoader worker .*(killed|exited unexpectedly|Bus error)", re.IGNORECASE | re.DOTALL)


@contextmanager
def memory_advice() -> Iterator[None]:
    """Turn every kind of "out of memory" into advice."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and _WORKER_LOST.search(text):
            raise RunError(
                "A process that prepares data was ended by the system, most likely for want of memory. Set `workers` in the "
                f"recipe's options lower, or 0. ({_first_line(text)})"
            ) from error
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not _NO_MEMORY.search(text):
            raise
        raise RunError(
            "Out of memory. What helps, the cheapest first:\n"
            "  halve `batch` in the recipe's options and double `train.accumulate`: the same steps in less memory;\n"
            "  make `slabs.crop` or `network.size` smaller: each step sees less of a head;\n"
            "  on a GPU `train.precision: bf16-mixed`, if it is 32-true; or more GPUs: `batch` is divided among them;\n"
            "  fewer `network.features`.\n"
            "The last checkpoint is whole: with the same network the run goes on from there. "
            f"({_first_line(text)})"
        ) from error


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no further word"


def not_finite(folder: Path, rank: int, step: int, state: dict[str, Any]) -> RunError:
    """Keep what led to a loss or gradient that is no number; gives the error to raise."""
    path = folder / (f"not_finite_{rank}.pt" if rank else "not_finite.pt")
    torch.save(state | {"step": step}, path)
    return RunError(
        f"Step {step}: the loss or its gradient is not a number. The batch, the losses and the weights before the step are "
        f"kept in {path}. Look for NaN or far values in its `batch` (`python -m training qc` finds such scans); else lower "
        "`train.learning_rate` or `train.clip`, or use `train.precision: 32-true`. The last checkpoint is from before."
    )


class StopSignal:
    """Within it, the first Ctrl-C or SIGTERM asks the run to end after its step; a second one ends it at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(number, self._before[number])

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
